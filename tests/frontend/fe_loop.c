/* SPDX-License-Identifier: BSD-3-Clause */
/* See fe_loop.h. */
#define _GNU_SOURCE
#include "fe_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int fe_loop_make(const char *file, uint32_t block_size, uint32_t flags, char *path, size_t size)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int backing = open(file, O_RDWR | O_CLOEXEC);
	struct loop_config config = {
		.fd = (uint32_t)backing,
		.block_size = block_size,
		.info = {.lo_flags = LO_FLAGS_AUTOCLEAR | flags},
	};
	int fd = -1, ret = control < 0 || backing < 0 ? -errno : -EBUSY;

	/* Somebody else may be quicker. */
	for (unsigned int i = 0; ret == -EBUSY && i < 20; i++) {
		snprintf(path, size, "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
		fd = open(path, O_RDWR | O_CLOEXEC);
		ret = fd < 0 || ioctl(fd, LOOP_CONFIGURE, &config) ? -errno : 0;
		if (ret && fd >= 0)
			close(fd);
	}
	if (control >= 0)
		close(control);
	if (backing >= 0)
		close(backing);
	return ret ? ret : fd;
}
