/* SPDX-License-Identifier: BSD-3-Clause */
/* See blks.h. */
#include "tests/unit/support/blks.h"

#include <string.h>

#include "src/request/merge.h"
#include "tests/frontend/fe_image.h"
#include "tests/unit/support/capture.h"

struct blks_world blks;

static unsigned index_of(const struct blk_req *req)
{
	REQUIRE(req >= blks.req && req < blks.req + blks.n);
	return (unsigned)(req - blks.req);
}

/* ---- what becomes of them ---- */

/* Nobody may still be at work on it. */
static struct blks_guest *ended(const struct blk_req *req)
{
	struct blks_guest *guest = &blks.guest[index_of(req)];

	CHECK(req->env == &blks.env[guest->shape.queue]);
	CHECK(!guest->answered && !guest->abandoned);
	for (unsigned i = 0; i < blks.n_ops; i++)
		CHECK(blks.op[i] != &req->io);
	return guest;
}

static void finished(struct blk_req *req, uint32_t written)
{
	struct blks_guest *guest = ended(req);

	guest->answered++;
	guest->written = written;
}

static void abandoned(struct blk_req *req)
{
	struct blks_guest *guest = ended(req);

	CHECK_EQ(guest->status, BLKS_NO_STATUS);
	guest->abandoned++;
}

static void malformed(struct blk_req *req, const char *why)
{
	(void)req;
	(void)why;
	REQUIRE(!"a request with a status byte");
}

/* ---- the engine ---- */

static void submit(struct target *target, struct io *io)
{
	CHECK(target == &blks.target);
	CHECK_EQ(io->file, BLKS_FILE);
	REQUIRE(blks.n_ops < BLKS);
	blks.op[blks.n_ops++] = io;
}

static void take_out(unsigned op)
{
	REQUIRE(op < blks.n_ops);
	blks.n_ops--;
	memmove(&blks.op[op], &blks.op[op + 1], (blks.n_ops - op) * sizeof(*blks.op));
}

static bool cancel(struct target *target, struct io *io)
{
	(void)target;
	for (unsigned i = 0; i < blks.n_ops && !blks.too_late; i++)
		if (blks.op[i] == io) {
			take_out(i);
			return true;
		}
	return false;
}

static const struct target_class class = {.name = "test", .submit = submit, .cancel = cancel};

/* ---- life ---- */

void blks_restart(void)
{
	CHECK_EQ(blks.n_ops, 0);
	memset(blks.guest, 0, sizeof(blks.guest));
	memset(blks.pool, BLKS_FILL, blks.pool_used);
	blks.n = 0;
	blks.pool_used = 0;
	memcpy(blks.content, blks.before, BLKS_DISK);
	for (unsigned i = 0; i < BLKS_QUEUES; i++)
		blks.env[i].sequential = blks.env[i].abandoning = false;
}

void blks_end_at(uint64_t end, uint64_t was)
{
	blks.end = end;
	blks.image.end = was;
	blks.image.size = (was + 511) / 512 * 512;
	image_end_init(&blk_disk_end, &blks.image, "test");
}

void blks_setup(void)
{
	blk_disk_make(&blks.disk, &blks.image);
	blks.target.class = &class;
	blks_end_at(BLKS_DISK, blks.image.size);
	for (unsigned i = 0; i < BLKS_QUEUES; i++) {
		blks.env[i] = (struct blk_env){.disk = &blks.disk,
					       .target = &blks.target,
					       .file = BLKS_FILE,
					       .bounce = &blks.bounces,
					       .bounce_user = &blks.bounce_user,
					       .queue_index = i,
					       .counters = &blks.counters,
					       .clock = &blks.clock,
					       .finished = finished,
					       .abandoned = abandoned,
					       .malformed = malformed};
	}
	bounce_init(&blks.bounces);
	blks.bounces.n = BOUNCE_MOST;
	for (unsigned i = 0; i < BLKS_BUFFERS; i++)
		blks.bounces.free[blks.bounces.n_free++] = blks.bounce[i];
	blks.bounce_user = (struct bounce_user){.waiting = NULL};
	memset(blks.pool, BLKS_FILL, BLKS_POOL);
	fe_pattern(blks.before, 0, BLKS_DISK, 1);
	blks_restart();
	capture_begin(STDERR_FILENO);
}

void blks_teardown(void)
{
	capture_end();
	CHECK_EQ(blks.n_ops, 0);
	CHECK_EQ(blks.bounces.n_free, BLKS_BUFFERS);
	for (unsigned i = 0; i < BLKS_QUEUES; i++)
		CHECK(!blks.env[i].merge.head);
}

/* ---- requests ---- */

/* Room for `size` bytes of data, with something behind that must stay as it is. */
static void *make_room(const struct blks_shape *shape, size_t size)
{
	uint8_t *data = blks.pool + blks.pool_used + shape->shift;

	blks.pool_used += (shape->shift + size + BLKS_ALIGN) & ~(size_t)(BLKS_ALIGN - 1);
	REQUIRE(blks.pool_used <= BLKS_POOL);
	return data;
}

