/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A histogram of latencies, log-linear: every power of two is cut into 128 equal parts, so that a
 * value is known to better than 1 %. Minimum, maximum and sum are exact. Values are ticks.
 * Its owner's thread only; bench_hist_merge() when that has ended. Nothing allocates.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>

#define BENCH_HIST_BITS    7
#define BENCH_HIST_BUCKETS ((64 - BENCH_HIST_BITS + 1) << BENCH_HIST_BITS)

struct bench_hist {
	uint64_t n;
	uint64_t sum;
	uint64_t min;
	uint64_t max;
	uint64_t bucket[BENCH_HIST_BUCKETS];
};

void bench_hist_init(struct bench_hist *hist);
void bench_hist_merge(struct bench_hist *to, const struct bench_hist *from);

/* The value that a share `p` (0 to 1) of all values do not exceed; 0 if there are none. */
double bench_hist_percentile(const struct bench_hist *hist, double p);

static inline unsigned int bench_hist_index(uint64_t value)
{
	const int shift = 63 - BENCH_HIST_BITS - __builtin_clzll(value | 1u << BENCH_HIST_BITS);

	return ((unsigned int)shift << BENCH_HIST_BITS) + (unsigned int)(value >> shift);
}

static inline void bench_hist_add(struct bench_hist *hist, uint64_t value)
{
	hist->n++;
	hist->sum += value;
	if (value < hist->min)
		hist->min = value;
	if (value > hist->max)
		hist->max = value;
	hist->bucket[bench_hist_index(value)]++;
}

#endif
