/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the queues of one worker know of each other: is one among them that asks for little, and
 * waits for it? Its request waits for all that the others begin in the same iteration, and for all
 * that they had begun in the one before. So who has much to do does little at once beside it.
 * Worker thread. All zero: nobody has been seen.
 */
#ifndef WORKER_NEIGHBOURS_H
#define WORKER_NEIGHBOURS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

/* How long who asked for little is expected to ask again, ns. */
#define NEIGHBOURS_REMEMBER 1000000

struct worker_task;

struct neighbours {
	struct worker_task *quiet; /* the last one that asked for little; gone: NULL */
	int64_t seen;              /* ns, when */
};

/* All that a task has to do is little. */
static inline void neighbours_saw_quiet(struct neighbours *neighbours, struct worker_task *task,
					struct step_clock *clock)
{
	neighbours->quiet = task;
	neighbours->seen = clock_read(clock);
}

/* The task ends. */
static inline void neighbours_forget(struct neighbours *neighbours, const struct worker_task *task)
{
	if (neighbours->quiet == task)
		neighbours->quiet = NULL;
}

/* Has it asked in this iteration? After neighbours_has_quiet(). */
static inline bool neighbours_quiet_is_at_work(const struct neighbours *neighbours,
					       struct step_clock *clock)
{
	return neighbours->seen == clock_read(clock);
}

/* Is anybody else quiet? Reads the clock only where it may be so. */
static inline bool neighbours_has_quiet(struct neighbours *neighbours, struct worker_task *task,
					struct step_clock *clock)
{
	if (!neighbours->quiet || neighbours->quiet == task)
		return false;
	if (clock_read(clock) - neighbours->seen <= NEIGHBOURS_REMEMBER)
		return true;
	neighbours->quiet = NULL;
	return false;
}

#endif
