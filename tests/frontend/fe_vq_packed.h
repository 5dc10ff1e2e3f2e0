/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shared words of a packed ring as its driver uses them (virtio 1.2, section 2.8), inline for
 * fe_vq_packed.c and for those to whom a call for each request is too much (fe_fixed.h).
 */
#ifndef FE_VQ_PACKED_H
#define FE_VQ_PACKED_H

#include "tests/frontend/fe_vq_kind.h"

#define FE_PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define FE_PACKED_USED  (1u << VRING_PACKED_DESC_F_USED)

/* Of an event's offset, and of each half of a base: an index and a wrap counter. */
#define FE_PACKED_POS_WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

static inline uint16_t fe_packed_pos_to_wire(struct fe_pos pos)
{
	return (uint16_t)(pos.idx | (pos.wrap ? FE_PACKED_POS_WRAP : 0));
}

static inline struct fe_pos fe_packed_pos_from_wire(uint16_t value)
{
	return (struct fe_pos){.idx = value & (FE_PACKED_POS_WRAP - 1),
			       .wrap = value & FE_PACKED_POS_WRAP};
}

static inline struct fe_pos fe_packed_advance(const struct fe_vq *vq, struct fe_pos pos,
					      unsigned int n)
{
	const unsigned int idx = pos.idx + n;

	if (idx < vq->num)
		return (struct fe_pos){.idx = (uint16_t)idx, .wrap = pos.wrap};
	return (struct fe_pos){.idx = (uint16_t)(idx - vq->num), .wrap = !pos.wrap};
}

/* 2.8.1: how a descriptor is marked as available, and as used, on its lap. */
static inline uint16_t fe_packed_available(bool wrap)
{
	return wrap ? FE_PACKED_AVAIL : FE_PACKED_USED;
}

static inline uint16_t fe_packed_used_up(bool wrap)
{
	return wrap ? FE_PACKED_AVAIL | FE_PACKED_USED : 0;
}

/*
 * Writes the flags of the next slot and steps over it. Those of the first slot of all that is not
 * yet published are held back: that is where the device looks, and it goes no further.
 */
static inline void fe_packed_put_flags(struct fe_vq *vq, uint16_t flags)
{
	struct fe_packed *p = &vq->packed;

	if (p->n_held++) {
		STORE(p->desc[p->avail.idx].flags, flags);
	} else {
		p->held = p->avail.idx;
		p->held_flags = flags;
	}
	p->avail = fe_packed_advance(vq, p->avail, 1);
}

static inline void fe_packed_publish(struct fe_vq *vq)
{
	struct fe_packed *p = &vq->packed;

	if (!p->n_held)
		return;
	STORE(p->desc[p->held].flags, p->held_flags);
	p->n_added += p->n_held;
	p->n_held = 0;
}

/* 2.8.10: is the descriptor that the device waits for among those published since? */
static inline bool fe_packed_wants_kick(struct fe_vq *vq)
{
	struct fe_packed *p = &vq->packed;
	/* The two halves in one access, which belong together. */
	const uint32_t both = LOAD(*(uint32_t *)(void *)p->device);
	const uint16_t flags = both >> 16 & 3;
	const struct fe_pos event = fe_packed_pos_from_wire((uint16_t)both);
	const unsigned int n = p->n_added;
	int behind = p->avail.idx - event.idx; /* descriptors from the event until now */

	p->n_added = 0;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	if (event.wrap != p->avail.wrap)
		behind += (int)vq->num;
	return behind > 0 && behind <= (int)n;
}

static inline bool fe_packed_is_used(const struct fe_vq *vq, struct fe_pos pos)
{
	return (LOAD(vq->packed.desc[pos.idx].flags) & (FE_PACKED_AVAIL | FE_PACKED_USED)) ==
	       fe_packed_used_up(pos.wrap);
}

static inline void fe_packed_want_call(struct fe_vq *vq, unsigned int after)
{
	struct vring_packed_desc_event *driver = vq->packed.driver;

	if (!vq->event_idx) {
		STORE(driver->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
		return;
	}
	/* The offset first: the flags make it valid. */
	STORE(driver->off_wrap,
	      fe_packed_pos_to_wire(fe_packed_advance(vq, vq->packed.used, after)));
	STORE(driver->flags, VRING_PACKED_EVENT_FLAG_DESC);
}

static inline void fe_packed_want_no_call(struct fe_vq *vq)
{
	STORE(vq->packed.driver->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
}

#endif
