/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accepts front-ends for one disk, one at a time, and feeds the disk's device its socket. Control
 * thread.
 *
 * While a front-end is connected, another one is refused: its connection is accepted, closed at
 * once and logged, so that it does not hang. When the first one is gone but its I/O has not
 * ended, a new one waits in the socket's backlog until it has.
 */
#ifndef DISK_SERVER_H
#define DISK_SERVER_H

#include <stdbool.h>

#include "base/log.h"
#include "base/loop.h"
#include "disk/disk.h"
#include "disk/listener.h"

struct server {
	struct loop *loop;
	struct disk *disk;
	struct listener *listener;
	struct loop_watch listen_watch, conn_watch; /* .fd is -1 while not watched */
	bool connected;                             /* until disconnected() */
	bool announced;                             /* its coming was logged */
	bool leaving;                               /* disk_disconnect() was called */
	bool stopping;
	struct loop_timer accept_timer; /* when there were no descriptors left */
	void (*ended)(struct server *server, int status);
	struct log_limit refusals, arrivals;
};

/* What the disk tells the server; for disk_create(), with the server as opaque. */
extern const struct disk_events server_events;

/*
 * Begins to accept, or serves the one connection there is. 0 or -errno (logged). When it serves
 * nobody and will not any more, ended() is called, once, with the process's exit status.
 */
int server_start(struct server *server, struct loop *loop, struct disk *disk,
		 struct listener *listener, void (*ended)(struct server *server, int status));

/* Some front-end's memory was lost (vublk_guard_memory()): ends the session if it is this one's. */
void server_check_memory(struct server *server);

/* Logs what the session is at, and its rings. */
void server_report(const struct server *server);

/* Accepts nobody any more, ends the session; then it has ended, with status 0. */
void server_stop(struct server *server);

#endif
