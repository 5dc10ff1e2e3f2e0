/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a vublkd says of itself, made of its JSON: types and ranges are checked here, and nowhere
 * else. Strings and objects are the JSON's. Each returns 0, or -EPROTO, having complained. Main
 * thread.
 */
#ifndef CTL_VIEW_H
#define CTL_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define VIEW_BUCKETS 48 /* at most */

enum view_kind {
	VIEW_READ,
	VIEW_WRITE,
	VIEW_FLUSH,
	VIEW_DISCARD,
	VIEW_WRITE_ZEROES,
	VIEW_OTHER,
	VIEW_KINDS,
};

const char *view_kind_name(enum view_kind kind);

struct view_totals {
	uint64_t completed, bytes, errors, merged;
	uint64_t latency_ns; /* the sum */
	/* How many took less than 1024 ns, 2048 ns, ...; the last: all others. */
	uint64_t bucket[VIEW_BUCKETS];
	unsigned n_buckets;
};

struct view_counters {
	uint64_t in_flight, recovered, kicks, calls;
	uint64_t held, held_now; /* by limits */
	uint64_t throttled_ns;
	struct view_totals kind[VIEW_KINDS];
};

struct view_disk {
	const char *name, *state, *origin;
	const json_t *options;
	const char *error; /* NULL: none */
	/* Of one that is open: */
	bool is_open, connected, read_only;
	uint64_t size, block_size; /* bytes */
	uint64_t queues;
	const char *engine;
	const json_t *counters, *rings; /* NULL: not asked for */
	const char *throttled_by;       /* a limit; NULL: nothing waits, or not asked for */
};

struct view_ring {
	uint64_t index, worker;
	const char *state;
	const char *why_broken; /* NULL: it is not */
	struct view_counters counters;
};

struct view_worker {
	uint64_t index, queues, iterations, sleeps, cpu_ns, polling_ns, asleep_ns;
};

struct view_status {
	const char *version, *instance; /* of the program; of the process, and of no other one */
	uint64_t pid;
	bool stopping;
	bool ready;    /* its disks are open, or have failed, or take long */
	bool fallback; /* it is not of the executable that was installed last */
	uint64_t all, served, opening, failed; /* disks */
};

struct view_event {
	const char *event;
	const char *time, *disk, *detail; /* NULL: none */
};

int view_disk(struct view_disk *disk, const json_t *value);
int view_counters(struct view_counters *counters, const json_t *value);
int view_ring(struct view_ring *ring, const json_t *value);
int view_worker(struct view_worker *worker, const json_t *value);
int view_status(struct view_status *status, const json_t *value);
int view_event(struct view_event *event, const json_t *value);

/* The option's text, or "" if it was not given or is none; a number's or a flag's is in `room`. */
const char *view_option(const struct view_disk *disk, const char *name, char room[32]);

/*
 * The time, in ns, that `percent` of 100 requests have not exceeded, as exactly as the histogram
 * has it: a bucket's end. 0: there were none; UINT64_MAX: more than the histogram knows.
 */
uint64_t view_percentile(const struct view_totals *totals, double percent);

#endif
