/* SPDX-License-Identifier: BSD-3-Clause */
/* See blk-rw.h. */
#include "tests/unit/support/blk-rw.h"

_Alignas(4096) uint8_t blk_buffer[4 * BOUNCE_SIZE];

void blk_begin_read(void *data, size_t size)
{
	blk_begin(VIRTIO_BLK_T_IN, 16);
	blk_in(data, size);
	blk_go();
}

void blk_begin_write(const void *data, size_t size)
{
	blk_begin(VIRTIO_BLK_T_OUT, 16);
	blk_out(data, size);
	blk_go();
}

bool blk_is_all(const uint8_t *data, uint8_t byte, size_t size)
{
	while (size--)
		if (data[size] != byte)
			return false;
	return true;
}

void blk_complete_read(uint8_t byte, size_t size)
{
	for (size_t i = 0; i < size; i++)
		vublk_iov_write(blk.io->iov, blk.io->niov, i, &byte, 1);
	blk_complete((int64_t)size);
}
