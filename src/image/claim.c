/* SPDX-License-Identifier: BSD-3-Clause */
/* See image/claim.h. */
#include "image/claim.h"

#include <errno.h>
#include <fcntl.h>

#include "base/reopen.h"

int image_claim(int device, int *fd)
{
	const int flags = fcntl(device, F_GETFL);

	*fd = -1;
	if (flags < 0)
		return -errno;
	*fd = reopen(device, (flags & (O_ACCMODE | O_DIRECT)) | O_EXCL);
	if (*fd >= 0)
		return 0;
	return *fd == -EBUSY ? -EAGAIN : *fd;
}
