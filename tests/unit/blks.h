/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several virtio-blk requests of two queues in a world that is the test's own, as in blk.h, and on
 * a disk that is an array: an operation moves as many bytes as the test says, so that what requests
 * have moved in the end can be looked at. For tests of src/request/merge.c; one per program.
 *
 *	add(.type = VIRTIO_BLK_T_IN, .offset = 4096, .size = 512);	request 0
 *	add(.type = VIRTIO_BLK_T_IN, .offset = 4608, .size = 1024, .pieces = 2);
 *	blks_go();				begins them, and ends the round
 *	check_op(0, 0, 1);			operation 0 is that of requests 0 to 1
 *	blks_complete(0, 1536);
 *	check_answered(VIRTIO_BLK_S_OK);	each once, with the right length and data
 *
 * The checks are in blks-check.h.
 */
#ifndef BLKS_H
#define BLKS_H

#include <linux/virtio_blk.h>
#include <string.h>

#include "src/base/container.h"
#include "src/request/merge.h"
#include "src/request/request.h"
#include "tests/frontend/fe_image.h"
#include "tests/tap.h"
#include "tests/unit/support/blk-disk.h"
#include "tests/unit/support/capture.h"

#define BLKS           80u
#define BLKS_QUEUES    2u
#define BLKS_DISK      (1u << 20) /* bytes, of the array */
#define BLKS_POOL      (4u << 20)
#define BLKS_ALIGN     512u /* each piece of data, but those of `shift` */
#define BLKS_FILL      0xee /* what lies between them */
#define BLKS_ELEMENTS  512u
#define BLKS_BUFFERS   4u
#define BLKS_NO_STATUS 0xaa
#define BLKS_FILE      7

/* What the guest asks for, and in how many pieces. */
struct blks_shape {
	uint32_t type;
	uint64_t offset; /* bytes */
	uint32_t size;
	unsigned pieces;     /* of the data; 0: 1 */
	unsigned header_cut; /* pieces of the header; 0: 1 */
	unsigned shift;      /* bytes by which the data is not aligned */
	unsigned queue;
	bool elsewhere; /* the chain's elements are not in the slot */
};

struct blks_guest {
	struct blks_shape shape;
	struct virtio_blk_outhdr header;
	uint8_t status;
	unsigned answered, abandoned;
	uint32_t written;
	struct iovec piece[128];              /* of the data */
	struct iovec long_iov[BLKS_ELEMENTS]; /* where they are then */
};

static struct {
	struct image image;
	struct blk_disk disk;
	struct blk_env env[BLKS_QUEUES];
	struct blks_guest guest[BLKS];
	struct blk_req req[BLKS];
	unsigned n;

	struct target target;
	struct io *op[BLKS]; /* submitted and not completed, in order */
	unsigned n_ops;
	bool too_late; /* to cancel anything */

	uint8_t content[BLKS_DISK], before[BLKS_DISK];
	uint64_t end; /* of the file, bytes */
	_Alignas(4096) uint8_t pool[BLKS_POOL];
	size_t pool_used;
	struct bounce_pool bounces; /* of these buffers */
	_Alignas(4096) uint8_t bounce[BLKS_BUFFERS][BOUNCE_SIZE];
} blks;

static inline unsigned blks_index(const struct blk_req *req)
{
	REQUIRE(req >= blks.req && req < blks.req + blks.n);
	return (unsigned)(req - blks.req);
}

/* ---- what becomes of them ---- */

/* Nobody may still be at work on it. */
static inline struct blks_guest *blks_ended(const struct blk_req *req)
{
	struct blks_guest *guest = &blks.guest[blks_index(req)];

	CHECK(req->env == &blks.env[guest->shape.queue]);
	CHECK(!guest->answered && !guest->abandoned);
	for (unsigned i = 0; i < blks.n_ops; i++)
		CHECK(blks.op[i] != &req->io);
	return guest;
}

static inline void blks_finished(struct blk_req *req, uint32_t written)
{
	struct blks_guest *guest = blks_ended(req);

	guest->answered++;
	guest->written = written;
}

static inline void blks_abandoned(struct blk_req *req)
{
	struct blks_guest *guest = blks_ended(req);

	CHECK_EQ(guest->status, BLKS_NO_STATUS);
	guest->abandoned++;
}

