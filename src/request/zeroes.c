/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Discard and write-zeroes. Worker thread.
 *
 * Theory of operation. A discard is a hint: the image frees the range if it can, and a host that
 * cannot is no error. A write-zeroes is an order: it tries, in this order, what the image has
 * not yet been found to lack,
 *
 *	PUNCH_HOLE (with unmap only) -> ZERO_RANGE -> writing zeros
 *
 * and where writes have to be durable, it ends with a sync.
 */
#include <errno.h>

#include "request/data.h"
#include "request/exec.h"
#include "request/rw.h"
#include "request/sync.h"
#include "request/zeroes.h"

enum step {
	STEP_PUNCH_HOLE,
	STEP_ZERO_RANGE,
	STEP_WRITE,
	STEP_DISCARD
};

/* What is written where nothing better is to be had; aligned for O_DIRECT. */
#define ZEROS_SIZE 65536
static const _Alignas(4096) char zeros[ZEROS_SIZE];

static void done(struct io *io);

static void submit_range(struct blk_req *req, enum io_op op, enum step step)
{
	req->step = step;
	req->io.op = op;
	req->io.flags = 0;
	req->io.offset = req->offset;
	req->io.length = req->left;
	blk_req_submit(req, done);
}

/* One operation's worth of zeros, from one buffer that is named many times. */
static void submit_write(struct blk_req *req)
{
	uint64_t left = req->left;
	unsigned room, n = 0;
	struct iovec *iov = blk_req_spare(req, &room);

	while (left && n < room && n < BLK_REQ_IOVS) {
		const size_t size = left < ZEROS_SIZE ? (size_t)left : ZEROS_SIZE;

		iov[n++] = (struct iovec){(void *)zeros, size};
		left -= size;
	}
	req->step = STEP_WRITE;
	req->io.op = IO_WRITE;
	req->io.flags = 0;
	req->io.iov = iov;
	req->io.niov = n;
	req->io.offset = req->offset;
	blk_req_submit(req, done);
}

/* Goes on with the best way from `step` on that is left. */
static void submit_zeroes(struct blk_req *req, enum step step)
{
	const struct blk_env *env = req->env;

	if (step == STEP_PUNCH_HOLE && !env->punch_hole_missing)
		submit_range(req, IO_PUNCH_HOLE, STEP_PUNCH_HOLE);
	else if (step <= STEP_ZERO_RANGE && !env->zero_range_missing)
		submit_range(req, IO_ZERO_RANGE, STEP_ZERO_RANGE);
	else
		submit_write(req);
}

/* A device discards and zeroes whole blocks of its own, which may be larger than the disk's. */
static bool is_whole(const struct blk_req *req)
{
	return !((req->offset | req->left) & (req->env->disk->image->range_align - 1));
}

void blk_discard_begin(struct blk_req *req)
{
	const bool device = req->env->disk->image->is_device;

	req->size = req->left;
	if (!is_whole(req)) {
		blk_req_host_done(req, 0);
		return;
	}
	submit_range(req, device ? IO_DISCARD : IO_PUNCH_HOLE, STEP_DISCARD);
}

void blk_zeroes_begin(struct blk_req *req, bool unmap)
{
	req->size = req->left;
	unmap = unmap && req->env->disk->image->unmap_zeroes;
	submit_zeroes(req, !is_whole(req) ? STEP_WRITE : unmap ? STEP_PUNCH_HOLE : STEP_ZERO_RANGE);
}

/*
 * "The host has no such operation", in the words of file systems and drivers, FUSE's and network
 * ones' among them. EINVAL and EPERM are of this range, or of this moment, perhaps.
 */
static bool is_missing(int64_t result)
{
	return result == -EOPNOTSUPP || result == -ENOSYS || result == -ENOTTY || result == -ENODEV;
}

static bool is_not_done(int64_t result)
{
	return is_missing(result) || result == -EINVAL || result == -EPERM;
}

static void zeroed(struct blk_req *req)
{
	if (blk_disk_durable(req->env->disk))
		blk_sync_join(req);
	else
		blk_req_host_done(req, 0);
}

static void part_written(struct blk_req *req)
{
	int64_t result = req->io.result;

	if (result >= 0)
		result = result ? blk_rw_progress(req, (uint64_t)result) : -EIO;
	if (result < 0) {
		blk_req_host_done(req, (int)result);
		return;
	}
	req->offset += (uint64_t)result;
	req->left -= (uint64_t)result;
	if (req->left)
		submit_write(req);
	else
		zeroed(req);
}

/* An allocation operation has zeroed the range, or is found missing: then the next best. */
static void range_zeroed(struct blk_req *req, bool *missing, enum step next)
{
	const int64_t result = req->io.result;

	if (is_not_done(result)) {
		*missing = is_missing(result);
		submit_zeroes(req, next);
	} else if (result) {
		blk_req_host_done(req, (int)result);
	} else {
		zeroed(req);
	}
}

static void done(struct io *io)
{
	struct blk_req *req = blk_req_of(io);
	const int64_t result = io->result;

	switch ((enum step)req->step) {
	case STEP_DISCARD:
		blk_req_host_done(req, is_not_done(result) ? 0 : (int)result);
		break;
	case STEP_WRITE:
		part_written(req);
		break;
	case STEP_PUNCH_HOLE:
		range_zeroed(req, &req->env->punch_hole_missing, STEP_ZERO_RANGE);
		break;
	case STEP_ZERO_RANGE:
		range_zeroed(req, &req->env->zero_range_missing, STEP_WRITE);
		break;
	}
}
