/* SPDX-License-Identifier: BSD-3-Clause */
/* See api/metrics.h. */
#include "config.h"

#include "api/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/writer.h"
#include "disk/counters.h"
#include "worker/worker.h"

#define NS_PER_S 1e9

/* A disk, with what was counted at one moment. */
struct sample {
	const struct disks_entry *entry;
	char label[160]; /* as it begins */
	size_t label_size;
	struct disk_facts facts;
	struct disk_counters counters;
};

struct samples {
	struct sample *sample;
	unsigned n;
};

/* What disks are called (disk_options_may_call()) has nothing that a label would have escaped. */
static void set_label(struct sample *sample, const struct disks_entry *entry)
{
	snprintf(sample->label, sizeof(sample->label), "{disk=\"%s\"", entry->id);
	sample->label_size = strlen(sample->label);
}

/* Of the disks that are open. */
static int collect(struct samples *samples, const struct disks *disks)
{
	unsigned n = 0;

	for (const struct disks_entry *entry = disks->first; entry; entry = entry->next)
		n++;
	*samples = (struct samples){.sample = calloc(n + 1, sizeof(*samples->sample))};
	if (!samples->sample)
		return -1;
	for (const struct disks_entry *entry = disks->first; entry; entry = entry->next) {
		struct sample *sample = &samples->sample[samples->n];

		if (!entry->disk || !disk_look(entry->disk, &sample->facts))
			continue;
		sample->entry = entry;
		set_label(sample, entry);
		disk_counters(entry->disk, &sample->counters);
		samples->n++;
	}
	return 0;
}

/* ---- lines ---- */

/* Of a disk's line the beginning: its name, and the first label. */
static void put_disk(struct writer *out, const char *metric, const struct sample *sample)
{
	writer_string(out, "vublkd_");
	writer_string(out, metric);
	writer_put(out, sample->label, sample->label_size);
}

/* The end: behind the labels comes the value. */
static void put_number(struct writer *out, uint64_t value)
{
	writer_string(out, "} ");
	writer_number(out, value);
	writer_string(out, "\n");
}

static void put_seconds(struct writer *out, uint64_t ns)
{
	writer_string(out, "} ");
	writer_seconds(out, ns);
	writer_string(out, "\n");
}

static void head(struct writer *out, const char *metric, const char *type, const char *help)
{
	const char *const parts[] = {"# HELP vublkd_", metric, " ", help, "\n",
				     "# TYPE vublkd_", metric, " ", type, "\n"};

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		writer_string(out, parts[i]);
}

/* ---- of disks ---- */

static void put_states(struct writer *out, const struct disks *disks)
{
	struct sample sample;

	head(out, "disk_served", "gauge", "Whether front-ends are served (1), or not (yet).");
	for (const struct disks_entry *entry = disks->first; entry; entry = entry->next) {
		set_label(&sample, entry);
		put_disk(out, "disk_served", &sample);
		put_number(out, entry->state == DISKS_SERVED);
	}
}

struct gauge {
	const char *metric, *help;
	uint64_t (*value)(const struct sample *sample);
};

static uint64_t connected(const struct sample *sample)
{
	return sample->facts.connected;
}

static uint64_t size(const struct sample *sample)
{
	return sample->facts.size;
}

static uint64_t queues(const struct sample *sample)
{
	return sample->facts.n_queues;
}

static uint64_t in_flight(const struct sample *sample)
{
	return blk_totals_in_flight(&sample->counters.totals);
}

static const struct gauge gauges[] = {
	{"disk_connected", "Whether a front-end is connected.", connected},
	{"disk_size_bytes", "Size of the disk, as the guest is told.", size},
	{"disk_queues", "Queues that are served.", queues},
	{"disk_requests_in_flight", "Requests that were fetched and are not completed.", in_flight},
};

static uint64_t recovered(const struct sample *sample)
{
	return sample->counters.totals.recovered;
}

