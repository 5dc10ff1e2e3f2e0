/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inner loop, see bench_io.h. Trusts neither what the device says it has completed nor the
 * status it gives.
 *
 * What makes it fast: one look at the used index and one reading of the clock for all that has come
 * back; one store of the available index and one fence for all that goes out; of a request only the
 * sector and the status byte are written again, which share a cache line with nothing else.
 */
#include "bench_io.h"

#include <string.h>

#include "bench_clock.h"
#include "bench_verify.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define flattened   static inline __attribute__((always_inline))

/* The device has yet to write the status. */
#define NO_STATUS 0xff

/* After so many used elements a ring with EVENT_IDX is told again that no calls are wanted. */
#define SILENCE_AGAIN 0x4000

/* A batch so long that the time at its beginning is not that of what is submitted behind it. */
#define LONG_BATCH 8

/* ---- what comes next ---- */

/* Marsaglia's xorshift64*. */
flattened uint64_t next_random(struct bench_queue *q)
{
	q->random ^= q->random >> 12;
	q->random ^= q->random << 25;
	q->random ^= q->random >> 27;
	return q->random * 0x2545f4914f6cdd1du;
}

flattened uint64_t next_block(struct bench_queue *q)
{
	if (q->is_random)
		return (uint64_t)((unsigned __int128)next_random(q) * q->n_blocks >> 64);

	const uint64_t block = q->next_block;

	q->next_block = block + 1 < q->n_blocks ? block + 1 : 0;
	return block;
}

/* A read becomes a write, or the other way round. */
static void turn_around(struct bench_slot *slot)
{
	slot->write = !slot->write;
	slot->line->header.type = slot->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
	*slot->data_flags ^= VRING_DESC_F_WRITE;
}

/* With --verify no two requests may have the same block outstanding. */
static __attribute__((noinline)) void prepare_verified(struct bench_queue *q,
						       struct bench_slot *slot)
{
	while (!bench_verify_may_use(q->verify, slot->block))
		slot->block = next_block(q);
	bench_verify_submit(q, slot);
}

flattened void prepare(struct bench_queue *q, struct bench_slot *slot)
{
	slot->block = next_block(q);
	if (unlikely(q->mixed) && (next_random(q) >= q->read_limit) != slot->write)
		turn_around(slot);
	if (unlikely(q->verify))
		prepare_verified(q, slot);
	slot->line->header.sector = q->first_sector + slot->block * q->sectors_per_block;
	slot->line->status = NO_STATUS;
	slot->in_flight = true;
}

/* ---- submitting ---- */

/* How many may go out now, and stamps them with the time when they were due. */
static unsigned int paced(struct bench_queue *q, unsigned int n, uint64_t now)
{
	unsigned int i;

	for (i = 0; i < n && q->due <= (double)now; i++) {
		q->ready[i]->start = (uint64_t)q->due;
		q->due += q->interval;
	}
	return i;
}

flattened unsigned int submit(struct bench_queue *q, struct bench_stats *stats, uint64_t now,
			      bool packed)
{
	const bool has_rate = q->interval > 0;
	unsigned int n = q->n_ready < q->budget ? q->n_ready : (unsigned int)q->budget;

	if (unlikely(has_rate))
		n = paced(q, n, now);
	if (!n)
		return 0;
	for (unsigned int i = 0; i < n; i++) {
		struct bench_slot *slot = q->ready[i];

		prepare(q, slot);
		if (likely(!has_rate))
			slot->start = now;
		fe_fixed_push(q->vq, &slot->fixed, packed);
	}
	fe_fixed_publish(q->vq, packed);
	if (unlikely(fe_fixed_wants_kick(q->vq, packed))) {
		fe_vq_raw_kick(q->vq);
		stats->kicks++;
	}
	q->budget -= n;
	q->in_flight += n;
	q->n_ready -= n;
	if (unlikely(q->n_ready))
		memmove(q->ready, q->ready + n, q->n_ready * sizeof(q->ready[0]));
	return n;
}

/* ---- completions ---- */

flattened void complete(struct bench_queue *q, struct bench_slot *slot, struct bench_stats *stats,
			uint64_t now)
{
	const uint8_t status = *(volatile uint8_t *)&slot->line->status;

	if (unlikely(status != VIRTIO_BLK_S_OK))
		stats->errors++;
	if (unlikely(q->verify) && !bench_verify_complete(q, slot, status == VIRTIO_BLK_S_OK))
		stats->mismatches++;
	bench_hist_add(&stats->latency, now > slot->start ? now - slot->start : 0);
	slot->in_flight = false;
	q->ready[q->n_ready++] = slot;
}

/* Takes what there is; *now is when it was seen. */
flattened unsigned int reap(struct bench_queue *q, struct bench_stats *stats, uint64_t *now,
			    bool packed)
{
	unsigned int n = fe_fixed_n_used(q->vq, packed), done = 0;

	if (!n)
		return 0;
	*now = bench_ticks();
	while (n) {
		const uint32_t head = fe_fixed_peek(q->vq, packed);

		if (unlikely(head >= q->vq->num || !q->slot[head].in_flight)) {
			q->trouble = "completed a request that is not in flight";
			break;
		}
		fe_fixed_step(q->vq, &q->slot[head].fixed, packed);
		complete(q, &q->slot[head], stats, *now);
		done++;
		n = packed ? fe_fixed_n_used(q->vq, true) : n - 1;
	}
	q->in_flight -= done;
	/* The main thread may look. */
	__atomic_store_n(&stats->ios, stats->ios + done, __ATOMIC_RELAXED);
	return done;
}

/* Only an event index has to be moved along; flags stay as they are. */
flattened void stay_silent(struct bench_queue *q)
{
	if (likely((uint16_t)(q->vq->used_idx - q->silenced) < SILENCE_AGAIN))
		return;
	q->silenced = q->vq->used_idx;
	if (q->vq->silent)
		fe_split_want_no_call(q->vq);
}

flattened unsigned int turn(struct bench_queue *q, struct bench_stats *stats, uint64_t *now,
			    bool packed)
{
	const unsigned int done = reap(q, stats, now, packed);

	if (!q->n_ready || !q->budget)
		return done;
	if (!done || done >= LONG_BATCH || unlikely(q->interval > 0))
		*now = bench_ticks();
	if (!packed)
		stay_silent(q);
	return done + submit(q, stats, *now, packed);
}

unsigned int bench_turn_split(struct bench_queue *queue, struct bench_stats *stats, uint64_t *now)
{
	return turn(queue, stats, now, false);
}

unsigned int bench_turn_packed(struct bench_queue *queue, struct bench_stats *stats, uint64_t *now)
{
	return turn(queue, stats, now, true);
}
