/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One virtio-blk request in a world that is the test's own (request/env.h): an engine that holds
 * one operation, one bounce buffer, and whom it tells of its end. For tests of src/request; one per
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

#include "src/request/merge.h"
#include "src/request/request.h"
#include "tests/tap.h"
#include "tests/unit/support/blk-disk.h"
#include "tests/unit/support/capture.h"

#define BLK_IOVS      2048u
#define BLK_NO_STATUS 0xaa

static struct {
	struct image image;
	struct blk_disk disk;
	struct blk_env env;
	struct blk_req req;
	struct iovec iov[BLK_IOVS];
	struct virtio_blk_outhdr header;
	uint8_t status;

	struct target target;
	struct io *io;        /* submitted and not completed, or NULL */
	unsigned n_submitted; /* in all */

	bool finished, abandoned, malformed;
	bool too_late;    /* to cancel anything */
	uint32_t written; /* for the used ring */

	struct bounce_pool pool; /* of one buffer */
	_Alignas(4096) uint8_t bounce[BOUNCE_SIZE];
} blk;

/* ---- what becomes of it ---- */

static inline void blk_finished(struct blk_req *req, uint32_t written)
{
	CHECK(req == &blk.req);
	CHECK(!blk.finished && !blk.abandoned); /* every request is pushed once */
	CHECK(!blk.io);
	blk.finished = true;
	blk.written = written;
}

static inline void blk_abandoned(struct blk_req *req)
{
	CHECK(req == &blk.req);
	CHECK(!blk.finished && !blk.abandoned);
	CHECK(!blk.io);
	CHECK_EQ(blk.status, BLK_NO_STATUS);
	blk.abandoned = true;
}

static inline void blk_malformed(struct blk_req *req, const char *why)
{
	CHECK(why[0]);
	blk.malformed = true;
	blk_finished(req, 0);
}

/* ---- the engine ---- */

static inline void blk_submit(struct target *target, struct io *io)
{
	CHECK(target == &blk.target);
	REQUIRE(!blk.io && !blk.finished);
	CHECK_EQ(io->file, 7);
	blk.io = io;
	blk.n_submitted++;
}

/* What the kernel has not seen can be taken back. */
static inline bool blk_cancel(struct target *target, struct io *io)
{
	CHECK(target == &blk.target);
	if (blk.io != io || blk.too_late)
		return false;
	blk.io = NULL;
	return true;
}

static const struct target_class blk_target_class = {
	.name = "test", .submit = blk_submit, .cancel = blk_cancel};

/* ---- a disk ---- */

/* A writable file with everything; what the operator says goes to a capture. */
static inline void blk_setup(void)
{
	blk_disk_make(&blk.disk, &blk.image);
	blk.target.class = &blk_target_class;
	bounce_init(&blk.pool);
	blk.pool.n = BOUNCE_MOST;
	bounce_put(&blk.pool, blk.bounce);
	blk.env = (struct blk_env){.disk = &blk.disk,
				   .target = &blk.target,
				   .file = 7,
				   .bounce = &blk.pool,
				   .queue_index = 3,
				   .finished = blk_finished,
				   .abandoned = blk_abandoned,
				   .malformed = blk_malformed};
	capture_begin(STDERR_FILENO);
}

/* Is the bounce buffer in use? */
static inline bool blk_bounces(void)
{
	return !blk.pool.n_free;
}

/* Others have it; or they do not any more. */
static inline void blk_take_bounce(void)
{
	blk.pool.n_free = 0;
}

static inline void blk_give_bounce(void)
{
	bounce_put(&blk.pool, blk.bounce);
}

static inline void blk_teardown(void)
{
	capture_end();
	CHECK(!blk_bounces());
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
	blk.req.env = &blk.env;
	blk.finished = blk.abandoned = blk.malformed = false;
	blk.status = BLK_NO_STATUS;
	blk.n_submitted = 0;
}

/* A readable range. */
static inline void blk_out(const void *data, size_t size)
{
	struct vublk_chain *chain = &blk.req.chain;

	REQUIRE(!chain->n_in);
	blk.iov[chain->n_out++] = (struct iovec){(void *)data, size};
	chain->out_size += size;
	chain->in = chain->out + chain->n_out;
}

/* A writable range. */
static inline void blk_in(void *data, size_t size)
{
	struct vublk_chain *chain = &blk.req.chain;

	blk.iov[chain->n_out + chain->n_in++] = (struct iovec){data, size};
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
	blk_merge_flush(&blk.env);
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
