/* SPDX-License-Identifier: BSD-3-Clause */
/* What was counted at a moment, of disks and workers; what two moments make. Main thread. */
#ifndef CTL_SAMPLE_H
#define CTL_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/view.h"

struct ctl;

struct sample_disk {
	char *name;
	bool counted; /* a front-end is connected; else the rest is 0 */
	int64_t at;   /* CLOCK_MONOTONIC, ns */
	uint64_t in_flight, queues;
	struct {
		uint64_t completed, bytes, latency_ns;
	} kind[VIEW_KINDS];
};

struct sample {
	struct sample_disk *disk; /* by name */
	unsigned n_disks;
	struct view_worker *worker;
	unsigned n_workers;
	int64_t workers_at;
};

/* Asks. 0 or -errno, having complained; sample_free() it in any case. */
int sample_take(struct sample *sample, const struct ctl *ctl);
void sample_free(struct sample *sample);

struct rate_disk {
	const struct sample_disk *disk;
	double read, write, other;      /* requests per second */
	double read_bytes, write_bytes; /* per second */
	double latency_ns;              /* the mean, of those that have completed; 0: none has */
};

struct rate_worker {
	const struct view_worker *worker;
	double cpu, polling, asleep; /* percent */
};

struct rates {
	struct rate_disk *disk; /* the one with most requests first */
	struct rate_worker *worker;
	unsigned n_disks, n_workers;
	double seconds;
};

/*
 * What has happened from one to the next: of the disks and workers of `after`, which has to live as
 * long. What began to be counted meanwhile is 0. 0 or -ENOMEM, having complained; rates_free() it
 * in any case.
 */
int rates_compute(struct rates *rates, const struct sample *before, const struct sample *after);
void rates_free(struct rates *rates);

#endif
