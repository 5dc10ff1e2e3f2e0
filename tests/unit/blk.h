/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One virtio-blk request on an engine, a worker and a queue that are the test's own: those
 * functions of src/worker/worker.h and src/queue/queue.h that the request code calls are defined
 * here, so that the linker leaves the real ones in their library. For tests of src/request; one per
 * program. Several requests at once are in blks.h.
 *
 *	blk_begin(VIRTIO_BLK_T_IN, 8);	readable ranges: the header, ...
 *	blk_in(buffer, 512);		... then writable ones
 *	blk_go();			adds the status byte and begins
 *	CHECK_EQ(blk.io->op, IO_READ);	what the engine has got
 *	blk_complete(512);
 *	blk_check_done(VIRTIO_BLK_S_OK, 513);
 */
#ifndef BLK_H
#define BLK_H

#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "lib/vq/ring.h"
#include "src/queue/queue.h"
#include "src/worker/worker.h"
#include "tests/tap.h"
#include "tests/unit/blk-disk.h"
#include "tests/unit/capture.h"

#define BLK_IOVS      2048u
#define BLK_NO_STATUS 0xaa

static struct {
	struct image image;
	struct blk_disk disk;
	struct vublk_queue vq;
	struct queue queue;
	struct blk_req req;
	struct iovec iov[BLK_IOVS];
	struct virtio_blk_outhdr header;
	uint8_t status;

	struct engine engine;
	struct io *io;        /* submitted and not completed, or NULL */
	unsigned n_submitted; /* in all */

	bool finished, dropped;
	bool too_late;    /* to withdraw anything */
	uint32_t written; /* for the used ring */

	/* Bounce buffers. */
	int bounce_err;
	bool waits;         /* for a buffer */
	unsigned n_bounced; /* given out, not yet put back */
	_Alignas(4096) uint8_t bounce[BOUNCE_SIZE];
} blk;

/* ---- instead of worker/worker.c and queue/queue.c ---- */

struct engine *worker_engine(struct worker *worker)
{
	CHECK((void *)worker == (void *)&blk);
	return &blk.engine;
}

void worker_call(struct worker *worker, struct call *call)
{
	(void)worker;
	(void)call;
	REQUIRE(!"there is one worker");
}

int worker_bounce_get(struct worker *worker, struct blk_req *req, void **buffer)
{
	CHECK((void *)worker == (void *)&blk && req == &blk.req);
	blk.waits = blk.bounce_err == -EAGAIN;
	if (blk.bounce_err)
		return blk.bounce_err;
	blk.n_bounced++;
	*buffer = blk.bounce;
	return 0;
}

void worker_bounce_put(struct worker *worker, void *buffer)
{
	CHECK((void *)worker == (void *)&blk && buffer == blk.bounce);
	blk.n_bounced--;
}

void queue_finished(struct queue *queue, struct blk_req *req, uint32_t written)
{
	CHECK(queue == &blk.queue && req == &blk.req);
	CHECK(!blk.finished && !blk.dropped); /* every request is pushed once */
	CHECK(!blk.io);
	blk.finished = true;
	blk.written = written;
}

bool worker_bounce_cancel(struct worker *worker, struct blk_req *req)
{
	CHECK((void *)worker == (void *)&blk && req == &blk.req);
	return blk.waits && !(blk.waits = false);
}

void queue_dropped(struct queue *queue, struct blk_req *req)
{
	CHECK(queue == &blk.queue && req == &blk.req);
	CHECK(!blk.finished && !blk.dropped);
	CHECK(!blk.io);
	CHECK_EQ(blk.status, BLK_NO_STATUS);
	blk.dropped = true;
}

static inline void blk_submit(struct engine *engine, struct io *io)
{
	CHECK(engine == &blk.engine);
	REQUIRE(!blk.io && !blk.finished);
	CHECK_EQ(io->file, 7);
	blk.io = io;
	blk.n_submitted++;
}

