/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One virtio-blk request, from the chain that carries it to its status byte (virtio 5.2.6).
 * Worker thread. The header and segment that the guest wrote are copied once and checked; what
 * is executed is the copy.
 *
 *	blk_req_begin()		parse and check; refusals are answered here
 *	   | request/rw.c		reads and writes: parts, short transfers, bounce buffers
 *	   | request/merge.c	adjacent ones made into one operation
 *	   | request/zeroes.c	discard, write zeroes: fall-backs
 *	   | request/sync.c		flushes, and what has to be durable: one sync at a time
 *	   v engine, once or several times
 *	blk_req_io_done()	the next part, or
 *	blk_req_finish()	status byte, log; then queue_finished() pushes the chain
 */
#ifndef REQUEST_REQUEST_H
#define REQUEST_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/mailbox.h"
#include "io/engine.h"
#include "vublk.h"

/* Elements that a request has room for itself: header, seg_max of 126, status. */
#define BLK_REQ_IOVS 128

struct queue;

struct blk_req {
	_Alignas(64) struct io io; /* first, so that an io is its request */
	struct vublk_chain chain;
	struct queue *queue;
	/* Free list, or list of those that wait for a bounce buffer, or for a sync together. */
	struct blk_req *next;

	uint32_t type;
	uint8_t *status; /* the last writable byte, in guest memory */
	uint64_t start;  /* bytes; where on the disk it begins, for messages */
	uint64_t size;   /* bytes of data, for the used ring */

	/* Of reads, writes and write-zeroes: what is left to do. */
	struct iovec *data; /* in chain, shortened as parts are done */
	unsigned n_data;
	uint64_t offset, left; /* bytes */
	void *bounce;          /* the buffer that the parts go through, or NULL */
	struct iovec bounce_iov;
	struct blk_req
		*merged;  /* the next one that is done by the same operation; request/merge.h */
	uint8_t step;     /* request/zeroes.c */
	bool active;      /* begun and not finished */
	bool durable;     /* a write after which a sync is due */
	bool syncing;     /* handed to request/sync.c */
	int sync_err;     /* what request/sync.c has for it, 0 or -errno */
	struct call call; /* to its own worker from another one */
	bool stalled;     /* the last transfer got it no further */

	struct iovec iov[BLK_REQ_IOVS];
};

/* Takes a popped chain (req->chain) in hand. May finish it at once. */
void blk_req_begin(struct blk_req *req);

/* The engine has completed it: the `done` of every operation of a request. */
void blk_req_io_done(struct io *io);

/*
 * Answers: err 0 is VIRTIO_BLK_S_OK, -EOPNOTSUPP is UNSUPP, everything else IOERR. Hands the
 * request back to its queue.
 */
void blk_req_finish(struct blk_req *req, int err);

/* Answers with the host's result of the I/O: an error is logged, and is IOERR to the guest. */
void blk_req_host_done(struct blk_req *req, int err);

/*
 * Stops a request that is begun, for good: nothing of it is with the kernel any more. false: some
 * of it is, and blk_req_io_done() will find out that the queue is suspending. Its queue has to be
 * tracked.
 */
bool blk_req_withdraw(struct blk_req *req);

/* Submits req->io, whose op, offset and data are set. */
void blk_req_submit(struct blk_req *req);

/* ---- request/rw.c ---- */

/* Executes a read or write: data, n_data, offset and left are set. */
void blk_rw_begin(struct blk_req *req);
void blk_rw_io_done(struct blk_req *req);

/* Submits what is left of it, by itself. */
void blk_rw_again(struct blk_req *req);

/*
 * A transfer from `offset` has moved `done` of `left` bytes. Returns those after which the next one
 * goes on, in whole blocks where O_DIRECT wants these; 0: once more from `offset`; -EIO: no
 * progress, twice.
 */
int64_t blk_rw_progress(struct blk_req *req, uint64_t done);

/* A bounce buffer is free now: go on. */
void blk_rw_bounce(struct blk_req *req);

/* ---- request/zeroes.c ---- */

/* Executes a discard or write-zeroes of `left` bytes at `offset`. */
void blk_discard_begin(struct blk_req *req);
void blk_zeroes_begin(struct blk_req *req, bool unmap);
void blk_zeroes_io_done(struct blk_req *req);

#endif
