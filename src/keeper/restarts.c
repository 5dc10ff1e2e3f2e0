/* SPDX-License-Identifier: BSD-3-Clause */
/* See keeper/restarts.h. */
#include "keeper/restarts.h"

int64_t restarts_next(struct restarts *restarts, int64_t ready_ns)
{
	int64_t pause;

	restarts->never_ready = ready_ns < 0 ? restarts->never_ready + 1 : 0;
	if (restarts->never_ready >= RESTARTS_NEVER_READY)
		return -1;
	if (ready_ns >= RESTARTS_GOOD_NS)
		restarts->pause_ns = 0;
	pause = restarts->pause_ns;
	restarts->pause_ns = pause ? pause * 2 : RESTARTS_FIRST_NS;
	if (restarts->pause_ns > restarts->longest_ns)
		restarts->pause_ns = restarts->longest_ns;
	return pause;
}
