/* SPDX-License-Identifier: BSD-3-Clause */
#include "request/merge.h"

#include <string.h>

#include "queue/queue.h"
#include "request/request.h"

/* Larger ones gain nothing by being made larger still. */
#define MOST_BYTES ((uint64_t)256 << 10)

/* The head's array has its own data in the first half, and the list's iovecs in the second. */
#define MOST_IOVS (BLK_REQ_IOVS / 2)

static struct iovec *list_iov(struct blk_req *head)
{
	return head->iov + MOST_IOVS;
}

/*
 * Has it room for a list, and is it small enough? Before its data may lie a header in many pieces,
 * and the data is still needed where it is when the operation was not done in full.
 */
static bool can_be_head(struct blk_req *req)
{
	return req->left < MOST_BYTES && req->n_data < MOST_IOVS && req->chain.iov == req->iov &&
	       req->data + req->n_data <= list_iov(req);
}

static bool goes_on(const struct blk_merge *held, const struct blk_req *req)
{
	const struct blk_req *head = held->head;

	return req->offset == head->offset + held->bytes && req->io.op == head->io.op &&
	       req->io.flags == head->io.flags && held->bytes + req->left <= MOST_BYTES &&
	       held->n + req->n_data <= MOST_IOVS;
}

static void append(struct blk_merge *held, struct blk_req *req)
{
	struct iovec *iov = list_iov(held->head);

	if (held->head == held->last)
		memcpy(iov, held->head->data, held->n * sizeof(*iov));
	memcpy(iov + held->n, req->data, req->n_data * sizeof(*iov));
	req->queue->sequential = true;
	held->last->merged = req;
	held->last = req;
	held->n += req->n_data;
	held->bytes += req->left;
}

void blk_merge_flush(struct queue *queue)
{
	struct blk_merge *held = &queue->merge;
	struct blk_req *head = held->head;

	if (!head)
		return;
	if (head->merged) {
		head->io.iov = list_iov(head);
		head->io.niov = held->n;
	}
	held->head = NULL;
	blk_req_submit(head);
}

void blk_merge_submit(struct blk_req *req)
{
	struct blk_merge *held = &req->queue->merge;

	if (held->head && goes_on(held, req)) {
		append(held, req);
		return;
	}
	blk_merge_flush(req->queue);
	if (can_be_head(req))
		*held = (struct blk_merge){req, req, req->n_data, req->left};
	else
		blk_req_submit(req);
}

void blk_merge_done(struct blk_req *head)
{
	int64_t left = head->io.result;
	struct blk_req *req = head;

	while (req) {
		struct blk_req *next = req->merged;

		req->merged = NULL;
		/* An error is of one of them: each finds out by itself. */
		req->io.result = left < 0 ? 0 : left;
		if (left > 0 && (uint64_t)left > req->left)
			req->io.result = (int64_t)req->left;
		left -= left > 0 ? req->io.result : 0;
		if (req->io.result)
			blk_rw_io_done(req);
		else
			blk_rw_again(req);
		req = next;
	}
}
