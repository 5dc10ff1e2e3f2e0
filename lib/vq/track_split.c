/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The in-flight region of a split ring. See vq/track.h.
 *
 * Theory of operation. What a kill leaves, and what the next process makes of it: by the last kill
 * point that was passed (vq/kill_point.h). What holds for both kinds of rings is in vq/track.c.
 *
 * Taking request h stores its counter, then inflight[h] = 1:
 *
 *	none, take-counter	h is not in flight. It is available still, for only the driver
 *				writes the available ring, and is taken again.
 *	take-inflight		h is in flight, and popped from the region. The next available one
 *				is the one behind it.
 *
 * For the second line, where the available ring goes on must follow from the region: it is used
 * index + number in flight. That holds since requests are taken in the order in which they are
 * available, so those in flight and those completed are together the first ones. The base is not
 * used once the region was, whether something is in flight or not: front-ends that could not ask
 * for it send the used index, or what that was when they hung up, while the last batch was still on
 * its way (QEMU), or the driver's available index (Cloud Hypervisor).
 *
 * Completing a batch stores its used elements; for each of it `next` and last_batch_head; the
 * ring's used->idx, which commits it; for each inflight = 0; the region's used_idx:
 *
 *	give-element, -next,	used->idx is used_idx: nothing was completed, and all of it is in
 *	-head			flight. Elements behind the used index mean nothing. The list is
 *				not read, and the next batch makes its own head.
 *	give-used,		used->idx is ahead by the batch: the driver has it. The list from
 *	give-inflight		last_batch_head names all of it, so each is cleared, be it again,
 *				and not popped. Of the list as many are read as were published.
 *	the last give-inflight	The same. If nothing else is in flight either, the list is left
 *				alone and the index corrected.
 *	give-used-idx		used->idx is used_idx: done.
 *
 * The order is what makes it so. Clearing before used->idx would lose a request. Linking the next
 * batch before used_idx is stored would mix two batches, so a batch is linked when it is published,
 * after the last one's commit.
 *
 * A region that nobody has used (version 0) takes used_idx from the ring and gets its version last:
 *
 *	fresh-used-idx		Nobody has used it, still.
 *	fresh-version		It is used, and nothing is in flight.
 *
 * Recovery stores inflight = 0 of the last batch, then used_idx:
 *
 *	recover-inflight	used->idx is ahead as before, and the list is as it was: again.
 *	recover-used-idx	used->idx is used_idx, and the batch is not in flight.
 *
 * Each store releases, so that all stores stand in program order: a kill leaves a prefix of them.
 */
#include <errno.h>

#include "vq/kill_point.h"
#include "vq/ring.h"
#include "vq/track.h"

#define STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)

/* ---- taking and giving ---- */

int vq_track_split_take(struct vublk_queue *vq, uint16_t head)
{
	struct vq_track *track = vq->track;

	if (track->busy[head])
		return vq_break(vq, "descriptor %u made available while it is in flight", head);
	track->busy[head] = true;
	STORE(track->split->desc[head].counter, track->counter++);
	VQ_KILL_POINT("split-take-counter");
	STORE(track->split->desc[head].inflight, 1);
	VQ_KILL_POINT("split-take-inflight");
	return 0;
}

void vq_track_split_link(struct vublk_queue *vq)
{
	struct inflight_split *region = vq->track->split;

	for (unsigned i = 0; i < vq->n_pushed; i++) {
		const uint16_t head = vq->pushed[i].id;

		STORE(region->desc[head].next, vq->track->last);
		VQ_KILL_POINT("split-give-next");
		STORE(region->last_batch_head, head);
		VQ_KILL_POINT("split-give-head");
		vq->track->last = head;
	}
}

void vq_track_split_commit(struct vublk_queue *vq)
{
	struct inflight_split *region = vq->track->split;

	VQ_KILL_POINT("split-give-used");
	for (unsigned i = 0; i < vq->n_pushed; i++) {
		STORE(region->desc[vq->pushed[i].id].inflight, 0);
		VQ_KILL_POINT("split-give-inflight");
		vq->track->busy[vq->pushed[i].id] = false;
	}
	STORE(region->used_idx, vq->used_idx);
	VQ_KILL_POINT("split-give-used-idx");
}

/* ---- recovery ---- */

