/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which logical blocks the content of an image was made for: a partition table counts in them,
 * and tells. The content is the guest's, and nothing of it is believed but that: a guest that lies
 * about its disk harms itself. Pure functions.
 */
#ifndef IMAGE_BLOCKS_H
#define IMAGE_BLOCKS_H

#include <stdint.h>

#include "image/probe.h"

enum image_blocks {
	IMAGE_BLOCKS_UNKNOWN, /* no partition table */
	IMAGE_BLOCKS_512,
	IMAGE_BLOCKS_4096,
	IMAGE_BLOCKS_UNCLEAR, /* the table is good for both */
};

/* Looks at what an image of `size` bytes begins with. */
enum image_blocks image_blocks_find(const unsigned char head[IMAGE_HEAD], uint64_t size);

#endif
