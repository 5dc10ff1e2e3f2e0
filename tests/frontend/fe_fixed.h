/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fixed chains: the fast way to drive a ring, for load generators. A chain's descriptors are made
 * once; to make it available again costs one entry of the available ring (split), or the chain's
 * descriptors copied from a template (packed). A ring is driven either so or by fe_vq_add*() and
 * fe_vq_reap(), not both; fe_vq_reset() forgets its fixed chains.
 *
 * The calls take the kind of ring as an argument that is meant to be a constant, so that a loop is
 * compiled once for each kind and nothing is called through a pointer. What comes back from the
 * device is not checked: fe_fixed_peek() says what stands there, whoever asks compares.
 */
#ifndef FE_FIXED_H
#define FE_FIXED_H

#include "tests/frontend/fe_vq_packed.h"
#include "tests/frontend/fe_vq_split.h"

#define FE_FIXED_MAX 3 /* descriptors of a chain: a header, data, a status byte */

struct fe_fixed {
	uint16_t head; /* what names it in the used ring; below the queue size */
	uint16_t n;
	struct vring_packed_desc desc[FE_FIXED_MAX]; /* packed: without AVAIL and USED */
};

/*
 * Takes descriptors for a chain of `segs` for good: n of them, or, unless `table` is FE_NO_ADDR,
 * one that points to an indirect table made at that guest address (16 bytes a segment).
 * 0, -ENOSPC or -EFAULT.
 */
int fe_fixed_init(struct fe_vq *vq, struct fe_fixed *fixed, const struct fe_seg *segs,
		  unsigned int n, uint64_t table);

/*
 * Where the flags of its i-th segment are, so that WRITE can be turned over while the chain is not
 * in flight. `table` as it was given; `fixed` must stay where it is.
 */
uint16_t *fe_fixed_flags(struct fe_vq *vq, struct fe_fixed *fixed, unsigned int i, uint64_t table);

/* Makes it available; it must not be in flight. Not seen by the device before the publishing. */
static inline void fe_fixed_push(struct fe_vq *vq, const struct fe_fixed *fixed, bool packed)
{
	struct fe_packed *p = &vq->packed;

	if (!packed) {
		fe_split_push(vq, fixed->head);
		return;
	}
	for (unsigned int i = 0; i < fixed->n; i++) {
		struct vring_packed_desc *desc = &p->desc[p->avail.idx];

		desc->addr = fixed->desc[i].addr;
		desc->len = fixed->desc[i].len;
		desc->id = fixed->desc[i].id;
		fe_packed_put_flags(
			vq, (uint16_t)(fixed->desc[i].flags | fe_packed_available(p->avail.wrap)));
	}
}

static inline void fe_fixed_publish(struct fe_vq *vq, bool packed)
{
	if (packed)
		fe_packed_publish(vq);
	else
		fe_split_publish(vq);
}

/* After publishing: does the device want a kick? As fe_vq_kick(), which also gives it. */
static inline bool fe_fixed_wants_kick(struct fe_vq *vq, bool packed)
{
	FULL_FENCE();
	return packed ? fe_packed_wants_kick(vq) : fe_split_wants_kick(vq);
}

/* How many completions wait; of a packed ring only whether there is one, 1 or 0. */
static inline unsigned int fe_fixed_n_used(const struct fe_vq *vq, bool packed)
{
	return packed ? fe_packed_is_used(vq, vq->packed.used) : fe_split_n_used(vq);
}

/* The next of those: the head, or whatever number the device has written there. */
static inline uint32_t fe_fixed_peek(const struct fe_vq *vq, bool packed)
{
	if (packed)
		return vq->packed.desc[vq->packed.used.idx].id;
	return vq->ring.used->ring[vq->used_idx & (vq->num - 1)].id;
}

/* Steps over it: over the completion of this chain. */
static inline void fe_fixed_step(struct fe_vq *vq, const struct fe_fixed *fixed, bool packed)
{
	if (packed)
		vq->packed.used = fe_packed_advance(vq, vq->packed.used, fixed->n);
	else
		vq->used_idx++;
}

#endif
