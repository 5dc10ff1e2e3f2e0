/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker: one thread, one engine, and the tasks that it runs. The control thread reaches it by
 * posting calls; everything else here is for its own thread.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mailbox.h"
#include "io/engine.h"
#include "worker/poll_policy.h"
#include "worker/task.h"

struct bounce_pool;
struct registered_memory;
struct worker;

struct worker_config {
	const struct engine_class *class;
	struct engine_options engine;
	int64_t poll_ns; /* see poll_policy_init() */
	int cpu;         /* that its thread runs on, or -1: any */
};

/*
 * Starts a thread with an engine and waits until it is ready. The configuration has to live as
 * long. 0 or -errno, as the engine gave it; -EINVAL also for a CPU that the thread may not run on.
 * Control thread.
 */
int worker_create(struct worker **workerp, const struct worker_config *config);

/* Ends the thread; it must have no task. */
void worker_destroy(struct worker *worker);

/* Has the worker run a call between two iterations. Any thread. */
void worker_call(struct worker *worker, struct call *call);

/* ---- worker thread ---- */

/* These stay what they are. Any thread may ask. */
struct engine *worker_engine(struct worker *worker);
struct mailbox *worker_mailbox(struct worker *worker);
struct bounce_pool *worker_bounce(struct worker *worker);

/*
 * The engine's handle of an open file (of -1, with the null engine), shared by all queues that use
 * it. 0 and *file, or -errno. Every success is matched by a worker_put_file().
 */
int worker_get_file(struct worker *worker, int fd, int *file);
void worker_put_file(struct worker *worker, int file);

/*
 * Makes the memory that a queue uses now known to the engine, see engine_set_memory(), for all
 * queues: those of one front-end share it. Once what the first call answers is no error, the queue
 * counts as a user, until worker_put_memory(); with the last one the engine forgets it all. That
 * part of the memory is not registered only the first one hears.
 */
int64_t worker_get_memory(struct worker *worker, const struct iovec *ranges, unsigned n);
int64_t worker_change_memory(struct worker *worker, const struct iovec *ranges, unsigned n);
void worker_put_memory(struct worker *worker);

/* What is to be known of that memory. The last worker_put_memory() clears it. */
struct registered_memory *worker_memory(struct worker *worker);

/* There is something to do, or may be: from now on each iteration runs the task. */
void worker_schedule(struct worker *worker, struct worker_task *task);

/* The task has done something that is to be published. */
void worker_needs_publish(struct worker *worker, struct worker_task *task);

/* Nobody wakes the task, so that it is run regularly; or somebody does again. */
void worker_poll(struct worker *worker, struct worker_task *task, bool polled);

/* The task is neither runnable nor polled any more. What it has to publish stays on the list. */
void worker_forget(struct worker *worker, struct worker_task *task);

/*
 * May a line about a kick descriptor be written? Limited for all queues together, for a front-end
 * may start and stop them in a loop.
 */
bool worker_may_warn_of_kicks(struct worker *worker, const char *name);

#endif
