/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See image/probe.h. Three sources, in this order of trust: statx(2) and ioctls on the open file;
 * /sys/dev/block for what has no ioctl (how much one discard may cover); and trial reads, where
 * the kernel is too old to say which alignment O_DIRECT wants.
 */
#include "image/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SECTOR   512u
#define PAGE     4096u
#define MAX_UNIT 65536u /* a larger st_blksize is a wish (NFS: 1 MiB), not a unit */

static bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* ---- /sys/dev/block/M:m/queue ---- */

static bool read_number(const char *path, uint64_t *value)
{
	FILE *file = fopen(path, "re");
	bool good;

	if (!file)
		return false;
	good = fscanf(file, "%" SCNu64, value) == 1;
	fclose(file);
	return good;
}

bool image_probe_queue_limit(dev_t device, const char *name, uint64_t *value)
{
	static const char *const places[] = {"queue", "../queue"};
	char path[128];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(device),
			 minor(device), places[i], name);
		if (read_number(path, value))
			return true;
	}
	return false;
}

/* ---- the alignment of O_DIRECT ---- */

/* Does a read with these alignments, and no better ones, work? Only EINVAL says no. */
static bool trial_read(int fd, unsigned char *page_aligned, uint32_t mem, uint32_t length, off_t at)
{
	unsigned char *buffer = page_aligned + (mem < PAGE ? mem : 0);
	ssize_t n;

	do {
		n = pread(fd, buffer, length, at);
	} while (n < 0 && errno == EINTR);
	return n >= 0 || errno != EINVAL;
}

int image_probe_by_reading(int fd, uint32_t *mem_align, uint32_t *offset_align)
{
	static const uint32_t units[] = {SECTOR, PAGE};
	off_t data = lseek(fd, 0, SEEK_DATA); /* holes are read with any alignment: of no use */
	unsigned char *buffer;
	int err = -EINVAL;

	if (posix_memalign((void **)&buffer, PAGE, 2 * (size_t)PAGE))
		return -ENOMEM;
	data = data < 0 ? 0 : data - data % PAGE;
	for (int i = 0; err && i < 4; i++) {
		uint32_t mem = units[i % 2], length = units[i / 2];

		if (!trial_read(fd, buffer, mem, length, data))
			continue;
		*mem_align = mem;
		*offset_align = length;
		err = 0;
	}
	free(buffer);
	return err;
}

/* 0 and the alignments (0: the file has no O_DIRECT); -ENODATA: this kernel does not say. */
static int statx_alignment(int fd, struct image_facts *facts)
{
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) < 0 ||
	    !(sx.stx_mask & STATX_DIOALIGN))
		return -ENODATA;
	if (!sx.stx_dio_offset_align) {
		facts->mem_align = facts->offset_align = 0;
		return 0;
	}
	if (!is_power_of_two(sx.stx_dio_mem_align) || !is_power_of_two(sx.stx_dio_offset_align))
		return -ENODATA;
	facts->mem_align = sx.stx_dio_mem_align;
	facts->offset_align = sx.stx_dio_offset_align;
	return 0;
#else
	(void)fd, (void)facts;
	return -ENODATA;
#endif
}

static void find_alignment(int fd, const struct stat *st, struct image_facts *facts)
{
	uint64_t below;

	if (!statx_alignment(fd, facts))
		return;
	if (facts->is_device) {
		facts->mem_align = facts->offset_align = facts->logical;
		return;
	}
	if (image_probe_by_reading(fd, &facts->mem_align, &facts->offset_align)) {
		facts->mem_align = facts->offset_align = 0;
		return;
	}
	/* A sparse file may have told too little: never below the device that it lies on. */
	if (image_probe_queue_limit(st->st_dev, "logical_block_size", &below) &&
	    is_power_of_two(below) && below > facts->offset_align && below <= MAX_UNIT)
		facts->mem_align = facts->offset_align = (uint32_t)below;
}

/* ---- the rest ---- */

static int probe_device(int fd, const struct stat *st, struct image_facts *facts)
{
	int logical;
	unsigned physical, optimal;
	uint64_t granularity = 0;

	if (ioctl(fd, BLKGETSIZE64, &facts->size) < 0 || ioctl(fd, BLKSSZGET, &logical) < 0)
		return -errno;
	facts->logical = (uint32_t)logical;
	facts->physical = ioctl(fd, BLKPBSZGET, &physical) < 0 ? facts->logical : physical;
	facts->optimal = ioctl(fd, BLKIOOPT, &optimal) < 0 ? 0 : optimal;

	if (!image_probe_queue_limit(st->st_rdev, "discard_max_bytes", &facts->max_discard))
		facts->max_discard = 0;
	if (facts->max_discard)
		image_probe_queue_limit(st->st_rdev, "discard_granularity", &granularity);
	if (granularity > UINT32_MAX || (facts->max_discard && !granularity))
		granularity = facts->logical;
	facts->discard_granularity = (uint32_t)granularity;
	if (!image_probe_queue_limit(st->st_rdev, "write_zeroes_max_bytes",
				     &facts->max_write_zeroes))
		facts->max_write_zeroes = 0;
	return 0;
}

static void probe_file(const struct stat *st, struct image_facts *facts)
{
	uint64_t wish = (uint64_t)st->st_blksize;

	facts->size = (uint64_t)st->st_size;
	facts->logical = SECTOR;
	facts->physical = PAGE;
	if (is_power_of_two(wish) && wish >= SECTOR && wish <= MAX_UNIT)
		facts->physical = (uint32_t)wish;
	facts->optimal = wish > facts->physical && wish <= UINT32_MAX ? (uint32_t)wish : 0;
	facts->discard_granularity = facts->physical;
	facts->max_discard = UINT64_MAX;
	facts->max_write_zeroes = UINT64_MAX;
}

int image_probe(int fd, bool direct, struct image_facts *facts)
{
	struct stat st;
	int err = 0;

	*facts = (struct image_facts){.mem_align = 1, .offset_align = 1};
	if (fstat(fd, &st) < 0)
		return -errno;
	facts->is_device = S_ISBLK(st.st_mode);
	if (facts->is_device)
		err = probe_device(fd, &st, facts);
	else
		probe_file(&st, facts);
	if (!err && direct)
		find_alignment(fd, &st, facts);
	return err;
}

void image_probe_head(int fd, struct image_facts *facts)
{
	ssize_t n;

	memset(facts->head, 0, sizeof(facts->head));
	do {
		n = pread(fd, facts->head, sizeof(facts->head), 0);
	} while (n < 0 && errno == EINTR);
}
