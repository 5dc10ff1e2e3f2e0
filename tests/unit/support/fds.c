/* SPDX-License-Identifier: BSD-3-Clause */
/* See fds.h. */
#include "tests/unit/support/fds.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>

#include "tests/tap.h"

unsigned fds_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	REQUIRE(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

bool fd_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

int fd_event(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	REQUIRE(fd >= 0);
	return fd;
}

unsigned fd_take_events(int fd)
{
	eventfd_t count;

	return eventfd_read(fd, &count) ? 0 : (unsigned)count;
}

int fd_memory(uint64_t size)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	REQUIRE(fd >= 0);
	REQUIRE_OK(ftruncate(fd, (off_t)size));
	return fd;
}

bool is_mapped(const void *address)
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
