/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See vq/track.h: what both layouts of the in-flight region share.
 *
 * Theory of operation. Before any of this runs, nothing of an earlier process's I/O goes on
 * (vublk_queue_begin() is called when there is a fence, doc/architecture.md), and doing again what
 * is in flight is harmless: the guest may not look at its buffers, and does not know whether data
 * is on the disk. Completing it again is not.
 *
 * Recovery may itself be killed at any store. So it stores only what it would store again: it
 * clears what was completed, completes or undoes the last batch by what the ring says (the ring is
 * changed only when that is written down), and numbers the requests in flight in their order:
 *
 *	both-recover-counter	Numbered from 0 upwards. The i-th of different numbers in order is
 *				at least i, so the new ones are below the old ones at each moment,
 *				and the order is kept.
 *
 * The region may hold anything. Each number in it is compared with the ring's and the region's size
 * before it is used; lists are followed at most as far as there are entries, and no entry may be
 * in two. What cannot be is refused: the queue does not start.
 */
#include "vq/track.h"

#include <errno.h>
#include <stdlib.h>

#include "log.h"
#include "vq/kill_point.h"
#include "vq/ring.h"

/* Does the region have a place for the ring? 1, 0, or -EINVAL if the two contradict. */
static int has_place(const struct vublk_queue *vq, const struct vhu_inflight *inflight)
{
	const unsigned n = vhu_inflight_queue_size(inflight);
	const bool packed = vhu_inflight_is_packed(inflight);

	if (packed != vq->packed) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: queue %u: the in-flight region is for %s rings, but this one is not",
			vq->name, vq->index, packed ? "packed" : "split");
		return -EINVAL;
	}
	if (vhu_inflight_queue(inflight, vq->index) && n >= vq->size)
		return 1;
	vhu_log(VUBLK_LOG_WARNING,
		"%s: queue %u: its requests in flight are not tracked, and would be lost if this "
		"process were killed: the in-flight region is for rings of %u entries, and this "
		"one has %u; the next reset of the device brings a region that fits, else set the "
		"front-end's queue size to %u",
		vq->name, vq->index, n, vq->size, vq->size);
	return 0;
}

int vq_track_new(struct vublk_queue *vq, struct vhu_inflight *inflight)
{
	void *region = vhu_inflight_queue(inflight, vq->index);
	const unsigned n = vhu_inflight_queue_size(inflight);
	const int place = has_place(vq, inflight);
	struct vq_track *track;

	if (place <= 0)
		return place;
	track = aligned_alloc(_Alignof(struct vq_track), sizeof(*track));
	if (!track)
		return -ENOMEM;
	*track = (struct vq_track){.inflight = vhu_inflight_get(inflight), .n = n};
	vq->track = track;
	if (vq->packed)
		track->packed = region;
	else
		track->split = region;
	track->recovered = calloc(n, sizeof(*track->recovered));
	track->busy = calloc(n, sizeof(*track->busy));
	track->entry = calloc(n, sizeof(*track->entry));
	return track->recovered && track->busy && track->entry ? 0 : -ENOMEM;
}

void vq_track_free(struct vq_track *track)
{
	if (!track)
		return;
	vhu_inflight_put(track->inflight);
	free(track->recovered);
	free(track->busy);
	free(track->entry);
	free(track);
}

