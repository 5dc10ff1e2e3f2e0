/* SPDX-License-Identifier: BSD-3-Clause */
/* See vq/kill_point.h. For builds for tests only. */
#include "vq/kill_point.h"

#ifdef VUBLK_KILL_POINTS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void vq_kill_point(const char *name)
{
	static unsigned seen;
	const char *wanted = getenv("VUBLK_KILL");
	const char *colon = wanted ? strrchr(wanted, ':') : NULL;
	const size_t len = colon ? (size_t)(colon - wanted) : 0;

	if (!colon)
		return;
	if (strncmp(wanted, "*", len) != 0 &&
	    (strlen(name) != len || strncmp(name, wanted, len) != 0))
		return;
	if (++seen != strtoul(colon + 1, NULL, 10))
		return;
	/* For the test, which must know that it has been everywhere. */
	dprintf(STDERR_FILENO, "killed at %s\n", name);
	/* As from outside: nothing is flushed, no handler runs. */
	raise(SIGKILL);
}

#else
typedef int vq_kill_point_unused; /* a translation unit must not be empty */
#endif
