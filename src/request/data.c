/* SPDX-License-Identifier: BSD-3-Clause */
/* See request/data.h. Worker thread. */
#include "request/data.h"

#include <limits.h>
#include <string.h>

/* Does it begin or end inside a range? */
static bool is_cut(const struct blk_req *req)
{
	return req->data.skip || req->ends_inside;
}

unsigned blk_data_copy(const struct blk_req *req, struct iovec *to, unsigned most)
{
	struct vublk_cursor at = req->data;
	uint64_t left = req->left;
	unsigned n = 0;

	if (!is_cut(req)) {
		n = at.n < most ? at.n : most;
		memcpy(to, at.iov, n * sizeof(*to));
		return n;
	}
	while (left && n < most) {
		const struct iovec range = vublk_cursor_range(&at, left);

		to[n++] = range;
		left -= range.iov_len;
	}
	return n;
}

void blk_data_point(struct blk_req *req)
{
	struct iovec *spare;
	unsigned n;

	req->io.offset = req->offset;
	if (!is_cut(req)) {
		req->io.iov = req->data.iov;
		req->io.niov = req->data.n < IOV_MAX ? req->data.n : IOV_MAX;
		return;
	}
	spare = blk_req_spare(req, &n);
	req->io.iov = spare;
	req->io.niov = blk_data_copy(req, spare, n);
}

bool blk_data_is_aligned(const struct blk_req *req, uint32_t mem_align, uint32_t size_align)
{
	struct vublk_cursor at = req->data;
	uintptr_t addresses = 0, sizes = 0;

	for (uint64_t left = req->left; left;) {
		const struct iovec range = is_cut(req) ? vublk_cursor_range(&at, left) : *at.iov++;

		addresses |= (uintptr_t)range.iov_base;
		sizes |= range.iov_len;
		left -= range.iov_len;
	}
	return !(addresses & (mem_align - 1)) && !(sizes & (size_align - 1));
}

void blk_data_advance(struct blk_req *req, uint64_t size)
{
	req->offset += size;
	req->left -= size;
	vublk_cursor_advance(&req->data, size);
}
