/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packed virtqueues (virtio 2.8): pop, publish, and the notifications both ways. Worker thread.
 *
 * Theory of operation. There is one ring, in which the driver's available descriptors turn into
 * our used ones. Two bits of each descriptor's flags, compared with a wrap counter, tell which it
 * is. We have two positions in it: where the next available descriptor will be, and where the
 * next used one goes. A request takes as many slots as it has descriptors, and is completed in
 * the first one of as many slots; so the used position never overtakes the available one, unless
 * the driver makes the same slots available twice, which `in_use` tells.
 */
#include <errno.h>
#include <string.h>

#include "guest.h"
#include "vq/dirty.h"
#include "vq/kill_point.h"
#include "vq/ring.h"
#include "vq/track.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

#define EVENT_WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

void vq_packed_advance(const struct vublk_queue *vq, uint16_t *idx, bool *wrap, unsigned n)
{
	const unsigned next = *idx + n;

	if (next >= vq->size) {
		*idx = (uint16_t)(next - vq->size);
		*wrap = !*wrap;
	} else {
		*idx = (uint16_t)next;
	}
}

/* virtio 2.8.1: available are those whose AVAIL bit is the wrap counter and whose USED is not. */
static bool is_available(uint16_t flags, bool wrap)
{
	return !(flags & AVAIL) != wrap && !(flags & USED) == wrap;
}

/* ---- pop ---- */

/* Adds what a copied descriptor says. */
static int add(struct vublk_queue *vq, struct vublk_chain *chain,
	       const struct vring_packed_desc *desc, unsigned seen)
{
	if (!(desc->flags & VRING_DESC_F_INDIRECT))
		return vq_chain_add(vq, chain, desc->addr, desc->len,
				    desc->flags & VRING_DESC_F_WRITE);
	/* virtio 2.8.5: "each list only contains descriptors of a given type" */
	if (seen || desc->flags & VRING_DESC_F_NEXT)
		return vq_break(vq, "an indirect descriptor in a list of others");
	return vq_chain_add_indirect(vq, chain, desc->addr, desc->len);
}

static struct vring_packed_desc copy(const struct vublk_queue *vq, uint16_t idx)
{
	struct vring_packed_desc desc;

	memcpy(&desc, &vq->ring.packed.desc[idx], sizeof(desc));
	/* Keep the compiler from going back to the original. */
	__asm__ volatile("" : "+m"(desc));
	return desc;
}

/* Takes the list of descriptors at next_avail, of which the first one is available. */
static int walk(struct vublk_queue *vq, struct vublk_chain *chain)
{
	uint16_t idx = vq->next_avail;
	bool wrap = vq->avail_wrap;

	if (vq->track)
		vq_track_packed_begin(vq);
	for (unsigned seen = 0; seen < (unsigned)vq->size - vq->in_use; seen++) {
		const struct vring_packed_desc desc = copy(vq, idx);
		int err = add(vq, chain, &desc, seen);

		if (!err && vq->track)
			err = vq_track_packed_add(vq, &desc);
		if (err)
			return err;
		vq_packed_advance(vq, &idx, &wrap, 1);
		if (desc.flags & VRING_DESC_F_NEXT)
			continue;
		chain->id = desc.id;
		chain->num = (uint16_t)(seen + 1);
		if (vq->track)
			chain->entry = vq_track_packed_end(vq);
		vq->next_avail = idx;
		vq->avail_wrap = wrap;
		return 0;
	}
	return vq_break(vq, "more descriptors are available than the ring of %u has", vq->size);
}

/* Takes a request of an earlier process: its descriptors are in the in-flight region. */
static int walk_recovered(struct vublk_queue *vq, struct vublk_chain *chain)
{
	struct vq_track *track = vq->track;
	const uint16_t first = track->recovered[track->next_recovered].at;
	const unsigned num = track->entry[first].num;
	uint16_t entry = first;

	for (unsigned seen = 0; seen < num; seen++) {
		const struct vring_packed_desc desc = vq_track_packed_desc(track, entry);
		int err = add(vq, chain, &desc, seen);

		if (err)
			return err;
		chain->id = desc.id;
		entry = track->entry[entry].next;
	}
	chain->num = (uint16_t)num;
	chain->entry = first;
	track->next_recovered++;
	return 0;
}

int vq_packed_pop(struct vublk_queue *vq, struct vublk_chain *chain)
{
	const bool again = vq_track_n_unpopped(vq->track);
	int err;

	if (!again) {
		/* Acquire: what the driver wrote before it set the flags is visible after this. */
		const uint16_t flags = __atomic_load_n(&vq->ring.packed.desc[vq->next_avail].flags,
						       __ATOMIC_ACQUIRE);

		if (!is_available(flags, vq->avail_wrap))
			return 0;
	}
	vq_chain_begin(vq, chain);
	err = again ? walk_recovered(vq, chain) : walk(vq, chain);
	if (err)
		return err;
	if (__builtin_expect(vq->faulted, 0))
		vq_iommu_cut(vq, chain);
	vq_chain_end(chain);
	if (!again) { /* the others were counted at the start */
		vq->in_use = (uint16_t)(vq->in_use + chain->num);
		vq->n_taken++;
	}
	return 1;
}

