/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asks a vublkd, by HTTP on a Unix socket (libcurl). Who listens there may be anybody: what is
 * answered is bounded in size and time, and is nothing until it was parsed. Main thread.
 */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include <jansson.h>
#include <stdint.h>

#define CLIENT_BODY_MAX (64u << 20) /* bytes */
#define CLIENT_HEAD_MAX (64u << 10)
#define CLIENT_LINE_MAX (64u << 10)
#define CLIENT_SILENCE  60 /* seconds; a vublkd that has nothing to tell says so each 15 s */

struct client;

/* `socket` has to live as long. 0 or -ENOMEM. */
int client_create(struct client **clientp, const char *socket);
void client_destroy(struct client *client);

/* Questions end when this descriptor becomes readable, with -EINTR. -1: none. */
void client_abort_on(struct client *client, int fd);

/*
 * Asks, with `body` (NULL: none), until `deadline` (CLOCK_MONOTONIC, ns). 0 with what was answered
 * in *answer, of this type, the caller's; or, with a line in client_error(): -ENOTCONN (nobody is
 * there), -ETIMEDOUT, -ENOENT (there is no such thing), -EREMOTEIO (refused), -EPROTO (not what a
 * vublkd answers), -EINTR, -ENOMEM.
 */
int client_ask(struct client *client, const char *method, const char *path, const json_t *body,
	       int64_t deadline, json_type type, json_t **answer);

/* The same for a text, of the caller's. */
int client_ask_text(struct client *client, const char *path, int64_t deadline, char **text);

/*
 * GETs an answer that is lines and does not end by itself: take() is called with each that is not
 * empty, as soon as it is there, with a NUL instead of its end. Something has to come until
 * `deadline`, and then each CLIENT_SILENCE seconds. Never 0: as client_ask(), with -ENOTCONN also
 * when the daemon has ended; or what take() has returned, unless that is 0.
 */
int client_follow(struct client *client, const char *path, int64_t deadline,
		  int (*take)(void *opaque, const char *line, size_t size), void *opaque);

/* What was wrong, in the daemon's words if it has any. */
const char *client_error(const struct client *client);

/*
 * "/v1/disks/NAME" and `rest`, with the name escaped: of the caller, NULL: no memory. A name can be
 * any text.
 */
char *client_disk_path(const char *name, const char *rest);

#endif
