/* SPDX-License-Identifier: BSD-3-Clause */
/* See request/counters.h. */
#include "request/counters.h"

const char *blk_kind_name(enum blk_kind kind)
{
	static const char *const names[BLK_KINDS] = {
		[BLK_KIND_READ] = "read",
		[BLK_KIND_WRITE] = "write",
		[BLK_KIND_FLUSH] = "flush",
		[BLK_KIND_DISCARD] = "discard",
		[BLK_KIND_WRITE_ZEROES] = "write_zeroes",
		[BLK_KIND_OTHER] = "other",
	};

	return names[kind];
}

void blk_counters_complete(struct blk_counters *counters, enum blk_kind kind, uint64_t n,
			   uint64_t ns)
{
	struct blk_kind_counters *at = &counters->kind[kind];

	counter_add(&at->latency[blk_bucket(ns)], n);
	counter_add(&at->latency_ns, n * ns);
}

static void add_kind(struct blk_kind_totals *to, const struct blk_kind_counters *from)
{
	for (unsigned i = 0; i < BLK_BUCKETS; i++) {
		const uint64_t n = counter_read(&from->latency[i]);

		to->latency[i] += n;
		to->completed += n;
	}
	to->latency_ns += counter_read(&from->latency_ns);
	to->bytes += counter_read(&from->bytes);
	to->errors += counter_read(&from->errors);
	to->merged += counter_read(&from->merged);
}

void blk_totals_add(struct blk_totals *totals, const struct blk_counters *counters)
{
	for (unsigned i = 0; i < BLK_KINDS; i++)
		add_kind(&totals->kind[i], &counters->kind[i]);
	totals->abandoned += counter_read(&counters->abandoned);
	totals->fetched += counter_read(&counters->fetched);
	totals->recovered += counter_read(&counters->recovered);
	totals->held += counter_read(&counters->held);
	totals->held_now += counter_read(&counters->held_now);
	totals->throttled_ns += counter_read(&counters->throttled_ns);
	totals->kicks += counter_read(&counters->kicks);
	totals->calls += counter_read(&counters->calls);
}

uint64_t blk_totals_in_flight(const struct blk_totals *totals)
{
	uint64_t ended = totals->abandoned;

	for (unsigned i = 0; i < BLK_KINDS; i++)
		ended += totals->kind[i].completed;
	/* They were not read at one moment. */
	return totals->fetched > ended ? totals->fetched - ended : 0;
}
