/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/upgrade.h. */
#include "ctl/upgrade.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/text.h"
#include "ctl/view.h"

#define PAUSE_NS INT64_C(10000000) /* between two looks */

struct upgrade {
	json_t *status_before, *disks_before;
	json_t *status_after, *disks_after; /* the latest; NULL: none */
	struct view_status before, after;   /* made of the former */
	int64_t began;                      /* CLOCK_MONOTONIC, ns */
};

static int ask(const struct ctl *ctl, const char *path, json_type type, json_t **answer)
{
	int err;

	json_decref(*answer);
	*answer = NULL;
	err = client_ask(ctl->client, "GET", path, NULL, ctl->deadline, type, answer);
	if (err)
		*answer = NULL;
	return err;
}

/* Nobody answers, or nobody does to the end, while one goes and the other has not come. */
static bool is_between(int err)
{
	return err == -ENOTCONN || err == -EPROTO;
}

/* 0; -EAGAIN: the other process is not there yet, or opens its disks. */
static int look_for_another(const struct ctl *ctl, struct upgrade *upgrade)
{
	int err = ask(ctl, "/v1/status", JSON_OBJECT, &upgrade->status_after);

	if (!err)
		err = view_status(&upgrade->after, upgrade->status_after);
	else if (!is_between(err))
		return ctl_complain(ctl, err);
	else
		return -EAGAIN;
	if (err)
		return err;
	if (!strcmp(upgrade->after.instance, upgrade->before.instance) || !upgrade->after.ready)
		return -EAGAIN;
	err = ask(ctl, "/v1/disks", JSON_ARRAY, &upgrade->disks_after);
	return is_between(err) ? -EAGAIN : ctl_complain(ctl, err);
}

/* In that list; NULL: it is not there. */
static const char *state_of(const json_t *disks, const char *name)
{
	struct view_disk disk;
	const json_t *value;
	size_t i;

	json_array_foreach(disks, i, value) if (!view_disk(&disk, value) &&
						!strcmp(disk.name, name)) return disk.state;
	return NULL;
}

/* Of each disk that was served. 0; -EAGAIN: one of them is being opened; -EREMOTEIO: complained. */
static int compare_disks(const struct upgrade *upgrade, bool complains)
{
	struct view_disk disk;
	const json_t *value;
	int err = 0;
	size_t i;

	json_array_foreach(upgrade->disks_before, i, value)
	{
		const char *state;

		if (view_disk(&disk, value) || strcmp(disk.state, "served") != 0)
			continue;
		state = state_of(upgrade->disks_after, disk.name);
		if (state && !strcmp(state, "served"))
			continue;
		if (state && !strcmp(state, "opening") && !complains)
			return -EAGAIN;
		complain("the disk '%s' was served, and is %s now: vublkd's log says why",
			 disk.name, state ? state : "not there");
		err = -EREMOTEIO;
	}
	return err;
}

static int await_another(const struct ctl *ctl, struct upgrade *upgrade)
{
	bool there = false;
	int err;

	do {
		err = look_for_another(ctl, upgrade);
		there = there || !err;
		if (!err)
			err = compare_disks(upgrade, false);
		if (err != -EAGAIN)
			return err;
	} while (ctl_pause(ctl, PAUSE_NS));
	if (there)
		compare_disks(upgrade, true);
	else
		complain("no other process is ready after %g s: vublkd's log says why",
			 ctl->options->timeout);
	return -ETIMEDOUT;
}

/* With --supervise; elsewhere who does not get ready is tried again and again. */
static int check_fallback(const struct upgrade *upgrade)
{
	if (!upgrade->after.fallback)
		return 0;
	complain("what is installed now did not get ready, and the executable before serves again: "
		 "vublkd's log says why");
	return -EREMOTEIO;
}

static void print(const struct upgrade *upgrade)
{
	char time[TEXT_FIGURE];
	const struct view_status *after = &upgrade->after;

	harmless_line("before", "process %" PRIu64 ", version %s", upgrade->before.pid,
		      upgrade->before.version);
	harmless_line("now", "process %" PRIu64 ", version %s", after->pid, after->version);
	harmless_line("disks", "%" PRIu64 " served, after %s", after->served,
		      figure_time(time, (double)(now_ns() - upgrade->began)));
}

static int run(const struct ctl *ctl, struct upgrade *upgrade)
{
	json_t *gone;
	int err;

	upgrade->began = now_ns();
	err = ctl_ask(ctl, "POST", "/v1/upgrade", NULL, JSON_OBJECT, &gone);
	json_decref(gone);
	if (!err && ctl->options->no_wait)
		return 0;
	if (!err)
		err = await_another(ctl, upgrade);
	if (err)
		return err;
	if (ctl->options->json)
		err = ctl_print_json(upgrade->status_after);
	else
		print(upgrade);
	return err ? err : check_fallback(upgrade);
}

int upgrade_run(const struct ctl *ctl)
{
	struct upgrade upgrade = {0};
	int err = ctl_ask(ctl, "GET", "/v1/status", NULL, JSON_OBJECT, &upgrade.status_before);

	if (!err)
		err = view_status(&upgrade.before, upgrade.status_before);
	if (!err)
		err = ctl_ask(ctl, "GET", "/v1/disks", NULL, JSON_ARRAY, &upgrade.disks_before);
	if (!err)
		err = run(ctl, &upgrade);
	json_decref(upgrade.status_before);
	json_decref(upgrade.disks_before);
	json_decref(upgrade.status_after);
	json_decref(upgrade.disks_after);
	return err;
}
