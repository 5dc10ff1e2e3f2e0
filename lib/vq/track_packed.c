/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The in-flight region of a packed ring. See vq/track.h.
 *
 * A packed ring's available descriptors are overwritten by used ones, so they are copied. A request
 * takes one entry for each of its descriptors, from the list of free ones; the first one stands
 * for all. A list ends with a number that is no entry's.
 *
 * Theory of operation. What a kill leaves, and what the next process makes of it: by the last kill
 * point that was passed (vq/kill_point.h). What holds for both kinds of rings is in vq/track.c.
 *
 * Taking a request stores its descriptors in entries; `last`, `num`, `counter` and inflight = 1 of
 * the first; free_head; old_free_head, which commits it:
 *
 *	take-desc, -counter,	Back to old_free_head: the entries are in the list of free ones,
 *	-inflight, -free-head	and what is there is not in flight, whatever it says. The ring's
 *				descriptors are available still, since used + slots in flight ends
 *				before them.
 *	take-old-free-head	The entries are not free, and the request is in flight.
 *
 * Completing a batch stores for each of it `next` of its last entry, and free_head; `used`; in the
 * ring all used descriptors but for the first one's flags, then these, which commit it; inflight =
 * 0 of each; old_free_head; old_used. (Both used indexes and their wrap counters share 8 bytes and
 * are stored at once: no kill comes between an index and its wrap.)
 *
 *	give-next, -free-head	`used` is old_used: back to old_free_head, and all are in flight. A
 *				link was written only where a last entry points, which is no part
 *				of a request's list.
 *	give-used, give-slot	The slot at old_used is available for the old wrap: the batch was
 *				not published. Back to old_free_head and old_used. Slots behind
 *				the first may be used ones already, which the next batch would
 *				expose: all from used on that are in flight are made available
 *				again before anything is published.
 *	give-flags,		That slot is not available for the old wrap: it is used, or the
 *	give-inflight,		driver has made it available for the next one. The batch was
 *	give-old-free-head	published, and old_free_head and then old_used follow. Its entries
 *				are in the list of free ones, so not in flight.
 *	give-old-used		`used` is old_used: done.
 *
 * The ring tells whether the batch was published, not the inflight bytes: they are cleared later.
 *
 * A packed ring has no index in memory. A region that nobody has used (version 0) begins at the
 * base and gets its version last; afterwards the base is not used, for front-ends send the one of
 * the last start:
 *
 *	fresh-used		Nobody has used it, still.
 *	fresh-version		It is used, and nothing is in flight.
 *
 * Recovery decides as above and stores its decision, the used indexes last; clears what is in the
 * list of free entries; makes slots available:
 *
 *	recover-free-head,	The ring's slot and the used indexes are as they were: the same
 *	-undo-free-head,	decision, and the same stores.
 *	-redo-free-head
 *	recover-undo-used,	`used` is old_used, and both heads of the list are the one that was
 *	-redo-used,		decided for, which says what is in flight. Slots are made available
 *	-inflight, -slot	in any case, those of a batch that was undone among them.
 *
 * Each store releases, so that all stores stand in program order: a kill leaves a prefix of them.
 */
#include <errno.h>

#include "guest.h"
#include "vq/kill_point.h"
#include "vq/ring.h"
#include "vq/track.h"

#define STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)
#define LOAD(place)         __atomic_load_n(&(place), __ATOMIC_RELAXED)

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

/* ---- taking and giving ---- */

void vq_track_packed_begin(struct vublk_queue *vq)
{
	vq->track->cursor = vq->track->free_head;
	vq->track->n_added = 0;
}

int vq_track_packed_add(struct vublk_queue *vq, const struct vring_packed_desc *desc)
{
	struct vq_track *track = vq->track;
	struct inflight_desc_packed *entry;

	if (track->cursor >= track->n)
		return vq_break(vq, "more descriptors in flight than the in-flight region has");
	entry = &track->packed->desc[track->cursor];
	STORE(entry->addr, desc->addr);
	STORE(entry->len, desc->len);
	STORE(entry->flags, desc->flags);
	STORE(entry->id, desc->id);
	VQ_KILL_POINT("packed-take-desc");
	track->last = track->cursor;
	track->cursor = track->entry[track->cursor].next;
	track->n_added++;
	return 0;
}

uint16_t vq_track_packed_end(struct vublk_queue *vq)
{
	struct vq_track *track = vq->track;
	struct inflight_packed *region = track->packed;
	const uint16_t first = track->free_head;

	track->entry[first].last = track->last;
	track->entry[first].num = track->n_added;
	STORE(region->desc[first].last, track->last);
	STORE(region->desc[first].num, track->n_added);
	STORE(region->desc[first].counter, track->counter++);
	VQ_KILL_POINT("packed-take-counter");
	STORE(region->desc[first].inflight, 1);
	VQ_KILL_POINT("packed-take-inflight");
	STORE(region->free_head, track->cursor);
	VQ_KILL_POINT("packed-take-free-head");
	/* Entries are taken at the old head, so this is what commits it. */
	STORE(region->old_free_head, track->cursor);
	VQ_KILL_POINT("packed-take-old-free-head");
	track->free_head = track->cursor;
	return first;
}

