/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data of a read or write, as far as it is still to be moved: a place in the request's chain,
 * which itself stays as the driver made it, and how much from there on. Worker thread.
 *
 * Mostly that is a number of whole ranges, which the kernel is told of where they are in the chain.
 * It begins inside one after a short transfer, or where a driver frames header and data together,
 * and ends inside one where the status follows it: then it is told of a copy.
 */
#ifndef REQUEST_DATA_H
#define REQUEST_DATA_H

#include <limits.h>
#include <string.h>

#include "request/request.h"

/* The room of the request's own array that its chain leaves: *n ranges, at least BLK_REQ_SPARE. */
static inline struct iovec *blk_req_spare(struct blk_req *req, unsigned *n)
{
	const struct vublk_chain *chain = &req->chain;
	const unsigned used = chain->iov == req->iov ? chain->n_out + chain->n_in : 0;

	*n = BLK_REQ_IOVS + BLK_REQ_SPARE - used;
	return req->iov + used;
}

/*
 * Does it begin or end inside a range? (Or is the kernel to be told of other addresses, in a build
 * for tests?)
 */
static inline bool blk_data_is_cut(const struct blk_req *req)
{
	void *at = req->data.iov->iov_base;

	return req->data.skip || req->ends_inside || vublk_guest_writable(at) != at;
}

/* For those: the ranges of the data, at most `most` of them, to `to`. Returns how many. */
unsigned blk_data_copy_cut(const struct blk_req *req, struct iovec *to, unsigned most);

/* The same for any. Mostly there is one. */
static inline unsigned blk_data_copy(const struct blk_req *req, struct iovec *to, unsigned most)
{
	const unsigned n = req->data.n < most ? req->data.n : most;

	if (blk_data_is_cut(req))
		return blk_data_copy_cut(req, to, most);
	if (n == 1)
		*to = *req->data.iov;
	else
		memcpy(to, req->data.iov, n * sizeof(*to));
	return n;
}

/* Has req->io move the data: as much as one operation can. */
static inline void blk_data_point(struct blk_req *req)
{
	req->io.iov = req->data.iov;
	req->io.niov = req->data.n < IOV_MAX ? req->data.n : IOV_MAX;
	req->io.offset = req->offset;
	if (blk_data_is_cut(req)) {
		unsigned room;
		struct iovec *spare = blk_req_spare(req, &room);

		req->io.iov = spare;
		req->io.niov = blk_data_copy_cut(req, spare, room);
	}
}

/* Are all addresses and sizes multiples of these powers of two? */
bool blk_data_is_aligned(const struct blk_req *req, uint32_t mem_align, uint32_t size_align);

/* `size` bytes of it (at most all) are moved. */
void blk_data_advance(struct blk_req *req, uint64_t size);

#endif