/* What the kernel has not seen can be taken back. */
static inline bool blk_withdraw(struct engine *engine, struct io *io)
{
	CHECK(engine == &blk.engine);
	if (blk.io != io || blk.too_late)
		return false;
	blk.io = NULL;
	return true;
}

static const struct engine_class blk_engine_class = {
	.name = "test", .submit = blk_submit, .withdraw = blk_withdraw};

/* ---- a disk ---- */

/* A writable file with everything; what the operator says goes to a capture. */
static inline void blk_setup(void)
{
	blk_disk_make(&blk.disk, &blk.image);
	vq_init(&blk.vq, "test", 3);
	blk.engine.class = &blk_engine_class;
	blk.queue.vq = &blk.vq;
	blk.queue.worker = (struct worker *)(void *)&blk;
	blk.queue.disk = &blk.disk;
	blk.queue.file = 7;
	capture_begin(STDERR_FILENO);
}

static inline void blk_teardown(void)
{
	capture_end();
	CHECK_EQ(blk.n_bounced, 0);
	CHECK(!blk.io);
}

/* The file is opened with O_DIRECT: everything in multiples of 512. */
static inline void blk_make_direct(void)
{
	blk_disk_make_direct(&blk.image);
}

/* ---- a request ---- */

static inline void blk_begin_raw(void)
{
	memset(&blk.req, 0, sizeof(blk.req));
	vublk_chain_init(&blk.req.chain, blk.iov, BLK_IOVS);
	blk.req.chain.out = blk.req.chain.in = blk.iov;
	blk.req.queue = &blk.queue;
	blk.finished = blk.dropped = false;
	blk.status = BLK_NO_STATUS;
	blk.n_submitted = 0;
}

/* A readable range. */
static inline void blk_out(const void *data, size_t size)
{
	struct vublk_chain *chain = &blk.req.chain;

	REQUIRE(!chain->n_in);
	chain->out[chain->n_out++] = (struct iovec){(void *)data, size};
	chain->out_size += size;
	chain->in = chain->out + chain->n_out;
}

/* A writable range. */
static inline void blk_in(void *data, size_t size)
{
	struct vublk_chain *chain = &blk.req.chain;

	chain->in[chain->n_in++] = (struct iovec){data, size};
	chain->in_size += size;
}

/* A request begins with its header. */
static inline void blk_begin(uint32_t type, uint64_t sector)
{
	blk_begin_raw();
	blk.header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
	blk_out(&blk.header, sizeof(blk.header));
}

static inline void blk_go(void)
{
	blk_in(&blk.status, 1);
	blk_req_begin(&blk.req);
	blk_merge_flush(&blk.queue);
}

/* The engine is done with what it has. */
static inline void blk_complete(int64_t result)
{
	struct io *io = blk.io;

	REQUIRE(io);
	CHECK(!blk.finished);
	CHECK_EQ(blk.status, BLK_NO_STATUS);
	blk.io = NULL;
	io->result = result;
	io->done(io);
}

/* Was the request answered so, `written` bytes being told to the driver? */
#define blk_check_done(expected_status, expected_written) \
	do { \
		CHECK(blk.finished); \
		CHECK_EQ(blk.status, expected_status); \
		CHECK_EQ(blk.written, expected_written); \
	} while (0)

/* Does the engine have an operation on this range? */
#define blk_check_io(expected_op, expected_offset, expected_size) \
	do { \
		REQUIRE(blk.io); \
		CHECK_EQ(blk.io->op, expected_op); \
		CHECK_EQ(blk.io->offset, expected_offset); \
		CHECK_EQ(blk_io_size(), expected_size); \
	} while (0)

static inline uint64_t blk_io_size(void)
{
	if (blk.io->op == IO_READ || blk.io->op == IO_WRITE)
		return vublk_iov_size(blk.io->iov, blk.io->niov);
	return blk.io->length;
}

#endif
