/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session with the back-end: connects, negotiates what the options ask for, shares memory and
 * starts the rings. Or, for --floor, the same memory and rings with nobody at the other end.
 * Main thread.
 */
#ifndef BENCH_DEV_H
#define BENCH_DEV_H

#include "bench_options.h"
#include "tests/frontend/fe_dev.h"
#include "tests/frontend/fe_inflight.h"

struct bench_dev {
	struct fe_dev fe;
	struct fe_inflight inflight;
	pid_t pid;     /* of whoever listens on the socket; 0: not known */
	uint64_t area; /* bytes from options->offset that are to be used */
	char error[256];
};

/*
 * `dev` is zeroed. 0, or -1 with one line in dev->error; bench_dev_close() in any case. A `path` of
 * NULL: the floor. The rings do not run before bench_dev_start_rings().
 */
int bench_dev_open(struct bench_dev *dev, const char *path, const struct bench_options *options);

/* Starts the rings, which ask for no calls until somebody sleeps. 0, or -1 as above. */
int bench_dev_start_rings(struct bench_dev *dev);

/* Stops the rings (unless `lost`: the back-end is gone or does not answer) and hangs up. */
void bench_dev_close(struct bench_dev *dev, bool lost);

#endif
