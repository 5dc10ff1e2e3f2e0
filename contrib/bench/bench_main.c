/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vublk-bench: measures vhost-user-blk back-ends without a guest. Exit status: 0; 1 when something
 * cannot be had or a request failed; 2 for a wrong command line.
 */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_clock.h"
#include "bench_options.h"
#include "bench_report.h"
#include "bench_run.h"
#include "cli/std_fds.h"

#define EXIT_USAGE 2

static void on_signal(int number)
{
	(void)number;
	bench_interrupted = 1;
}

/* They end a measurement early, at the places where bench_run() lets them. */
static void take_signals(void)
{
	const struct sigaction action = {.sa_handler = on_signal};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* What a result has to say beside its figures. Whether no request failed. */
static bool judge(const struct bench_result *result)
{
	if (result->trouble[0])
		fprintf(stderr, "vublk-bench: %s: wrong data: %s\n", result->socket,
			result->trouble);
	else if (result->errors)
		fprintf(stderr, "vublk-bench: %s: %llu requests failed\n", result->socket,
			(unsigned long long)result->errors);
	return !result->errors;
}

static bool measure(const struct bench_options *options, const char *path,
		    struct bench_result *result)
{
	char error[512];

	if (!bench_run(options, path, result, error, sizeof(error)))
		return true;
	fprintf(stderr, "vublk-bench: %s%s%s\n", path ? path : "", path ? ": " : "", error);
	return false;
}

static void say_what_is_missing(const struct bench_result *result)
{
	const struct bench_backend *backend = &result->backend;

	if (backend->no_cpu[0])
		fprintf(stderr, "vublk-bench: no CPU time: %s\n", backend->no_cpu);
	if (backend->no_syscalls[0])
		fprintf(stderr, "vublk-bench: no system calls: %s\n", backend->no_syscalls);
	if (backend->no_memory[0])
		fprintf(stderr, "vublk-bench: no memory: %s\n", backend->no_memory);
}

static int run_one(const struct bench_options *options)
{
	struct bench_result result;

	if (!measure(options, options->floor ? NULL : options->socket[0], &result))
		return EXIT_FAILURE;
	if (options->json) {
		if (!options->floor)
			say_what_is_missing(&result);
		bench_report_json(&result);
	} else {
		bench_report_text(&result);
	}
	return judge(&result) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- comparing ---- */

static int by_iops(const void *a, const void *b)
{
	const double x = ((const struct bench_result *)a)->iops;
	const double y = ((const struct bench_result *)b)->iops;

	return (x > y) - (x < y);
}

/* Sorts the results; the lower one of two in the middle. */
static struct bench_result median(struct bench_result *results, unsigned int n)
{
	qsort(results, n, sizeof(*results), by_iops);
	return results[(n - 1) / 2];
}

static double ratio_of(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static void conclude(struct bench_comparison *comparison, struct bench_result *a,
		     struct bench_result *b)
{
	const unsigned int n = comparison->rounds;

	for (unsigned int i = 0; i < n; i++) {
		const double ratio = ratio_of(a[i].iops, b[i].iops);

		if (!i || ratio < comparison->ratio_min)
			comparison->ratio_min = ratio;
		if (!i || ratio > comparison->ratio_max)
			comparison->ratio_max = ratio;
	}
	comparison->a = median(a, n);
	comparison->b = median(b, n);
	comparison->ratio = ratio_of(comparison->a.iops, comparison->b.iops);
}

/* Counts the rounds that were whole. False: trouble, or a request failed. */
static bool run_rounds(const struct bench_options *options, struct bench_result *a,
		       struct bench_result *b, unsigned int *n)
{
	bool ok = true;

	for (*n = 0; *n < options->rounds; ++*n) {
		if (!measure(options, options->socket[0], &a[*n]) || bench_interrupted)
			return ok && bench_interrupted;
		if (!measure(options, options->socket[1], &b[*n]) || bench_interrupted)
			return ok && bench_interrupted;
		ok = judge(&a[*n]) && judge(&b[*n]) && ok;
	}
	return ok;
}

static int compare(const struct bench_options *options)
{
	struct bench_comparison comparison = {0};
	struct bench_result *a = calloc(options->rounds, sizeof(*a));
	struct bench_result *b = calloc(options->rounds, sizeof(*b));
	bool ok = a && b && run_rounds(options, a, b, &comparison.rounds);

	if (comparison.rounds) {
		conclude(&comparison, a, b);
		if (options->json)
			say_what_is_missing(&comparison.a);
		(options->json ? bench_report_comparison_json
			       : bench_report_comparison_text)(&comparison);
	}
	free(a);
	free(b);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct bench_options options;
	char error[512];

	std_fds_occupy();
	if (bench_options_parse(&options, argc, argv, error, sizeof(error))) {
		fprintf(stderr, "vublk-bench: %s\n", error);
		return EXIT_USAGE;
	}
	switch (options.action) {
	case BENCH_HELP:
		bench_options_print_help();
		return EXIT_SUCCESS;
	case BENCH_VERSION:
		puts("vublk-bench " PACKAGE_VERSION);
		return EXIT_SUCCESS;
	case BENCH_RUN:
		break;
	}
	take_signals();
	bench_clock_init();
	return options.compare ? compare(&options) : run_one(&options);
}
