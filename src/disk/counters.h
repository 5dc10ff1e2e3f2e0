/* SPDX-License-Identifier: BSD-3-Clause */
/* What is counted of a disk, for whoever shows it. Control thread. */
#ifndef DISK_COUNTERS_H
#define DISK_COUNTERS_H

#include "request/counters.h"

/* Of a disk: all its rings, those that have ended included. Numbers never go back. */
struct disk_counters {
	unsigned n_rings; /* that are served now, or wait for the image's lock */
	struct blk_totals totals;
};

/* Of one of these rings, since it was started. */
struct ring_counters {
	unsigned index;  /* in the device */
	unsigned worker; /* that serves it: its place in the process's list */
	/* "starting", "waiting" (for the image's lock), "running", "broken", "draining". */
	const char *state;
	const char *why_broken; /* "": it is not; the ring's, until the loop goes on */
	struct blk_totals totals;
};

/* Logs those of the disk in one line. */
void disk_counters_log(const struct disk_counters *counters, const char *name);

#endif
