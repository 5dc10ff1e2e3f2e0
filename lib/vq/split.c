/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Split virtqueues (virtio 2.7): pop, publish, and the notifications both ways. Worker thread.
 * Barriers are where the specification's "suitable memory barrier" stands; they pair with those
 * of the driver.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "guest.h"
#include "vq/dirty.h"
#include "vq/kill_point.h"
#include "vq/ring.h"
#include "vq/track.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Rings are little-endian (or the guest's order, with legacy drivers); so must be the host."
#endif

/* The fields that follow the rings when EVENT_IDX is negotiated (virtio 2.7.7, 2.7.10). */
static uint16_t load_used_event(const struct vublk_queue *vq)
{
	return __atomic_load_n(&vq->ring.split.avail->ring[vq->size], __ATOMIC_RELAXED);
}

static void store_avail_event(struct vublk_queue *vq, uint16_t value)
{
	/* It follows ring[], 2 bytes where an element would have 8. */
	uint16_t *event = (uint16_t *)(void *)((char *)vq->ring.split.used +
					       offsetof(struct vring_used, ring) +
					       vq->size * sizeof(struct vring_used_elem));

	guest_store16(event, value);
	if (__builtin_expect(vq->log != NULL, 0))
		vq_dirty(vq, event, sizeof(*event));
	vq->kick_event = value;
}

/* ---- pop ---- */

/* Follows the descriptors from `head`, each copied once. */
static int walk(struct vublk_queue *vq, struct vublk_chain *chain, uint16_t head)
{
	unsigned i = head;

	for (unsigned seen = 0; seen < vq->size; seen++) {
		struct vring_desc desc;
		int err;

		vq_copy_desc(&desc, &vq->ring.split.desc[i]);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			/* "zero or more normal descriptors followed by a single indirect one" */
			if (desc.flags & VRING_DESC_F_NEXT)
				return vq_break(vq, "an indirect descriptor with a next one");
			return vq_chain_add_indirect(vq, chain, desc.addr, desc.len);
		}
		err = vq_chain_add(vq, chain, desc.addr, desc.len, desc.flags & VRING_DESC_F_WRITE);
		if (err || !(desc.flags & VRING_DESC_F_NEXT))
			return err;
		i = desc.next;
		if (i >= vq->size)
			return vq_break(vq, "descriptor %u of a table of %u", i, vq->size);
	}
	return vq_break(vq, "a loop in the chain that begins at descriptor %u", head);
}

/* What the driver has written and we shall read soon: the lines come from its processor's cache. */
#define AHEAD 4 /* requests */

/* Fetches the descriptor of the request `n` behind the next one: a hint, nothing read is kept. */
static inline void prefetch_desc(const struct vublk_queue *vq, unsigned n)
{
	const uint16_t at = (uint16_t)(vq->next_avail + n) & (vq->size - 1);
	const uint16_t head =
		__atomic_load_n(&vq->ring.split.avail->ring[at], __ATOMIC_RELAXED) & (vq->size - 1);

	__builtin_prefetch(&vq->ring.split.desc[head]);
}

/* Reads how far the driver is. How many requests are available, or -EPROTO. */
static int look(struct vublk_queue *vq)
{
	/* Acquire: what the driver wrote before it moved the index is visible after this. */
	const uint16_t idx = __atomic_load_n(&vq->ring.split.avail->idx, __ATOMIC_ACQUIRE);
	const uint16_t n = (uint16_t)(idx - vq->next_avail);

	if (!n)
		return 0;
	if (n > vq->size)
		return vq_break(vq, "available index %u, but %u was next in a ring of %u", idx,
				vq->next_avail, vq->size);
	vq->seen_avail = idx;
	for (unsigned i = 1; i < n && i < AHEAD; i++)
		prefetch_desc(vq, i);
	return n;
}

/* The next available head. 1, 0 if there is none, -EPROTO. */
static int next_head(struct vublk_queue *vq, uint16_t *head)
{
	uint16_t n = (uint16_t)(vq->seen_avail - vq->next_avail);

	if (!n) {
		const int got = look(vq);

		if (got <= 0)
			return got;
		n = (uint16_t)got;
	}
	if (n > AHEAD)
		prefetch_desc(vq, AHEAD);
	*head = __atomic_load_n(&vq->ring.split.avail->ring[vq->next_avail & (vq->size - 1)],
				__ATOMIC_RELAXED);
	if (*head >= vq->size)
		return vq_break(vq, "descriptor %u made available in a ring of %u", *head,
				vq->size);
	return 1;
}

