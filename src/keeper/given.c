/* SPDX-License-Identifier: BSD-3-Clause */
/* See keeper/given.h. */
#include "keeper/given.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/log.h"

#define UNKNOWN   "unknown"
#define GIVEN_MAX 4096

/* -1: it is none. */
static long number_of(const char *text)
{
	char *end;
	long n;

	if (!text || *text < '0' || *text > '9')
		return -1;
	errno = 0;
	n = strtol(text, &end, 10);
	return errno || *end ? -1 : n;
}

static unsigned count_names(const char *names)
{
	unsigned n = 1;

	while ((names = strchr(names, ':'))) {
		names++;
		n++;
	}
	return n;
}

static int find_names(struct given *given)
{
	const char *names = getenv("LISTEN_FDNAMES");
	char *made, *end;

	if (names && count_names(names) == given->n) {
		given->names = names;
		return 0;
	}
	made = malloc(given->n * sizeof(UNKNOWN));
	if (!made)
		return -ENOMEM;
	end = made;
	for (unsigned i = 0; i < given->n; i++)
		end = stpcpy(stpcpy(end, i ? ":" : ""), UNKNOWN);
	given->names = made;
	return 0;
}

int given_find(struct given *given)
{
	long n;

	*given = (struct given){.names = ""};
	n = number_of(getenv("LISTEN_PID")) == getpid() ? number_of(getenv("LISTEN_FDS")) : 0;
	if (n < 0 || n > GIVEN_MAX) {
		log_error("LISTEN_FDS is '%s', not a number of descriptors", getenv("LISTEN_FDS"));
		return -EINVAL;
	}
	for (int fd = LISTEN_FDS_START; fd < LISTEN_FDS_START + n; fd++) {
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
			continue;
		log_error("descriptor %d of LISTEN_FDS is not open", fd);
		return -EBADF;
	}
	given->n = (unsigned)n;
	close_range(LISTEN_FDS_START + given->n, UINT_MAX, 0);
	return n ? find_names(given) : 0;
}
