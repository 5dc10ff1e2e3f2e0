/* SPDX-License-Identifier: BSD-3-Clause */
/* See io/fair.h. */
#include "io/fair.h"

void fair_wait(struct fair *fair, struct fair_share *share)
{
	if (share->waits)
		return;
	share->waits = true;
	share->next = NULL;
	if (fair->waiting)
		fair->last->next = share;
	else
		fair->waiting = share;
	fair->last = share;
}

/* Takes the one behind `before`, or the first one, out of those who wait. */
static void take_out(struct fair *fair, struct fair_share *before, struct fair_share *share)
{
	share->waits = false;
	if (before)
		before->next = share->next;
	else
		fair->waiting = share->next;
	if (fair->last == share)
		fair->last = before;
}

void fair_leave(struct fair *fair, struct fair_share *share)
{
	struct fair_share *before = NULL;

	if (!share->waits)
		return;
	for (struct fair_share *at = fair->waiting; at != share; at = at->next)
		before = at;
	take_out(fair, before, share);
}

struct fair_share *fair_search(struct fair *fair)
{
	struct fair_share *before = NULL;

	/* Who is passed over keeps its place. */
	for (struct fair_share *at = fair->waiting; at; before = at, at = at->next) {
		if (!fair_may_take(fair, at))
			continue;
		take_out(fair, before, at);
		at->held++;
		fair->held++;
		return at;
	}
	fair->returned = false;
	return NULL;
}
