/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/show.h. */
#include "ctl/show.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/table.h"
#include "ctl/text.h"
#include "ctl/view.h"

/* ---- list ---- */

static int list_one(struct table *table, const json_t *value)
{
	char size[TEXT_FIGURE], room[32];
	struct view_disk disk;
	const int err = view_disk(&disk, value);

	if (err)
		return err;
	table_cell(table, "%s", disk.name);
	table_cell(table, "%s", disk.state);
	table_cell(table, "%s", !disk.is_open ? "-" : disk.connected ? "yes" : "no");
	table_cell(table, "%s", disk.is_open ? figure_bytes(size, disk.size) : "-");
	table_cell(table, "%s", disk.engine);
	table_cell(table, "%s", disk.origin);
	table_cell(table, "%s", view_option(&disk, "blk-file", room));
	return 0;
}

static int list(const json_t *answer)
{
	return table_list("NAME|STATE|CONNECTED|>SIZE|ENGINE|ORIGIN|IMAGE", answer, list_one);
}

int show_list(const struct ctl *ctl)
{
	return ctl_show(ctl, "/v1/disks", JSON_ARRAY, list);
}

/* ---- show ---- */

static const char *const limits[] = {
	"iops-total", "iops-read", "iops-write", "bps-total", "bps-read", "bps-write",
};

/* One of them, with its burst, as they were given. */
static int show_limit(const struct view_disk *disk, const char *name, const char *title)
{
	char option[64], room[3][32];
	const char *value = view_option(disk, name, room[0]), *most, *length;

	if (!*value || !strcmp(value, "0"))
		return 0;
	snprintf(option, sizeof(option), "%s-max", name);
	most = view_option(disk, option, room[1]);
	snprintf(option, sizeof(option), "%s-max-length", name);
	length = view_option(disk, option, room[2]);
	if (*most)
		harmless_line(title, "%s %s, in bursts %s for %s s", name, value, most,
			      *length ? length : "1");
	else
		harmless_line(title, "%s %s", name, value);
	return 1;
}

static void show_limits(const struct view_disk *disk)
{
	int n = 0;

	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
		n += show_limit(disk, limits[i], n ? "" : "limits");
	if (!n)
		harmless_line("limits", "none");
}

/* Are requests held back, and how many, and how long, were? */
static void show_throttling(const struct view_disk *disk, const struct view_counters *counters)
{
	char time[TEXT_FIGURE];

	if (counters->held_now)
		harmless_line("throttled", "now, by %s: %" PRIu64 " requests wait",
			      disk->throttled_by ? disk->throttled_by : "its limits",
			      counters->held_now);
	else
		harmless_line("throttled", "%s", counters->held ? "not now" : "never");
	if (counters->held)
		harmless_line("", "%" PRIu64 " requests so far, for %s, of all queues",
			      counters->held, figure_time(time, (double)counters->throttled_ns));
}

static void show_options(const struct view_disk *disk)
{
	const char *name, *title = "options";
	char room[32];
	json_t *value;

	json_object_foreach((json_t *)disk->options, name, value)
	{
		if (json_is_true(value))
			harmless_line(title, "%s", name);
		else
			harmless_line(title, "%s = %s", name, view_option(disk, name, room));
		title = "";
	}
}

static void show_facts(const struct view_disk *disk)
{
	char text[TEXT_FIGURE];

	harmless_line("name", "%s", disk->name);
	harmless_line("state", "%s", disk->state);
	if (disk->error)
		harmless_line("error", "%s", disk->error);
	harmless_line("origin", "%s", disk->origin);
	if (disk->is_open) {
		harmless_line("connected", "%s", disk->connected ? "yes" : "no");
		harmless_line("size", "%s (%" PRIu64 " bytes), in blocks of %" PRIu64 "%s",
			      figure_bytes(text, disk->size), disk->size, disk->block_size,
			      disk->read_only ? ", read-only" : "");
		harmless_line("queues", "%" PRIu64, disk->queues);
		harmless_line("engine", "%s", disk->engine);
	}
	show_options(disk);
}

