/* SPDX-License-Identifier: BSD-3-Clause */
/* See worker/poll_policy.h. Worker thread. */
#include "worker/poll_policy.h"

#define LEAST        2000 /* ns; a window below that is none */
#define MOST_BACKOFF 255  /* sleeps */

/* A wake-up may take about as long as what it waited for. */
#define SHORT_SLEEP (2 * POLL_AUTO_MOST)

void poll_policy_init(struct poll_policy *policy, int64_t poll)
{
	*policy = (struct poll_policy){
		.window = poll == POLL_AUTO ? POLL_OFF : poll,
		.adaptive = poll == POLL_AUTO,
	};
}

/* In vain: less of it, in the end none, for a time. */
static void shrink(struct poll_policy *policy)
{
	policy->window /= 2;
	if (policy->window >= LEAST)
		return;
	policy->window = 0;
	policy->backoff = 2 * policy->backoff + 1;
	if (policy->backoff > MOST_BACKOFF)
		policy->backoff = MOST_BACKOFF;
	policy->put_off = policy->backoff;
}

void poll_policy_slept(struct poll_policy *policy, int64_t gap)
{
	if (!policy->adaptive)
		return;
	if (policy->window)
		shrink(policy);
	else if (gap > SHORT_SLEEP)
		return;
	else if (policy->put_off)
		policy->put_off--;
	else
		policy->window = POLL_AUTO_MOST;
}
