/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The image that is none: so many bytes, and nothing behind them. What floors are measured with.
 * Nobody has to be kept from it. Control thread.
 */
#include "image/image.h"
#include "image/probe.h"

static int null_open(struct image *image, const struct image_options *options,
		     struct image_facts *facts)
{
	*facts = (struct image_facts){
		.size = options->null_size,
		.logical = 512,
		.physical = 512,
		.mem_align = 1,
		.offset_align = 1,
		.discard_granularity = 512,
		.max_discard = UINT64_MAX,
		.max_write_zeroes = UINT64_MAX,
	};
	image->mem_align = image->offset_align = 1;
	return 0;
}

static int null_lock(const struct image *image, struct image_hold *hold, struct image_reason *why)
{
	(void)image;
	(void)hold;
	(void)why;
	return 0;
}

static void null_unlock(const struct image *image, struct image_hold *hold)
{
	(void)image;
	(void)hold;
}

static void null_close(struct image *image)
{
	(void)image;
}

const struct image_kind image_null = {
	.io = IMAGE_IO_NULL,
	.open = null_open,
	.lock = null_lock,
	.unlock = null_unlock,
	.close = null_close,
};
