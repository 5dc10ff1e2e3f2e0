/* SPDX-License-Identifier: BSD-3-Clause */
/* The standard descriptors at a program's start. */
#ifndef CLI_STD_FDS_H
#define CLI_STD_FDS_H

#include <fcntl.h>
#include <unistd.h>

/*
 * Puts /dev/null in the place of standard descriptors that are closed: what is opened next, an
 * image perhaps, would be taken for standard error. First thing in main().
 */
static inline void std_fds_occupy(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

#endif
