/* SPDX-License-Identifier: BSD-3-Clause */
/* The ways that a request takes to its target, and to its end. Worker thread. */
#ifndef REQUEST_EXEC_H
#define REQUEST_EXEC_H

#include "base/container.h"
#include "request/request.h"

/* The request whose operation it is. */
static inline struct blk_req *blk_req_of(struct io *io)
{
	return container_of(io, struct blk_req, io);
}

/*
 * Submits req->io, whose op, offset and data are set; `done` is called once, with the result. Of a
 * queue that is being abandoned the request is abandoned instead.
 */
void blk_req_submit(struct blk_req *req, void (*done)(struct io *io));

/*
 * Answers: err 0 is VIRTIO_BLK_S_OK, -EOPNOTSUPP is UNSUPP, everything else IOERR. Hands the
 * request back to its queue.
 */
void blk_req_finish(struct blk_req *req, int err);

/* Answers with the host's result of the I/O: an error is logged, and is IOERR to the guest. */
void blk_req_host_done(struct blk_req *req, int err);

/*
 * Gives it up, with all that are done by the same operation: it stays in flight, for whoever serves
 * the ring next, who resubmits it. Nothing of it may be with the kernel.
 */
void blk_req_abandon(struct blk_req *req);

#endif
