/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which logical blocks the content of an image was made for: a partition table counts in them, and
 * tells. Reads a little of the image, whose content is the guest's, and believes nothing of it but
 * that: a guest that lies about its disk harms itself.
 */
#ifndef IMAGE_BLOCKS_H
#define IMAGE_BLOCKS_H

#include <stdint.h>

enum image_blocks {
	IMAGE_BLOCKS_UNKNOWN, /* no partition table */
	IMAGE_BLOCKS_512,
	IMAGE_BLOCKS_4096,
	IMAGE_BLOCKS_UNCLEAR, /* the table is good for both */
};

/*
 * Looks at an open file or block device of `size` bytes (O_DIRECT or not). What cannot be read
 * tells nothing. Any thread; waits for the read.
 */
enum image_blocks image_blocks_find(int fd, uint64_t size);

#endif
