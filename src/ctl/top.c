/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/top.h. */
#include "ctl/top.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/sample.h"
#include "ctl/screen.h"
#include "ctl/table.h"
#include "ctl/text.h"

#define NS_PER_S     1e9
#define BYTES_PER_MB 1e6
#define OTHER_LINES  5 /* beside those of disks and workers */

/* ---- as tables ---- */

static int print_disks(const struct rates *rates, unsigned most)
{
	char latency[TEXT_FIGURE];
	struct table table;

	table_begin(&table, "DISK|>READ/S|>WRITE/S|>OTHER/S|>READ MB/S|>WRITE MB/S|>LATENCY|"
			    ">IN FLIGHT|>QUEUES");
	for (unsigned i = 0; i < rates->n_disks; i++) {
		const struct rate_disk *rate = &rates->disk[i];

		table_cell(&table, "%s", rate->disk->name);
		table_cell(&table, "%.0f", rate->read);
		table_cell(&table, "%.0f", rate->write);
		table_cell(&table, "%.0f", rate->other);
		table_cell(&table, "%.1f", rate->read_bytes / BYTES_PER_MB);
		table_cell(&table, "%.1f", rate->write_bytes / BYTES_PER_MB);
		table_cell(&table, "%s",
			   rate->latency_ns > 0 ? figure_time(latency, rate->latency_ns) : "-");
		table_cell(&table, "%" PRIu64, rate->disk->in_flight);
		table_cell(&table, "%" PRIu64, rate->disk->queues);
	}
	return table_end(&table, most);
}

static int print_workers(const struct rates *rates)
{
	struct table table;

	table_begin(&table, "WORKER|>CPU %|>POLLING %|>ASLEEP %|>QUEUES");
	for (unsigned i = 0; i < rates->n_workers; i++) {
		const struct rate_worker *rate = &rates->worker[i];

		table_cell(&table, "%" PRIu64, rate->worker->index);
		table_cell(&table, "%.1f", rate->cpu);
		table_cell(&table, "%.1f", rate->polling);
		table_cell(&table, "%.1f", rate->asleep);
		table_cell(&table, "%" PRIu64, rate->worker->queues);
	}
	return table_end(&table, UINT_MAX);
}

static int print_tables(const struct screen *screen, const struct rates *rates)
{
	const unsigned lines = screen_lines(screen), others = rates->n_workers + OTHER_LINES;
	unsigned most = lines == UINT_MAX ? UINT_MAX : lines > others ? lines - others : 1;
	const time_t now = time(NULL);
	char clock[32] = "";
	struct tm tm;
	int err;

	if (localtime_r(&now, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	screen_clear(screen);
	printf("%s, %u disk%s served\n", clock, rates->n_disks, rates->n_disks == 1 ? "" : "s");
	err = print_disks(rates, most);
	putchar('\n');
	if (!err)
		err = print_workers(rates);
	if (!screen->is_terminal)
		putchar('\n');
	return err;
}

/* ---- as JSON ---- */

static json_t *json_of_disk(const struct rate_disk *rate)
{
	return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I}", "name", rate->disk->name,
			 "read-per-s", rate->read, "write-per-s", rate->write, "other-per-s",
			 rate->other, "read-bytes-per-s", rate->read_bytes, "write-bytes-per-s",
			 rate->write_bytes, "latency-ns", rate->latency_ns, "in-flight",
			 (json_int_t)rate->disk->in_flight, "queues",
			 (json_int_t)rate->disk->queues);
}

static json_t *json_of_worker(const struct rate_worker *rate)
{
	return json_pack("{s:I, s:f, s:f, s:f, s:I}", "index", (json_int_t)rate->worker->index,
			 "cpu-percent", rate->cpu, "polling-percent", rate->polling,
			 "asleep-percent", rate->asleep, "queues",
			 (json_int_t)rate->worker->queues);
}

static int print_line(const struct rates *rates)
{
	json_t *disks = json_array(), *workers = json_array(), *object;
	int err;

	for (unsigned i = 0; i < rates->n_disks; i++)
		json_array_append_new(disks, json_of_disk(&rates->disk[i]));
	for (unsigned i = 0; i < rates->n_workers; i++)
		json_array_append_new(workers, json_of_worker(&rates->worker[i]));
	object = json_pack("{s:f, s:o, s:o}", "seconds", rates->seconds, "disks", disks, "workers",
			   workers);
	err = object ? ctl_print_json_as(object, JSON_COMPACT | JSON_REAL_PRECISION(9))
		     : no_memory();
	json_decref(object);
	return err;
}

/* ---- again and again ---- */

static int print(const struct ctl *ctl, const struct screen *screen, const struct sample *before,
		 const struct sample *after)
{
	struct rates rates;
	int err = rates_compute(&rates, before, after);

	if (!err)
		err = ctl->options->json ? print_line(&rates) : print_tables(screen, &rates);
	rates_free(&rates);
	if (!err && fflush(stdout)) {
		err = -errno;
		complain("cannot write to standard output: %s", strerror(-err));
	}
	return err;
}

/* Each sample has the time that other commands have. */
static int take(struct sample *sample, const struct ctl *ctl)
{
	struct ctl now = *ctl;

	now.deadline = now_ns() + (int64_t)(ctl->options->timeout * NS_PER_S);
	return sample_take(sample, &now);
}

static int show(const struct ctl *ctl, const struct screen *screen)
{
	const int64_t interval = (int64_t)(ctl->options->interval * NS_PER_S);
	struct sample before, after = {0};
	int64_t next = now_ns();
	uint64_t shown = 0;
	int err = take(&before, ctl);

	while (!err && (!ctl->options->count || shown++ < ctl->options->count)) {
		next += interval;
		if (!screen_wait(screen, next))
			break;
		err = take(&after, ctl);
		if (!err)
			err = print(ctl, screen, &before, &after);
		sample_free(&before);
		before = after;
		after = (struct sample){0};
		/* What took longer than the interval is not made up for. */
		if (next < now_ns() - interval)
			next = now_ns();
	}
	sample_free(&before);
	return err;
}

int top_run(const struct ctl *ctl)
{
	struct screen screen;
	int err = screen_open(&screen);

	if (err) {
		complain("%s", strerror(-err));
		return err;
	}
	client_abort_on(ctl->client, screen.signal_fd);
	err = show(ctl, &screen);
	screen_close(&screen);
	/* To be interrupted is the usual end. */
	return err == -EINTR ? 0 : err;
}
