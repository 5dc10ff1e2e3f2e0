/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Something that a worker runs, a bit in each iteration while there is something to do: a queue.
 * Embedded in its owner, who fills in the functions; the rest is the worker's. Worker thread.
 */
#ifndef WORKER_TASK_H
#define WORKER_TASK_H

#include <stdbool.h>

enum task_state {
	TASK_WORKED, /* something was there to do */
	TASK_EMPTY,  /* nothing was */
	TASK_WAITS,  /* for nothing to be found by looking: it schedules itself again */
	TASK_RESTS,  /* the same, until a timer of its own: it is not worth polling for */
};

struct worker_task {
	/* Does what is there to do, up to a bounded amount. Wake-ups are unwanted from now on. */
	enum task_state (*service)(struct worker_task *task);
	/*
	 * Asks for wake-ups. Is there something to do after all? Then nobody may wake it for that,
	 * and it stays runnable.
	 */
	bool (*idle)(struct worker_task *task);
	/* Makes known what was done since the last time. May end the task, and free it. */
	void (*publish)(struct worker_task *task);

	bool no_poll; /* no reason to poll, whatever service() says, which may change it */

	bool runnable, needs_publish, polled;
	bool waits, rests;         /* it is not runnable; service() or no_poll says so */
	unsigned empty_iterations; /* since it had something to do, while runnable */
	struct worker_task *next_runnable, *next_publish, *next_polled;
};

#endif