static uint64_t held(const struct sample *sample)
{
	return sample->counters.totals.held;
}

static uint64_t kicks(const struct sample *sample)
{
	return sample->counters.totals.kicks;
}

static uint64_t calls(const struct sample *sample)
{
	return sample->counters.totals.calls;
}

static const struct gauge counters[] = {
	{"disk_recovered_requests_total", "Requests that an earlier process had in flight.",
	 recovered},
	{"disk_requests_held_total", "Requests that the disk's limits have held for a time.", held},
	{"disk_kicks_total", "Times that the guest has woken a queue.", kicks},
	{"disk_calls_total", "Times that the guest was called.", calls},
};

static void put_values(struct writer *out, const struct samples *samples, const struct gauge *gauge,
		       const char *type)
{
	head(out, gauge->metric, type, gauge->help);
	for (unsigned i = 0; i < samples->n; i++) {
		put_disk(out, gauge->metric, &samples->sample[i]);
		put_number(out, gauge->value(&samples->sample[i]));
	}
}

#define THROTTLED "disk_throttled_seconds_total"

static void put_throttled(struct writer *out, const struct samples *samples)
{
	head(out, THROTTLED, "counter", "Time in which limits held requests, of all queues.");
	for (unsigned i = 0; i < samples->n; i++) {
		put_disk(out, THROTTLED, &samples->sample[i]);
		put_seconds(out, samples->sample[i].counters.totals.throttled_ns);
	}
}

/* ---- of kinds of requests ---- */

static uint64_t bytes(const struct blk_kind_totals *kind)
{
	return kind->bytes;
}

static uint64_t errors(const struct blk_kind_totals *kind)
{
	return kind->errors;
}

static uint64_t merged(const struct blk_kind_totals *kind)
{
	return kind->merged;
}

static const struct {
	const char *metric, *help;
	uint64_t (*value)(const struct blk_kind_totals *kind);
} by_kind[] = {
	{"disk_request_bytes_total", "Bytes of requests that did not fail.", bytes},
	{"disk_request_errors_total", "Requests that failed.", errors},
	{"disk_requests_merged_total", "Requests that were done by another one's operation.",
	 merged},
};

static void put_kind(struct writer *out, const char *metric, const struct sample *sample, int kind)
{
	put_disk(out, metric, sample);
	writer_string(out, ",kind=\"");
	writer_string(out, blk_kind_name((enum blk_kind)kind));
	writer_string(out, "\"");
}

static void put_by_kind(struct writer *out, const struct samples *samples, size_t which)
{
	const char *metric = by_kind[which].metric;

	head(out, metric, "counter", by_kind[which].help);
	for (unsigned i = 0; i < samples->n; i++)
		for (int kind = 0; kind < BLK_KINDS; kind++) {
			const struct sample *sample = &samples->sample[i];

			put_kind(out, metric, sample, kind);
			put_number(out, by_kind[which].value(&sample->counters.totals.kind[kind]));
		}
}

#define DURATION "disk_request_duration_seconds"

/* Where buckets end, as labels have it. */
struct bucket_labels {
	char text[BLK_BUCKETS][32];
};

static void name_buckets(struct bucket_labels *labels)
{
	for (unsigned i = 0; i < BLK_BUCKETS - 1; i++)
		snprintf(labels->text[i], sizeof(labels->text[i]), ",le=\"%.9g\"",
			 (double)blk_bucket_end(i) / NS_PER_S);
	snprintf(labels->text[BLK_BUCKETS - 1], sizeof(labels->text[0]), ",le=\"+Inf\"");
}

static void put_histogram(struct writer *out, const struct sample *sample, int kind,
			  const struct bucket_labels *labels)
{
	const struct blk_kind_totals *totals = &sample->counters.totals.kind[kind];
	uint64_t below = 0;

	for (unsigned i = 0; i < BLK_BUCKETS; i++) {
		below += totals->latency[i];
		put_kind(out, DURATION "_bucket", sample, kind);
		writer_string(out, labels->text[i]);
		put_number(out, below);
	}
	put_kind(out, DURATION "_sum", sample, kind);
	put_seconds(out, totals->latency_ns);
	put_kind(out, DURATION "_count", sample, kind);
	put_number(out, totals->completed);
}

