/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One virtio-blk request, from the chain that carries it to its status byte (virtio 5.2.6).
 * Worker thread. The header and segment that the guest wrote are copied once and checked; what
 * is executed is the copy.
 *
 *	blk_req_begin()		request/parse.c: parse and check; refusals are answered here
 *	   | (env->admit())	held until blk_req_resume(), if the disk has limits
 *	   | rw			reads and writes: parts, short transfers, bounce buffers
 *	   | merge		adjacent ones made into one operation
 *	   | zeroes		discard, write zeroes: fall-backs
 *	   | sync		flushes, and what has to be durable: one sync at a time
 *	   v target, once or several times
 *	io.done()		the next part, or
 *	blk_req_finish()	request/exec.c: status byte; then env->finished() pushes the chain
 */
#ifndef REQUEST_REQUEST_H
#define REQUEST_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/mailbox.h"
#include "io/bounce.h"
#include "io/io.h"
#include "request/env.h"
#include "request/io_errors.h"
#include "vublk.h"

/* Elements that a request has room for itself: header, seg_max of 126, status; and some more. */
#define BLK_REQ_IOVS  128
#define BLK_REQ_SPARE 8

struct blk_req;

/* A type of requests: a row of the table in request/parse.c. */
struct blk_type {
	uint32_t type;            /* VIRTIO_BLK_T_* */
	const char *name;         /* for messages */
	uint64_t feature;         /* a bit without which it is unsupported; 0: none */
	bool changes;             /* the disk: refused if that is read-only */
	bool answers;             /* the device writes data */
	enum io_errors_kind kind; /* as what it is counted if the host fails it */
	enum blk_kind counted;    /* as what it is counted */
	void (*begin)(struct blk_req *req, uint64_t sector);
};

struct blk_req {
	_Alignas(64) struct io io; /* first, so that an io is its request */
	struct vublk_chain chain;
	struct blk_env *env;
	/* Free list, or list of those that wait for a sync together, or are held. */
	struct blk_req *next;

	const struct blk_type *type;
	void (*resume)(struct blk_req *req); /* what it does first, while it is held */
	uint8_t *status;                     /* the last writable byte, in guest memory */
	uint64_t start;                      /* bytes; where on the disk it begins, for messages */
	uint64_t size;                       /* bytes of data, for the used ring */
	int64_t begun;                       /* ns: when its iteration fetched it; set by who did */

	/* Of reads, writes and write-zeroes: what is left to do. */
	struct vublk_cursor data; /* in the chain; request/data.h */
	uint64_t offset, left;    /* bytes */
	void *bounce;             /* the buffer that the parts go through, or NULL */
	struct iovec bounce_iov;
	struct bounce_waiter waiter; /* for such a buffer */
	struct blk_req *merged;      /* the next one that is done by the same operation; merge.h */
	void (*unmerged)(struct blk_req *req, uint64_t done);
	uint8_t step;     /* zeroes.c */
	bool ends_inside; /* the data ends inside a range, which goes on with the status */
	bool stalled;     /* the last transfer got it no further */
	bool active;      /* begun and not finished */
	bool durable;     /* a write after which a sync is due */
	bool syncing;     /* handed to sync.c */
	int sync_err;     /* what sync.c has for it, 0 or -errno */
	struct call call; /* to its own worker from another one */

	struct iovec iov[BLK_REQ_IOVS + BLK_REQ_SPARE];
};

/* Begins the request of a popped chain (req->chain); req->env is set. May finish it at once. */
void blk_req_begin(struct blk_req *req);

/* Begins what env->admit() held. May finish it at once. */
void blk_req_resume(struct blk_req *req);

/*
 * Stops a request that is begun, for good: nothing of it is with the kernel any more. false: some
 * of it is, and its end will find out that the queue is abandoning. Its queue has to be tracked.
 * Not for one that is held.
 */
bool blk_req_cancel(struct blk_req *req);

#endif
