/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lists of memory ranges: what lets a request be framed in any way the guest chooses. Pure
 * functions; any thread. The ranges are guest memory that may change under our hands, so each
 * function touches each byte once.
 */
#include "vublk.h"

#include <string.h>

uint64_t vublk_iov_size(const struct iovec *iov, unsigned n)
{
	uint64_t size = 0;

	for (unsigned i = 0; i < n; i++)
		size += iov[i].iov_len;
	return size;
}

void vublk_cursor_advance(struct vublk_cursor *at, uint64_t size)
{
	while (at->n && size >= at->iov->iov_len - at->skip) {
		size -= at->iov->iov_len - at->skip;
		at->skip = 0;
		at->iov++;
		at->n--;
	}
	if (at->n)
		at->skip += (size_t)size;
}

struct iovec vublk_cursor_range(struct vublk_cursor *at, uint64_t size)
{
	struct iovec range = {NULL, 0};

	while (at->n && !range.iov_len) {
		range.iov_base = (char *)at->iov->iov_base + at->skip;
		range.iov_len = at->iov->iov_len - at->skip;
		at->iov++;
		at->n--;
		at->skip = 0;
	}
	if (range.iov_len > size)
		range.iov_len = (size_t)size;
	return range;
}

enum direction {
	FROM_LIST,
	TO_LIST,
	ZEROS_TO_LIST
};

/* Moves `size` bytes between the list, from `offset` on, and `data`; returns how many. */
static uint64_t move(const struct iovec *iov, unsigned n, uint64_t offset, void *data,
		     uint64_t size, enum direction direction)
{
	struct vublk_cursor at = {iov, n, 0};
	uint64_t done = 0;

	vublk_cursor_advance(&at, offset);
	while (done < size) {
		const struct iovec range = vublk_cursor_range(&at, size - done);

		if (!range.iov_len)
			break;
		if (direction == FROM_LIST)
			memcpy((char *)data + done, range.iov_base, range.iov_len);
		else if (direction == TO_LIST)
			memcpy(vublk_guest_writable(range.iov_base), (const char *)data + done,
			       range.iov_len);
		else
			memset(vublk_guest_writable(range.iov_base), 0, range.iov_len);
		done += range.iov_len;
	}
	return done;
}

size_t vublk_iov_read(const struct iovec *iov, unsigned n, uint64_t offset, void *data, size_t size)
{
	return (size_t)move(iov, n, offset, data, size, FROM_LIST);
}

size_t vublk_iov_write(const struct iovec *iov, unsigned n, uint64_t offset, const void *data,
		       size_t size)
{
	return (size_t)move(iov, n, offset, (void *)data, size, TO_LIST);
}

uint64_t vublk_iov_zero(const struct iovec *iov, unsigned n, uint64_t offset, uint64_t size)
{
	return move(iov, n, offset, NULL, size, ZEROS_TO_LIST);
}
