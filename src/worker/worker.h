/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker: one thread, one engine, and the queues that it serves. The control thread reaches it by
 * posting calls; everything else here is for its own thread.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mailbox.h"
#include "io/engine.h"
#include "worker/poll_policy.h"

struct queue;
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

/* Ends the thread; it must have no queue. */
void worker_destroy(struct worker *worker);

/* Has the worker run a call between two rounds. Any thread. */
void worker_call(struct worker *worker, struct call *call);

/* ---- worker thread ---- */

struct engine *worker_engine(struct worker *worker);

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

/* The queue has something to pop, or may have: from now on each round looks at it. */
void worker_heat(struct worker *worker, struct queue *queue);

/* The queue has something to publish. */
void worker_touched(struct worker *worker, struct queue *queue);

/* Nobody kicks the queue, so that it is looked at regularly; or somebody does again. */
void worker_unkicked(struct worker *worker, struct queue *queue, bool unkicked);

/*
 * May a line about a queue's kick descriptor be written? Limited for all queues together, for a
 * front-end may start and stop them in a loop.
 */
bool worker_may_warn_of_kicks(struct worker *worker, const char *name);

/* The queue is neither hot nor unkicked any more. What it has to publish stays on the list. */
void worker_forget(struct worker *worker, struct queue *queue);

/*
 * A bounce buffer of BOUNCE_SIZE bytes, aligned to 4096. 0; -EAGAIN when as many are out as there
 * may be: then the request is remembered and blk_rw_bounce() called when one is put back; -ENOMEM.
 */
#define BOUNCE_SIZE ((size_t)256 << 10)
struct blk_req;
int worker_bounce_get(struct worker *worker, struct blk_req *req, void **buffer);
void worker_bounce_put(struct worker *worker, void *buffer);

/* The request does not wait for a buffer any more. Did it? */
bool worker_bounce_cancel(struct worker *worker, struct blk_req *req);

#endif
