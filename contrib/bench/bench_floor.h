/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor: a thread that plays a back-end which does nothing. It looks at the available ring all
 * the time, writes the status of what is there and gives it back. No descriptor is read and no data
 * moved, so that what is measured is the generator, and the least that two processors need to hand
 * each other a request. It wants no kicks and makes no calls. The rings are ours: it trusts them.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include <pthread.h>
#include <stdbool.h>

#include "bench_queue.h"

struct bench_floor_ring;

struct bench_floor {
	struct bench_floor_ring *ring;
	unsigned int n_rings;
	int stop; /* atomic */
	bool packed;
	bool started;
	pthread_t id;
};

/* Serves these queues, on processor `cpu` unless it is -1. 0 or -errno. */
int bench_floor_start(struct bench_floor *floor, struct bench_queue *queue, unsigned int n_queues,
		      unsigned int entries_per_request, int cpu);

/* Ends it. Harmless on a zeroed one. */
void bench_floor_stop(struct bench_floor *floor);

#endif
