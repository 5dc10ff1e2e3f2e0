/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An operation on an image, whatever that is: what is submitted to a target (io/target.h).
 */
#ifndef IO_IO_H
#define IO_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum io_op {
	IO_READ,       /* iov[niov] from offset */
	IO_WRITE,      /* iov[niov] to offset; IO_F_DSYNC: durable before it completes */
	IO_SYNC,       /* fdatasync of the whole file */
	IO_PUNCH_HOLE, /* deallocate [offset, offset + length), reads return zeros, size kept */
	IO_ZERO_RANGE, /* zero [offset, offset + length) without deallocating, size kept */
	IO_DISCARD,    /* BLKDISCARD of [offset, offset + length), block devices only */
	IO_SIZE,       /* the result is how many bytes the file or block device has now */
};

#define IO_F_DSYNC 0x1u

/*
 * One operation. Embedded in its owner's preallocated object, so submitting allocates nothing.
 * The owner fills it, must leave it and the iovecs alone from target_submit() to done(), and
 * may submit it again from done(). All but `priv`, which io_uring does without, fits into a cache
 * line: an owner in a hurry aligns it to 64.
 */
struct io {
	uint8_t op;      /* enum io_op */
	uint8_t flags;   /* IO_F_* */
	int file;        /* from target_get_file(); any other completes with -EBADF */
	unsigned niov;   /* 1 to IOV_MAX (1024) */
	uint64_t offset; /* bytes */
	uint64_t length; /* bytes; of the allocation operations only */
	const struct iovec *iov;
	/* Called from reactor_run() once for each submission, in any order. */
	void (*done)(struct io *io);
	int64_t result; /* set before done(): bytes moved (may be short), or 0, or -errno */
	/* The target's own. */
	struct io *next;
	_Alignas(8) unsigned char priv[64];
};

/* Does it move data, so that its result may be short? */
static inline bool io_is_transfer(const struct io *io)
{
	return io->op == IO_READ || io->op == IO_WRITE;
}

#endif
