/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the driver has a disk's write cache on: what it writes to the configuration space, and
 * what its features make of it. Control thread; workers read it.
 */
#ifndef DISK_WRITE_CACHE_H
#define DISK_WRITE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "request/disk.h"

struct vublk_dev;

/* It is on, or off; and noted so for the next process. */
void write_cache_set(struct blk_disk *disk, struct vublk_dev *dev, bool on);

/* See struct vublk_ops. 0, or -EPERM: nothing else may be written (logged). */
int write_cache_set_config(struct blk_disk *disk, struct vublk_dev *dev, uint32_t offset,
			   const uint8_t *data, uint32_t size, bool migration);

/* The features in force from now on, which are noted in the disk; 0: a reset. */
void write_cache_set_features(struct blk_disk *disk, uint64_t features);

#endif
