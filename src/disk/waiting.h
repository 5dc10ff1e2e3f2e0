/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues that wait for their disk's lock, in the order in which they came. Control thread. */
#ifndef DISK_WAITING_H
#define DISK_WAITING_H

#include <stddef.h>

#include "queue/queue.h"

struct waiting {
	struct queue *first, **last;
};

static inline void waiting_init(struct waiting *waiting)
{
	*waiting = (struct waiting){.last = &waiting->first};
}

static inline void waiting_add(struct waiting *waiting, struct queue *queue)
{
	queue->next = NULL;
	*waiting->last = queue;
	waiting->last = &queue->next;
}

/* One that is there. */
static inline void waiting_remove(struct waiting *waiting, const struct queue *queue)
{
	struct queue **at = &waiting->first;

	while (*at != queue)
		at = &(*at)->next;
	*at = queue->next;
	if (!*at)
		waiting->last = at;
}

/* All of them, by their `next`; none waits any more. */
static inline struct queue *waiting_take(struct waiting *waiting)
{
	struct queue *all = waiting->first;

	waiting_init(waiting);
	return all;
}

#endif
