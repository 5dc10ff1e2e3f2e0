/* SPDX-License-Identifier: BSD-3-Clause */
/* The floor, see bench_floor.h. A thread of its own. */
#include "bench_floor.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "bench_clock.h"

/* After so many entries a driver with EVENT_IDX is told again that no kicks are wanted. */
#define SILENCE_AGAIN 0x4000

struct bench_floor_ring {
	struct fe_vq *vq;
	uint8_t **status;     /* by head */
	unsigned int entries; /* of a request (packed) */
	uint16_t next;        /* split: the next available and the next used one */
	uint16_t silenced;    /* split: `next` when kicks were last declined */
	struct fe_pos pos;    /* packed: the same */
} __attribute__((aligned(64)));

/* ---- split ---- */

static void decline_kicks(struct bench_floor_ring *ring)
{
	if (ring->vq->event_idx)
		STORE(*fe_split_avail_event(ring->vq), (uint16_t)(ring->next + 0x8000));
	else
		STORE(ring->vq->ring.used->flags, VRING_USED_F_NO_NOTIFY);
	ring->silenced = ring->next;
}

static inline void give_back_split(struct bench_floor_ring *ring, uint16_t head)
{
	const unsigned int mask = ring->vq->num - 1;
	struct vring_used_elem *elem = &ring->vq->ring.used->ring[ring->next & mask];

	*ring->status[head] = VIRTIO_BLK_S_OK;
	*elem = (struct vring_used_elem){.id = head, .len = 1};
	ring->next++;
}

static unsigned int serve_split(struct bench_floor_ring *ring)
{
	const struct vring_avail *avail = ring->vq->ring.avail;
	const unsigned int mask = ring->vq->num - 1;
	const uint16_t idx = LOAD(avail->idx);
	const unsigned int n = (uint16_t)(idx - ring->next);

	if (!n)
		return 0;
	while (ring->next != idx)
		give_back_split(ring, avail->ring[ring->next & mask]);
	STORE(ring->vq->ring.used->idx, idx);
	if ((uint16_t)(ring->next - ring->silenced) >= SILENCE_AGAIN)
		decline_kicks(ring);
	return n;
}

/* ---- packed ---- */

static bool is_available(const struct bench_floor_ring *ring, struct fe_pos pos)
{
	return (LOAD(ring->vq->packed.desc[pos.idx].flags) & (FE_PACKED_AVAIL | FE_PACKED_USED)) ==
	       fe_packed_available(pos.wrap);
}

/* All but the flags, with which the driver would see it. */
static inline void give_back_packed(struct bench_floor_ring *ring, struct fe_pos pos)
{
	struct vring_packed_desc *desc = ring->vq->packed.desc;
	const struct fe_pos last = fe_packed_advance(ring->vq, pos, ring->entries - 1);
	const uint16_t id = desc[last.idx].id;

	*ring->status[id] = VIRTIO_BLK_S_OK;
	desc[pos.idx].id = id;
	desc[pos.idx].len = 1;
}

static unsigned int serve_packed(struct bench_floor_ring *ring)
{
	struct vring_packed_desc *desc = ring->vq->packed.desc;
	const struct fe_pos first = ring->pos;
	const unsigned int n_max = ring->vq->num / ring->entries;
	unsigned int n = 0;

	/* The first one's flags come last: that is where the driver looks, and goes no further. */
	while (n < n_max && is_available(ring, ring->pos)) {
		give_back_packed(ring, ring->pos);
		if (n++)
			STORE(desc[ring->pos.idx].flags, fe_packed_used_up(ring->pos.wrap));
		ring->pos = fe_packed_advance(ring->vq, ring->pos, ring->entries);
	}
	if (n)
		STORE(desc[first.idx].flags, fe_packed_used_up(first.wrap));
	return n;
}

/* ---- the thread ---- */

static void *floor_main(void *arg)
{
	struct bench_floor *bf = arg;
	const bool packed = bf->packed;

	prctl(PR_SET_NAME, "floor");
	while (!__atomic_load_n(&bf->stop, __ATOMIC_RELAXED)) {
		unsigned int work = 0;

		for (unsigned int i = 0; i < bf->n_rings; i++)
			work += packed ? serve_packed(&bf->ring[i]) : serve_split(&bf->ring[i]);
		if (!work)
			bench_relax();
	}
	return NULL;
}

static int make_ring(struct bench_floor_ring *ring, const struct bench_queue *queue,
		     unsigned int entries)
{
	const unsigned int num = queue->vq->num;

	*ring = (struct bench_floor_ring){
		.vq = queue->vq,
		.status = calloc(num, sizeof(*ring->status)),
		.entries = entries,
		.pos = {.wrap = true},
	};
	if (!ring->status)
		return -ENOMEM;
	for (unsigned int i = 0; i < num; i++)
		ring->status[i] = bench_queue_status(queue, i);
	if (fe_vq_is_packed(queue->vq))
		STORE(queue->vq->packed.device->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	else
		decline_kicks(ring);
	return 0;
}

static int start_thread(struct bench_floor *bf, int cpu)
{
	pthread_attr_t attr;
	cpu_set_t set;
	int ret = 0;

	pthread_attr_init(&attr);
	if (cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		ret = -pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	}
	if (!ret)
		ret = -pthread_create(&bf->id, &attr, floor_main, bf);
	pthread_attr_destroy(&attr);
	bf->started = !ret;
	return ret;
}

int bench_floor_start(struct bench_floor *bf, struct bench_queue *queue, unsigned int n_queues,
		      unsigned int entries_per_request, int cpu)
{
	int ret = 0;

	*bf = (struct bench_floor){.packed = fe_vq_is_packed(queue[0].vq)};
	bf->ring = aligned_alloc(64, n_queues * sizeof(*bf->ring));
	if (!bf->ring)
		return -ENOMEM;
	while (bf->n_rings < n_queues && !ret) {
		ret = make_ring(&bf->ring[bf->n_rings], &queue[bf->n_rings], entries_per_request);
		bf->n_rings++;
	}
	return ret ? ret : start_thread(bf, cpu);
}

void bench_floor_stop(struct bench_floor *bf)
{
	__atomic_store_n(&bf->stop, 1, __ATOMIC_RELAXED);
	if (bf->started)
		pthread_join(bf->id, NULL);
	for (unsigned int i = 0; i < bf->n_rings; i++)
		free(bf->ring[i].status);
	free(bf->ring);
	*bf = (struct bench_floor){0};
}
