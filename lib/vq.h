/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One virtqueue: its ring in guest memory, our private place in it, and its notifications both
 * ways.
 *
 * Theory of operation. The ring is shared with a driver that may be hostile, so nothing in it
 * is ever our state: `next_avail`, `used_idx` and `called_idx` are private, what is read is
 * copied once and checked, and what is found wrong sets `broken`, after which the ring is read
 * no more. Requests popped before that are still pushed and published.
 *
 *	pop	avail->idx (acquire), avail->ring[next_avail], the descriptors
 *	push	used->ring[used_idx + n_pushed]: invisible as yet
 *	publish	used->idx (release) once per batch, full fence, used_event or flags, call
 *
 * The control thread sets a vq up while no worker has it, and passes changes to a running one
 * as a vublk_update, which the worker applies between two rounds.
 */
#ifndef VQ_H
#define VQ_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhu_mem.h"
#include "vublk.h"

#define VQ_MAX_SIZE 32768 /* virtio 2.7: the largest split ring */

/*
 * The memory map that a chain was translated with, counted without atomics, since only the
 * queue's worker pops and pushes: a map stays while the queue uses it or a chain does.
 */
struct vq_lease {
	struct vhu_mem *mem;
	unsigned users; /* chains, and the queue itself while the lease is its current one */
};

/* Where the three parts of a split ring are with us. */
struct vq_split {
	const struct vring_desc *desc;
	const struct vring_avail *avail;
	struct vring_used *used;
};

struct vublk_queue {
	/* Set while stopped, constant while running; only vublk_queue_apply() changes them. */
	struct vq_split split;
	struct vq_lease *lease;
	uint16_t size;
	bool indirect;                /* VIRTIO_F_INDIRECT_DESC */
	bool event_idx;               /* VIRTIO_F_EVENT_IDX */
	int kick_fd, call_fd, err_fd; /* owned; -1: none */

	/* The worker's own while running. */
	bool broken;
	bool kicks_wanted;
	bool called;         /* called_idx is valid */
	uint16_t next_avail; /* of the next entry to pop, free-running */
	uint16_t used_idx;   /* as published, free-running */
	uint16_t called_idx; /* used_idx when the driver's wish to be called was last looked at */
	uint16_t n_pushed;   /* collected, not yet published */
	unsigned allocated;  /* elements of the arrays that long chains have allocated */

	/* The control thread's. */
	unsigned index;
	struct vublk_dev *dev;
	const char *name; /* of the device, for messages */
	void *opaque;     /* the library user's */
};

/* What SET_VRING_NUM, _ADDR and _BASE said, for vq_setup(). */
struct vq_layout {
	unsigned size;
	uint64_t desc, avail, used; /* user addresses */
	uint16_t base;              /* of the next available entry */
};

/* A change to a running queue; what is not to change is NULL or false. */
struct vublk_update {
	struct vq_lease *lease; /* a new memory map, with ... */
	struct vq_split split;  /* ... the ring's place in it */
	bool kick, call, err;   /* replace these descriptors by: */
	int kick_fd, call_fd, err_fd;
};

/* An empty, stopped queue. */
void vq_init(struct vublk_queue *vq, const char *name, unsigned index);

/* Closes its descriptors and makes it as vq_init() left it. Stopped. */
void vq_reset(struct vublk_queue *vq);

/*
 * Finds a split ring in a memory map: -EINVAL, with the reason logged, unless its parts are
 * aligned (16, 2 and 4 bytes, virtio 2.7), each in one region, and do not overlap.
 */
int vq_translate(const struct vublk_queue *vq, const struct vq_layout *layout,
		 const struct vhu_mem *mem, bool event_idx, struct vq_split *split);

/*
 * Makes a stopped queue ready to run: everything is derived anew from the layout, the features in
 * force and the ring itself. Takes a reference on mem. 0, -EINVAL (logged) or -ENOMEM.
 */
int vq_setup(struct vublk_queue *vq, const struct vq_layout *layout, struct vhu_mem *mem,
	     uint64_t features);

/* The opposite, once the worker is done: drops the memory. Descriptors stay. */
void vq_teardown(struct vublk_queue *vq);

/* A lease on a map, or NULL without memory. The update that carries it passes it on. */
struct vq_lease *vq_lease_new(struct vhu_mem *mem);

/* A user less. */
void vq_lease_put(struct vq_lease *lease);

/* Logs `what` and marks the ring broken; signals its error descriptor. Returns -EPROTO. */
int vq_break(struct vublk_queue *vq, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Calls the driver without a reason: after a new call descriptor and at each start, since a
 * call to the old one may have gone unseen. One too many harms nobody; a driver that polls and
 * said so gets none, nor does a ring that is not set up. Whoever owns the queue.
 */
void vq_inject_call(const struct vublk_queue *vq);

/*
 * vq_chain.c: follows a split ring's descriptors from `head` into `chain`, each copied once. 0;
 * -EAGAIN: it is too long to be taken before others are given back; -EPROTO with the queue broken.
 */
int vq_chain_walk(struct vublk_queue *vq, struct vublk_chain *chain, uint16_t head);

/* Frees what a long chain allocated. */
void vq_chain_release(struct vublk_queue *vq, struct vublk_chain *chain);

#endif