struct vring_packed_desc vq_track_packed_desc(const struct vq_track *track, uint16_t entry)
{
	const struct inflight_desc_packed *desc = &track->packed->desc[entry];

	return (struct vring_packed_desc){
		.addr = LOAD(desc->addr),
		.len = LOAD(desc->len),
		.id = LOAD(desc->id),
		.flags = LOAD(desc->flags),
	};
}

static void store_used(struct inflight_packed *region, union inflight_used_packed used)
{
	STORE(region->used.all, used.all);
}

void vq_track_packed_link(struct vublk_queue *vq)
{
	struct vq_track *track = vq->track;
	struct inflight_packed *region = track->packed;

	for (unsigned i = 0; i < vq->n_pushed; i++) {
		const uint16_t first = vq->pushed[i].entry, last = track->entry[first].last;

		track->entry[last].next = track->free_head;
		STORE(region->desc[last].next, track->free_head);
		VQ_KILL_POINT("packed-give-next");
		track->free_head = first;
		STORE(region->free_head, first);
		VQ_KILL_POINT("packed-give-free-head");
	}
	track->used.idx = vq->used_idx;
	track->used.wrap = vq->used_wrap;
	store_used(region, track->used);
	VQ_KILL_POINT("packed-give-used");
}

void vq_track_packed_commit(struct vublk_queue *vq)
{
	struct vq_track *track = vq->track;
	struct inflight_packed *region = track->packed;

	VQ_KILL_POINT("packed-give-flags");
	for (unsigned i = 0; i < vq->n_pushed; i++) {
		STORE(region->desc[vq->pushed[i].entry].inflight, 0);
		VQ_KILL_POINT("packed-give-inflight");
	}
	STORE(region->old_free_head, track->free_head);
	VQ_KILL_POINT("packed-give-old-free-head");
	track->used.old_idx = track->used.idx;
	track->used.old_wrap = track->used.wrap;
	store_used(region, track->used);
	VQ_KILL_POINT("packed-give-old-used");
}

/* ---- recovery ---- */

/* Nobody has used the region: the base says where we are. The version comes last. */
static int begin_fresh(struct vublk_queue *vq)
{
	struct vq_track *track = vq->track;
	struct inflight_packed *region = track->packed;

	for (unsigned i = 0; i < track->n; i++) {
		track->entry[i].next = (uint16_t)(i + 1);
		STORE(region->desc[i].next, (uint16_t)(i + 1));
		STORE(region->desc[i].inflight, 0);
	}
	track->free_head = 0;
	track->used = (union inflight_used_packed){
		.idx = vq->used_idx,
		.old_idx = vq->used_idx,
		.wrap = vq->used_wrap,
		.old_wrap = vq->used_wrap,
	};
	STORE(region->features, 0);
	STORE(region->desc_num, (uint16_t)track->n);
	STORE(region->free_head, 0);
	STORE(region->old_free_head, 0);
	store_used(region, track->used);
	VQ_KILL_POINT("packed-fresh-used");
	STORE(region->version, INFLIGHT_VERSION);
	VQ_KILL_POINT("packed-fresh-version");
	return 0;
}

static bool is_in_ring(const struct vublk_queue *vq, union inflight_used_packed used)
{
	return used.idx < vq->size && used.old_idx < vq->size && used.wrap <= 1 &&
	       used.old_wrap <= 1;
}

/* Is there a batch that the last process was about to publish, or was publishing? */
static bool is_batch(union inflight_used_packed used)
{
	return used.idx != used.old_idx || used.wrap != used.old_wrap;
}

/*
 * Was it published? The ring alone tells: its first slot is then no longer available with the wrap
 * counter of before.
 */
static bool is_published(const struct vublk_queue *vq, union inflight_used_packed used)
{
	const uint16_t *flags = &vq->ring.packed.desc[used.old_idx].flags;
	const unsigned now = __atomic_load_n(flags, __ATOMIC_ACQUIRE) & (AVAIL | USED);

	return now != (used.old_wrap ? AVAIL : USED);
}

static void undo_batch(union inflight_used_packed *used)
{
	used->idx = used->old_idx;
	used->wrap = used->old_wrap;
}

void vq_track_packed_find_base(struct vublk_queue *vq)
{
	const struct inflight_packed *region = vq->track->packed;
	union inflight_used_packed used = {.all = LOAD(region->used.all)};

	if (LOAD(region->version) != INFLIGHT_VERSION || !is_in_ring(vq, used))
		return;
	if (is_batch(used) && !is_published(vq, used))
		undo_batch(&used);
	vq->base = vq_packed_base(used.idx, used.wrap, used.idx, used.wrap);
}

