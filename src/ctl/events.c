/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See ctl/events.h. Each line is written as soon as it is there, for whoever reads them may wait
 * for it.
 */
#include "ctl/events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/interrupt.h"
#include "ctl/text.h"
#include "ctl/view.h"

struct listener {
	const struct ctl *ctl;
	const char *name; /* of the only disk that counts; NULL: all do */
	int err;          /* complained of already */
};

/* How the detail of an event is to be read; what is not here speaks for itself. */
static const struct {
	const char *event, *before, *behind;
} details[] = {
	{"queue-started", "queue ", ""}, {"queue-stopped", "queue ", ""},
	{"ring-broken", "queue ", ""},   {"throttled", "by ", ""},
	{"grown", "", " bytes"},         {"missed", "", " events"},
};

static void print(const struct view_event *event)
{
	const char *before = "", *behind = "";

	if (!event->detail) {
		harmless_line(NULL, "%-24s  %-16s  %s", event->time ? event->time : "-",
			      event->disk ? event->disk : "-", event->event);
		return;
	}
	for (size_t i = 0; i < sizeof(details) / sizeof(*details); i++)
		if (!strcmp(event->event, details[i].event)) {
			before = details[i].before;
			behind = details[i].behind;
		}
	harmless_line(NULL, "%-24s  %-16s  %-15s  %s%s%s", event->time ? event->time : "-",
		      event->disk ? event->disk : "-", event->event, before, event->detail, behind);
}

/* What is told of no disk, that events were missed, is for all. */
static bool counts(const struct listener *listener, const struct view_event *event)
{
	return !listener->name || !event->disk || !strcmp(listener->name, event->disk);
}

static int flush(void)
{
	const int err = fflush(stdout) ? -errno : 0;

	if (err)
		complain("cannot write to standard output: %s", strerror(-err));
	return err;
}

static int show(const struct listener *listener, const json_t *value)
{
	struct view_event event;
	int err = view_event(&event, value);

	if (err || !counts(listener, &event))
		return err;
	if (listener->ctl->options->json)
		err = ctl_print_json_as(value, 0);
	else
		print(&event);
	return err ? err : flush();
}

static int take(void *opaque, const char *line, size_t size)
{
	struct listener *listener = opaque;
	json_error_t error;
	json_t *value = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);

	if (value) {
		listener->err = show(listener, value);
	} else {
		complain("who answers is no vublkd: an event is no JSON: %s", error.text);
		listener->err = -EPROTO;
	}
	json_decref(value);
	return listener->err;
}

int events_run(const struct ctl *ctl)
{
	const struct ctl_options *options = ctl->options;
	struct listener listener = {
		.ctl = ctl,
		.name = options->n_words > 1 ? options->word[1] : NULL,
	};
	const int fd = interrupt_open();
	int err;

	if (fd < 0) {
		complain("%s", strerror(-fd));
		return fd;
	}
	client_abort_on(ctl->client, fd);
	err = client_follow(ctl->client, "/v1/events", ctl->deadline, take, &listener);
	close(fd);
	if (listener.err)
		return listener.err;
	return err == -EINTR ? 0 : ctl_complain(ctl, err);
}
