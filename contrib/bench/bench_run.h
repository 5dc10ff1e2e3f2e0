/* SPDX-License-Identifier: BSD-3-Clause */
/* One measurement, from connecting to hanging up, and what came of it. Main thread. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench_backend.h"
#include "bench_options.h"

enum bench_percentile {
	BENCH_P50,
	BENCH_P90,
	BENCH_P99,
	BENCH_P999,
	BENCH_P9999,
	BENCH_N_PERCENTILES,
};

struct bench_latency {
	double min, mean, max; /* ns */
	double percentile[BENCH_N_PERCENTILES];
};

struct bench_result {
	const char *socket; /* NULL: the floor */
	double seconds;     /* of measuring, as they were */
	uint64_t ios;
	uint64_t errors; /* mismatches included */
	uint64_t mismatches;
	double iops;
	double bytes_per_second;
	const char *beside; /* its socket; NULL: nothing was beside */
	double iops_beside;
	struct bench_latency latency;
	double kicks_per_io;
	double calls_per_io;
	struct bench_backend backend; /* who, and what is not known; closed */
	double cpu_ns_per_io;
	double syscalls_per_io;
	uint64_t memory;   /* bytes */
	char trouble[256]; /* the first mismatch in one line */
};

/* Set by the signal that ends a run early; bench_run() lets it come while it waits. */
extern volatile sig_atomic_t bench_interrupted;

/*
 * Measures the back-end at `path`, NULL: the floor. SIGINT and SIGTERM must be blocked and have a
 * handler that sets bench_interrupted. 0, or -1 with one line in error.
 */
int bench_run(const struct bench_options *options, const char *path, struct bench_result *result,
	      char *error, size_t size);

#endif
