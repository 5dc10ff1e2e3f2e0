/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/counters.h. Control thread. */
#include "disk/counters.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"

#define KIND_BYTES 160 /* for what is said of one kind */

static void describe(char text[KIND_BYTES], enum blk_kind kind,
		     const struct blk_kind_totals *totals)
{
	const char *name = blk_kind_name(kind);
	const uint64_t n = totals->completed;

	if (n)
		snprintf(text, KIND_BYTES,
			 "%s %" PRIu64 " (%" PRIu64 " bytes, %" PRIu64 " merged, %" PRIu64
			 " failed, mean %" PRIu64 " us)",
			 name, n, totals->bytes, totals->merged, totals->errors,
			 totals->latency_ns / n / 1000);
	else
		snprintf(text, KIND_BYTES, "%s 0", name);
}

void disk_counters_log(const struct disk_counters *counters, const char *name)
{
	const struct blk_totals *totals = &counters->totals;
	char kind[BLK_KINDS][KIND_BYTES];

	for (unsigned i = 0; i < BLK_KINDS; i++)
		describe(kind[i], i, &totals->kind[i]);
	log_info("%s: requests so far: %s, %s, %s, %s, %s, %s; in flight %" PRIu64
		 ", recovered %" PRIu64 ", kicks %" PRIu64 ", calls %" PRIu64,
		 name, kind[BLK_KIND_READ], kind[BLK_KIND_WRITE], kind[BLK_KIND_FLUSH],
		 kind[BLK_KIND_DISCARD], kind[BLK_KIND_WRITE_ZEROES], kind[BLK_KIND_OTHER],
		 blk_totals_in_flight(totals), totals->recovered, totals->kicks, totals->calls);
}
