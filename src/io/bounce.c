/* SPDX-License-Identifier: BSD-3-Clause */
/* See bounce.h. */
#include "io/bounce.h"

#include <errno.h>
#include <stdlib.h>

static void *make(void)
{
	return aligned_alloc(4096, BOUNCE_SIZE);
}

void bounce_init(struct bounce_pool *pool)
{
	*pool = (struct bounce_pool){.make = make};
	pool->last = &pool->waiting;
}

void bounce_destroy(struct bounce_pool *pool)
{
	for (unsigned i = 0; i < pool->n_free; i++)
		free(pool->free[i]);
}

int bounce_get(struct bounce_pool *pool, struct bounce_waiter *waiter, void **buffer)
{
	if (pool->n_free) {
		*buffer = pool->free[--pool->n_free];
		return 0;
	}
	if (pool->n < BOUNCE_MOST) {
		*buffer = pool->make();
		if (*buffer) {
			pool->n++;
			return 0;
		}
		if (!pool->n)
			return -ENOMEM;
	}
	waiter->next = NULL;
	*pool->last = waiter;
	pool->last = &waiter->next;
	return -EAGAIN;
}

void bounce_put(struct bounce_pool *pool, void *buffer)
{
	pool->free[pool->n_free++] = buffer;
	/* Who is woken may have no use for it any more: then it is the next one's. */
	while (pool->waiting && pool->n_free) {
		struct bounce_waiter *waiter = pool->waiting;

		pool->waiting = waiter->next;
		if (!pool->waiting)
			pool->last = &pool->waiting;
		waiter->ready(waiter);
	}
}

bool bounce_cancel(struct bounce_pool *pool, struct bounce_waiter *waiter)
{
	struct bounce_waiter **at = &pool->waiting;

	while (*at && *at != waiter)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = waiter->next;
	if (!*at)
		pool->last = at;
	return true;
}