/* Nobody has used the region: what it says begins now. The version comes last. */
static int begin_fresh(struct vublk_queue *vq)
{
	struct inflight_split *region = vq->track->split;

	for (unsigned i = 0; i < vq->track->n; i++)
		STORE(region->desc[i].inflight, 0);
	STORE(region->features, 0);
	STORE(region->desc_num, (uint16_t)vq->track->n);
	STORE(region->last_batch_head, 0);
	/* Not 0: the ring may have been used for long (another back-end forgets that). */
	STORE(region->used_idx, vq->used_idx);
	VQ_KILL_POINT("split-fresh-used-idx");
	STORE(region->version, INFLIGHT_VERSION);
	VQ_KILL_POINT("split-fresh-version");
	return 0;
}

/*
 * Was the last batch published, and not all of it marked so? Its list says what belongs to it:
 * every one has been completed.
 */
static int finish_batch(struct vublk_queue *vq, uint16_t batch)
{
	struct inflight_split *region = vq->track->split;
	uint16_t head = __atomic_load_n(&region->last_batch_head, __ATOMIC_RELAXED);

	if (batch > vq->size)
		return vq_track_corrupt(vq, "its used index is not in this ring");
	for (unsigned i = 0; i < batch; i++) {
		if (head >= vq->size)
			return vq_track_corrupt(vq, "its last batch has a wrong descriptor");
		STORE(region->desc[head].inflight, 0);
		VQ_KILL_POINT("split-recover-inflight");
		vq->track->busy[head] = false;
		head = __atomic_load_n(&region->desc[head].next, __ATOMIC_RELAXED);
	}
	return 0;
}

/* Copies what is in flight to our own memory; how many, or -EINVAL. */
static int load(struct vublk_queue *vq)
{
	struct vq_track *track = vq->track;
	unsigned n = 0;

	for (unsigned i = 0; i < track->n; i++) {
		const struct inflight_desc_split *desc = &track->split->desc[i];

		if (!__atomic_load_n(&desc->inflight, __ATOMIC_RELAXED))
			continue;
		if (i >= vq->size)
			return vq_track_corrupt(
				vq, "descriptors in flight that the ring does not have");
		track->busy[i] = true;
		n++;
	}
	return (int)n;
}

int vq_track_split_recover(struct vublk_queue *vq)
{
	struct vq_track *track = vq->track;
	struct inflight_split *region = track->split;
	const uint16_t version = __atomic_load_n(&region->version, __ATOMIC_RELAXED);
	const uint16_t used = vq->used_idx;
	const uint16_t batch =
		(uint16_t)(used - __atomic_load_n(&region->used_idx, __ATOMIC_RELAXED));
	const uint16_t avail = __atomic_load_n(&vq->ring.split.avail->idx, __ATOMIC_ACQUIRE);
	int n, err;

	if (!version)
		return begin_fresh(vq);
	if (version != INFLIGHT_VERSION || region->features)
		return vq_track_corrupt(vq, "its version is unknown");
	if (__atomic_load_n(&region->desc_num, __ATOMIC_RELAXED) != track->n)
		return vq_track_corrupt(vq, "its queue size differs");
	n = load(vq);
	/*
	 * With nothing in flight an index that differs means nothing: the ring was recreated, or
	 * the last process was killed when only the index was still to be stored.
	 */
	if (n > 0 && batch) {
		err = finish_batch(vq, batch);
		if (err)
			return err;
	} else if (n < 0) {
		return n;
	}
	STORE(region->used_idx, used);
	VQ_KILL_POINT("split-recover-used-idx");
	for (unsigned i = 0; i < vq->size; i++)
		if (track->busy[i])
			track->recovered[track->n_recovered++] = (struct vq_recovered){
				.counter =
					__atomic_load_n(&region->desc[i].counter, __ATOMIC_RELAXED),
				.at = (uint16_t)i,
			};
	track->last = 0;
	if ((uint16_t)(avail - used) < track->n_recovered)
		return vq_track_corrupt(vq, "more is in flight than was made available");
	/*
	 * Requests are taken in the order in which they were made available, so these are the first
	 * ones behind the used index. The base is no help, also if nothing is in flight: front-ends
	 * that were not told it send the used index of now, or of when they hung up while the last
	 * batch was still on its way, or the driver's available index.
	 */
	vq->next_avail = (uint16_t)(used + track->n_recovered);
	return 0;
}
