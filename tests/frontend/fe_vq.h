/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a virtqueue in guest memory, split or packed: makes chains of descriptors
 * available, notifies, and takes what comes back. Keeps all its state privately, so the ring can be
 * filled with nonsense through `ring`, `packed` and the fe_vq_raw*() calls; a proper use of
 * fe_vq_add*() afterwards still does the right thing. The state also survives the back-end: a
 * ring whose back-end died goes on where it was with the next one. add, publish, kick and reap
 * allocate nothing and make no system call but the kick itself.
 *
 * fe_vq.c is what both kinds of ring share, fe_vq_split.c and fe_vq_packed.c are the rings.
 */
#ifndef FE_VQ_H
#define FE_VQ_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include "tests/frontend/fe_mem.h"

/* SET_VRING_BASE of a packed ring that was never used: both positions 0, both wrap counters 1. */
#define FE_PACKED_FRESH 0x80008000u

struct fe_seg {
	uint64_t addr; /* guest-physical */
	uint32_t len;
	bool write; /* the device writes it */
};

struct fe_used {
	uint16_t head; /* as fe_vq_add() answered */
	uint32_t len;  /* as the device says */
	void *cookie;
};

/* A place in a packed ring. */
struct fe_pos {
	uint16_t idx;
	bool wrap; /* the wrap counter of whoever is there */
};

/* A packed ring (virtio 2.8), and where the driver is in it. */
struct fe_packed {
	struct vring_packed_desc *desc;         /* these three in guest memory */
	struct vring_packed_desc_event *driver; /* event suppression: ours ... */
	struct vring_packed_desc_event *device; /* ... and the device's */
	struct fe_pos avail;                    /* where the next descriptor goes */
	struct fe_pos used;                     /* where the next used one will be */
	unsigned int n_added; /* descriptors published since the last notification decision */
	unsigned int n_held;  /* descriptors added and not yet published, of which ... */
	uint16_t held;        /* ... the first is here, without ... */
	uint16_t held_flags;  /* ... these */
	uint16_t free_tail;
};

struct fe_vq_kind;

/* Notifications by messages instead of the eventfds (in-band), and who moves them (fe_dev.c). */
struct fe_vq_inband {
	int fd; /* readable when there are some to be taken */
	/* Tells the device that something is in ring `index`. 0 or -errno. */
	int (*kick)(struct fe_vq_inband *inband, unsigned int index);
	/* Takes those that there are: signals call and error eventfds of the rings. 0 or -errno. */
	int (*take)(struct fe_vq_inband *inband);
};

struct fe_vq {
	struct fe_mem *mem;
	const struct fe_vq_kind *kind;
	uint64_t desc_gpa;
	uint64_t avail_gpa; /* packed: our event suppression */
	uint64_t used_gpa;  /* packed: the device's */
	unsigned int num;
	bool event_idx;
	bool silent; /* the driver wants no calls and polls, see fe_vq_silence() */
	int kick_fd; /* -1: the back-end polls (no-fd bit) */
	int call_fd;
	int err_fd;
	struct fe_vq_inband *inband; /* NULL: the device knows the eventfds */
	unsigned int index;          /* of the ring, for `inband` */

	uint32_t base; /* where the device starts: SET_VRING_BASE */
	unsigned int n_free;
	uint16_t free_head; /* the next chain's */
	uint16_t *next;     /* private links of free and used descriptors, or of free buffer ids */
	uint16_t *n_chain;  /* by head: descriptors in use, 0 when not in flight */
	void **cookie;      /* by head */
	union {
		struct {                    /* split */
			struct vring ring;  /* the real thing, in guest memory */
			uint16_t avail_idx; /* the next entry to fill, perhaps not yet published */
			uint16_t kicked;    /* avail_idx at the last notification decision */
			uint16_t used_idx;  /* the next entry to take */
		};
		struct fe_packed packed;
	};
};

/*
 * Allocates a ring of `num` entries in guest memory, each part aligned no better than it must be,
 * and the three eventfds. Of the virtio features, RING_PACKED says which kind, EVENT_IDX how to
 * notify. 0 or -errno.
 */
