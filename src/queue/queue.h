/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue being served: virtqueue on one side, target on the other, and the request slots in
 * between. Made and destroyed by the control thread, used by its worker in between.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/mailbox.h"
#include "image/memory_fence.h"
#include "io/registered_memory.h"
#include "io/target.h"
#include "queue/sharing_signs.h"
#include "queue/throttle.h"
#include "request/disk.h"
#include "request/env.h"
#include "request/request.h"
#include "vublk.h"
#include "worker/task.h"

/*
 * Requests of one queue outstanding at once. A ring may have more entries; they wait in it. Bounds
 * what a guest can make us remember.
 */
#define QUEUE_MAX_REQUESTS 1024

/*
 * What the queues of a disk need to know of it. The control thread writes it, workers read it: all
 * of it is constant while a queue runs, but for what `blk` says, what `signs` and `limits` point
 * to, and `no_poll`.
 */
struct queue_disk {
	struct blk_disk blk;               /* what their requests need */
	const struct target_class *target; /* where I/O goes */
	int fd; /* of the image, for its I/O: image->fd, or the claim on a device (disk/lock.h) */
	const struct memory_fence *fence; /* its files are registered beside the image's */
	struct sharing_signs *signs;
	struct disk_limits *limits; /* NULL: it has none, and gets none */
	atomic_bool no_poll;        /* its queues are no reason to poll */
};

/* What the queues of a disk on one worker share: its thread's alone. All zero at first. */
struct queue_memory {
	unsigned users; /* queues */
	struct registered_memory registered;
	struct bounce_user bounce;
};

struct worker;

/* On cache lines of its own: the neighbour in memory may be another worker's. */
struct queue {
	_Alignas(64) struct worker_task task;
	struct vublk_queue *vq;
	struct worker *worker;
	struct queue_disk *disk;
	struct queue_memory *memory;
	struct blk_env env;            /* of its requests */
	int fence[MEMORY_FENCE_FILES]; /* handles with the target: held by it; -1: none */
	struct reactor_watch kick;     /* .fd is -1 while nothing is watched */

	/* Slots: mapped once, touched when first used, then taken from the free list. */
	struct blk_req *slot;
	unsigned n_slots, n_touched;
	struct blk_req *free;
	unsigned in_flight;
	bool gave_way; /* in the last iteration, to a quiet neighbour */
	bool starved;  /* a chain waits until another one is completed, or its memory is known */

	bool stopping;       /* env.abandoning: and without doing what is in flight */
	bool gave_up;        /* stopping, and what an earlier process took cannot be had */
	bool kicked, popped; /* ever: see disk/sharing.h */
	bool registers;      /* its memory is registered, or would be; queue/memory.c */

	struct throttle throttle; /* what the disk's limits hold */

	/* The control thread's request outstanding; see disk/rings.c. */
	void (*drained)(struct queue *queue);
	void (*revoked)(struct queue *queue);
	struct vublk_update *revoking; /* memory that requests may have still; NULL: none */
	struct call call;
	struct vublk_update *update;
	int err;
	struct queue *next; /* waits for the image's lock */

	/* The control thread's; see struct ring_counters. */
	const char *state;
	bool is_broken;

	/* Its worker's, and with `is_broken` the control thread's. */
	struct call broken;
	char why_broken[128];

	struct blk_counters counters; /* any thread may read them */
};

/*
 * Makes a queue for a started virtqueue; `memory` is that of the disk and worker. 0 or -errno.
 * Control thread.
 */
int queue_create(struct queue **queuep, struct vublk_queue *vq, struct worker *worker,
		 struct queue_disk *disk, struct queue_memory *memory);

/* Nothing of it is in use any more. Control thread. */
void queue_destroy(struct queue *queue);

/* ---- worker thread ---- */

/* ---- queue/memory.c: the queue's memory and the target ---- */

/* Makes it known when the queue begins; after a change; and lets it go. 0 or -errno (logged). */
int queue_memory_begin(struct queue *queue);
void queue_memory_change(struct queue *queue);
void queue_memory_end(struct queue *queue);

/* After popping, before submitting: what is registered must be what the guest sees. */
void queue_memory_check(struct queue *queue);

/* ---- queue/queue.c ---- */

/* Begins: watches the kick descriptor and looks at the ring. 0 or -errno. */
int queue_begin(struct queue *queue);

/* Takes over a change of the virtqueue. 0 or -errno (the new kick descriptor is no use). */
int queue_apply(struct queue *queue, struct vublk_update *update);

/*
 * After queue_apply() of a change that takes translations away: revoked() is called on the worker's
 * thread, at once or later, when no request has memory that they led to. The change stays.
 */
void queue_revoke(struct queue *queue, struct vublk_update *update,
		  void (*revoked)(struct queue *queue));

/*
 * Pops nothing more from now on; drained() is called on the worker's thread when everything has
 * been pushed and published and the worker knows nothing of the queue any more.
 */
void queue_drain(struct queue *queue, void (*drained)(struct queue *queue));

/*
 * Like queue_drain(), but what the kernel has not seen is not done any more: it stays in flight.
 * Without tracking it is queue_drain().
 */
void queue_abandon(struct queue *queue, void (*drained)(struct queue *queue));

#endif
