/* SPDX-License-Identifier: BSD-3-Clause */
/* The histogram, see bench_hist.h. */
#include "bench_hist.h"

#include <string.h>

void bench_hist_init(struct bench_hist *hist)
{
	memset(hist, 0, sizeof(*hist));
	hist->min = UINT64_MAX;
}

void bench_hist_merge(struct bench_hist *to, const struct bench_hist *from)
{
	to->n += from->n;
	to->sum += from->sum;
	if (from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	for (unsigned int i = 0; i < BENCH_HIST_BUCKETS; i++)
		to->bucket[i] += from->bucket[i];
}

/* The middle of what falls into a bucket: the inverse of bench_hist_index(). */
static double middle_of(unsigned int index)
{
	const unsigned int octave = index >> BENCH_HIST_BITS;
	const unsigned int shift = octave ? octave - 1 : 0;
	const uint64_t low = (uint64_t)(index - (shift << BENCH_HIST_BITS)) << shift;

	return (double)low + (double)((1ull << shift) - 1) / 2;
}

static double clamp(double value, double min, double max)
{
	return value < min ? min : value > max ? max : value;
}

double bench_hist_percentile(const struct bench_hist *hist, double p)
{
	const double wanted = p * (double)hist->n;
	uint64_t seen = 0;

	if (!hist->n)
		return 0;
	for (unsigned int i = 0; i < BENCH_HIST_BUCKETS; i++) {
		seen += hist->bucket[i];
		if (seen && (double)seen >= wanted)
			return clamp(middle_of(i), (double)hist->min, (double)hist->max);
	}
	return (double)hist->max;
}