/* A request of an earlier process: where it was is in the in-flight region. */
static int pop_again(struct vublk_queue *vq, struct vublk_chain *chain)
{
	struct vq_track *track = vq->track;
	const uint16_t head = track->recovered[track->next_recovered].at;
	int err;

	vq_chain_begin(vq, chain);
	err = walk(vq, chain, head);
	if (err)
		return err;
	if (__builtin_expect(vq->faulted, 0))
		vq_iommu_cut(vq, chain);
	vq_chain_end(chain);
	chain->id = head;
	track->next_recovered++;
	return 1;
}

int vq_split_pop(struct vublk_queue *vq, struct vublk_chain *chain)
{
	uint16_t head;
	int err;

	if (vq_track_n_unpopped(vq->track))
		return pop_again(vq, chain);
	err = next_head(vq, &head);
	if (err <= 0)
		return err;
	/* Each has a descriptor of its own, at least; pushed[] has room for no more. */
	if (vq->n_taken >= vq->size)
		return vq_break(vq, "more requests in flight than its %u entries", vq->size);
	vq_chain_begin(vq, chain);
	err = walk(vq, chain, head);
	if (!err && vq->track)
		err = vq_track_split_take(vq, head);
	if (err)
		return err;
	if (__builtin_expect(vq->faulted, 0))
		vq_iommu_cut(vq, chain);
	vq_chain_end(chain);
	chain->id = head;
	vq->next_avail++;
	vq->n_taken++;
	return 1;
}

/* ---- publish ---- */

/* virtio 2.7.7 "Used Buffer Notification Suppression", for the whole batch. */
static bool wants_call(struct vublk_queue *vq)
{
	const uint16_t old = vq->called_idx;
	const bool first = !vq->called;

	if (!vq->event_idx)
		return !vq_split_wants_no_calls(vq);
	vq->called = true;
	vq->called_idx = vq->used_idx;
	return first || vring_need_event(load_used_event(vq), vq->used_idx, old);
}

/* The index, and the elements that it has just moved over. */
static void mark_published(struct vublk_queue *vq)
{
	const uint16_t first = (uint16_t)(vq->used_idx - vq->n_pushed);

	vq_dirty(vq, vq->ring.split.used, sizeof(struct vring_used));
	for (unsigned i = 0; i < vq->n_pushed; i++)
		vq_dirty(vq, &vq->ring.split.used->ring[(uint16_t)(first + i) & (vq->size - 1)],
			 sizeof(struct vring_used_elem));
}

void vq_split_publish(struct vublk_queue *vq)
{
	for (unsigned i = 0; i < vq->n_pushed; i++) {
		const uint16_t at = (uint16_t)(vq->used_idx + i) & (vq->size - 1);

		guest_store_used(&vq->ring.split.used->ring[at], vq->pushed[i].id,
				 vq->pushed[i].len);
		VQ_KILL_POINT("split-give-element");
	}
	if (vq->track)
		vq_track_split_link(vq);
	vq->used_idx = (uint16_t)(vq->used_idx + vq->n_pushed);
	/* Release: the elements, and the data before them, come first. */
	guest_release16(&vq->ring.split.used->idx, vq->used_idx);
	if (__builtin_expect(vq->log != NULL, 0))
		mark_published(vq);
	if (vq->track)
		vq_track_split_commit(vq);
	/* The index must be seen before we look whether the driver sleeps. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (wants_call(vq))
		vq_call(vq);
}

/* ---- notifications ---- */

bool vq_split_wants_no_calls(const struct vublk_queue *vq)
{
	return !vq->event_idx && __atomic_load_n(&vq->ring.split.avail->flags, __ATOMIC_RELAXED) &
					 VRING_AVAIL_F_NO_INTERRUPT;
}

/*
 * virtio 2.7.10 "Available Buffer Notification Suppression". Without a wish the event stays where
 * it is, behind us, so that the driver passes it again only when its index has gone all round;
 * before that it is moved along.
 */
bool vq_split_want_kicks(struct vublk_queue *vq, bool want)
{
	if (vq->event_idx) {
		if (want)
			store_avail_event(vq, vq->next_avail);
		else if ((uint16_t)(vq->next_avail - vq->kick_event) >= 0xc000)
			store_avail_event(vq, (uint16_t)(vq->next_avail - 0x8000));
	} else if (want != vq->kicks_wanted) {
		guest_store16(&vq->ring.split.used->flags, want ? 0 : VRING_USED_F_NO_NOTIFY);
		if (__builtin_expect(vq->log != NULL, 0))
			vq_dirty(vq, vq->ring.split.used, sizeof(struct vring_used));
	}
	vq->kicks_wanted = want;
	if (!want)
		return false;
	/* The wish must be seen before we look for the last time. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&vq->ring.split.avail->idx, __ATOMIC_RELAXED) != vq->next_avail;
}
