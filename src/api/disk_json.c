/* SPDX-License-Identifier: BSD-3-Clause */
/* See api/disk_json.h. */
#include "api/disk_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/control_chars.h"
#include "disk/counters.h"
#include "vublk.h"

/* ---- writing ---- */

/* As what it was given: a number if it can be one. */
static json_t *value_of(const struct option_row *row, const char *text)
{
	json_t *string;

	switch (row->kind) {
	case OPTION_ANSWERED:
	case OPTION_FLAG:
		return json_true();
	case OPTION_NUMBER:
		/* Digits, as the parser has found. */
		return json_integer((json_int_t)strtoull(text, NULL, 10));
	case OPTION_STRING:
	case OPTION_SOCKET:
	case OPTION_MODE:
	case OPTION_SIZE:
	case OPTION_WORD:
	case OPTION_OTHER:
		break;
	}
	/* A path need not be UTF-8. */
	string = json_string(text);
	return string ? string : json_string("(not UTF-8)");
}

static json_t *options_json(const struct disk_options *options)
{
	json_t *object = json_object();
	const struct option_row *row;

	for (unsigned i = 0; object && (row = disk_options_row(i)); i++)
		if (options->text[i] &&
		    json_object_set_new(object, row->name, value_of(row, options->text[i]))) {
			json_decref(object);
			return NULL;
		}
	return object;
}

static const char *state_of(const struct disks_entry *entry)
{
	static const char *const names[] = {
		[DISKS_OPENING] = "opening", [DISKS_SERVED] = "served",   [DISKS_FAILED] = "failed",
		[DISKS_ENDED] = "ended",     [DISKS_LEAVING] = "leaving",
	};

	return names[entry->state];
}

static const char *origin_of(const struct disks_entry *entry)
{
	static const char *const names[] = {
		[DISKS_COMMAND_LINE] = "command-line",
		[DISKS_FILE] = "file",
		[DISKS_API] = "api",
	};

	return names[entry->origin];
}

/* Latencies: how many requests took less than each power of two of ns; the last has the rest. */
static json_t *histogram_json(const struct blk_kind_totals *totals)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < BLK_BUCKETS; i++)
		json_array_append_new(list, json_integer((json_int_t)totals->latency[i]));
	return list;
}

static json_t *kind_json(const struct blk_kind_totals *totals)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "completed",
			 (json_int_t)totals->completed, "bytes", (json_int_t)totals->bytes,
			 "errors", (json_int_t)totals->errors, "merged", (json_int_t)totals->merged,
			 "latency-ns", (json_int_t)totals->latency_ns, "latency-histogram",
			 histogram_json(totals));
}

static json_t *totals_json(const struct blk_totals *totals)
{
	json_t *object = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "in-flight",
				   (json_int_t)blk_totals_in_flight(totals), "recovered",
				   (json_int_t)totals->recovered, "held", (json_int_t)totals->held,
				   "held-now", (json_int_t)totals->held_now, "throttled-ns",
				   (json_int_t)totals->throttled_ns, "kicks",
				   (json_int_t)totals->kicks, "calls", (json_int_t)totals->calls);

	for (int i = 0; i < BLK_KINDS; i++)
		json_object_set_new(object, blk_kind_name((enum blk_kind)i),
				    kind_json(&totals->kind[i]));
	return object;
}

static json_t *ring_json(const struct ring_counters *ring)
{
	json_t *object =
		json_pack("{s:i, s:i, s:s, s:o}", "index", ring->index, "worker", ring->worker,
			  "state", ring->state, "counters", totals_json(&ring->totals));

	if (*ring->why_broken)
		json_object_set_new(object, "why-broken", json_string(ring->why_broken));
	return object;
}

static void add_counters(json_t *object, const struct disk *disk)
{
	json_t *list = json_array();
	struct disk_counters counters;
	struct ring_counters ring;

	disk_counters(disk, &counters);
	json_object_set_new(object, "counters", totals_json(&counters.totals));
	for (unsigned i = 0; i < VUBLK_MAX_QUEUES; i++)
		if (disk_ring_counters(disk, i, &ring))
			json_array_append_new(list, ring_json(&ring));
	json_object_set_new(object, "rings", list);
	if (counters.totals.held_now)
		json_object_set_new(object, "throttled-by", json_string(disk_waited_for(disk)));
}

json_t *disk_json(const struct disks_entry *entry, bool with_counters)
{
	json_t *object =
		json_pack("{s:s, s:s, s:s, s:o*}", "name", entry->id, "state", state_of(entry),
			  "origin", origin_of(entry), "options", options_json(entry->options));
	struct disk_facts facts;

	if (!object)
		return NULL;
	if (entry->state == DISKS_FAILED && *entry->why)
		json_object_set_new(object, "error", json_string(entry->why));
	if (!entry->disk || !disk_look(entry->disk, &facts))
		return object;
	json_object_update_new(object,
			       json_pack("{s:b, s:I, s:i, s:i, s:b, s:s}", "connected",
					 facts.connected, "size", (json_int_t)facts.size,
					 "block-size", facts.block_size, "queues", facts.n_queues,
					 "read-only", facts.read_only, "engine", facts.target));
	if (with_counters)
		add_counters(object, entry->disk);
	return object;
}

/* ---- reading ---- */

static int fail(char *error, size_t size, const char *name, const char *what)
{
	snprintf(error, size, "%s %s", name, what);
	replace_control_chars(error);
	return -EINVAL;
}

/* NULL: null. */
static int text_of(const json_t *value, const struct option_row *row, const char **text,
		   char number[32], char *error, size_t size)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		*text = json_string_value(value);
		if (strlen(*text) != json_string_length(value))
			return fail(error, size, row->name, "has a NUL in it");
		return 0;
	case JSON_INTEGER:
		snprintf(number, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		*text = number;
		break;
	case JSON_TRUE:
		*text = "true";
		break;
	case JSON_FALSE:
		*text = "false";
		break;
	case JSON_NULL:
		*text = NULL;
		return 0;
	case JSON_OBJECT:
	case JSON_ARRAY:
	case JSON_REAL:
		return fail(error, size, row->name, "must be a string, a number, true or false");
	}
	if (!row->argument == !json_is_boolean(value))
		return fail(error, size, row->name,
			    row->argument ? "takes a value, not true or false"
					  : "must be true or false");
	return 0;
}

int disk_json_read(const json_t *object, const char *text[DISK_OPTIONS_MAX],
		   struct disk_json_room *room, char *error, size_t size)
{
	const char *name;
	json_t *value;
	int err = 0;

	json_object_foreach((json_t *)object, name, value)
	{
		const int i = disk_options_find(name);

		if (i < 0)
			return fail(error, size, name, "is nothing that a disk can be told");
		err = text_of(value, disk_options_row((unsigned)i), &text[i], room->number[i],
			      error, size);
		if (err)
			break;
	}
	return err;
}
