/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See ctl/sample.h. Disks are asked one by one, since only then they tell what was counted; those
 * that nobody is connected to do nothing, and are not asked.
 */
#include "ctl/sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

#define NS_PER_S 1e9

/* ---- a sample ---- */

static int count(struct sample_disk *disk, const json_t *value)
{
	struct view_counters counters;
	struct view_disk view;
	int err = view_disk(&view, value);

	/* It may have failed since. */
	if (err || !view.counters)
		return err;
	err = view_counters(&counters, view.counters);
	if (err)
		return err;
	disk->counted = true;
	disk->in_flight = counters.in_flight;
	disk->queues = view.queues;
	for (int i = 0; i < VIEW_KINDS; i++) {
		disk->kind[i].completed = counters.kind[i].completed;
		disk->kind[i].bytes = counters.kind[i].bytes;
		disk->kind[i].latency_ns = counters.kind[i].latency_ns;
	}
	return 0;
}

static int take_disk(struct sample *sample, const struct ctl *ctl, const json_t *value)
{
	struct sample_disk *disk = &sample->disk[sample->n_disks];
	json_t *answer = NULL;
	struct view_disk view;
	int err = view_disk(&view, value);

	if (err)
		return err;
	if (strcmp(view.state, "served") != 0)
		return 0;
	disk->name = strdup(view.name);
	if (!disk->name)
		return no_memory();
	sample->n_disks++;
	if (!view.connected)
		return 0;
	err = ctl_ask_disk(ctl, "GET", view.name, "", NULL, &answer);
	disk->at = now_ns();
	if (err && err != -ENOENT)
		ctl_complain(ctl, err);
	if (!err)
		err = count(disk, answer);
	json_decref(answer);
	return err == -ENOENT ? 0 : err;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct sample_disk *)a)->name, ((const struct sample_disk *)b)->name);
}

static int take_disks(struct sample *sample, const struct ctl *ctl)
{
	const json_t *value;
	json_t *list;
	size_t i;
	int err = ctl_ask(ctl, "GET", "/v1/disks", NULL, JSON_ARRAY, &list);

	if (err)
		return err;
	sample->disk = calloc(json_array_size(list) + 1, sizeof(*sample->disk));
	if (!sample->disk)
		err = no_memory();
	json_array_foreach(list, i, value)
	{
		if (!err)
			err = take_disk(sample, ctl, value);
	}
	if (sample->disk)
		qsort(sample->disk, sample->n_disks, sizeof(*sample->disk), by_name);
	json_decref(list);
	return err;
}

static int take_workers(struct sample *sample, const struct ctl *ctl)
{
	const json_t *value;
	json_t *list;
	size_t i;
	int err = ctl_ask(ctl, "GET", "/v1/workers", NULL, JSON_ARRAY, &list);

	if (err)
		return err;
	sample->workers_at = now_ns();
	sample->worker = calloc(json_array_size(list) + 1, sizeof(*sample->worker));
	if (!sample->worker)
		err = no_memory();
	json_array_foreach(list, i, value)
	{
		if (!err)
			err = view_worker(&sample->worker[sample->n_workers++], value);
	}
	json_decref(list);
	return err;
}

int sample_take(struct sample *sample, const struct ctl *ctl)
{
	int err;

	*sample = (struct sample){0};
	err = take_disks(sample, ctl);
	return err ? err : take_workers(sample, ctl);
}

void sample_free(struct sample *sample)
{
	for (unsigned i = 0; i < sample->n_disks; i++)
		free(sample->disk[i].name);
	free(sample->disk);
	free(sample->worker);
	*sample = (struct sample){0};
}

/* ---- rates ---- */

/* A disk that was opened again meanwhile has begun at 0. */
static double difference(uint64_t before, uint64_t after)
{
	return (double)(after >= before ? after - before : after);
}

static void rate_disk(struct rate_disk *rate, const struct sample_disk *before,
		      const struct sample_disk *after)
{
	double completed[VIEW_KINDS], all = 0, latency = 0, s;

	*rate = (struct rate_disk){.disk = after};
	if (!before || !before->counted || !after->counted || after->at <= before->at)
		return;
	s = (double)(after->at - before->at) / NS_PER_S;
	for (int i = 0; i < VIEW_KINDS; i++) {
		completed[i] = difference(before->kind[i].completed, after->kind[i].completed);
		latency += difference(before->kind[i].latency_ns, after->kind[i].latency_ns);
		all += completed[i];
	}
	rate->read = completed[VIEW_READ] / s;
	rate->write = completed[VIEW_WRITE] / s;
	rate->other = (all - completed[VIEW_READ] - completed[VIEW_WRITE]) / s;
	rate->read_bytes =
		difference(before->kind[VIEW_READ].bytes, after->kind[VIEW_READ].bytes) / s;
	rate->write_bytes =
		difference(before->kind[VIEW_WRITE].bytes, after->kind[VIEW_WRITE].bytes) / s;
	rate->latency_ns = all > 0 ? latency / all : 0;
}

static void rate_worker(struct rate_worker *rate, const struct view_worker *before,
			const struct view_worker *after, double ns)
{
	*rate = (struct rate_worker){
		.worker = after,
		.cpu = 100 * difference(before->cpu_ns, after->cpu_ns) / ns,
		.polling = 100 * difference(before->polling_ns, after->polling_ns) / ns,
		.asleep = 100 * difference(before->asleep_ns, after->asleep_ns) / ns,
	};
}

static int by_requests(const void *va, const void *vb)
{
	const struct rate_disk *a = va, *b = vb;
	const double ra = a->read + a->write + a->other, rb = b->read + b->write + b->other;

	return ra > rb ? -1 : ra < rb ? 1 : strcmp(a->disk->name, b->disk->name);
}

int rates_compute(struct rates *rates, const struct sample *before, const struct sample *after)
{
	const double ns = (double)(after->workers_at - before->workers_at);

	*rates = (struct rates){
		.disk = calloc(after->n_disks + 1, sizeof(*rates->disk)),
		.worker = calloc(after->n_workers + 1, sizeof(*rates->worker)),
		.seconds = ns / NS_PER_S,
	};
	if (!rates->disk || !rates->worker)
		return no_memory();
	for (unsigned i = 0; i < after->n_disks; i++)
		rate_disk(&rates->disk[rates->n_disks++],
			  bsearch(&after->disk[i], before->disk, before->n_disks,
				  sizeof(*before->disk), by_name),
			  &after->disk[i]);
	for (unsigned i = 0; i < after->n_workers && i < before->n_workers && ns > 0; i++)
		rate_worker(&rates->worker[rates->n_workers++], &before->worker[i],
			    &after->worker[i], ns);
	qsort(rates->disk, rates->n_disks, sizeof(*rates->disk), by_requests);
	return 0;
}

void rates_free(struct rates *rates)
{
	free(rates->disk);
	free(rates->worker);
	*rates = (struct rates){0};
}
