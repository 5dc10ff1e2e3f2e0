/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a split virtqueue in guest memory: makes chains of descriptors available,
 * notifies, and takes what comes back. Keeps all its state privately, so the ring can be filled
 * with nonsense through `ring` and the fe_vq_raw*() calls; a proper use of fe_vq_add*() afterwards
 * still does the right thing. add, publish, kick and reap allocate nothing and make no system call
 * but the kick itself.
 */
#ifndef FE_VQ_H
#define FE_VQ_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include "tests/frontend/fe_mem.h"

struct fe_seg {
	uint64_t addr; /* guest-physical */
	uint32_t len;
	bool write; /* the device writes it */
};

struct fe_used {
	uint16_t head;
	uint32_t len; /* as the device says */
	void *cookie;
};

struct fe_vq {
	struct fe_mem *mem;
	struct vring ring; /* the real thing, in guest memory */
	uint64_t desc_gpa;
	uint64_t avail_gpa;
	uint64_t used_gpa;
	unsigned int num;
	bool event_idx;
	bool silent; /* the driver wants no calls and polls, see fe_vq_silence() */
	int kick_fd; /* -1: the back-end polls (no-fd bit) */
	int call_fd;
	int err_fd;

	uint16_t base;      /* where the device starts: SET_VRING_BASE */
	uint16_t avail_idx; /* the next entry to fill, perhaps not yet published */
	uint16_t kicked;    /* avail_idx at the last notification decision */
	uint16_t used_idx;  /* the next entry to take */
	uint16_t free_head;
	unsigned int n_free;
	uint16_t *next;    /* private links of free and used descriptors */
	uint16_t *n_chain; /* by head: descriptors in use, 0 when not in flight */
	void **cookie;     /* by head */
};

/*
 * Allocates a ring of `num` entries in guest memory, each part aligned no better than it must be
 * (16, 2 and 4 bytes), and the three eventfds. 0 or -errno.
 */
int fe_vq_init(struct fe_vq *vq, struct fe_mem *mem, unsigned int num, bool event_idx);
void fe_vq_free(struct fe_vq *vq);

/*
 * Makes the ring empty, with all indices at `base`, as a driver does after a reset; what was in
 * flight is forgotten.
 */
void fe_vq_reset(struct fe_vq *vq, uint16_t base);

/*
 * Adds a chain: first the descriptors of `direct`, then, if n_indirect, one that points to an
 * indirect table at guest address `table` (16 bytes each), which is filled from `indirect`.
 * Returns the chain's head, or -ENOSPC. Not seen by the device before fe_vq_publish() or _kick().
 */
int fe_vq_add_chain(struct fe_vq *vq, const struct fe_seg *direct, unsigned int n_direct,
		    const struct fe_seg *indirect, unsigned int n_indirect, uint64_t table,
		    void *cookie);

static inline int fe_vq_add(struct fe_vq *vq, const struct fe_seg *segs, unsigned int n,
			    void *cookie)
{
	return fe_vq_add_chain(vq, segs, n, NULL, 0, 0, cookie);
}

/* Makes all that was added visible to the device, without a word to it. */
void fe_vq_publish(struct fe_vq *vq);

/* Publishes, and notifies if the device wants it. Returns whether it did. */
bool fe_vq_kick(struct fe_vq *vq);

/* Takes one completion: 1, 0 if there is none, -EPROTO for one that nobody waits for. */
int fe_vq_reap(struct fe_vq *vq, struct fe_used *used);

/*
 * Waits until there is a completion to reap, sleeping on the call fd (or polling if silent).
 * 0, -ETIMEDOUT, or -ENOMSG: there is one, but the call for it never came.
 */
int fe_vq_wait(struct fe_vq *vq, uint64_t deadline);

/* From now on the driver wants no calls (`silent`), or wants them again. */
void fe_vq_silence(struct fe_vq *vq, bool silent);

/* Takes back a pending call or error signal: whether there was one. */
bool fe_vq_take_event(int eventfd);

/* Kicks whatever the device wants. */
void fe_vq_raw_kick(struct fe_vq *vq);

/* Puts `head` into the available ring, whatever it is, and publishes it. */
void fe_vq_raw_push(struct fe_vq *vq, uint16_t head);

/* Sets the available index that the device sees; our own stays. */
void fe_vq_raw_avail_idx(struct fe_vq *vq, uint16_t idx);

/* Waits for the back-end to say that the ring is broken (SET_VRING_ERR). 0 or -ETIMEDOUT. */
int fe_vq_wait_error(struct fe_vq *vq);

#endif
