/* SPDX-License-Identifier: BSD-3-Clause */
/* What a thread counts while it measures. Its own until it has ended. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include "bench_hist.h"

struct bench_stats {
	uint64_t ios;
	uint64_t errors;     /* a status other than OK */
	uint64_t mismatches; /* --verify: read, but not what was written */
	uint64_t kicks;
	uint64_t calls;
	struct bench_hist latency;
};

#endif
