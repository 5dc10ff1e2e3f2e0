/* SPDX-License-Identifier: BSD-3-Clause */
/* What a command has: what it was told, and whom it asks. Main thread. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>

#include "ctl/client.h"
#include "ctl/options.h"

struct ctl {
	const struct ctl_options *options;
	struct client *client;
	int64_t deadline; /* CLOCK_MONOTONIC, ns: of all of the command */
};

/*
 * client_ask() until the deadline, with a complaint. A command's function returns what this does: 0
 * or -errno, having complained.
 */
int ctl_ask(const struct ctl *ctl, const char *method, const char *path, const json_t *body,
	    json_type type, json_t **answer);

/* The same of a disk: the path is "/v1/disks/NAME" and `rest`; without a complaint. */
int ctl_ask_disk(const struct ctl *ctl, const char *method, const char *name, const char *rest,
		 const json_t *body, json_t **answer);

/* Complains of what client_error() says, if there is an error; returns it. */
int ctl_complain(const struct ctl *ctl, int err);

/*
 * The end of a command: prints the answer, as JSON or by print(), unless there is an error, and
 * drops it. Returns the first error.
 */
int ctl_finish(const struct ctl *ctl, int err, json_t *answer, int (*print)(const json_t *answer));

/* Waits so long before another look; false: until then the command's time is over. */
bool ctl_pause(const struct ctl *ctl, int64_t ns);

/* A command that prints what GET answers. */
int ctl_show(const struct ctl *ctl, const char *path, json_type type,
	     int (*print)(const json_t *answer));

/* Prints JSON, with these flags of json_dumps(). 0 or -errno, having complained. */
int ctl_print_json_as(const json_t *value, size_t flags);

/* Prints JSON as the daemon does. 0 or -errno, having complained. */
int ctl_print_json(const json_t *value);

#endif
