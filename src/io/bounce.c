/* SPDX-License-Identifier: BSD-3-Clause */
/* See bounce.h. */
#include "io/bounce.h"

#include <errno.h>
#include <stdlib.h>

#include "base/container.h"

static void *make(void)
{
	return aligned_alloc(4096, BOUNCE_SIZE);
}

void bounce_init(struct bounce_pool *pool)
{
	*pool = (struct bounce_pool){.make = make, .fair = {.total = BOUNCE_MOST}};
}

void bounce_destroy(struct bounce_pool *pool)
{
	for (unsigned i = 0; i < pool->n_free; i++)
		free(pool->free[i]);
}

/* One that is free or can be made, or NULL. */
static void *find_buffer(struct bounce_pool *pool)
{
	void *buffer = NULL;

	if (pool->n_free)
		return pool->free[--pool->n_free];
	if (pool->n < BOUNCE_MOST)
		buffer = pool->make();
	if (buffer)
		pool->n++;
	return buffer;
}

/* ---- waiting ---- */

static void await(struct bounce_pool *pool, struct bounce_user *user, struct bounce_waiter *waiter)
{
	waiter->next = NULL;
	if (user->waiting)
		user->last->next = waiter;
	else
		user->waiting = waiter;
	user->last = waiter;
	fair_wait(&pool->fair, &user->share);
}

/* The first one of the user's, whose turn it is. */
static struct bounce_waiter *next_waiter(struct bounce_pool *pool, struct bounce_user *user)
{
	struct bounce_waiter *waiter = user->waiting;

	user->waiting = waiter->next;
	if (user->waiting)
		fair_wait(&pool->fair, &user->share);
	return waiter;
}

/* What is put back from within ready() is seen by who has called that. */
static void serve(struct bounce_pool *pool)
{
	struct fair_share *share;

	if (pool->serving)
		return;
	pool->serving = true;
	while (pool->n_free && (share = fair_next(&pool->fair))) {
		struct bounce_waiter *waiter =
			next_waiter(pool, container_of(share, struct bounce_user, share));

		waiter->ready(waiter, pool->free[--pool->n_free]);
	}
	pool->serving = false;
}

/* ---- buffers ---- */

int bounce_get(struct bounce_pool *pool, struct bounce_user *user, struct bounce_waiter *waiter,
	       void **buffer)
{
	if (fair_take(&pool->fair, &user->share)) {
		*buffer = find_buffer(pool);
		if (*buffer)
			return 0;
		fair_return(&pool->fair, &user->share);
		if (!pool->n)
			return -ENOMEM;
	}
	await(pool, user, waiter);
	return -EAGAIN;
}

void bounce_put(struct bounce_pool *pool, struct bounce_user *user, void *buffer)
{
	pool->free[pool->n_free++] = buffer;
	fair_return(&pool->fair, &user->share);
	serve(pool);
}

bool bounce_cancel(struct bounce_pool *pool, struct bounce_user *user, struct bounce_waiter *waiter)
{
	struct bounce_waiter *before = NULL, *at = user->waiting;

	for (; at && at != waiter; at = at->next)
		before = at;
	if (!at)
		return false;
	if (before)
		before->next = at->next;
	else
		user->waiting = at->next;
	if (user->last == at)
		user->last = before;
	if (!user->waiting)
		fair_leave(&pool->fair, &user->share);
	return true;
}