bool vq_track_has_left(const struct vq_track *track, bool packed)
{
	for (unsigned i = 0; vq_track_is_used(track) && i < track->n; i++) {
		const uint8_t *at =
			packed ? &track->packed->desc[i].inflight : &track->split->desc[i].inflight;

		if (__atomic_load_n(at, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

bool vq_track_is_used(const struct vq_track *track)
{
	/* Both layouts begin alike. */
	return track && __atomic_load_n(&track->split->version, __ATOMIC_RELAXED);
}

static int by_counter(const void *a, const void *b)
{
	const uint64_t x = ((const struct vq_recovered *)a)->counter;
	const uint64_t y = ((const struct vq_recovered *)b)->counter;

	return (x > y) - (x < y);
}

int vq_track_recover(struct vublk_queue *vq)
{
	struct vq_track *track = vq->track;
	int err;

	track->n_recovered = track->next_recovered = 0;
	err = vq->packed ? vq_track_packed_recover(vq) : vq_track_split_recover(vq);
	if (err)
		return err;
	/* "Resubmit inflight ... entries in order of their counter value" */
	qsort(track->recovered, track->n_recovered, sizeof(*track->recovered), by_counter);
	/*
	 * Renumbered, for the largest one may be just before its wrap. The i-th of different
	 * numbers in order is at least i, so going upwards no order is lost if this is interrupted.
	 */
	for (unsigned i = 0; i < track->n_recovered; i++) {
		const uint16_t at = track->recovered[i].at;

		if (vq->packed)
			__atomic_store_n(&track->packed->desc[at].counter, i, __ATOMIC_RELEASE);
		else
			__atomic_store_n(&track->split->desc[at].counter, i, __ATOMIC_RELEASE);
		VQ_KILL_POINT("both-recover-counter");
	}
	track->counter = track->n_recovered;
	vq->n_taken = track->n_recovered;
	if (track->n_recovered)
		vhu_log(VUBLK_LOG_INFO,
			"%s: queue %u: resubmitting the %u requests that were in flight", vq->name,
			vq->index, track->n_recovered);
	return 0;
}

/*
 * A note lies in the padding of the header, or of the first entry: four bytes, and one that says
 * what there is. Back-ends that know nothing of notes may leave anything in them.
 */
enum {
	NOTED = 0xb7,         /* a value */
	NOTED_FLAGGED = 0xb6, /* a value and the flag */
	FLAGGED = 0xb5,       /* the flag */
	NOTHING_NOTED = 0,
	NOTE_KIND = 4, /* where this is, behind the value */
};

static uint8_t *note_in(void *region, bool packed)
{
	return packed ? ((struct inflight_packed *)region)->padding
		      : ((struct inflight_split *)region)->desc[0].padding;
}

static uint8_t *note_of(const struct vq_track *track, bool packed)
{
	return packed ? note_in(track->packed, true) : note_in(track->split, false);
}

struct vublk_note vq_track_noted(const struct vq_track *track, bool packed)
{
	const uint8_t *at = note_of(track, packed);
	const uint8_t kind = __atomic_load_n(&at[NOTE_KIND], __ATOMIC_SEQ_CST);
	struct vublk_note note = {.flag = kind == NOTED_FLAGGED || kind == FLAGGED};

	for (unsigned i = 0; i < 4 && (kind == NOTED || kind == NOTED_FLAGGED); i++)
		note.value |= (uint32_t)__atomic_load_n(&at[i], __ATOMIC_RELAXED) << 8 * i;
	return note;
}

void vq_track_note(const struct vq_track *track, bool packed, const struct vublk_note *note)
{
	uint8_t kind = note->flag ? FLAGGED : NOTHING_NOTED;
	uint8_t *at = note_of(track, packed);

	__atomic_store_n(&at[NOTE_KIND], kind, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 4; i++)
		__atomic_store_n(&at[i], (uint8_t)(note->value >> 8 * i), __ATOMIC_RELEASE);
	/* A flag that was set meanwhile stays; vublk_dev_flag_notes()'s caller writes once more. */
	__atomic_compare_exchange_n(&at[NOTE_KIND], &kind, note->flag ? NOTED_FLAGGED : NOTED,
				    false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

void vq_track_flag(void *region, bool packed, bool flag)
{
	uint8_t *at = &note_in(region, packed)[NOTE_KIND];
	const uint8_t kind = __atomic_load_n(at, __ATOMIC_SEQ_CST);

	if (kind == NOTED || kind == NOTED_FLAGGED)
		__atomic_store_n(at, flag ? NOTED_FLAGGED : NOTED, __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(at, flag ? FLAGGED : NOTHING_NOTED, __ATOMIC_SEQ_CST);
}

int vq_track_corrupt(const struct vublk_queue *vq, const char *why)
{
	vhu_log(VUBLK_LOG_ERROR, "%s: queue %u: the in-flight region is corrupt: %s", vq->name,
		vq->index, why);
	return -EINVAL;
}
