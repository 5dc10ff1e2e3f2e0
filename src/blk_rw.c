/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads and writes. Worker thread.
 *
 * Theory of operation. A request is moved in parts until nothing is left: a part is what one
 * operation can take (IOV_MAX elements, or a bounce buffer), and a short transfer only makes
 * the next part begin where it stopped. Where O_DIRECT cannot take the guest's buffers
 * (firmware and Windows send unaligned ones), all parts go through a bounce buffer.
 *
 * A file may end inside its last sector: what lies beyond reads as zeros.
 */
#include <errno.h>
#include <limits.h>

#include "blk_merge.h"
#include "blk_req.h"
#include "queue.h"
#include "worker.h"

/* Does O_DIRECT refuse any of the buffers? */
static bool is_unaligned(const struct blk_req *req)
{
	const struct image *image = req->queue->disk->image;
	uintptr_t addresses = 0, sizes = 0;

	if (!image->direct)
		return false;
	for (unsigned i = 0; i < req->n_data; i++) {
		addresses |= (uintptr_t)req->data[i].iov_base;
		sizes |= req->data[i].iov_len;
	}
	return addresses & (image->mem_align - 1) || sizes & (image->offset_align - 1);
}

/* `size` bytes are done: shortens data and moves on. */
static void advance(struct blk_req *req, uint64_t size)
{
	req->offset += size;
	req->left -= size;
	if (req->left)
		vublk_iov_drop(&req->data, &req->n_data, size);
}

/* ---- bounce buffers ---- */

static void submit_bounced(struct blk_req *req)
{
	const size_t size = req->left < BOUNCE_SIZE ? (size_t)req->left : BOUNCE_SIZE;

	req->bounce_iov = (struct iovec){req->bounce, size};
	if (req->io.op == IO_WRITE)
		vublk_iov_read(req->data, req->n_data, 0, req->bounce, size);
	req->io.iov = &req->bounce_iov;
	req->io.niov = 1;
	req->io.offset = req->offset;
	blk_req_submit(req);
}

void blk_rw_bounce(struct blk_req *req)
{
	int err;

	if (req->queue->suspending) {
		blk_req_submit(req); /* which drops it */
		return;
	}
	err = worker_bounce_get(req->queue->worker, req, &req->bounce);
	if (!err)
		submit_bounced(req);
	else if (err != -EAGAIN)
		blk_req_host_done(req, err);
}

static void point_at_data(struct blk_req *req)
{
	req->io.iov = req->data;
	req->io.niov = req->n_data < IOV_MAX ? req->n_data : IOV_MAX;
	req->io.offset = req->offset;
}

void blk_rw_begin(struct blk_req *req)
{
	if (is_unaligned(req)) {
		blk_rw_bounce(req);
		return;
	}
	point_at_data(req);
	blk_merge_submit(req);
}

void blk_rw_again(struct blk_req *req)
{
	if (req->bounce) {
		submit_bounced(req);
		return;
	}
	point_at_data(req);
	blk_req_submit(req);
}

static void finish(struct blk_req *req, int err)
{
	if (req->bounce) {
		worker_bounce_put(req->queue->worker, req->bounce);
		req->bounce = NULL;
	}
	blk_req_host_done(req, err);
}

/*
 * The read stopped short, maybe at the end of the file. The rest of that block, or of the
 * request if nothing came at all, is beyond it.
 */
static void read_beyond_end(struct blk_req *req, uint64_t done)
{
	const uint64_t align = req->queue->disk->image->offset_align;
	uint64_t zeros = done ? -(req->offset) & (align - 1) : req->left;

	if (zeros > req->left)
		zeros = req->left;
	vublk_iov_zero(req->data, req->n_data, 0, zeros);
	advance(req, zeros);
}

void blk_rw_io_done(struct blk_req *req)
{
	const int64_t result = req->io.result;

	if (result < 0) {
		finish(req, (int)result);
		return;
	}
	if (req->io.op == IO_READ) {
		if (req->bounce)
			vublk_iov_write(req->data, req->n_data, 0, req->bounce, (size_t)result);
		advance(req, (uint64_t)result);
		if (req->left)
			read_beyond_end(req, (uint64_t)result);
	} else if (result) {
		advance(req, (uint64_t)result);
	} else {
		/* No error and no progress: do not try for ever. */
		finish(req, -EIO);
		return;
	}
	if (req->left)
		blk_rw_again(req);
	else
		finish(req, 0);
}