int fe_vq_init(struct fe_vq *vq, struct fe_mem *mem, unsigned int num, uint64_t features);
void fe_vq_free(struct fe_vq *vq);

bool fe_vq_is_packed(const struct fe_vq *vq);

/*
 * Makes the ring empty, with all positions at `base` (in the format of SET_VRING_BASE), as a
 * driver does after a reset; what was in flight is forgotten.
 */
void fe_vq_reset(struct fe_vq *vq, uint32_t base);

/* The base of a ring that was never used. */
static inline uint32_t fe_vq_fresh_base(const struct fe_vq *vq)
{
	return fe_vq_is_packed(vq) ? FE_PACKED_FRESH : 0;
}

/* Can it be a base of such a ring? Any 16-bit index, or (packed) two positions within the ring. */
static inline bool fe_vq_is_base(const struct fe_vq *vq, uint32_t base)
{
	if (!fe_vq_is_packed(vq))
		return base <= UINT16_MAX;
	return (base & 0x7fff) < vq->num && (base >> 16 & 0x7fff) < vq->num;
}

/*
 * Adds a chain: first the descriptors of `direct`, then, if n_indirect, one that points to an
 * indirect table at guest address `table` (16 bytes each), which is filled from `indirect`. (A
 * packed ring allows one or the other; whoever wants both may see what becomes of it.)
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

/*
 * Waits until the device, which has done all that it was given, asks for a kick. 0 or -ETIMEDOUT,
 * as long as it polls.
 */
int fe_vq_wait_rest(const struct fe_vq *vq, uint64_t deadline);

/* Takes one completion: 1, 0 if there is none, -EPROTO for one that nobody waits for. */
int fe_vq_reap(struct fe_vq *vq, struct fe_used *used);

/* Is there a completion to reap, be it nobody's? */
bool fe_vq_has_used(const struct fe_vq *vq);

/* How many completions wait to be reaped (packed: before the first that nobody waits for). */
unsigned int fe_vq_n_used(const struct fe_vq *vq);

/*
 * Where the device is when it has used all that it has taken, in the format of GET_VRING_BASE:
 * behind the completions that there are, reaped or not.
 */
uint32_t fe_vq_used_base(const struct fe_vq *vq);

/*
 * Waits until there is a completion to reap, sleeping on the call fd (or polling if silent).
 * 0, -ETIMEDOUT, or -ENOMSG: there is one, but the call for it never came.
 */
int fe_vq_wait(struct fe_vq *vq, uint64_t deadline);

/* From now on the driver wants no calls (`silent`), or wants them again. */
void fe_vq_silence(struct fe_vq *vq, bool silent);

/*
 * With EVENT_IDX: the next call only when one completion more than `n` waits to be reaped, for
 * requests of one descriptor each.
 */
void fe_vq_call_after(struct fe_vq *vq, unsigned int n);

/* Takes back a pending call or error signal: whether there was one. */
bool fe_vq_take_event(int eventfd);

/* Kicks whatever the device wants. */
void fe_vq_raw_kick(struct fe_vq *vq);

/* Split: puts `head` into the available ring, whatever it is, and publishes it. */
void fe_vq_raw_push(struct fe_vq *vq, uint16_t head);

/* Split: sets the available index that the device sees; our own stays. */
void fe_vq_raw_avail_idx(struct fe_vq *vq, uint16_t idx);

/*
 * Packed: puts n descriptors as they are where the next ones go, the first one last; only their
 * AVAIL and USED bits are turned over where the wrap counter says so: given as for a counter of 1.
 * Their completion is one that nobody waits for.
 */
void fe_vq_raw_descs(struct fe_vq *vq, const struct vring_packed_desc *descs, unsigned int n);

/* Waits for the back-end to say that the ring is broken (SET_VRING_ERR). 0 or -ETIMEDOUT. */
int fe_vq_wait_error(struct fe_vq *vq);

#endif
