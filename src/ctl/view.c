/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/view.h. */
#include "ctl/view.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/text.h"

#define BUCKET_FIRST 10 /* what took less than 2^10 ns is in the first one */

const char *view_kind_name(enum view_kind kind)
{
	static const char *const names[VIEW_KINDS] = {
		[VIEW_READ] = "read",
		[VIEW_WRITE] = "write",
		[VIEW_FLUSH] = "flush",
		[VIEW_DISCARD] = "discard",
		[VIEW_WRITE_ZEROES] = "write_zeroes",
		[VIEW_OTHER] = "other",
	};

	return names[kind];
}

static int mistaken(const char *what, const char *why)
{
	complain("who answers is no vublkd: %s: %s", what, why);
	return -EPROTO;
}

/* ---- texts ---- */

/* A member that may be missing, or null. */
static int read_text(const json_t *object, const char *what, const char *name, const char **text)
{
	const json_t *value = json_object_get(object, name);

	*text = json_string_value(value);
	if (*text || !value || json_is_null(value))
		return 0;
	complain("who answers is no vublkd: %s: %s is no text", what, name);
	return -EPROTO;
}

/* ---- numbers ---- */

struct number {
	const char *name;
	uint64_t *to;
};

/* Members that are numbers, none of them negative; up to the one without a name. */
static int read_numbers(const json_t *object, const char *what, const struct number *number)
{
	for (; number->name; number++) {
		const json_t *value = json_object_get(object, number->name);

		if (!json_is_integer(value) || json_integer_value(value) < 0) {
			complain("who answers is no vublkd: %s has no number %s", what,
				 number->name);
			return -EPROTO;
		}
		*number->to = (uint64_t)json_integer_value(value);
	}
	return 0;
}

static int read_histogram(struct view_totals *totals, const json_t *list)
{
	const size_t n = json_array_size(list);

	if (n < 2 || n > VIEW_BUCKETS)
		return mistaken("a histogram", "it is none");
	totals->n_buckets = (unsigned)n;
	for (unsigned i = 0; i < n; i++) {
		const json_t *value = json_array_get(list, i);

		if (!json_is_integer(value) || json_integer_value(value) < 0)
			return mistaken("a histogram", "not all of it are numbers");
		totals->bucket[i] = (uint64_t)json_integer_value(value);
	}
	return 0;
}

static int read_totals(struct view_totals *totals, const json_t *value, const char *what)
{
	const struct number numbers[] = {
		{"completed", &totals->completed},   {"bytes", &totals->bytes},
		{"errors", &totals->errors},         {"merged", &totals->merged},
		{"latency-ns", &totals->latency_ns}, {0},
	};
	int err = read_numbers(value, what, numbers);

	return err ? err
		   : read_histogram(totals, json_object_get((json_t *)value, "latency-histogram"));
}

int view_counters(struct view_counters *counters, const json_t *value)
{
	const struct number numbers[] = {
		{"in-flight", &counters->in_flight},
		{"recovered", &counters->recovered},
		{"kicks", &counters->kicks},
		{"calls", &counters->calls},
		{"held", &counters->held},
		{"held-now", &counters->held_now},
		{"throttled-ns", &counters->throttled_ns},
		{0},
	};
	int err = read_numbers(value, "counters", numbers);

	for (int i = 0; !err && i < VIEW_KINDS; i++) {
		const char *name = view_kind_name((enum view_kind)i);

		err = read_totals(&counters->kind[i], json_object_get(value, name), name);
	}
	return err;
}

int view_ring(struct view_ring *ring, const json_t *value)
{
	const struct number numbers[] = {
		{"index", &ring->index},
		{"worker", &ring->worker},
		{0},
	};
	static const char what[] = "a queue";
	int err = read_numbers(value, what, numbers);

	if (!err)
		err = read_text(value, what, "state", &ring->state);
	if (!err && !ring->state)
		err = mistaken(what, "it has no state");
	if (!err)
		err = read_text(value, what, "why-broken", &ring->why_broken);
	return err ? err : view_counters(&ring->counters, json_object_get(value, "counters"));
}

