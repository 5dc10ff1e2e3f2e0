/* SPDX-License-Identifier: BSD-3-Clause */
/* See image/size.h. */
#include "image/size.h"

#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

#define SECTOR 512u

/*
 * Can a file be as long as this? No offset is beyond INT64_MAX, and a file system may have a limit
 * below, which it tells who wants to go there.
 */
static bool is_possible(int fd, uint64_t size)
{
	if (size > INT64_MAX)
		return false;
	return fd < 0 || lseek(fd, (off_t)size, SEEK_SET) >= 0 || errno != EINVAL;
}

uint64_t image_size_round(int fd, uint64_t end, uint32_t block_size)
{
	const uint64_t size = (end + SECTOR - 1) / SECTOR * SECTOR;

	return is_possible(fd, size) ? size : end - end % block_size;
}
