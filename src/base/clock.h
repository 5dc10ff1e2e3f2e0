/* SPDX-License-Identifier: BSD-3-Clause */
/* The time that all intervals and deadlines are in. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* CLOCK_MONOTONIC in ns. Any thread. */
static inline int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/*
 * A clock that stops between two steps of its thread, and is read once for all who ask
 * meanwhile, if anybody does.
 */
struct step_clock {
	int64_t now; /* ns; 0: not read since the last step */
};

static inline int64_t clock_read(struct step_clock *clock)
{
	if (!clock->now)
		clock->now = now_ns();
	return clock->now;
}

/* Time has passed. */
static inline void clock_step(struct step_clock *clock)
{
	clock->now = 0;
}

#endif