static inline void blks_malformed(struct blk_req *req, const char *why)
{
	(void)req;
	(void)why;
	REQUIRE(!"a request with a status byte");
}

/* ---- the engine ---- */

static inline void blks_submit(struct target *target, struct io *io)
{
	CHECK(target == &blks.target);
	CHECK_EQ(io->file, BLKS_FILE);
	REQUIRE(blks.n_ops < BLKS);
	blks.op[blks.n_ops++] = io;
}

static inline void blks_take_out(unsigned op)
{
	REQUIRE(op < blks.n_ops);
	blks.n_ops--;
	memmove(&blks.op[op], &blks.op[op + 1], (blks.n_ops - op) * sizeof(*blks.op));
}

static inline bool blks_cancel(struct target *target, struct io *io)
{
	(void)target;
	for (unsigned i = 0; i < blks.n_ops && !blks.too_late; i++)
		if (blks.op[i] == io) {
			blks_take_out(i);
			return true;
		}
	return false;
}

static const struct target_class blks_target_class = {
	.name = "test", .submit = blks_submit, .cancel = blks_cancel};

/* ---- life ---- */

/* Forgets all requests, for a case of several rounds; the disk is as at first. */
static inline void blks_restart(void)
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

/* The file has `end` bytes, and had `was` when it was opened. */
static inline void blks_end_at(uint64_t end, uint64_t was)
{
	blks.end = end;
	blks.image.end = was;
	blks.image.size = (was + 511) / 512 * 512;
	image_end_init(&blk_disk_end, &blks.image, "test");
}

static inline void blks_setup(void)
{
	blk_disk_make(&blks.disk, &blks.image);
	blks.target.class = &blks_target_class;
	blks_end_at(BLKS_DISK, blks.image.size);
	for (unsigned i = 0; i < BLKS_QUEUES; i++) {
		blks.env[i] = (struct blk_env){.disk = &blks.disk,
					       .target = &blks.target,
					       .file = BLKS_FILE,
					       .bounce = &blks.bounces,
					       .queue_index = i,
					       .finished = blks_finished,
					       .abandoned = blks_abandoned,
					       .malformed = blks_malformed};
	}
	bounce_init(&blks.bounces);
	blks.bounces.n = BOUNCE_MOST;
	for (unsigned i = 0; i < BLKS_BUFFERS; i++)
		bounce_put(&blks.bounces, blks.bounce[i]);
	memset(blks.pool, BLKS_FILL, BLKS_POOL);
	fe_pattern(blks.before, 0, BLKS_DISK, 1);
	blks_restart();
	capture_begin(STDERR_FILENO);
}

static inline void blks_teardown(void)
{
	capture_end();
	CHECK_EQ(blks.n_ops, 0);
	CHECK_EQ(blks.bounces.n_free, BLKS_BUFFERS);
	for (unsigned i = 0; i < BLKS_QUEUES; i++)
		CHECK(!blks.env[i].merge.head);
}

/* ---- requests ---- */

static inline bool blks_is_write(const struct blks_shape *shape)
{
	return shape->type == VIRTIO_BLK_T_OUT;
}

/* Room for `size` bytes of data, with something behind that must stay as it is. */
static inline void *blks_room(const struct blks_shape *shape, size_t size)
{
	uint8_t *data = blks.pool + blks.pool_used + shape->shift;

	blks.pool_used += (shape->shift + size + BLKS_ALIGN) & ~(size_t)(BLKS_ALIGN - 1);
	REQUIRE(blks.pool_used <= BLKS_POOL);
	return data;
}

/* Cuts `size` bytes into `n` pieces, which are elements of the chain from `at` on. */
static inline void blks_cut_data(struct blks_guest *guest, struct iovec *at, unsigned seed)
{
	const struct blks_shape *shape = &guest->shape;
	uint32_t left = shape->size, n = shape->pieces;

	for (unsigned i = 0; i < n; i++) {
		const uint32_t size = i + 1 < n ? shape->size / n : left;

		at[i] = guest->piece[i] = (struct iovec){blks_room(shape, size), size};
		if (blks_is_write(shape))
			fe_pattern(at[i].iov_base, shape->offset + shape->size - left, size, seed);
		left -= size;
	}
}

