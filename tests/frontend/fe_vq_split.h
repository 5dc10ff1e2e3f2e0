/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shared words of a split ring as its driver uses them (virtio 1.2, section 2.7), inline for
 * fe_vq_split.c and for those to whom a call for each request is too much (fe_fixed.h).
 */
#ifndef FE_VQ_SPLIT_H
#define FE_VQ_SPLIT_H

#include "tests/frontend/fe_vq_kind.h"

static inline uint16_t *fe_split_used_event(const struct fe_vq *vq)
{
	return &vq->ring.avail->ring[vq->num];
}

static inline uint16_t *fe_split_avail_event(const struct fe_vq *vq)
{
	return (uint16_t *)&vq->ring.used->ring[vq->num];
}

/* Puts `head` into the available ring; not yet published. */
static inline void fe_split_push(struct fe_vq *vq, uint16_t head)
{
	vq->ring.avail->ring[vq->avail_idx++ & (vq->num - 1)] = head;
}

static inline void fe_split_publish(struct fe_vq *vq)
{
	STORE(vq->ring.avail->idx, vq->avail_idx);
}

/* 2.7.13.4: behind a full fence after publishing. */
static inline bool fe_split_wants_kick(struct fe_vq *vq)
{
	const uint16_t old = vq->kicked;

	vq->kicked = vq->avail_idx;
	if (vq->event_idx)
		return vring_need_event(LOAD(*fe_split_avail_event(vq)), vq->avail_idx, old);
	return !(LOAD(vq->ring.used->flags) & VRING_USED_F_NO_NOTIFY);
}

static inline unsigned int fe_split_n_used(const struct fe_vq *vq)
{
	return (uint16_t)(LOAD(vq->ring.used->idx) - vq->used_idx);
}

/* Of what fe_split_n_used() has told of: the next one, stepped over. */
static inline struct vring_used_elem fe_split_take(struct fe_vq *vq)
{
	return vq->ring.used->ring[vq->used_idx++ & (vq->num - 1)];
}

static inline void fe_split_want_call(struct fe_vq *vq, unsigned int after)
{
	if (vq->event_idx)
		STORE(*fe_split_used_event(vq), (uint16_t)(vq->used_idx + after));
	else
		STORE(vq->ring.avail->flags, 0);
}

static inline void fe_split_want_no_call(struct fe_vq *vq)
{
	if (vq->event_idx) /* never, that is: half the index space away */
		STORE(*fe_split_used_event(vq), (uint16_t)(vq->used_idx + 0x8000));
	else
		STORE(vq->ring.avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
}

#endif