/* Cuts `size` bytes into `n` pieces, which are elements of the chain from `at` on. */
static void cut_data(struct blks_guest *guest, struct iovec *at, unsigned seed)
{
	const struct blks_shape *shape = &guest->shape;
	uint32_t left = shape->size, n = shape->pieces;

	for (unsigned i = 0; i < n; i++) {
		const uint32_t size = i + 1 < n ? shape->size / n : left;

		at[i] = guest->piece[i] = (struct iovec){make_room(shape, size), size};
		if (blks_is_write(shape))
			fe_pattern(at[i].iov_base, shape->offset + shape->size - left, size, seed);
		left -= size;
	}
}

static void cut_header(struct blks_guest *guest, struct iovec *at)
{
	const unsigned n = guest->shape.header_cut;

	guest->header = (struct virtio_blk_outhdr){.type = guest->shape.type,
						   .sector = guest->shape.offset / 512};
	for (unsigned i = 0; i < n; i++)
		at[i] = (struct iovec){(uint8_t *)&guest->header + i,
				       i + 1 < n ? 1 : sizeof(guest->header) - i};
}

static unsigned seed_of(unsigned i)
{
	return 100 + i;
}

void blks_add(const struct blks_shape *shape)
{
	struct blks_guest *guest = &blks.guest[blks.n];
	struct blk_req *req = &blks.req[blks.n];
	struct vublk_chain *chain = &req->chain;
	unsigned n;

	REQUIRE(blks.n < BLKS);
	guest->shape = *shape;
	guest->shape.header_cut += !shape->header_cut;
	guest->shape.pieces += !shape->pieces && shape->size;
	guest->status = BLKS_NO_STATUS;
	req->env = &blks.env[shape->queue];
	n = guest->shape.header_cut + guest->shape.pieces + 1;
	vublk_chain_init(chain, req->iov, BLK_REQ_IOVS);
	if (shape->elsewhere || n > BLK_REQ_IOVS)
		chain->iov = guest->long_iov;
	cut_header(guest, chain->iov);
	cut_data(guest, chain->iov + guest->shape.header_cut, seed_of(blks.n));
	chain->iov[n - 1] = (struct iovec){&guest->status, 1};
	chain->out = chain->iov;
	chain->n_out = blks_is_write(shape) ? n - 1 : guest->shape.header_cut;
	chain->n_in = n - chain->n_out;
	chain->in = chain->iov + chain->n_out;
	chain->out_size = vublk_iov_size(chain->out, chain->n_out);
	chain->in_size = vublk_iov_size(chain->in, chain->n_in);
	blks.n++;
}

uint32_t blks_add_run(uint32_t type, unsigned n)
{
	static const struct {
		uint32_t size;
		unsigned pieces;
	} step[] = {{512, 1}, {1024, 3}, {4096, 1}, {1536, 2}, {512, 7}};
	const unsigned n_steps = sizeof(step) / sizeof(*step);
	uint32_t done = 0;

	for (unsigned i = 0; i < n; i++) {
		BLKS_ADD(.type = type, .offset = 4096 + done, .size = step[i % n_steps].size,
			 .pieces = step[i % n_steps].pieces);
		done += step[i % n_steps].size;
	}
	return done;
}

void blks_end_round(void)
{
	for (unsigned i = 0; i < BLKS_QUEUES; i++)
		blk_merge_flush(&blks.env[i]);
}

void blks_go(void)
{
	for (unsigned i = 0; i < blks.n; i++)
		blk_req_begin(&blks.req[i]);
	blks_end_round();
}

/* ---- the engine's side ---- */

/* Moves the first `size` bytes of a transfer. */
static void move_data(const struct io *io, uint64_t size)
{
	uint8_t *at = blks.content + io->offset;

	REQUIRE(io->offset + size <= BLKS_DISK);
	if (io->op == IO_READ)
		CHECK_EQ(vublk_iov_write(io->iov, io->niov, 0, at, size), size);
	else
		CHECK_EQ(vublk_iov_read(io->iov, io->niov, 0, at, size), size);
}

void blks_complete(unsigned op, int64_t result)
{
	struct io *io = op < blks.n_ops ? blks.op[op] : NULL;

	REQUIRE(io);
	if (io_is_transfer(io) && result > 0)
		move_data(io, (uint64_t)result);
	take_out(op);
	io->result = result;
	io->done(io);
}

int64_t blks_all_of(const struct io *io)
{
	uint64_t size = io_is_transfer(io) ? vublk_iov_size(io->iov, io->niov) : 0;

	if (io->op == IO_SIZE)
		return (int64_t)blks.end;
	if (io->op == IO_READ && io->offset + size > blks.end)
		size = io->offset < blks.end ? blks.end - io->offset : 0;
	return (int64_t)size;
}

void blks_complete_all(void)
{
	for (unsigned i = 0; blks.n_ops && i < 1000; i++)
		blks_complete(0, blks_all_of(blks.op[0]));
	CHECK_EQ(blks.n_ops, 0);
}