static inline void blks_cut_header(struct blks_guest *guest, struct iovec *at)
{
	const unsigned n = guest->shape.header_cut;

	guest->header = (struct virtio_blk_outhdr){.type = guest->shape.type,
						   .sector = guest->shape.offset / 512};
	for (unsigned i = 0; i < n; i++)
		at[i] = (struct iovec){(uint8_t *)&guest->header + i,
				       i + 1 < n ? 1 : sizeof(guest->header) - i};
}

static inline unsigned blks_seed(unsigned i)
{
	return 100 + i;
}

/* Makes the next request; it is not begun. */
static inline void blks_add(const struct blks_shape *shape)
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
	blks_cut_header(guest, chain->iov);
	blks_cut_data(guest, chain->iov + guest->shape.header_cut, blks_seed(blks.n));
	chain->iov[n - 1] = (struct iovec){&guest->status, 1};
	chain->out = chain->iov;
	chain->n_out = blks_is_write(shape) ? n - 1 : guest->shape.header_cut;
	chain->n_in = n - chain->n_out;
	chain->in = chain->iov + chain->n_out;
	chain->out_size = vublk_iov_size(chain->out, chain->n_out);
	chain->in_size = vublk_iov_size(chain->in, chain->n_in);
	blks.n++;
}
#define add(...) blks_add(&(struct blks_shape){__VA_ARGS__})

/* Adjacent requests of several sizes and framings, `n` of them from byte 4096 on. */
static inline uint32_t blks_add_run(uint32_t type, unsigned n)
{
	static const struct {
		uint32_t size;
		unsigned pieces;
	} step[] = {{512, 1}, {1024, 3}, {4096, 1}, {1536, 2}, {512, 7}};
	const unsigned n_steps = sizeof(step) / sizeof(*step);
	uint32_t done = 0;

	for (unsigned i = 0; i < n; i++) {
		add(.type = type, .offset = 4096 + done, .size = step[i % n_steps].size,
		    .pieces = step[i % n_steps].pieces);
		done += step[i % n_steps].size;
	}
	return done;
}

static inline void blks_end_round(void)
{
	for (unsigned i = 0; i < BLKS_QUEUES; i++)
		blk_merge_flush(&blks.env[i]);
}

/* All of them in one round. */
static inline void blks_go(void)
{
	for (unsigned i = 0; i < blks.n; i++)
		blk_req_begin(&blks.req[i]);
	blks_end_round();
}

/* ---- the engine's side ---- */

/* Moves the first `size` bytes of a transfer. */
static inline void blks_move(const struct io *io, uint64_t size)
{
	uint8_t *at = blks.content + io->offset;

	REQUIRE(io->offset + size <= BLKS_DISK);
	if (io->op == IO_READ)
		CHECK_EQ(vublk_iov_write(io->iov, io->niov, 0, at, size), size);
	else
		CHECK_EQ(vublk_iov_read(io->iov, io->niov, 0, at, size), size);
}

/* The operation ends with this result. */
static inline void blks_complete(unsigned op, int64_t result)
{
	struct io *io = op < blks.n_ops ? blks.op[op] : NULL;

	REQUIRE(io);
	if (io_is_transfer(io) && result > 0)
		blks_move(io, (uint64_t)result);
	blks_take_out(op);
	io->result = result;
	io->done(io);
}

/* All that the file has of it; writes make it no longer. */
static inline int64_t blks_all_of(const struct io *io)
{
	uint64_t size = io_is_transfer(io) ? vublk_iov_size(io->iov, io->niov) : 0;

	if (io->op == IO_SIZE)
		return (int64_t)blks.end;
	if (io->op == IO_READ && io->offset + size > blks.end)
		size = io->offset < blks.end ? blks.end - io->offset : 0;
	return (int64_t)size;
}

/* All operations, and those that come of them, are done. */
static inline void blks_complete_all(void)
{
	for (unsigned i = 0; blks.n_ops && i < 1000; i++)
		blks_complete(0, blks_all_of(blks.op[0]));
	CHECK_EQ(blks.n_ops, 0);
}

#endif
