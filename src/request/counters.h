/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is counted of the requests of a queue, since it was started: base/counter.h. Its worker
 * writes, any thread may read. Trusts nobody.
 *
 * All that completes in one iteration is counted by request/tally.h, alike requests at once.
 */
#ifndef REQUEST_COUNTERS_H
#define REQUEST_COUNTERS_H

#include <stdint.h>

#include "base/counter.h"

/* What a request is counted as. */
enum blk_kind {
	BLK_KIND_READ,
	BLK_KIND_WRITE,
	BLK_KIND_FLUSH,
	BLK_KIND_DISCARD,
	BLK_KIND_WRITE_ZEROES,
	BLK_KIND_OTHER, /* the serial number; what is unknown, or no request */
	BLK_KINDS
};

/* For operators: "read", "write_zeroes". Any thread. */
const char *blk_kind_name(enum blk_kind kind);

/*
 * Latencies are sorted by powers of two: the first bucket has those below 1024 ns, each one after
 * it those up to twice as long, and the last one all from 2^36 ns (69 s) on.
 */
#define BLK_BUCKETS      28
#define BLK_BUCKET_FIRST 10 /* it ends at 2^10 ns */

/* The bucket of a latency in ns. */
static inline unsigned blk_bucket(uint64_t ns)
{
	/* The bits of the first one are always set, so that there is no case apart. */
	const uint64_t bits = ns | ((1u << BLK_BUCKET_FIRST) - 1);
	const unsigned bucket = 64 - BLK_BUCKET_FIRST - (unsigned)__builtin_clzll(bits);

	return bucket < BLK_BUCKETS ? bucket : BLK_BUCKETS - 1;
}

/* Where a bucket ends: its latencies are below so many ns; UINT64_MAX of the last one. */
static inline uint64_t blk_bucket_end(unsigned bucket)
{
	return bucket < BLK_BUCKETS - 1 ? UINT64_C(1) << (BLK_BUCKET_FIRST + bucket) : UINT64_MAX;
}

struct blk_kind_counters {
	counter latency[BLK_BUCKETS]; /* how many have completed, failed ones included */
	counter latency_ns;           /* their sum */
	counter bytes;                /* of those that did not fail */
	counter errors;               /* answered with another status than OK */
	counter merged;               /* done by another one's operation; request/merge.h */
};

/* On cache lines of their own. All zero at first. */
struct blk_counters {
	_Alignas(64) struct blk_kind_counters kind[BLK_KINDS];
	counter fetched;   /* from the ring */
	counter abandoned; /* stay in the in-flight region */
	counter recovered; /* of those that were fetched: an earlier process had them in flight */
	counter kicks;     /* times that the queue was woken; several kicks may be one */
	counter held;      /* by the disk's limits, for a time */
	counter held_now;  /* no sum: how many of them still are */
	counter throttled_ns; /* in which any was held */
	counter calls;        /* that were sent, those without a reason included */
};

/* The same as plain numbers: of one queue, or of many. */
struct blk_kind_totals {
	uint64_t completed; /* failed ones included: the sum of `latency` */
	uint64_t latency[BLK_BUCKETS];
	uint64_t latency_ns, bytes, errors, merged;
};

struct blk_totals {
	struct blk_kind_totals kind[BLK_KINDS];
	uint64_t fetched, abandoned, recovered, held, held_now, throttled_ns, kicks, calls;
};

/* `n` requests of a kind have completed, each after so many ns. The queue's worker. */
void blk_counters_complete(struct blk_counters *counters, enum blk_kind kind, uint64_t n,
			   uint64_t ns);

/* Adds what a queue has counted. Any thread. */
void blk_totals_add(struct blk_totals *totals, const struct blk_counters *counters);

/* How many of them were fetched and are neither completed nor abandoned. */
uint64_t blk_totals_in_flight(const struct blk_totals *totals);

#endif
