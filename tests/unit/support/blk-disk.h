/* SPDX-License-Identifier: BSD-3-Clause */
/* The disk that tests of src/request serve: a writable file that can do everything. */
#ifndef BLK_DISK_FOR_TESTS_H
#define BLK_DISK_FOR_TESTS_H

#include "src/request/disk.h"
#include "src/request/sync.h"

#define BLK_CAPACITY 0x100000u /* sectors */

/* Where that file ends; tests may change it. */
extern struct image_end blk_disk_end;

extern struct blk_sync blk_disk_sync;

void blk_disk_make(struct blk_disk *disk, struct image *image);

/* The file is opened with O_DIRECT: everything in multiples of 512. */
void blk_disk_make_direct(struct image *image);

#endif
