/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker: one thread, one reactor, and the tasks that it runs. The control thread reaches it by
 * posting calls; everything else here is for its own thread.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "io/target.h"
#include "worker/poll_policy.h"
#include "worker/task.h"

struct bounce_pool;
struct step_clock;
struct worker;

struct worker_config {
	const struct reactor_class *reactor;
	const struct target_class *target; /* opened at once; others when a queue needs them */
	struct uring_options options;
	int64_t poll_ns; /* see poll_policy_init() */
	int cpu;         /* that its thread runs on, or -1: any */
};

/*
 * Starts a thread with a reactor and waits until it is ready. The configuration has to live as
 * long. 0 or -errno, as reactor or target gave it; -EINVAL also for a CPU that the thread may not
 * run on. Control thread.
 */
int worker_create(struct worker **workerp, const struct worker_config *config);

/* Ends the thread; it must have no task. */
void worker_destroy(struct worker *worker);

/* What a worker has done since it was created, and has. Times in ns. */
struct worker_counters {
	uint64_t iterations, sleeps;
	uint64_t polling_ns; /* polling for work that there was none of */
	uint64_t asleep_ns;  /* in sleeps, which also hand over what was submitted */
	uint64_t cpu_ns;     /* that its thread has run; 0: not known */
	unsigned tasks;      /* queues that it has now */
};

/*
 * Tells them. Reads without a lock while the worker runs: times may be off by the moment that it
 * takes it to note them. Any thread, between worker_create() and worker_destroy().
 */
void worker_counters(const struct worker *worker, struct worker_counters *counters);

/*
 * How much of about the last second its thread has worked, in percent: what it has run but for
 * polling. As worker_counters().
 */
unsigned worker_load(const struct worker *worker);

/* Has the worker run a call between two iterations. Any thread. */
void worker_call(struct worker *worker, struct call *call);

/* ---- worker thread ---- */

/* These stay what they are. Any thread may ask. */
struct reactor *worker_reactor(struct worker *worker);
struct mailbox *worker_mailbox(struct worker *worker);
struct bounce_pool *worker_bounce(struct worker *worker);

/* Its time, which only its thread reads: a step is from one reactor_run() to the next. */
struct step_clock *worker_clock(struct worker *worker);

/* What its queues know of each other, which only its thread asks. */
struct neighbours *worker_neighbours(struct worker *worker);

/* The target of a class on the worker's reactor, which is opened if need be. 0 or -errno. */
int worker_get_target(struct worker *worker, const struct target_class *class,
		      struct target **target);

/* A task has begun here (1), or has ended (-1); for worker_counters(). */
void worker_count_task(struct worker *worker, int more);

/* There is something to do, or may be: from now on each iteration runs the task. */
void worker_schedule(struct worker *worker, struct worker_task *task);

/* The task has done something that is to be published. */
void worker_add_to_publish(struct worker *worker, struct worker_task *task);
static inline void worker_needs_publish(struct worker *worker, struct worker_task *task)
{
	if (!task->needs_publish) /* as for each request of a batch but one */
		worker_add_to_publish(worker, task);
}

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