static void put_durations(struct writer *out, const struct samples *samples)
{
	struct bucket_labels labels;

	name_buckets(&labels);
	head(out, DURATION, "histogram",
	     "How long requests took from being fetched to being completed.");
	for (unsigned i = 0; i < samples->n; i++)
		for (int kind = 0; kind < BLK_KINDS; kind++) {
			const struct sample *sample = &samples->sample[i];

			/* Of most kinds there are none, and it is long. */
			if (sample->counters.totals.kind[kind].completed)
				put_histogram(out, sample, kind, &labels);
		}
}

/* ---- of workers ---- */

static double cpu_s(const struct worker_counters *c)
{
	return (double)c->cpu_ns / NS_PER_S;
}

static double polling_s(const struct worker_counters *c)
{
	return (double)c->polling_ns / NS_PER_S;
}

static double asleep_s(const struct worker_counters *c)
{
	return (double)c->asleep_ns / NS_PER_S;
}

static double iterations(const struct worker_counters *c)
{
	return (double)c->iterations;
}

static double sleeps(const struct worker_counters *c)
{
	return (double)c->sleeps;
}

static double tasks(const struct worker_counters *c)
{
	return c->tasks;
}

static const struct {
	const char *metric, *type, *help;
	double (*value)(const struct worker_counters *counters);
} of_workers[] = {
	{"worker_cpu_seconds_total", "counter", "Time that the worker's thread has run.", cpu_s},
	{"worker_polling_seconds_total", "counter",
	 "Time spent polling for work there was none of.", polling_s},
	{"worker_asleep_seconds_total", "counter", "Time asleep.", asleep_s},
	{"worker_iterations_total", "counter", "Iterations.", iterations},
	{"worker_sleeps_total", "counter", "Times that the worker went to sleep.", sleeps},
	{"worker_queues", "gauge", "Queues that the worker has now.", tasks},
};

static void put_workers(struct writer *out, const struct api_view *view)
{
	for (size_t k = 0; k < sizeof(of_workers) / sizeof(*of_workers); k++) {
		const char *metric = of_workers[k].metric;

		head(out, metric, of_workers[k].type, of_workers[k].help);
		for (unsigned i = 0; i < view->num_workers; i++) {
			struct worker_counters c;
			char line[160];

			worker_counters(view->worker[i], &c);
			snprintf(line, sizeof(line), "vublkd_%s{worker=\"%u\"} %.15g\n", metric, i,
				 of_workers[k].value(&c));
			writer_string(out, line);
		}
	}
}

/* ---- all ---- */

static void put_all(struct writer *out, const struct api_view *view, const struct samples *samples)
{
	head(out, "build_info", "gauge", "The version, as a label.");
	writer_string(out, "vublkd_build_info{version=\"" PACKAGE_VERSION "\"} 1\n");
	put_states(out, view->disks);
	for (size_t k = 0; k < sizeof(gauges) / sizeof(*gauges); k++)
		put_values(out, samples, &gauges[k], "gauge");
	for (size_t k = 0; k < sizeof(counters) / sizeof(*counters); k++)
		put_values(out, samples, &counters[k], "counter");
	put_throttled(out, samples);
	for (size_t k = 0; k < sizeof(by_kind) / sizeof(*by_kind); k++)
		put_by_kind(out, samples, k);
	put_durations(out, samples);
	put_workers(out, view);
}

char *metrics_text(const struct api_view *view)
{
	struct writer writer = {0};
	struct samples samples;

	if (collect(&samples, view->disks))
		return NULL;
	put_all(&writer, view, &samples);
	free(samples.sample);
	return writer_end(&writer);
}
