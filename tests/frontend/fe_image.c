/* SPDX-License-Identifier: BSD-3-Clause */
/* Image files and patterns, see fe_image.h. No state. */
#define _GNU_SOURCE
#include "fe_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int fe_temp_dir(char dir[256])
{
	const char *base = getenv("TMPDIR");

	snprintf(dir, 256, "%s/fe-XXXXXX", base && *base ? base : "/var/tmp");
	return mkdtemp(dir) ? 0 : -errno;
}

int fe_image_make(const char *path, uint64_t size)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int fe_image_write(const char *path, uint64_t offset, const void *buf, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	const char *from = buf;
	int ret = 0;

	if (fd < 0)
		return -errno;
	while (len && !ret) {
		ssize_t n = pwrite(fd, from, len, (off_t)offset);

		if (n < 0) {
			ret = -errno;
		} else {
			from += n;
			offset += (uint64_t)n;
			len -= (size_t)n;
		}
	}
	close(fd);
	return ret;
}

int fe_image_read(const char *path, uint64_t offset, void *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *to = buf;
	int ret = 0;

	if (fd < 0)
		return -errno;
	while (len && !ret) {
		ssize_t n = pread(fd, to, len, (off_t)offset);

		if (n <= 0) {
			ret = n ? -errno : -ENODATA;
		} else {
			to += n;
			offset += (uint64_t)n;
			len -= (size_t)n;
		}
	}
	close(fd);
	return ret;
}

int fe_image_allocated(const char *path, uint64_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0 || fstat(fd, &st) < 0)
		ret = -errno;
	else
		*bytes = (uint64_t)st.st_blocks * 512;
	close(fd);
	return ret;
}

uint64_t fe_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* The 8 bytes of the pattern at `offset` (a multiple of 8). */
static uint64_t pattern_word(uint64_t offset, uint64_t seed)
{
	uint64_t state = seed * 0xd6e8feb86659fd93ull + offset;

	return fe_random(&state);
}

static uint8_t pattern_byte(uint64_t at, uint64_t seed)
{
	return (uint8_t)(pattern_word(at & ~7ull, seed) >> (at & 7) * 8);
}

void fe_pattern(void *buf, uint64_t offset, size_t len, uint64_t seed)
{
	uint8_t *b = buf;

	for (size_t i = 0; i < len; i++)
		b[i] = pattern_byte(offset + i, seed);
}

long fe_pattern_differs(const void *buf, uint64_t offset, size_t len, uint64_t seed)
{
	const uint8_t *b = buf;

	for (size_t i = 0; i < len; i++)
		if (b[i] != pattern_byte(offset + i, seed))
			return (long)i;
	return -1;
}
