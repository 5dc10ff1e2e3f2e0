/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inner loop: takes what a queue has completed, submits what comes next. The client thread of
 * the queue. Nothing here allocates or locks, and the only system call is the kick.
 */
#ifndef BENCH_IO_H
#define BENCH_IO_H

#include <stdint.h>

#include "bench_queue.h"
#include "bench_stats.h"

/*
 * One turn of a queue, with one function for each kind of ring. Returns how many requests were
 * completed or submitted; *now (ticks) is when, if there were any. See queue->trouble afterwards.
 */
unsigned int bench_turn_split(struct bench_queue *queue, struct bench_stats *stats, uint64_t *now);
unsigned int bench_turn_packed(struct bench_queue *queue, struct bench_stats *stats, uint64_t *now);

#endif
