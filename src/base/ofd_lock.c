/* SPDX-License-Identifier: BSD-3-Clause */
/* See base/ofd_lock.h. */
#include "base/ofd_lock.h"

#include <errno.h>
#include <unistd.h>

int ofd_lock(int fd, int command, short type, uint64_t start, uint64_t size)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)start,
		.l_len = (off_t)size,
	};
	int r;

	do {
		r = fcntl(fd, command, &lock);
	} while (r < 0 && errno == EINTR);
	if (r >= 0)
		return lock.l_type;
	/* Both are what fcntl(2) may say of another one's lock. */
	return errno == EACCES ? -EAGAIN : -errno;
}
