/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keeper: a daemon as its child, started again when it dies, with the descriptors that it had
 * kept. One thread.
 */
#ifndef KEEPER_KEEPER_H
#define KEEPER_KEEPER_H

#include <stdint.h>

#include "keeper/given.h"

struct keeper_config {
	const char *executable; /* absolute; opened at once, and again for each upgrade */
	char *const *argv;      /* the child's */
	struct given given;
	int64_t ready_timeout_ns; /* for a new executable to be ready */
	int64_t restart_pause_ns; /* the longest, after children that have died */
};

/*
 * Runs until the child has ended and is not started again. Returns the exit status: the child's,
 * as a shell has it (128 and the number of a signal), or EXIT_FAILURE (logged) if nothing could be
 * started.
 */
int keeper_run(const struct keeper_config *config);

#endif
