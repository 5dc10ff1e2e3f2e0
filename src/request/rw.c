/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads and writes. Worker thread.
 *
 * Theory of operation. A request is moved in parts until nothing is left: a part is what one
 * operation can take (IOV_MAX elements, or a bounce buffer), and a short transfer only makes
 * the next part begin where it stopped. Where O_DIRECT cannot take the guest's buffers
 * (firmware and Windows send unaligned ones), all parts go through a bounce buffer.
 *
 * File systems that live elsewhere (FUSE, network) may stop at any byte, in the middle of a file,
 * with O_DIRECT, too; that one goes on at the start of the block, and what was moved of it is moved
 * again. A transfer that made no such progress is tried once more, then from the very byte.
 *
 * Only a read that made no progress may be at the end of the file, and whether it is, is asked. A
 * file may end inside its last sector: what lies beyond that end, and nothing else, reads as zeros.
 * One that ends before is a truncated one (image/end.h).
 */
#include <errno.h>

#include "base/container.h"
#include "request/data.h"
#include "request/exec.h"
#include "request/merge.h"
#include "request/rw.h"
#include "request/sync.h"

/* Does O_DIRECT refuse any of the buffers? */
static bool is_unaligned(const struct blk_req *req)
{
	const struct image *image = req->env->disk->image;

	return image->direct && !blk_data_is_aligned(req, image->mem_align, image->offset_align);
}

/* ---- bounce buffers ---- */

static void transferred(struct io *io);
static void finish(struct blk_req *req, int err);

static void submit_bounced(struct blk_req *req)
{
	const size_t size = req->left < BOUNCE_SIZE ? (size_t)req->left : BOUNCE_SIZE;

	req->bounce_iov = (struct iovec){req->bounce, size};
	if (req->io.op == IO_WRITE)
		vublk_iov_read(req->data.iov, req->data.n, req->data.skip, req->bounce, size);
	if (req->io.op == IO_WRITE && vublk_chain_is_lost(&req->chain)) {
		finish(req, -EFAULT);
		return;
	}
	req->io.iov = &req->bounce_iov;
	req->io.niov = 1;
	req->io.offset = req->offset;
	blk_req_submit(req, transferred);
}

static void buffer_ready(struct bounce_waiter *waiter, void *buffer);

static void bounce(struct blk_req *req)
{
	int err;

	if (req->env->abandoning) {
		blk_req_abandon(req);
		return;
	}
	req->waiter.ready = buffer_ready;
	err = bounce_get(req->env->bounce, req->env->bounce_user, &req->waiter, &req->bounce);
	if (!err)
		submit_bounced(req);
	else if (err != -EAGAIN)
		blk_req_host_done(req, err);
}

static void buffer_ready(struct bounce_waiter *waiter, void *buffer)
{
	struct blk_req *req = container_of(waiter, struct blk_req, waiter);

	req->bounce = buffer;
	if (req->env->abandoning)
		blk_req_abandon(req);
	else
		submit_bounced(req);
}

/* ---- parts ---- */

static void ask_size(struct blk_req *req, uint64_t done)
{
	req->io.op = IO_SIZE;
	req->io.length = done;
	req->io.offset = image_end_size(req->env->disk->end);
	blk_req_submit(req, transferred);
}

/* Submits what is left of it, by itself. */
static void submit_rest(struct blk_req *req)
{
	if (req->bounce) {
		submit_bounced(req);
	} else if (is_unaligned(req)) {
		bounce(req);
	} else {
		blk_data_point(req);
		blk_req_submit(req, transferred);
	}
}

static void finish(struct blk_req *req, int err)
{
	if (req->bounce) {
		bounce_put(req->env->bounce, req->env->bounce_user, req->bounce);
		req->bounce = NULL;
	}
	if (!err && req->durable)
		blk_sync_join(req);
	else
		blk_req_host_done(req, err);
}

/* ---- short transfers ---- */

/* Of `done` bytes those after which O_DIRECT can go on. */
static uint64_t whole_blocks(const struct blk_req *req, uint64_t done)
{
	const struct image *image = req->env->disk->image;
	const uint64_t block = image->direct ? image->offset_align : 1;
	const uint64_t at = (req->offset + done) & ~(block - 1);

	if (done == req->left)
		return done;
	return at > req->offset ? at - req->offset : 0;
}

int64_t blk_rw_progress(struct blk_req *req, uint64_t done)
{
	const uint64_t whole = whole_blocks(req, done);
	const bool again = !whole && !req->stalled;

	req->stalled = again;
	if (whole || again)
		return (int64_t)whole;
	return done ? (int64_t)done : -EIO;
}

static void go_on(struct blk_req *req, uint64_t done)
{
	const int64_t size = blk_rw_progress(req, done);

	if (size < 0) {
		finish(req, (int)size);
		return;
	}
	blk_data_advance(req, (uint64_t)size);
	if (req->left)
		submit_rest(req);
	else
		finish(req, 0);
}

/* The read has stopped at the end of the file, inside the last sector; `size` is where. */
static void read_tail(struct blk_req *req, uint64_t size)
{
	const size_t valid = size > req->offset ? (size_t)(size - req->offset) : 0;

	vublk_iov_zero(req->data.iov, req->data.n, req->data.skip + valid, req->left - valid);
	finish(req, 0);
}

/*
 * The image's size, asked for when it was known to be io.offset, and a read had stopped after
 * `done` bytes, or before a write that would restore the size of a file that was truncated.
 */
static void size_known(struct blk_req *req)
{
	struct image_end *end = req->env->disk->end;
	const int64_t size = req->io.result;
	const uint64_t done = req->io.length;

	req->io.op = req->type->changes ? IO_WRITE : IO_READ;
	if (size < 0) {
		finish(req, (int)size);
		return;
	}
	image_end_found(end, req->io.offset, (uint64_t)size);
	if (req->offset + req->left > image_end_limit(end))
		finish(req, -EIO);
	else if (req->io.op == IO_WRITE)
		submit_rest(req);
	else if ((uint64_t)size > req->offset + done)
		go_on(req, done);
	else
		read_tail(req, (uint64_t)size);
}

static void transferred(struct io *io)
{
	struct blk_req *req = blk_req_of(io);
	const int64_t result = io->result;
	const uint64_t done = (uint64_t)result;

	if (req->io.op == IO_SIZE) {
		size_known(req);
		return;
	}
	if (result < 0) {
		finish(req, (int)result);
		return;
	}
	if (req->io.op == IO_READ && req->bounce)
		vublk_iov_write(req->data.iov, req->data.n, req->data.skip, req->bounce,
				(size_t)done);
	if (done == req->left)
		finish(req, 0); /* all of it, as nearly always */
	else if (req->io.op == IO_READ && !whole_blocks(req, done))
		ask_size(req, done);
	else if (req->io.op == IO_WRITE && !done)
		finish(req, -EIO); /* no error and no progress: do not try for ever */
	else
		go_on(req, done);
}

/* It was done together with others, `done` bytes of it; 0: perhaps none. */
static void unmerged(struct blk_req *req, uint64_t done)
{
	if (!done) {
		submit_rest(req);
		return;
	}
	req->io.result = (int64_t)done;
	transferred(&req->io);
}

void blk_rw_begin(struct blk_req *req)
{
	if (req->io.op == IO_WRITE &&
	    image_end_asks(req->env->disk->end, req->offset + req->left)) {
		ask_size(req, 0);
		return;
	}
	if (is_unaligned(req)) {
		bounce(req);
		return;
	}
	blk_data_point(req);
	blk_merge_submit(req, transferred, unmerged);
}
