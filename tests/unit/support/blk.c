/* SPDX-License-Identifier: BSD-3-Clause */
/* See blk.h. */
#include "tests/unit/support/blk.h"

#include "src/request/merge.h"
#include "tests/unit/support/capture.h"

struct blk_world blk;

/* ---- what becomes of it ---- */

static void finished(struct blk_req *req, uint32_t written)
{
	CHECK(req == &blk.req);
	CHECK(!blk.finished && !blk.abandoned); /* every request is pushed once */
	CHECK(!blk.io);
	blk.finished = true;
	blk.written = written;
}

static void abandoned(struct blk_req *req)
{
	CHECK(req == &blk.req);
	CHECK(!blk.finished && !blk.abandoned);
	CHECK(!blk.io);
	CHECK_EQ(blk.status, BLK_NO_STATUS);
	blk.abandoned = true;
}

static void malformed(struct blk_req *req, const char *why)
{
	CHECK(why[0]);
	blk.malformed = true;
	finished(req, 0);
}

/* ---- the engine ---- */

static void submit(struct target *target, struct io *io)
{
	CHECK(target == &blk.target);
	REQUIRE(!blk.io && !blk.finished);
	CHECK_EQ(io->file, 7);
	blk.io = io;
	blk.n_submitted++;
}

/* What the kernel has not seen can be taken back. */
static bool cancel(struct target *target, struct io *io)
{
	CHECK(target == &blk.target);
	if (blk.io != io || blk.too_late)
		return false;
	blk.io = NULL;
	return true;
}

static const struct target_class class = {.name = "test", .submit = submit, .cancel = cancel};

/* ---- life ---- */

void blk_setup(void)
{
	blk_disk_make(&blk.disk, &blk.image);
	blk.target.class = &class;
	bounce_init(&blk.pool);
	blk.pool.n = BOUNCE_MOST;
	blk.pool.free[blk.pool.n_free++] = blk.bounce;
	blk.bounce_user = (struct bounce_user){.waiting = NULL};
	blk.env = (struct blk_env){.disk = &blk.disk,
				   .target = &blk.target,
				   .file = 7,
				   .bounce = &blk.pool,
				   .bounce_user = &blk.bounce_user,
				   .queue_index = 3,
				   .counters = &blk.counters,
				   .clock = &blk.clock,
				   .finished = finished,
				   .abandoned = abandoned,
				   .malformed = malformed};
	capture_begin(STDERR_FILENO);
}

bool blk_bounces(void)
{
	return !blk.pool.n_free;
}

void blk_take_bounce(void)
{
	static struct bounce_waiter waiter;
	void *buffer;

	REQUIRE_OK(bounce_get(&blk.pool, &blk.bounce_user, &waiter, &buffer));
	CHECK(buffer == blk.bounce);
}

void blk_give_bounce(void)
{
	bounce_put(&blk.pool, &blk.bounce_user, blk.bounce);
}

void blk_teardown(void)
{
	capture_end();
	CHECK(!blk_bounces());
	CHECK(!blk.io);
}

void blk_make_direct(void)
{
	blk_disk_make_direct(&blk.image);
}

/* ---- a request ---- */

void blk_begin_raw(void)
{
	memset(&blk.req, 0, sizeof(blk.req));
	vublk_chain_init(&blk.req.chain, blk.iov, BLK_IOVS);
	blk.req.chain.out = blk.req.chain.in = blk.iov;
	blk.req.env = &blk.env;
	blk.finished = blk.abandoned = blk.malformed = false;
	blk.status = BLK_NO_STATUS;
	blk.n_submitted = 0;
}

void blk_out(const void *data, size_t size)
{
	struct vublk_chain *chain = &blk.req.chain;

	REQUIRE(!chain->n_in);
	blk.iov[chain->n_out++] = (struct iovec){(void *)data, size};
	chain->out_size += size;
	chain->in = chain->out + chain->n_out;
}

void blk_in(void *data, size_t size)
{
	struct vublk_chain *chain = &blk.req.chain;

	blk.iov[chain->n_out + chain->n_in++] = (struct iovec){data, size};
	chain->in_size += size;
}

void blk_begin(uint32_t type, uint64_t sector)
{
	blk_begin_raw();
	blk.header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
	blk_out(&blk.header, sizeof(blk.header));
}

void blk_go(void)
{
	blk_in(&blk.status, 1);
	blk_req_begin(&blk.req);
	blk_merge_flush(&blk.env);
}

void blk_complete(int64_t result)
{
	struct io *io = blk.io;

	REQUIRE(io);
	CHECK(!blk.finished);
	CHECK_EQ(blk.status, BLK_NO_STATUS);
	blk.io = NULL;
	io->result = result;
	io->done(io);
}

uint64_t blk_io_size(void)
{
	if (blk.io->op == IO_READ || blk.io->op == IO_WRITE)
		return vublk_iov_size(blk.io->iov, blk.io->niov);
	return blk.io->length;
}
