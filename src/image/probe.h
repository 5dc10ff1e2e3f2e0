/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the host says about an open image: its size, its alignments, what it can free and zero.
 * Facts only, image/image.c makes a disk of them. Nothing here writes to the image or locks it: it
 * may be another process's still (a migration's source).
 */
#ifndef IMAGE_PROBE_H
#define IMAGE_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define IMAGE_HEAD 8192u

/* All in bytes. */
struct image_facts {
	/* What it begins with, see image_probe_head(). */
	_Alignas(4096) unsigned char head[IMAGE_HEAD];
	bool is_device;
	uint64_t size;                /* as it is, not rounded */
	uint32_t logical;             /* a device's logical block size; 512 for a file */
	uint32_t physical;            /* a device's physical block size; a file system's block */
	uint32_t optimal;             /* preferred size of requests, 0: none known */
	uint32_t mem_align;           /* for O_DIRECT; 0: the file has none, whatever open() said */
	uint32_t offset_align;        /* the same, of offsets and lengths */
	uint32_t discard_granularity; /* 0: cannot discard */
	/* A file is taken to be able to: whether a hole can be punched in it cannot be found out
	 * without punching one, and the request layer treats EOPNOTSUPP as done (it is a hint). */
	uint64_t max_discard;      /* in one request, UINT64_MAX: no limit */
	uint64_t max_write_zeroes; /* the same; 0: a device that cannot, the kernel writes zeros */
};

/*
 * Finds out about the open file (regular or block device; with O_DIRECT if `direct`, else the
 * alignments are 1). May read a little of it. 0 or -errno of the call that failed. Any thread.
 */
int image_probe(int fd, bool direct, struct image_facts *facts);

/*
 * Reads what the file begins with, with the flags that it is open with now; zeros behind its end,
 * or if it cannot be read. Any thread; waits for the read.
 */
void image_probe_head(int fd, struct image_facts *facts);

/*
 * The smallest alignment of 512 and 4096 with which O_DIRECT reads work; for kernels and file
 * systems that do not tell (statx's STATX_DIOALIGN is Linux 6.1). Part of image_probe(), open to
 * its test. 0, or -EINVAL if none of them does.
 */
int image_probe_by_reading(int fd, uint32_t *mem_align, uint32_t *offset_align);

/*
 * A number that /sys tells of the queue of a block device; a partition has none of its own, its
 * parent's counts. Is there one of this name?
 */
bool image_probe_queue_limit(dev_t device, const char *name, uint64_t *value);

#endif
