/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client thread and its queues. The main thread makes it, tells it by the phase where the run is,
 * and reads its statistics when it has ended.
 */
#ifndef BENCH_THREAD_H
#define BENCH_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench_queue.h"
#include "bench_stats.h"

enum bench_phase {
	BENCH_WARMUP,
	BENCH_MEASURE,
	BENCH_STOP,  /* submit no more, wait for what is in flight */
	BENCH_ABORT, /* leave at once: the back-end is gone */
};

/* What all threads of a run share. Written by the main thread only, but for `done`. */
struct bench_shared {
	int phase;   /* enum bench_phase, atomic */
	int stop_fd; /* eventfd: readable from BENCH_STOP on, wakes who sleeps */
	int done_fd; /* eventfd: each thread adds 1 when it has ended */
	bool packed;
	bool call;
	bool counted; /* the budgets below end the run, not the phase */
};

struct bench_thread {
	pthread_t id;
	struct bench_shared *shared;
	struct bench_queue *queue; /* queue[0] to queue[n_queues - 1] are its own */
	unsigned int n_queues;
	struct bench_queue *beside; /* one more, which is not measured; NULL: none */
	uint64_t budget;            /* requests to measure, if counted */
	int cpu;                    /* to run on; -1: anywhere */
	int epoll_fd;
	bool started;

	/* The thread's own until it has ended. */
	uint64_t begin; /* ticks, of the measuring */
	uint64_t end;
	struct bench_stats stats; /* of the measuring */
	struct bench_stats stats_beside;
	struct bench_stats scrap; /* of what came before and after */
};

/* 0 or -errno; bench_thread_join() waits for its end and frees what it has. */
int bench_thread_start(struct bench_thread *thread);
void bench_thread_join(struct bench_thread *thread);

/* Requests that it has completed so far without measuring them. Any thread. */
uint64_t bench_thread_unmeasured(const struct bench_thread *thread);

/* Requests in flight that have been left behind, after the end. */
unsigned int bench_thread_in_flight(const struct bench_thread *thread);

#endif
