/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process of the daemon's: what it is told in its environment, and the descriptors that it gets.
 * See sd_listen_fds(3).
 */
#ifndef KEEPER_LAUNCH_H
#define KEEPER_LAUNCH_H

#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

#include "keeper/given.h"
#include "keeper/store.h"

struct launch {
	char *const *argv;
	const char *notify; /* NOTIFY_SOCKET */
	struct given given;
	bool is_fallback; /* what is executed is not what was to be: VUBLKD_FALLBACK says so */
	sigset_t mask;    /* of signals, as we were started with */
};

/*
 * How many bytes the names of kept descriptors may have, with one more for each, so that there is
 * no execve(2) that fails for the size of its arguments: a string of them has a bound, and all of
 * them together have one that RLIMIT_STACK decides about.
 */
size_t launch_names_most(const struct launch *launch);

/*
 * Starts `executable`, an open file: with the descriptors that were given and then those of the
 * store, standard descriptors of our own, and no others. Waits until it is executed. Returns its
 * pid, or -errno, not logged; then there is no process.
 */
pid_t launch_start(const struct launch *launch, int executable, const struct store *store);

#endif
