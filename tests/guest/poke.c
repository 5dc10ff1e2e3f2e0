/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poke: what busybox cannot do to a block device. Runs in the test guests (tests/guest/lib.sh puts
 * it into their initramfs); prints the error that the kernel gave and exits 1.
 *
 *	poke zero DEVICE OFFSET LENGTH	BLKZEROOUT (bytes): a WRITE_ZEROES request
 *	poke read DEVICE OFFSET LENGTH	one O_DIRECT read; prints "zeros" or "data"
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	ALIGNMENT = 4096
}; /* what O_DIRECT asks at most */

static int fail(const char *what)
{
	printf("poke: %s: %s\n", what, strerror(errno));
	return 1;
}

static int poke_zero(int fd, uint64_t offset, uint64_t length)
{
	uint64_t range[2] = {offset, length};

	if (ioctl(fd, BLKZEROOUT, range))
		return fail("BLKZEROOUT");
	return 0;
}

static int poke_read(int fd, uint64_t offset, uint64_t length)
{
	unsigned char *buffer;
	uint64_t i;

	errno = posix_memalign((void **)&buffer, ALIGNMENT, length);
	if (errno)
		return fail("memory");
	if (pread(fd, buffer, length, (off_t)offset) != (ssize_t)length)
		return fail("read");
	for (i = 0; i < length && !buffer[i]; i++)
		;
	puts(i == length ? "zeros" : "data");
	free(buffer);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t offset, length;
	int zero, fd;

	if (argc != 5 || (strcmp(argv[1], "zero") && strcmp(argv[1], "read"))) {
		fprintf(stderr, "usage: poke zero|read DEVICE OFFSET LENGTH\n");
		return 2;
	}
	zero = !strcmp(argv[1], "zero");
	offset = strtoull(argv[3], NULL, 0);
	length = strtoull(argv[4], NULL, 0);
	fd = open(argv[2], zero ? O_RDWR : O_RDONLY | O_DIRECT);
	if (fd < 0)
		return fail(argv[2]);
	return zero ? poke_zero(fd, offset, length) : poke_read(fd, offset, length);
}
