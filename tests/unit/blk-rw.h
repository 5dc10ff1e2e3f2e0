/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads and writes for blk.h, of a buffer and at one place of the disk; for tests of
 * src/request/rw.c.
 */
#ifndef BLK_RW_H
#define BLK_RW_H

#include "tests/unit/blk.h"

#define SIZE  4096u
#define START (16 * 512u) /* where they begin on the disk, bytes */

static _Alignas(4096) uint8_t buffer[4 * BOUNCE_SIZE];

static inline void begin_read(void *data, size_t size)
{
	blk_begin(VIRTIO_BLK_T_IN, 16);
	blk_in(data, size);
	blk_go();
}

static inline void begin_write(const void *data, size_t size)
{
	blk_begin(VIRTIO_BLK_T_OUT, 16);
	blk_out(data, size);
	blk_go();
}

/* Is all of it this byte? */
static inline bool is_all(const uint8_t *data, uint8_t byte, size_t size)
{
	while (size--)
		if (data[size] != byte)
			return false;
	return true;
}

/* What the engine puts into a read: `size` bytes of this value. */
static inline void complete_read(uint8_t byte, size_t size)
{
	for (size_t i = 0; i < size; i++)
		vublk_iov_write(blk.io->iov, blk.io->niov, i, &byte, 1);
	blk_complete((int64_t)size);
}

#endif
