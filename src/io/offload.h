/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a kernel interface cannot do asynchronously is done by a helper thread with plain system
 * calls, one operation after the other in order of arrival. One per target, started when first
 * needed. If it cannot be started the reactor's thread does what there is, and tries again with the
 * next ones.
 *
 * Everything but the fields marked "lock" belongs to the reactor's thread. The helper thread
 * touches an operation between its hand-over and its return, never the target. What it has done
 * comes back by an inbox.
 */
#ifndef IO_OFFLOAD_H
#define IO_OFFLOAD_H

#include <pthread.h>

#include "base/log.h"
#include "io/inbox.h"

struct offload {
	struct inbox inbox;
	struct io_list queued; /* since the last flush */
	bool running;
	struct log_limit refused; /* there was no thread to be had */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct io_list todo; /* lock */
	bool stop;           /* lock */
};

/* Makes one for a target. 0 or -errno. No thread is started yet. */
int offload_open(struct offload *offload, struct target *target);

/* Ends the thread. Nothing may be queued or under way. */
void offload_close(struct offload *offload);

/* Queues an operation on an open descriptor (or -1); no system call. */
void offload_submit(struct offload *offload, int fd, struct io *io);

/* Takes back an operation that is queued and not yet handed to the thread. Was there one? */
bool offload_cancel(struct offload *offload, struct io *io);

/* Hands what is queued to the thread; from reactor_run(). Costs nothing when there is nothing. */
void offload_flush(struct offload *offload);

/*
 * Does an operation at once with a plain system call and returns its result: what every target
 * should have reported for it, so it is also the reference for tests. Leaves io->result alone.
 * Any thread. Blocks.
 */
int64_t io_execute(int fd, const struct io *io);

#endif
