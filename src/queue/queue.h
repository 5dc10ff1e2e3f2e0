/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue being served: virtqueue on one side, engine on the other, and the request slots in
 * between. Made and destroyed by the control thread, used by its worker in between.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include <stdbool.h>

#include "base/log.h"
#include "base/mailbox.h"
#include "io/engine.h"
#include "request/disk.h"
#include "request/merge.h"
#include "request/request.h"
#include "vublk.h"

/*
 * Requests of one queue in hand at once. A ring may have more entries; they wait in it. Bounds
 * what a guest can make us remember.
 */
#define QUEUE_MAX_REQUESTS 1024

struct worker;

/* On cache lines of its own: the neighbour in memory may be another worker's. */
struct queue {
	_Alignas(64) struct vublk_queue *vq;
	struct worker *worker;
	const struct blk_disk *disk;
	int file;                      /* the image, with the worker's engine */
	int fence[MEMORY_FENCE_FILES]; /* the same: held by it; -1: none */
	struct engine_watch kick;      /* .fd is -1 while nothing is watched */
	struct log_limit io_errors;

	/* Slots: mapped once, touched when first used, then taken from the free list. */
	struct blk_req *slot;
	unsigned n_slots, n_touched;
	struct blk_req *free;
	unsigned in_flight;
	struct blk_merge merge; /* held back in this round */
	bool sequential;        /* the last round made requests into one */
	bool starved;           /* a chain waits until another one is given back */

	bool zero_range_missing; /* the image has answered -EOPNOTSUPP */
	bool punch_hole_missing;
	bool stopping, suspending;
	bool kicked, popped; /* ever: see queue/sharing.h */
	bool registers;      /* its memory is registered, or would be; queue/memory.c */
	bool rested;         /* since its last write: the image may have changed; image/end.h */

	/* The worker's lists. */
	bool hot, touched, unkicked;
	unsigned empty_rounds; /* since it had something to do, while hot */
	struct queue *next_hot, *next_touched, *next_unkicked;

	/* The control thread's request in hand; see disk/disk.c. */
	void (*drained)(struct queue *queue);
	struct call call;
	struct vublk_update *update;
	int err;
	struct queue *next; /* waits for the image's lock */
};

/* Makes a queue for a started virtqueue. 0 or -errno. Control thread. */
int queue_create(struct queue **queuep, struct vublk_queue *vq, struct worker *worker,
		 const struct blk_disk *disk);

/* Nothing of it is in use any more. Control thread. */
void queue_destroy(struct queue *queue);

/* ---- worker thread ---- */

/* ---- queue/memory.c: the queue's memory and the engine ---- */

/* Makes it known when the queue begins; after a change; and lets it go. 0 or -errno (logged). */
int queue_memory_begin(struct queue *queue);
void queue_memory_change(struct queue *queue);
void queue_memory_end(struct queue *queue);

/* After popping, before submitting: what the engine has registered must be what the guest sees. */
void queue_memory_check(struct queue *queue);

/* ---- queue/queue.c ---- */

/* Begins: watches the kick descriptor and looks at the ring. 0 or -errno. */
int queue_begin(struct queue *queue);

/* Takes over a change of the virtqueue. 0 or -errno (the new kick descriptor is no use). */
int queue_apply(struct queue *queue, struct vublk_update *update);

/*
 * Pops nothing more from now on; drained() is called on the worker's thread when everything has
 * been pushed and published and the worker knows nothing of the queue any more.
 */
void queue_end(struct queue *queue, void (*drained)(struct queue *queue));

/*
 * Like queue_end(), but what the kernel has not seen is not done any more: it stays in flight.
 * Without tracking it is queue_end().
 */
void queue_suspend(struct queue *queue, void (*drained)(struct queue *queue));

/* Is there anything that it may still pop? */
bool queue_pops(const struct queue *queue);

enum queue_state {
	QUEUE_WORKED, /* something was popped */
	QUEUE_EMPTY,  /* the ring was */
	QUEUE_WAITS,  /* for nothing to be found by looking: it makes itself hot again */
};

/* Pops what is there, up to a bounded number, and begins it. Kicks are unwanted from now on. */
enum queue_state queue_service(struct queue *queue);

/*
 * Asks for kicks. Returns whether there is something to pop after all: then nobody may kick for it,
 * and it stays hot.
 */
bool queue_cool(struct queue *queue);

/* Publishes what was pushed; then, if the queue is ending and has drained, says so. */
void queue_publish(struct queue *queue);

/* The request is dropped: takes the slot back. */
void queue_dropped(struct queue *queue, struct blk_req *req);

/* The request is answered: pushes its chain and takes the slot back. */
void queue_finished(struct queue *queue, struct blk_req *req, uint32_t written);

#endif
