/* SPDX-License-Identifier: BSD-3-Clause */
/* See request/data.h. Worker thread. */
#include "request/data.h"

unsigned blk_data_copy_cut(const struct blk_req *req, struct iovec *to, unsigned most)
{
	struct vublk_cursor at = req->data;
	uint64_t left = req->left;
	unsigned n = 0;

	while (left && n < most) {
		const struct iovec range = vublk_cursor_range(&at, left);

		to[n++] = (struct iovec){vublk_guest_writable(range.iov_base), range.iov_len};
		left -= range.iov_len;
	}
	return n;
}

bool blk_data_is_aligned(const struct blk_req *req, uint32_t mem_align, uint32_t size_align)
{
	struct vublk_cursor at = req->data;
	uintptr_t addresses = 0, sizes = 0;

	for (uint64_t left = req->left; left;) {
		const struct iovec range =
			blk_data_is_cut(req) ? vublk_cursor_range(&at, left) : *at.iov++;

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
