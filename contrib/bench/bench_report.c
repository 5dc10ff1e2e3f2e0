/* SPDX-License-Identifier: BSD-3-Clause */
/* What is printed, see bench_report.h. */
#include "bench_report.h"

#include <stdio.h>

static const char *const percentile_names[BENCH_N_PERCENTILES] = {"p50", "p90", "p99", "p99.9",
								  "p99.99"};

/* ---- text ---- */

/* One figure that the kernel may not have given. */
static void print_known(const char *name, double value, const char *unit, const char *why)
{
	if (why[0])
		printf("%-12s unavailable (%s)\n", name, why);
	else
		printf("%-12s %.4g %s\n", name, value, unit);
}

static void print_latency(const struct bench_latency *latency)
{
	printf("latency      min %.3f  mean %.3f", latency->min / 1e3, latency->mean / 1e3);
	for (int i = 0; i < BENCH_N_PERCENTILES; i++)
		printf("  %s %.3f", percentile_names[i], latency->percentile[i] / 1e3);
	printf("  max %.3f us\n", latency->max / 1e3);
}

void bench_report_text(const struct bench_result *r)
{
	printf("back-end     %s", r->socket ? r->socket : "none (floor)");
	if (r->backend.pid)
		printf(", process %d", (int)r->backend.pid);
	printf("\nI/O          %llu requests in %.3f s, %llu errors\n", (unsigned long long)r->ios,
	       r->seconds, (unsigned long long)r->errors);
	printf("throughput   %.0f IOPS, %.2f MB/s\n", r->iops, r->bytes_per_second / 1e6);
	if (r->beside)
		printf("beside       %.0f IOPS, %s\n", r->iops_beside, r->beside);
	print_latency(&r->latency);
	printf("kicks        %.4g per I/O\n", r->kicks_per_io);
	printf("calls        %.4g per I/O\n", r->calls_per_io);
	if (!r->socket)
		return;
	print_known("CPU time", r->cpu_ns_per_io, "ns of the back-end per I/O", r->backend.no_cpu);
	print_known("system calls", r->syscalls_per_io, "of the back-end per I/O",
		    r->backend.no_syscalls);
	print_known("memory", (double)r->memory / 1048576, "MiB of the back-end, private",
		    r->backend.no_memory);
}

void bench_report_comparison_text(const struct bench_comparison *c)
{
	printf("A, the median of %u rounds:\n", c->rounds);
	bench_report_text(&c->a);
	printf("\nB, the median of %u rounds:\n", c->rounds);
	bench_report_text(&c->b);
	printf("\nA has %.3f times the IOPS of B (in single rounds %.3f to %.3f)\n", c->ratio,
	       c->ratio_min, c->ratio_max);
}

/* ---- JSON ---- */

static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		const unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < ' ' || c >= 0x7f) /* a byte of a path is no character: as Latin-1 */
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void print_or_null(const char *name, double value, const char *why)
{
	if (why[0])
		printf(",\"%s\":null", name);
	else
		printf(",\"%s\":%.6g", name, value);
}

static void print_backend(const struct bench_result *r)
{
	if (r->backend.pid)
		printf(",\"backend\":{\"pid\":%d", (int)r->backend.pid);
	else
		printf(",\"backend\":{\"pid\":null");
	print_or_null("cpu_ns_per_io", r->cpu_ns_per_io, r->backend.no_cpu);
	print_or_null("syscalls_per_io", r->syscalls_per_io, r->backend.no_syscalls);
	if (r->backend.no_memory[0])
		printf(",\"memory_bytes\":null}");
	else
		printf(",\"memory_bytes\":%llu}", (unsigned long long)r->memory);
}

static void print_json(const struct bench_result *r)
{
	printf("{\"socket\":");
	if (r->socket)
		print_string(r->socket);
	else
		printf("null");
	printf(",\"seconds\":%.6f,\"ios\":%llu,\"errors\":%llu,\"iops\":%.0f", r->seconds,
	       (unsigned long long)r->ios, (unsigned long long)r->errors, r->iops);
	printf(",\"bytes_per_second\":%.0f,\"latency_ns\":{\"min\":%.0f,\"mean\":%.1f",
	       r->bytes_per_second, r->latency.min, r->latency.mean);
	for (int i = 0; i < BENCH_N_PERCENTILES; i++)
		printf(",\"%s\":%.0f", percentile_names[i], r->latency.percentile[i]);
	printf(",\"max\":%.0f},\"kicks_per_io\":%.6g,\"calls_per_io\":%.6g", r->latency.max,
	       r->kicks_per_io, r->calls_per_io);
	if (r->beside) {
		printf(",\"beside\":{\"socket\":");
		print_string(r->beside);
		printf(",\"iops\":%.0f}", r->iops_beside);
	}
	print_backend(r);
	putchar('}');
}

void bench_report_json(const struct bench_result *result)
{
	print_json(result);
	putchar('\n');
}

void bench_report_comparison_json(const struct bench_comparison *c)
{
	printf("{\"a\":");
	print_json(&c->a);
	printf(",\"b\":");
	print_json(&c->b);
	printf(",\"ratio\":%.4f,\"ratio_min\":%.4f,\"ratio_max\":%.4f,\"rounds\":%u}\n", c->ratio,
	       c->ratio_min, c->ratio_max, c->rounds);
}
