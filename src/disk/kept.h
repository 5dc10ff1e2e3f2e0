/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A front-end's session that outlives this process: memory and descriptors with whoever keeps them
 * (base/fdstore.h), by names that the next process knows. Control thread.
 *
 *	v.SESSION.0		a memfd: for which disk it is, and what the library writes there
 *	v.SESSION.TICKET	a descriptor of the session
 *
 * Both are hexadecimal numbers, and short: all names of a process have to fit into one environment
 * variable. The keeper takes a file once, under the first name that it is given, so that a
 * front-end's descriptors that are the same file have one ticket.
 *
 * What is kept is ours alone to write, and yet checked when it is taken over: its size, its seals,
 * whom it is for; the rest is the library's.
 */
#ifndef DISK_KEPT_H
#define DISK_KEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "vublk.h"

/* Does anybody keep sessions? */
struct kept_sessions {
	bool on;
	struct kept *first;    /* those of an earlier process that nobody has gone on with yet */
	uint32_t last_session; /* number */
};

struct kept;

/* Finds what there is. After fdstore_open(). */
void kept_sessions_open(struct kept_sessions *sessions);

/*
 * All disks that there are to be are there, and have taken theirs: ends those sessions that nobody
 * goes on with (logged).
 */
void kept_sessions_drop_rest(struct kept_sessions *sessions);

/*
 * Has the session of a front-end of this disk kept, if anybody does that; if not, or if it cannot
 * be (logged), NULL. When it is destroyed *owner becomes NULL.
 */
struct kept *kept_create(struct kept_sessions *sessions, const char *disk, struct kept **owner);

/* The session of the disk that an earlier process has left, or NULL; as above. */
struct kept *kept_take(struct kept_sessions *sessions, const char *disk, struct kept **owner);

/* For the library, whose end() is kept_end(). It lives as long. */
const struct vublk_keeper *kept_keeper(const struct kept *kept);

/* Forgets it, and destroys it. NULL is allowed. */
void kept_end(struct kept *kept);

/* Lets go of it here, for the next process to go on with. NULL is allowed. */
void kept_leave(struct kept *kept);

#endif
