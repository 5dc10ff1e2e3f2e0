/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/upgrade.h. */
#include "ctl/upgrade.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/text.h"
#include "ctl/view.h"

#define PAUSE_NS INT64_C(10000000) /* between two looks */

struct upgrade {
	json_t *answer; /* the latest; `after` is made of it */
	struct view_status before, after;
	int64_t began; /* CLOCK_MONOTONIC, ns */
};

static int look(const struct ctl *ctl, struct upgrade *upgrade)
{
	int err;

	json_decref(upgrade->answer);
	err = client_ask(ctl->client, "GET", "/v1/status", NULL, ctl->deadline, JSON_OBJECT,
			 &upgrade->answer);
	if (err)
		upgrade->answer = NULL;
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
	int err = look(ctl, upgrade);

	if (is_between(err))
		return -EAGAIN;
	if (err)
		return ctl_complain(ctl, err);
	err = view_status(&upgrade->after, upgrade->answer);
	if (err)
		return err;
	return upgrade->after.pid == upgrade->before.pid || upgrade->after.opening ? -EAGAIN : 0;
}

static int await_another(const struct ctl *ctl, struct upgrade *upgrade)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	int err;

	while ((err = look_for_another(ctl, upgrade)) == -EAGAIN) {
		if (now_ns() + PAUSE_NS >= ctl->deadline) {
			complain("no other process serves all disks after %g s: vublkd's log says "
				 "why",
				 ctl->options->timeout);
			return -ETIMEDOUT;
		}
		nanosleep(&pause, NULL);
	}
	if (!err && upgrade->after.served < upgrade->before.served) {
		complain("the process %" PRIu64 " serves %" PRIu64 " disks, of %" PRIu64
			 " before: vublkd's log says why",
			 upgrade->after.pid, upgrade->after.served, upgrade->before.served);
		err = -EREMOTEIO;
	}
	return err;
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
	if (!err && ctl->options->json)
		return ctl_print_json(upgrade->answer);
	if (!err)
		print(upgrade);
	return err;
}

int upgrade_run(const struct ctl *ctl)
{
	struct upgrade upgrade = {0};
	json_t *before;
	int err = ctl_ask(ctl, "GET", "/v1/status", NULL, JSON_OBJECT, &before);

	if (!err)
		err = view_status(&upgrade.before, before);
	if (!err)
		err = run(ctl, &upgrade);
	json_decref(before);
	json_decref(upgrade.answer);
	return err;
}
