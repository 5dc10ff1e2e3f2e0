/* SPDX-License-Identifier: BSD-3-Clause */
/* See blk-disk.h. */
#include "tests/unit/support/blk-disk.h"

#include "src/request/config.h"

struct image_end blk_disk_end;
struct blk_sync blk_disk_sync;

/* Nobody is told. */
static struct io_errors errors = {.posted = true};

void blk_disk_make(struct blk_disk *disk, struct image *image)
{
	*image = (struct image){
		.fd = -1,
		.end = BLK_CAPACITY * 512ull,
		.size = BLK_CAPACITY * 512ull,
		.block_size = 512,
		.physical_block_size = 4096,
		.mem_align = 1,
		.offset_align = 1,
		.range_align = 1,
		.can_discard = true,
		.discard_alignment = 4096,
		.max_discard = 0x8000000,
		.can_write_zeroes = true,
		.unmap_zeroes = true,
		.max_write_zeroes = 0x8000000,
	};
	image_end_init(&blk_disk_end, image, "test");
	blk_sync_init(&blk_disk_sync);
	*disk = (struct blk_disk){
		.name = "test",
		.serial = "serial",
		.image = image,
		.end = &blk_disk_end,
		.sync = &blk_disk_sync,
		.errors = &errors,
		.features = blk_config_features(image),
		.wce = true,
	};
}

void blk_disk_make_direct(struct image *image)
{
	image->direct = true;
	image->mem_align = image->offset_align = 512;
}
