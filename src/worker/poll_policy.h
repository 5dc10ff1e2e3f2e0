/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long a worker that has run out of work goes on looking at rings and completions in memory
 * before it sleeps. Pure bookkeeping, fed with what happened; knows no clock. The worker's thread.
 *
 * Theory of operation. Looking costs CPU time, sleeping costs latency (the wake-up) and a system
 * call of the driver (the kick). Which is better depends on when the next work comes, and the only
 * way to know that is to have looked: a sleep that was short may have been short because of the
 * wake-up alone. So after a short sleep the policy looks for a while. As long as that finds work it
 * goes on; if not, the window is halved until it is gone, and the next attempt is put off, each
 * time for twice as many sleeps. At rest there is no window at all.
 */
#ifndef WORKER_POLL_POLICY_H
#define WORKER_POLL_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define POLL_OFF    INT64_C(0)
#define POLL_ALWAYS INT64_MAX
#define POLL_AUTO   INT64_C(-1)

/* The window of POLL_AUTO at its largest, ns. */
#define POLL_AUTO_MOST 32000

struct poll_policy {
	int64_t window; /* ns to look before sleeping; POLL_ALWAYS: never sleep */
	bool adaptive;
	unsigned backoff; /* sleeps to let pass after the next failure */
	unsigned put_off; /* sleeps to let pass before the next attempt */
};

/* `poll` is POLL_OFF, _ALWAYS, _AUTO, or a fixed window in ns. */
void poll_policy_init(struct poll_policy *policy, int64_t poll);

/* Looking has found work before the window was over. */
static inline void poll_policy_found(struct poll_policy *policy)
{
	policy->backoff = 0;
}

/*
 * Polling for `window` found nothing: the worker slept, and was woken `gap` ns after its last work,
 * the time that waking took included.
 */
void poll_policy_slept(struct poll_policy *policy, int64_t gap);

#endif
