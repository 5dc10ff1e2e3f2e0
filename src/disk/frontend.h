/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front-end's side of a disk: accepts one at a time, and feeds the device its socket. Control
 * thread.
 *
 * While a front-end is connected, another one is refused: its connection is accepted, closed at
 * once and logged, so that it does not hang. When the first one is gone but its I/O has not
 * ended, a new one waits in the socket's backlog until it has.
 */
#ifndef DISK_FRONTEND_H
#define DISK_FRONTEND_H

#include <stdbool.h>

#include "base/log.h"
#include "base/loop.h"
#include "disk/kept.h"
#include "disk/listener.h"
#include "disk/rings.h"

struct frontend {
	struct loop *loop;
	struct rings *rings;
	struct listener *listener;
	struct kept_sessions *sessions;
	struct kept *kept; /* the session, if it outlives the process; else NULL */
	/* .fd is -1 while not watched */
	struct loop_watch listen_watch, conn_watch, state_watch;
	struct loop_watch end_watch; /* of a connection that is left, on a descriptor of its own */
	bool connected;              /* until disconnected() */
	bool announced;              /* its coming was logged */
	bool leaving;                /* rings_disconnect() was called */
	bool stopping, parking;      /* frontend_stop() was called; to leave the session */
	struct loop_timer accept_timer; /* when there were no descriptors left */
	void (*ended)(struct frontend *frontend, int status);
	struct log_limit refusals, arrivals;
};

/* What the rings tell it; for rings_create(), with the front-end as opaque. */
extern const struct rings_events frontend_events;

/*
 * Begins to accept, or serves the one connection there is, or goes on with the session that an
 * earlier process has left. 0 or -errno (logged). When it serves
 * nobody and will not any more, ended() is called, once, with the process's exit status.
 */
int frontend_start(struct frontend *frontend, struct loop *loop, struct rings *rings,
		   struct listener *listener, struct kept_sessions *sessions,
		   void (*ended)(struct frontend *frontend, int status));

/* Is there one, which has not hung up, and is not about to be left? */
bool frontend_is_connected(const struct frontend *frontend);

/* Some front-end's memory was lost (vublk_guard_memory()): ends the session if it is this one's. */
void frontend_check_memory(struct frontend *frontend);

/* Logs what the session is at, and its rings. */
void frontend_report(const struct frontend *frontend);

/*
 * Accepts nobody any more, ends the session, or leaves it for the next process (`leave`) if it is
 * kept; then it has ended, with status 0.
 */
void frontend_stop(struct frontend *frontend, bool leave);

#endif
