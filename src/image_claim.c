/* SPDX-License-Identifier: BSD-3-Clause */
/* See image_claim.h. */
#include "image_claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

int image_claim(int device, int *fd)
{
	const int flags = fcntl(device, F_GETFL);
	char path[32];

	*fd = -1;
	if (flags < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", device);
	do {
		*fd = open(path, (flags & (O_ACCMODE | O_DIRECT)) | O_EXCL | O_CLOEXEC);
	} while (*fd < 0 && errno == EINTR);
	if (*fd >= 0)
		return 0;
	return errno == EBUSY ? -EAGAIN : -errno;
}
