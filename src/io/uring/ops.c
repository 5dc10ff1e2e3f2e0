/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations of the io_uring target: from struct io to a submission entry. The reactor's thread
 * only. An entry is written in place: put together elsewhere and copied, it would be read back
 * before its parts have reached the cache, which costs more than all the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>

#include "io/uring/uring.h"

/* Linux 6.12, linux/blkdev.h */
#ifndef BLOCK_URING_CMD_DISCARD
#define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
#endif

/* The kernel's MAX_RW_COUNT, about: more is a short transfer anyway, and 4 GiB are not 0. */
#define READ_WRITE_MAX 0x7ffff000u

/* The entry as it is for most operations; what it does is filled in. */
static void begin(const struct uring *u, struct io_uring_sqe *sqe, const struct io *io)
{
	sqe->flags = u->fixed_files ? IOSQE_FIXED_FILE : 0;
	sqe->fd = u->fixed_files ? io->file : target_fd(&u->target, io->file);
	sqe->off = io->offset;
	sqe->user_data = (uintptr_t)io;
}

static void describe_transfer(struct uring *u, const struct ring *ring, struct io_uring_sqe *sqe,
			      const struct io *io)
{
	const bool write = io->op == IO_WRITE;
	int index = -1;

	if (write && (io->flags & IO_F_DSYNC))
		sqe->rw_flags = RWF_DSYNC;
	if (io->niov != 1) {
		sqe->opcode = write ? IORING_OP_WRITEV : IORING_OP_READV;
		sqe->addr = (uintptr_t)io->iov;
		sqe->len = io->niov;
		return;
	}
	sqe->addr = (uintptr_t)io->iov->iov_base;
	sqe->len =
		(unsigned)(io->iov->iov_len < READ_WRITE_MAX ? io->iov->iov_len : READ_WRITE_MAX);
	if (ring == u->buffers.ring)
		index = uring_buffers_find(&u->buffers, io->iov->iov_base, sqe->len);
	if (index < 0) {
		sqe->opcode = write ? IORING_OP_WRITE : IORING_OP_READ;
	} else {
		sqe->opcode = write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
		sqe->buf_index = (uint16_t)index;
	}
}

static void describe_fallocate(struct io_uring_sqe *sqe, const struct io *io, int mode)
{
	sqe->opcode = IORING_OP_FALLOCATE;
	sqe->len = (unsigned)(mode | FALLOC_FL_KEEP_SIZE);
	sqe->addr = io->length;
}

static void describe(struct io_uring_sqe *sqe, const struct io *io)
{
	switch ((enum io_op)io->op) {
	case IO_READ:
	case IO_WRITE:
		break; /* describe_transfer() */
	case IO_SYNC:
		sqe->opcode = IORING_OP_FSYNC;
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
		sqe->off = 0;
		break;
	case IO_PUNCH_HOLE:
		describe_fallocate(sqe, io, FALLOC_FL_PUNCH_HOLE);
		break;
	case IO_ZERO_RANGE:
		describe_fallocate(sqe, io, FALLOC_FL_ZERO_RANGE);
		break;
	case IO_DISCARD:
		sqe->opcode = IORING_OP_URING_CMD;
		sqe->off = 0;
		sqe->cmd_op = BLOCK_URING_CMD_DISCARD;
		sqe->addr = io->offset;
		sqe->addr3 = io->length;
		break;
	case IO_SIZE:
		break; /* io/offload.h */
	}
}

/*
 * The kernel polls for nothing but reads and writes, and not for those that end with a flush. In a
 * file system it must not be asked to poll for writes: where ext4 does one synchronously (not whole
 * blocks, Linux 6.1), it waits under the file's lock for a completion that nobody looks for.
 */
static bool is_polled(struct uring *u, const struct io *io)
{
	if (!u->iopoll)
		return false;
	if (io->op == IO_READ)
		return true;
	return io->op == IO_WRITE && !(io->flags & IO_F_DSYNC) &&
	       (target_file_of(&u->target, io)->kind & TARGET_DEVICE);
}

bool uring_prepare(struct uring *u, struct io *io)
{
	const bool polled = is_polled(u, io);
	struct ring *ring = polled ? &u->poll : &u->main;
	struct io_uring_sqe *sqe = ring_entry(ring);

	if (!sqe)
		return false;
	begin(u, sqe, io);
	if (io_is_transfer(io))
		describe_transfer(u, ring, sqe, io);
	else
		describe(sqe, io);
	u->polled += polled;
	return true;
}