/* Completes or undoes what the last process was at. */
static int reconcile(struct vublk_queue *vq)
{
	struct vq_track *track = vq->track;
	struct inflight_packed *region = track->packed;
	union inflight_used_packed used = {.all = LOAD(region->used.all)};

	if (!is_in_ring(vq, used))
		return vq_track_corrupt(vq, "its used index is not in this ring");
	if (!is_batch(used)) {
		/* It was taking a request, or at nothing. */
		track->free_head = LOAD(region->old_free_head);
		STORE(region->free_head, track->free_head);
		VQ_KILL_POINT("packed-recover-free-head");
	} else if (!is_published(vq, used)) {
		track->free_head = LOAD(region->old_free_head);
		STORE(region->free_head, track->free_head);
		VQ_KILL_POINT("packed-recover-undo-free-head");
		undo_batch(&used);
		store_used(region, used);
		VQ_KILL_POINT("packed-recover-undo-used");
	} else {
		track->free_head = LOAD(region->free_head);
		STORE(region->old_free_head, track->free_head);
		VQ_KILL_POINT("packed-recover-redo-free-head");
		used.old_idx = used.idx;
		used.old_wrap = used.wrap;
		store_used(region, used);
		VQ_KILL_POINT("packed-recover-redo-used");
	}
	track->used = used;
	vq->used_idx = used.idx;
	vq->used_wrap = used.wrap;
	return 0;
}

/* Copies the list of free entries; what is in it is not in flight. */
static int load_free(struct vublk_queue *vq)
{
	struct vq_track *track = vq->track;
	unsigned at = track->free_head;

	while (at < track->n) {
		const uint16_t next = LOAD(track->packed->desc[at].next);

		if (track->busy[at])
			return vq_track_corrupt(vq, "a loop in its list of free entries");
		track->busy[at] = true; /* seen */
		track->entry[at].next = next;
		/* Most are 0 already, and there may be many. */
		if (LOAD(track->packed->desc[at].inflight)) {
			STORE(track->packed->desc[at].inflight, 0);
			VQ_KILL_POINT("packed-recover-inflight");
		}
		at = next;
	}
	return 0;
}

/* Copies the list of a request that begins at an entry; its number of slots, or -EINVAL. */
static int load_request(struct vublk_queue *vq, unsigned first)
{
	struct vq_track *track = vq->track;
	const struct inflight_desc_packed *desc = track->packed->desc;
	const uint16_t num = LOAD(desc[first].num), last = LOAD(desc[first].last);
	unsigned at = first;

	if (!num || num > vq->size)
		return vq_track_corrupt(vq, "a request in flight has a wrong length");
	for (unsigned i = 0; i < num; i++) {
		if (at >= track->n || track->busy[at])
			return vq_track_corrupt(vq, "two requests in flight share an entry");
		track->busy[at] = true;
		track->entry[at].next = LOAD(desc[at].next);
		if (i == num - 1u && at != last)
			return vq_track_corrupt(vq, "a request in flight has no end");
		at = track->entry[at].next;
	}
	track->entry[first].num = num;
	track->entry[first].last = last;
	track->recovered[track->n_recovered++] = (struct vq_recovered){
		.counter = LOAD(desc[first].counter),
		.at = (uint16_t)first,
	};
	return num;
}

/*
 * The slots that are taken, made available again for their wrap: a batch that was being published
 * when the process died may have left used descriptors behind its first slot, which the next
 * one would expose.
 */
static void restore_slots(struct vublk_queue *vq, unsigned slots)
{
	uint16_t idx = vq->used_idx;
	bool wrap = vq->used_wrap;

	for (unsigned i = 0; i < slots; i++) {
		uint16_t *flags = &vq->ring.packed.desc[idx].flags;
		const unsigned others = LOAD(*flags) & ~(AVAIL | USED);

		guest_release16(flags, (uint16_t)(others | (wrap ? AVAIL : USED)));
		VQ_KILL_POINT("packed-recover-slot");
		vq_packed_advance(vq, &idx, &wrap, 1);
	}
	vq->next_avail = idx;
	vq->avail_wrap = wrap;
}

int vq_track_packed_recover(struct vublk_queue *vq)
{
	struct vq_track *track = vq->track;
	const uint16_t version = LOAD(track->packed->version);
	unsigned slots = 0;
	int err;

	if (!version)
		return begin_fresh(vq);
	if (version != INFLIGHT_VERSION || LOAD(track->packed->features))
		return vq_track_corrupt(vq, "its version is unknown");
	if (LOAD(track->packed->desc_num) != track->n)
		return vq_track_corrupt(vq, "its queue size differs");
	err = reconcile(vq);
	if (!err)
		err = load_free(vq);
	for (unsigned i = 0; !err && i < track->n; i++) {
		if (!LOAD(track->packed->desc[i].inflight))
			continue;
		err = load_request(vq, i);
		if (err < 0)
			return err;
		slots += (unsigned)err;
		err = 0;
	}
	if (err)
		return err;
	if (slots > vq->size)
		return vq_track_corrupt(vq, "more is in flight than the ring has");
	restore_slots(vq, slots);
	return 0;
}
