/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bounce buffers: aligned memory for data that O_DIRECT cannot take where it is. A worker has one
 * pool for all its queues, which is shared out among the disks that they are of (io/fair.h); its
 * thread alone uses it. Buffers are made when first asked for, and kept.
 */
#ifndef IO_BOUNCE_H
#define IO_BOUNCE_H

#include <stdbool.h>
#include <stddef.h>

#include "io/fair.h"

#define BOUNCE_SIZE ((size_t)256 << 10) /* bytes of a buffer, which is aligned to 4096 */
#define BOUNCE_MOST 64                  /* buffers of a pool */

/* Who waits for a buffer. Embedded in its owner. */
struct bounce_waiter {
	struct bounce_waiter *next;
	/* Here it is; it does not wait any more. */
	void (*ready)(struct bounce_waiter *waiter, void *buffer);
};

/* What a disk has of a pool. All zero at first; stays where it is while there is anything. */
struct bounce_user {
	struct fair_share share;
	struct bounce_waiter *waiting,
		*last; /* in order; last means nothing while there are none */
};

struct bounce_pool {
	void *(*make)(void); /* a buffer for free(), or NULL; tests have others */
	void *free[BOUNCE_MOST];
	unsigned n_free, n;
	struct fair fair;
	bool serving; /* those who wait, up the stack */
};

void bounce_init(struct bounce_pool *pool);

/* All buffers have been put back. */
void bounce_destroy(struct bounce_pool *pool);

/*
 * A buffer. 0; -EAGAIN when the user has as many as it may, or all are out: then waiter->ready() is
 * called when it is its turn, from bounce_put(); -ENOMEM.
 */
int bounce_get(struct bounce_pool *pool, struct bounce_user *user, struct bounce_waiter *waiter,
	       void **buffer);
void bounce_put(struct bounce_pool *pool, struct bounce_user *user, void *buffer);

/* It does not wait for a buffer any more. Did it? */
bool bounce_cancel(struct bounce_pool *pool, struct bounce_user *user,
		   struct bounce_waiter *waiter);

#endif