static void cell_percentile(struct table *table, const struct view_totals *totals, double percent)
{
	const uint64_t ns = view_percentile(totals, percent);
	char text[TEXT_FIGURE];

	if (!ns)
		table_cell(table, "-");
	else if (ns == UINT64_MAX)
		table_cell(table, "longest");
	else
		table_cell(table, "<%s", figure_time(text, (double)ns));
}

static void cell_kind(struct table *table, const char *name, const struct view_totals *totals)
{
	char bytes[TEXT_FIGURE], mean[TEXT_FIGURE];

	table_cell(table, "%s", name);
	table_cell(table, "%" PRIu64, totals->completed);
	table_cell(table, "%s", figure_bytes(bytes, totals->bytes));
	table_cell(table, "%" PRIu64, totals->errors);
	table_cell(table, "%" PRIu64, totals->merged);
	table_cell(table, "%s",
		   totals->completed ? figure_time(mean, (double)totals->latency_ns /
								 (double)totals->completed)
				     : "-");
	cell_percentile(table, totals, 50);
	cell_percentile(table, totals, 99);
	cell_percentile(table, totals, 99.9);
}

static int show_kinds(const struct view_counters *counters)
{
	struct table table;

	table_begin(&table, "REQUESTS|>COMPLETED|>BYTES|>ERRORS|>MERGED|>MEAN|>50%|>99%|>99.9%");
	for (int i = 0; i < VIEW_KINDS; i++)
		cell_kind(&table, view_kind_name((enum view_kind)i), &counters->kind[i]);
	return table_end(&table, UINT_MAX);
}

static int show_ring(struct table *table, const json_t *value)
{
	struct view_ring ring;
	const int err = view_ring(&ring, value);

	if (err)
		return err;
	table_cell(table, "%" PRIu64, ring.index);
	table_cell(table, "%s", ring.state);
	table_cell(table, "%" PRIu64, ring.worker);
	table_cell(table, "%" PRIu64, ring.counters.in_flight);
	table_cell(table, "%" PRIu64, ring.counters.held_now);
	table_cell(table, "%" PRIu64, ring.counters.kind[VIEW_READ].completed);
	table_cell(table, "%" PRIu64, ring.counters.kind[VIEW_WRITE].completed);
	table_cell(table, "%" PRIu64, ring.counters.kicks);
	table_cell(table, "%" PRIu64, ring.counters.calls);
	return 0;
}

/* What the driver has done to its rings. */
static int show_broken(const json_t *rings)
{
	struct view_ring ring;
	const json_t *value;
	int err = 0;
	size_t i;

	json_array_foreach((json_t *)rings, i, value)
	{
		err = view_ring(&ring, value);
		if (err)
			break;
		if (ring.why_broken)
			harmless_line("broken", "queue %" PRIu64 ": %s", ring.index,
				      ring.why_broken);
	}
	return err;
}

static int show_counters(const struct view_disk *disk)
{
	struct view_counters counters;
	int err = view_counters(&counters, disk->counters);

	if (err)
		return err;
	harmless_line("in flight", "%" PRIu64, counters.in_flight);
	harmless_line("recovered", "%" PRIu64, counters.recovered);
	harmless_line("kicks, calls", "%" PRIu64 ", %" PRIu64, counters.kicks, counters.calls);
	show_limits(disk);
	show_throttling(disk, &counters);
	putchar('\n');
	err = show_kinds(&counters);
	if (err || !json_array_size(disk->rings))
		return err;
	putchar('\n');
	err = table_list("QUEUE|STATE|>WORKER|>IN FLIGHT|>HELD|>READS|>WRITES|>KICKS|>CALLS",
			 disk->rings, show_ring);
	return err ? err : show_broken(disk->rings);
}

static int show(const json_t *answer)
{
	struct view_disk disk;
	int err = view_disk(&disk, answer);

	if (err)
		return err;
	show_facts(&disk);
	return disk.counters ? show_counters(&disk) : 0;
}

int show_disk(const struct ctl *ctl)
{
	json_t *answer;
	int err = ctl_complain(ctl,
			       ctl_ask_disk(ctl, "GET", ctl->options->word[1], "", NULL, &answer));

	return ctl_finish(ctl, err, answer, show);
}