/* ---- publish ---- */

/*
 * virtio 2.8.10: does the driver want to be called, now that the n slots from (idx, wrap) on have
 * been used?
 */
static bool wants_call(struct vublk_queue *vq, uint16_t idx, bool wrap, unsigned n)
{
	const struct vring_packed_desc_event *driver = vq->ring.packed.driver;
	const uint16_t flags = __atomic_load_n(&driver->flags, __ATOMIC_RELAXED) & 3;
	const bool first = !vq->called;
	uint16_t off_wrap;
	int distance;

	vq->called = true;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !vq->event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	off_wrap = __atomic_load_n(&driver->off_wrap, __ATOMIC_RELAXED);
	distance = (int)(off_wrap & ~EVENT_WRAP) - idx;
	if (!(off_wrap & EVENT_WRAP) == wrap)
		distance += vq->size;
	return first || (distance >= 0 && distance < (int)n);
}

/* The used descriptor for a pushed request, without its flags, and these. */
static uint16_t write_used(struct vublk_queue *vq, const struct vq_pushed *pushed, uint16_t idx,
			   bool wrap)
{
	guest_store_used_packed(&vq->ring.packed.desc[idx], pushed->id, pushed->len);
	return (uint16_t)((wrap ? AVAIL | USED : 0) | (pushed->len ? VRING_DESC_F_WRITE : 0));
}

/* The slots of what was pushed, from `idx` on. */
static void mark_published(struct vublk_queue *vq, uint16_t idx)
{
	bool wrap = false;

	for (unsigned i = 0; i < vq->n_pushed; i++) {
		vq_dirty(vq, &vq->ring.packed.desc[idx], sizeof(vq->ring.packed.desc[idx]));
		vq_packed_advance(vq, &idx, &wrap, vq->pushed[i].num);
	}
}

void vq_packed_publish(struct vublk_queue *vq)
{
	const uint16_t first = vq->used_idx;
	const bool first_wrap = vq->used_wrap;
	uint16_t idx = first, first_flags = 0;
	bool wrap = first_wrap;
	unsigned slots = 0;

	for (unsigned i = 0; i < vq->n_pushed; i++)
		slots += vq->pushed[i].num;
	vq_packed_advance(vq, &vq->used_idx, &vq->used_wrap, slots);
	if (vq->track)
		vq_track_packed_link(vq);
	/* The driver looks at the first slot only, so the others may come before it. */
	for (unsigned i = 0; i < vq->n_pushed; i++) {
		const uint16_t flags = write_used(vq, &vq->pushed[i], idx, wrap);

		if (i)
			guest_release16(&vq->ring.packed.desc[idx].flags, flags);
		else
			first_flags = flags;
		VQ_KILL_POINT("packed-give-slot");
		vq_packed_advance(vq, &idx, &wrap, vq->pushed[i].num);
	}
	guest_release16(&vq->ring.packed.desc[first].flags, first_flags);
	if (__builtin_expect(vq->log != NULL, 0))
		mark_published(vq, first);
	vq->in_use = (uint16_t)(vq->in_use - slots);
	if (vq->track)
		vq_track_packed_commit(vq);
	/* The flags must be seen before we look whether the driver sleeps. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (wants_call(vq, first, first_wrap, slots))
		vq_call(vq);
}

/* ---- notifications ---- */

bool vq_packed_wants_no_calls(const struct vublk_queue *vq)
{
	return (__atomic_load_n(&vq->ring.packed.driver->flags, __ATOMIC_RELAXED) & 3) ==
	       VRING_PACKED_EVENT_FLAG_DISABLE;
}

bool vq_packed_want_kicks(struct vublk_queue *vq, bool want)
{
	struct vring_packed_desc_event *device = vq->ring.packed.device;
	uint16_t flags = VRING_PACKED_EVENT_FLAG_DISABLE;

	if (want) {
		flags = VRING_PACKED_EVENT_FLAG_ENABLE;
		if (vq->event_idx) {
			const unsigned event = vq->next_avail | (vq->avail_wrap ? EVENT_WRAP : 0);

			flags = VRING_PACKED_EVENT_FLAG_DESC;
			guest_store16(&device->off_wrap, (uint16_t)event);
		}
	}
	/* Release: the driver reads the offset after the flags. */
	if (want || vq->kicks_wanted)
		guest_release16(&device->flags, flags);
	if (__builtin_expect(vq->log != NULL, 0))
		vq_dirty(vq, device, sizeof(*device));
	vq->kicks_wanted = want;
	if (!want)
		return false;
	/* The wish must be seen before we look for the last time. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return is_available(
		__atomic_load_n(&vq->ring.packed.desc[vq->next_avail].flags, __ATOMIC_RELAXED),
		vq->avail_wrap);
}