int view_worker(struct view_worker *worker, const json_t *value)
{
	const struct number numbers[] = {
		{"index", &worker->index},           {"queues", &worker->queues},
		{"iterations", &worker->iterations}, {"sleeps", &worker->sleeps},
		{"cpu-ns", &worker->cpu_ns},         {"polling-ns", &worker->polling_ns},
		{"asleep-ns", &worker->asleep_ns},   {0},
	};

	return read_numbers(value, "a worker", numbers);
}

/* ---- the process ---- */

int view_status(struct view_status *status, const json_t *value)
{
	static const char what[] = "the process";
	const json_t *stopping = json_object_get(value, "stopping");
	const struct number numbers[] = {{"pid", &status->pid}, {0}};
	const struct number disks[] = {
		{"all", &status->all},
		{"served", &status->served},
		{"opening", &status->opening},
		{"failed", &status->failed},
		{0},
	};
	int err = read_text(value, what, "version", &status->version);

	if (!err)
		err = read_text(value, what, "instance", &status->instance);
	if (!err && (!status->version || !status->instance || !json_is_boolean(stopping)))
		err = mistaken(what, "it does not say which it is, or whether it is stopping");
	status->stopping = json_is_true(stopping);
	status->ready = json_is_true(json_object_get(value, "ready"));
	status->fallback = json_is_true(json_object_get(value, "fallback"));
	if (!err)
		err = read_numbers(value, what, numbers);
	if (!err)
		err = read_numbers(json_object_get(value, "disks"), what, disks);
	return err;
}

/* ---- an event ---- */

int view_event(struct view_event *event, const json_t *value)
{
	static const char what[] = "an event";
	int err = read_text(value, what, "event", &event->event);

	if (!err && !event->event)
		err = mistaken(what, "it does not say which");
	if (!err)
		err = read_text(value, what, "time", &event->time);
	if (!err)
		err = read_text(value, what, "disk", &event->disk);
	return err ? err : read_text(value, what, "detail", &event->detail);
}

/* ---- a disk ---- */

int view_disk(struct view_disk *disk, const json_t *value)
{
	const struct number numbers[] = {
		{"size", &disk->size},
		{"block-size", &disk->block_size},
		{"queues", &disk->queues},
		{0},
	};
	json_t *copy = (json_t *)value, *options = NULL, *counters = NULL, *rings = NULL;
	int connected = 0, read_only = 0;
	json_error_t error;

	*disk = (struct view_disk){.engine = ""};
	if (json_unpack_ex(copy, &error, 0,
			   "{s:s, s:s, s:s, s:o, s?s, s?b, s?b, s?s, s?o, s?o, s?s}", "name",
			   &disk->name, "state", &disk->state, "origin", &disk->origin, "options",
			   &options, "error", &disk->error, "connected", &connected, "read-only",
			   &read_only, "engine", &disk->engine, "counters", &counters, "rings",
			   &rings, "throttled-by", &disk->throttled_by))
		return mistaken("a disk", error.text);
	if (!json_is_object(options) || (rings && !json_is_array(rings)))
		return mistaken("a disk", "it has no options, or rings that are no list");
	disk->options = options;
	disk->counters = counters;
	disk->rings = rings;
	disk->connected = connected;
	disk->read_only = read_only;
	disk->is_open = json_object_get(value, "size");
	return disk->is_open ? read_numbers(value, "a disk", numbers) : 0;
}

const char *view_option(const struct view_disk *disk, const char *name, char room[32])
{
	const json_t *value = json_object_get(disk->options, name);

	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_boolean(value))
		return json_is_true(value) ? "true" : "false";
	if (!json_is_integer(value))
		return "";
	snprintf(room, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return room;
}

uint64_t view_percentile(const struct view_totals *totals, double percent)
{
	uint64_t all = 0, below = 0;

	for (unsigned i = 0; i < totals->n_buckets; i++)
		all += totals->bucket[i];
	if (!all)
		return 0;
	for (unsigned i = 0; i + 1 < totals->n_buckets; i++) {
		below += totals->bucket[i];
		if ((double)below >= (double)all * percent / 100)
			return UINT64_C(1) << (BUCKET_FIRST + i);
	}
	return UINT64_MAX;
}
