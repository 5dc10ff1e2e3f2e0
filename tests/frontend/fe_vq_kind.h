/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What fe_vq.c wants of each kind of ring, and how all of them access its shared words. Only for
 * fe_vq.c, fe_vq_split and fe_vq_packed, and who includes these.
 */
#ifndef FE_VQ_KIND_H
#define FE_VQ_KIND_H

#include "tests/frontend/fe_vq.h"

/* The ring's shared words: one access each, never torn or repeated by the compiler. */
#define LOAD(x)      __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define STORE(x, v)  __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)
#define FULL_FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* A chain as it is to stand in the ring: `n` descriptors. */
struct fe_chain {
	const struct fe_seg *direct;
	unsigned int n_direct;
	struct fe_seg table; /* the indirect table, which is the last descriptor if n > n_direct */
	unsigned int n;
};

struct fe_vq_kind {
	/* Places the ring's parts in guest memory; where there is no room, the pointer is NULL. */
	bool (*place)(struct fe_vq *vq);
	/* Empty, at this base; the common fields are reset already. */
	void (*reset)(struct fe_vq *vq, uint32_t base);
	/* Takes what a chain needs, for which there is room, and writes it there. Its head. */
	uint16_t (*take)(struct fe_vq *vq, const struct fe_chain *chain);
	/* The same, and makes it available. */
	uint16_t (*add)(struct fe_vq *vq, const struct fe_chain *chain);
	void (*fill_table)(void *table, const struct fe_seg *segs, unsigned int n);
	void (*publish)(struct fe_vq *vq);
	/* Does the device want a kick for what was published since we last asked? */
	bool (*wants_kick)(struct fe_vq *vq);
	/* Has it said that it wants one for the next chain? */
	bool (*rests)(const struct fe_vq *vq);
	/* The next completion as it stands there; false if there is none. */
	bool (*peek)(const struct fe_vq *vq, struct fe_used *used);
	/* Steps over it, and gives back the descriptors of `head`: NULL, nobody's. */
	void (*consume)(struct fe_vq *vq, const uint16_t *head);
	unsigned int (*n_used)(const struct fe_vq *vq);
	uint32_t (*used_base)(const struct fe_vq *vq);
	/* Tells the device when to call. */
	void (*want_call)(struct fe_vq *vq, unsigned int after);
	void (*want_no_call)(struct fe_vq *vq);
};

extern const struct fe_vq_kind fe_vq_split, fe_vq_packed;

/* Descriptor `i` of the chain, with the flags that every kind has. */
static inline const struct fe_seg *fe_chain_seg(const struct fe_chain *chain, unsigned int i,
						uint16_t *flags)
{
	const bool indirect = i == chain->n_direct;
	const struct fe_seg *seg = indirect ? &chain->table : &chain->direct[i];

	*flags = (uint16_t)((seg->write ? VRING_DESC_F_WRITE : 0) |
			    (indirect ? VRING_DESC_F_INDIRECT : 0) |
			    (i + 1 < chain->n ? VRING_DESC_F_NEXT : 0));
	return seg;
}

#endif
