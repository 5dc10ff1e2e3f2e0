/* SPDX-License-Identifier: BSD-3-Clause */
/* What a test wants to know of its process's descriptors and mappings: does anything leak? */
#ifndef FDS_H
#define FDS_H

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/tap.h"

/* How many descriptors this process has open. */
static inline unsigned fds_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	REQUIRE(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static inline bool fd_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* A non-blocking eventfd. */
static inline int fd_event(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	REQUIRE(fd >= 0);
	return fd;
}

/* Takes what is in an eventfd: how often it was signalled. */
static inline unsigned fd_take_events(int fd)
{
	eventfd_t count;

	return eventfd_read(fd, &count) ? 0 : (unsigned)count;
}

/* An empty file of `size` bytes in memory. */
static inline int fd_memory(uint64_t size)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	REQUIRE(fd >= 0);
	REQUIRE_OK(ftruncate(fd, (off_t)size));
	return fd;
}

/* Is anything mapped at this address? */
static inline bool is_mapped(const void *address)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uintptr_t begin, end;
	bool found = false;
	char line[512];

	REQUIRE(maps);
	while (!found && fgets(line, sizeof(line), maps))
		found = sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &begin, &end) == 2 &&
			(uintptr_t)address >= begin && (uintptr_t)address < end;
	fclose(maps);
	return found;
}

#endif
