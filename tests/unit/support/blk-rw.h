/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads and writes for blk.h, of a buffer and at one place of the disk; for tests of
 * src/request/rw.c.
 */
#ifndef BLK_RW_H
#define BLK_RW_H

#include "tests/unit/support/blk.h"

#define SIZE  4096u
#define START (16 * 512u) /* where they begin on the disk, bytes */

extern _Alignas(4096) uint8_t blk_buffer[4 * BOUNCE_SIZE];

void blk_begin_read(void *data, size_t size);
void blk_begin_write(const void *data, size_t size);

/* Is all of it this byte? */
bool blk_is_all(const uint8_t *data, uint8_t byte, size_t size);

/* What the engine puts into a read: `size` bytes of this value. */
void blk_complete_read(uint8_t byte, size_t size);

#endif
