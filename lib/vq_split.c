/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Split virtqueues (virtio 2.7): pop, push, publish, and the notifications both ways. Worker
 * thread. Barriers are where the specification's "suitable memory barrier" stands; they pair
 * with those of the driver.
 */
#include <errno.h>
#include <stddef.h>

#include "vhu_fd.h"
#include "vq.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Rings are little-endian (or the guest's order, with legacy drivers); so must be the host."
#endif

/* The fields that follow the rings when EVENT_IDX is negotiated (virtio 2.7.7, 2.7.10). */
static uint16_t load_used_event(const struct vublk_queue *vq)
{
	return __atomic_load_n(&vq->split.avail->ring[vq->size], __ATOMIC_RELAXED);
}

static void store_avail_event(struct vublk_queue *vq, uint16_t value)
{
	/* It follows ring[], 2 bytes where an element would have 8. */
	uint16_t *event =
		(uint16_t *)(void *)((char *)vq->split.used + offsetof(struct vring_used, ring) +
				     vq->size * sizeof(struct vring_used_elem));

	__atomic_store_n(event, value, __ATOMIC_RELAXED);
}

/* How many entries are available; more than the ring has is the driver's fault. */
static int available(struct vublk_queue *vq)
{
	/* Acquire: what the driver wrote before it moved the index is visible after this. */
	const uint16_t idx = __atomic_load_n(&vq->split.avail->idx, __ATOMIC_ACQUIRE);
	const uint16_t n = (uint16_t)(idx - vq->next_avail);

	if (n > vq->size)
		return vq_break(vq, "available index %u, but %u was next in a ring of %u", idx,
				vq->next_avail, vq->size);
	return n;
}

int vublk_queue_pop(struct vublk_queue *vq, struct vublk_chain *chain)
{
	uint16_t head;
	int err;

	if (vq->broken)
		return -EPROTO;
	err = available(vq);
	if (err <= 0)
		return err;
	head = __atomic_load_n(&vq->split.avail->ring[vq->next_avail & (vq->size - 1)],
			       __ATOMIC_RELAXED);
	if (head >= vq->size)
		return vq_break(vq, "descriptor %u made available in a ring of %u", head, vq->size);
	err = vq_chain_walk(vq, chain, head);
	if (err)
		return err;
	vq->next_avail++;
	return 1;
}

void vublk_queue_push(struct vublk_queue *vq, struct vublk_chain *chain, uint32_t written)
{
	const uint16_t at = (uint16_t)(vq->used_idx + vq->n_pushed) & (vq->size - 1);

	vq->split.used->ring[at] = (struct vring_used_elem){.id = chain->id, .len = written};
	vq->n_pushed++;
	vq_lease_put(chain->lease);
	chain->lease = NULL;
	vq_chain_release(vq, chain);
}

/* virtio 2.7.7 "Used Buffer Notification Suppression", for the whole batch. */
static bool wants_call(struct vublk_queue *vq)
{
	const uint16_t old = vq->called_idx;
	const bool first = !vq->called;

	if (!vq->event_idx)
		return !(__atomic_load_n(&vq->split.avail->flags, __ATOMIC_RELAXED) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	vq->called = true;
	vq->called_idx = vq->used_idx;
	return first || vring_need_event(load_used_event(vq), vq->used_idx, old);
}

void vublk_queue_publish(struct vublk_queue *vq)
{
	if (!vq->n_pushed)
		return;
	vq->used_idx = (uint16_t)(vq->used_idx + vq->n_pushed);
	vq->n_pushed = 0;
	/* Release: the elements, and the data before them, come first. */
	__atomic_store_n(&vq->split.used->idx, vq->used_idx, __ATOMIC_RELEASE);
	/* The index must be seen before we look whether the driver sleeps. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (wants_call(vq))
		vhu_fd_signal(vq->call_fd);
}

/* virtio 2.7.10 "Available Buffer Notification Suppression" */
bool vublk_queue_want_kicks(struct vublk_queue *vq, bool want)
{
	if (vq->broken)
		return false;
	if (vq->event_idx) {
		/* Without a wish the old event stays behind us: no kick until the index laps it. */
		if (want)
			store_avail_event(vq, vq->next_avail);
	} else if (want != vq->kicks_wanted) {
		__atomic_store_n(&vq->split.used->flags, want ? 0 : VRING_USED_F_NO_NOTIFY,
				 __ATOMIC_RELAXED);
	}
	vq->kicks_wanted = want;
	if (!want)
		return false;
	/* The wish must be seen before we look for the last time. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&vq->split.avail->idx, __ATOMIC_RELAXED) != vq->next_avail;
}
