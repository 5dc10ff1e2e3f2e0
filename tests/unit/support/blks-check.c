/* SPDX-License-Identifier: BSD-3-Clause */
/* See blks-check.h. */
#include "tests/unit/support/blks-check.h"

#include <string.h>

void blks_check_op(unsigned op, unsigned first, unsigned last)
{
	const struct io *io = op < blks.n_ops ? blks.op[op] : NULL;
	const struct blks_shape *shape = &blks.guest[first].shape;
	unsigned n = 0;

	REQUIRE(io);
	CHECK(io == &blks.req[first].io);
	CHECK_EQ(io->op, blks_is_write(shape) ? IO_WRITE : IO_READ);
	CHECK_EQ(io->offset, shape->offset);
	for (unsigned i = first; i <= last; i++)
		for (unsigned k = 0; k < blks.guest[i].shape.pieces; k++, n++) {
			REQUIRE(n < io->niov);
			CHECK(io->iov[n].iov_base == blks.guest[i].piece[k].iov_base);
			CHECK_EQ(io->iov[n].iov_len, blks.guest[i].piece[k].iov_len);
		}
	CHECK_EQ(io->niov, n);
}

void blks_check_rest(unsigned op, unsigned i, uint64_t done)
{
	const struct io *io = op < blks.n_ops ? blks.op[op] : NULL;
	const struct blks_shape *shape = &blks.guest[i].shape;

	REQUIRE(io);
	CHECK(io == &blks.req[i].io);
	CHECK_EQ(io->op, blks_is_write(shape) ? IO_WRITE : IO_READ);
	CHECK_EQ(io->offset, shape->offset + done);
	CHECK_EQ(vublk_iov_size(io->iov, io->niov), shape->size - done);
}

/* Does the guest find on the disk what it wrote, or in its memory what is on the disk? */
static void check_data(unsigned i)
{
	const struct blks_guest *guest = &blks.guest[i];
	const struct blks_shape *shape = &guest->shape;
	uint64_t at = shape->offset;

	for (unsigned k = 0; k < shape->pieces; k++) {
		const struct iovec *piece = &guest->piece[k];
		const uint8_t *behind = (uint8_t *)piece->iov_base + piece->iov_len;
		static uint8_t expected[BLKS_DISK];

		memset(expected, 0, piece->iov_len);
		if (blks_is_write(shape) || at + piece->iov_len <= blks.end)
			memcpy(expected, blks.content + at, piece->iov_len);
		else if (at < blks.end)
			memcpy(expected, blks.content + at, blks.end - at);
		CHECK(!memcmp(piece->iov_base, expected, piece->iov_len));
		CHECK_EQ(*behind, BLKS_FILL);
		at += piece->iov_len;
	}
}

void blks_check_one(unsigned i, uint8_t status)
{
	const struct blks_guest *guest = &blks.guest[i];
	const bool reads = guest->shape.type == VIRTIO_BLK_T_IN;

	CHECK_EQ(guest->answered, 1);
	CHECK_EQ(guest->abandoned, 0);
	CHECK_EQ(guest->status, status);
	if (status == VIRTIO_BLK_S_OK) {
		CHECK_EQ(guest->written, reads ? guest->shape.size + 1 : 1);
		check_data(i);
	} else {
		CHECK_EQ(guest->written, reads ? 0 : 1);
	}
}

void blks_check_open(unsigned i)
{
	CHECK_EQ(blks.guest[i].answered, 0);
	CHECK_EQ(blks.guest[i].abandoned, 0);
	CHECK_EQ(blks.guest[i].status, BLKS_NO_STATUS);
}

void blks_check_answered(uint8_t status)
{
	for (unsigned i = 0; i < blks.n; i++)
		blks_check_one(i, status);
}
