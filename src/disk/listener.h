/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the vhost-user socket comes from: a path, a descriptor that was handed in, or systemd.
 * A thread that may wait. What is found under the path is not trusted to be ours.
 */
#ifndef DISK_LISTENER_H
#define DISK_LISTENER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "disk/listening.h"

/* What an operator says of it; with neither path nor descriptor it comes from systemd. */
struct listener_config {
	const char *path;  /* NULL if not given; it fits into sun_path */
	int fd;            /* -1 if not given */
	mode_t mode;       /* permission bits of the path */
	const char *group; /* of the path, name or number; NULL: leave it */
	const char *disk;  /* whose it is, for messages; NULL: the API's */
	unsigned timeout;  /* seconds that somebody else who listens at the path is waited for */
};

struct listener {
	int fd;
	bool connected;             /* not a listening socket but a front-end's connection */
	_Atomic(const char *) path; /* to be removed at the end, if it is still ours; or NULL */
	dev_t dev;
	ino_t ino;
	struct listening listening; /* at that path */
};

/* Is there anything from which the socket could come? If not, the error is logged. */
bool listener_is_named(const struct listener_config *config);

/*
 * Gets the socket that is named; the one at its path if `kept` is that, of an earlier process (-1:
 * none; it is the listener's, or closed). (Without path and descriptor: by systemd's LISTEN_FDS.) A
 * stale socket under the path is replaced; one that somebody listens on is waited for, as long as
 * for the image's lock (--lock-timeout), and then, like a file that is no socket, left alone:
 * -EADDRINUSE, -EEXIST. Every error is logged in one line; -errno. -ECANCELED, not logged, soon
 * after *stopping (or NULL) has become true.
 */
int listener_open(struct listener *listener, const struct listener_config *config, int kept,
		  const atomic_bool *stopping);

/* Is it the same place, however it is spelled? Any thread. */
bool listener_is_same_path(const char *a, const char *b);

/*
 * A number for the place where front-ends find the socket: the same in each process that listens
 * there, however its path is spelled. 0: a socket pair's, which nobody finds again.
 */
uint64_t listener_identity(const struct listener *listener);

/*
 * Removes the path if we made it and it is still ours; once, for a successor's socket may have the
 * same inode. Any thread, when the process ends.
 */
void listener_unlink(struct listener *listener);

/* The path stays, for the next process. */
void listener_leave(struct listener *listener);

/* The same as listener_unlink(), and closes what is still open. */
void listener_close(struct listener *listener);

#endif
