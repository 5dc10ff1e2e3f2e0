/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fair shares of what a worker has so many of: operations with the kernel, bounce buffers. Its
 * thread only. Trusts its callers.
 *
 * Theory of operation. Who holds some may take another one while it holds less than FAIR_TIMES as
 * many as are free, not counting a reserve. So one alone may have four fifths of what is no
 * reserve, and those who come and go end up with the same. Where nothing comes back each of them
 * leaves a fifth of what it found, which is soon nothing: the reserve, an eighth of all, is for
 * those who hold none, for one each. So whoever hangs, the others go on, if slower the more of them
 * there are.
 *
 * Who may not take one waits. Those who wait have their turns one after the other, for one each,
 * and before those who do not.
 *
 * Whether one may take changes for the better only when something is returned; until then nobody
 * is looked at.
 */
#ifndef IO_FAIR_H
#define IO_FAIR_H

#include <stdbool.h>
#include <stddef.h>

#define FAIR_TIMES   4
#define FAIR_RESERVE 8 /* of all, one in so many */

/* One of those who share. All zero: holds none. Stays where it is while it holds any or waits. */
struct fair_share {
	unsigned held;
	bool waits; /* for its turn */
	struct fair_share *next;
};

/* All zero, but `total`, at first. */
struct fair {
	unsigned total, held;
	bool returned;              /* since fair_next() found nobody */
	struct fair_share *waiting; /* in turn */
	struct fair_share *last;    /* of them; means nothing while there are none */
};

static inline bool fair_may_take(const struct fair *fair, const struct fair_share *share)
{
	const unsigned free = fair->total - fair->held;

	return share->held
		       ? share->held + FAIR_TIMES * (fair->total / FAIR_RESERVE) < FAIR_TIMES * free
		       : free > 0;
}

/* May anybody who waits have something that was returned? Then that is theirs first. */
static inline bool fair_is_due(const struct fair *fair)
{
	return fair->waiting && fair->returned;
}

/* Takes one. false: it may not, or it is others' turn first: fair_wait(). */
static inline bool fair_take(struct fair *fair, struct fair_share *share)
{
	if (share->waits || fair_is_due(fair) || !fair_may_take(fair, share))
		return false;
	share->held++;
	fair->held++;
	return true;
}

static inline void fair_return(struct fair *fair, struct fair_share *share)
{
	share->held--;
	fair->held--;
	fair->returned = true;
}

/* It is to have a turn, behind all others, if it does not wait already. */
void fair_wait(struct fair *fair, struct fair_share *share);

/* It does not wait any more. Walks through those who do. */
void fair_leave(struct fair *fair, struct fair_share *share);

/*
 * Whose turn is it? It has been given one and does not wait any more: if it wants another one, the
 * caller says so by fair_wait(). NULL: nobody who waits may take one before something is returned.
 */
struct fair_share *fair_search(struct fair *fair);
static inline struct fair_share *fair_next(struct fair *fair)
{
	return fair_is_due(fair) ? fair_search(fair) : NULL;
}

#endif
