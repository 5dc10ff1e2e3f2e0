/* SPDX-License-Identifier: BSD-3-Clause */
/* See request/merge.h. Worker thread. */
#include "request/merge.h"

#include "request/data.h"
#include "request/exec.h"

/* Larger ones gain nothing by being made larger still. */
#define MOST_BYTES ((uint64_t)256 << 10)

/* The list's iovecs stand behind the head's own chain. */
#define MOST_IOVS (BLK_REQ_IOVS / 2)

static struct iovec *list_iov(struct blk_req *head)
{
	unsigned room;

	return blk_req_spare(head, &room);
}

/* Has it room for a list, and is it small enough? */
static bool can_be_head(struct blk_req *req)
{
	unsigned room;

	blk_req_spare(req, &room);
	return req->left < MOST_BYTES && room >= MOST_IOVS && req->data.n < MOST_IOVS;
}

static bool goes_on(const struct blk_merge *held, const struct blk_req *req)
{
	const struct blk_req *head = held->head;

	return req->offset == head->offset + held->bytes && req->io.op == head->io.op &&
	       req->io.flags == head->io.flags && held->bytes + req->left <= MOST_BYTES &&
	       held->n + req->data.n <= MOST_IOVS;
}

static void append(struct blk_merge *held, struct blk_req *req)
{
	struct iovec *iov = list_iov(held->head);

	if (held->head == held->last)
		held->n = blk_data_copy(held->head, iov, MOST_IOVS);
	held->n += blk_data_copy(req, iov + held->n, MOST_IOVS - held->n);
	req->env->sequential = true;
	held->merged++;
	held->last->merged = req;
	held->last = req;
	held->bytes += req->left;
}

/* The operation of a list of requests is through. */
static void list_done(struct io *io)
{
	/* An error is of one of them: each finds out by itself. */
	uint64_t left = io->result > 0 ? (uint64_t)io->result : 0;
	struct blk_req *req = blk_req_of(io);

	while (req) {
		const uint64_t done = left < req->left ? left : req->left;
		struct blk_req *next = req->merged;

		req->merged = NULL;
		left -= done;
		req->unmerged(req, done);
		req = next;
	}
}

void blk_merge_flush(struct blk_env *env)
{
	struct blk_merge *held = &env->merge;
	struct blk_req *head = held->head;

	if (!head)
		return;
	held->head = NULL;
	if (!head->merged) {
		blk_req_submit(head, head->io.done);
		return;
	}
	counter_add(&env->counters->kind[head->type->counted].merged, held->merged);
	head->io.iov = list_iov(head);
	head->io.niov = held->n;
	blk_req_submit(head, list_done);
}

void blk_merge_submit(struct blk_req *req, void (*done)(struct io *io),
		      void (*unmerged)(struct blk_req *req, uint64_t done))
{
	struct blk_merge *held = &req->env->merge;

	req->unmerged = unmerged;
	if (held->head && goes_on(held, req)) {
		append(held, req);
		return;
	}
	blk_merge_flush(req->env);
	if (!can_be_head(req)) {
		blk_req_submit(req, done);
		return;
	}
	req->io.done = done;
	*held = (struct blk_merge){.head = req, .last = req, .n = req->data.n, .bytes = req->left};
}
