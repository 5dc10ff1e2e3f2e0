/* SPDX-License-Identifier: BSD-3-Clause */
/* See base/reopen.h. */
#include "base/reopen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

int reopen(int fd, int flags)
{
	char path[32];
	int other;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	do {
		other = open(path, flags | O_CLOEXEC);
	} while (other < 0 && errno == EINTR);
	return other < 0 ? -errno : other;
}
