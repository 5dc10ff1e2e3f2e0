/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sequential streams of requests in mixed sizes and framings, 32 in flight, which the daemon makes
 * into few operations: all data is verified against a model (fe_shadow), and against the image at
 * the end. The image ends inside a sector. FE_STRESS_SEED says which sequence.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/proto/proto.h"
#include "tests/proto/shadow_check.h"
#include "tests/proto/uring_info.h"

#define DEPTH      32
#define BLOCK      512u
#define MAX_BLOCKS 96u /* of one request */
#define MAX_PIECES 63u
#define MAX_HEADER 4u /* pieces of a header */
#define DISK       (8 * MIB + 2560 + 100)
#define N_BLOCKS   ((DISK + BLOCK - 1) / BLOCK)
#define POISON     0xee
#define MOST_DESCS (MAX_HEADER + MAX_PIECES + 1)

static struct fe_shadow shadow;
static struct fe_blk queue;
static uint64_t rng;
static bool long_lists; /* requests in as many pieces as are made into one, or in a single one */

static uint32_t dice(uint32_t n)
{
	return (uint32_t)(fe_random(&rng) % n);
}

/* ---- a stream ---- */

struct stream {
	uint32_t type;
	uint64_t next, end; /* blocks */
	uint32_t most;      /* blocks of one request; 0: MAX_BLOCKS */
};

static struct op {
	uint32_t type, n;
	uint64_t first, stamp;
} ops[DEPTH];

/* Cuts [gpa, gpa + size) up as drivers do, in blocks and pages, or now and then anyhow. */
static unsigned int cut_data(struct fe_seg *segs, uint64_t gpa, uint32_t size, bool write)
{
	const uint32_t sizes[] = {512, 4096, 512 * (1 + dice(32)), 1 + dice(size), size};
	const unsigned int way = long_lists ? 8 : dice(8);
	unsigned int n = 0;

	if (way < 4)
		n = fe_cut(segs, MAX_PIECES, gpa, size, write, &sizes[dice(3)], 1);
	else if (way == 4)
		n = fe_cut(segs, MAX_PIECES, gpa, size, write, sizes, 5);
	else if (way == 8)
		n = fe_cut(segs, MAX_PIECES, gpa, size, write, sizes, 1);
	return n ? n : fe_cut(segs, 1, gpa, size, write, &size, 1);
}

/* Any framing of the header, too. */
static void submit(struct fe_blk_slot *slot, const struct op *op)
{
	const uint32_t header = sizeof(*slot->header), size = op->n * BLOCK;
	const uint32_t sizes[] = {header, 8, 4};
	struct fe_seg segs[MOST_DESCS];
	unsigned int n;
	int head;

	*slot->header = (struct virtio_blk_outhdr){.type = op->type, .sector = op->first};
	*slot->status = FE_NO_STATUS;
	n = fe_cut(segs, MAX_HEADER, slot->header_gpa, header, false, &sizes[dice(3)], 1);
	n += cut_data(segs + n, slot->data_gpa, size, op->type == VIRTIO_BLK_T_IN);
	segs[n++] = (struct fe_seg){.addr = slot->status_gpa, .len = 1, .write = true};
	if (queue.indirect)
		head = fe_vq_add_chain(queue.vq, NULL, 0, segs, n, slot->table_gpa, slot);
	else
		head = fe_vq_add(queue.vq, segs, n, slot);
	REQUIRE(head >= 0);
	queue.in_flight++;
}

/* How many blocks, for a start? */
static uint32_t length(const struct stream *stream)
{
	if (long_lists)
		return dice(2) ? MAX_PIECES : 1;
	return 1 + dice(dice(4) ? 16 : stream->most ? stream->most : MAX_BLOCKS);
}

/* The stream's next request; false if it cannot go on now. */
static bool go_on(struct stream *stream)
{
	const bool write = stream->type == VIRTIO_BLK_T_OUT;
	uint32_t n = length(stream);
	struct fe_blk_slot *slot;
	struct op *op;

	if (stream->next == stream->end || queue.vq->n_free < MOST_DESCS)
		return false;
	if (n > stream->end - stream->next)
		n = (uint32_t)(stream->end - stream->next);
	if (!queue.free || !fe_shadow_claim(&shadow, stream->next, n, write))
		return false;
	slot = fe_blk_get(&queue);
	op = slot->cookie = &ops[slot - queue.slot];
	*op = (struct op){stream->type, n, stream->next, 0};
	if (write)
		op->stamp = fe_shadow_fill(&shadow, op->first, n, slot->data);
	else
		memset(slot->data, POISON, n * BLOCK);
	submit(slot, op);
	stream->next += n;
	return true;
}

static void complete(struct fe_blk_slot *slot)
{
	const struct op *op = slot->cookie;

	REQUIRE_EQ(*slot->status, VIRTIO_BLK_S_OK);
	if (op->type == VIRTIO_BLK_T_OUT) {
		CHECK_EQ(queue.last_len, 1);
		fe_shadow_wrote(&shadow, op->first, op->n, op->stamp);
	} else {
		CHECK_EQ(queue.last_len, op->n * BLOCK + 1);
		shadow_check_read(&shadow, op->first, op->n, slot->data);
	}
	fe_blk_put(&queue, slot);
}

/* Kicks, and takes what is done: something, if anything is in flight. */
static void reap(void)
{
	struct fe_blk_slot *slot;
	int ret;

	fe_vq_kick(queue.vq);
	if (queue.in_flight)
		REQUIRE_OK(fe_vq_wait(queue.vq, fe_deadline(FE_TIMEOUT_MS)));
	while ((ret = fe_blk_reap(&queue, &slot)) > 0)
		complete(slot);
	REQUIRE_OK(ret);
}

/* All streams to their ends: now a run of one, now of another. */
static void run_streams(struct stream *stream, unsigned int n)
{
	unsigned int ended = 0;

	while (ended < n || queue.in_flight) {
		for (unsigned int i = 0; i < n; i++)
			for (unsigned int run = 1 + dice(12); run && go_on(&stream[i]); run--)
				;
		/* Let some gather, so that there are longer runs than one takes out. */
		if (queue.in_flight > DEPTH / 2 || dice(2))
			reap();
		ended = 0;
		for (unsigned int i = 0; i < n; i++)
			ended += stream[i].next == stream[i].end;
	}
}

static void run_one(uint32_t type, uint64_t first, uint64_t end, uint32_t most)
{
	struct stream stream = {type, first, end, most};

	run_streams(&stream, 1);
}

/* ---- a disk ---- */

static void begin(uint64_t features_off, unsigned int queue_size, const char *cache)
{
	serve(DISK, cache);
	attach(.features_off = features_off, .queue_size = queue_size);
	rng = seed_from("FE_STRESS_SEED");
	REQUIRE_EQ(dev.config.capacity, N_BLOCKS);
	if (dev.config.blk_size != BLOCK)
		tap_skip("the image wants blocks of %u bytes", dev.config.blk_size);
	REQUIRE_OK(fe_shadow_init(&shadow, N_BLOCKS, BLOCK));
	REQUIRE_OK(fe_blk_init(&queue, &dev, 0, DEPTH, MAX_BLOCKS * BLOCK));
}

/* Looks at the image, which has its last sector in full if that was written. */
static void end(bool last_written)
{
	const uint64_t size = last_written ? N_BLOCKS * BLOCK : DISK;
	char why[200];
	uint8_t *bytes = calloc(N_BLOCKS, BLOCK);

	REQUIRE(bytes != NULL);
	REQUIRE_OK(fe_dev_stop(&dev));
	REQUIRE_OK(fe_image_read(server.image, 0, bytes, size));
	if (!fe_shadow_verify(&shadow, 0, N_BLOCKS, bytes, why, sizeof(why)))
		tap_check(false, false, __FILE__, __LINE__, "the image: %s", why);
	free(bytes);
	fe_shadow_free(&shadow);
	fe_blk_free(&queue);
}

static void streams(uint64_t features_off, unsigned int queue_size, const char *cache)
{
	struct stream both[] = {{VIRTIO_BLK_T_IN, 0, N_BLOCKS / 2, 0},
				{VIRTIO_BLK_T_OUT, N_BLOCKS / 2, N_BLOCKS, 0}};
	struct stream chase[] = {{VIRTIO_BLK_T_OUT, 0, N_BLOCKS, 0},
				 {VIRTIO_BLK_T_IN, 0, N_BLOCKS, 0}};

	begin(features_off, queue_size, cache);
	run_one(VIRTIO_BLK_T_OUT, 0, N_BLOCKS / 2, 0);
	run_one(VIRTIO_BLK_T_IN, 0, N_BLOCKS, 0);
	run_streams(both, 2);
	run_streams(chase, 2);
	run_one(VIRTIO_BLK_T_IN, 0, N_BLOCKS, 8); /* small ones: long lists */
	end(true);
}

/* ---- cases ---- */

static void page_cache(void)
{
	streams(0, 128, "--cache=writeback");
}

static void o_direct(void)
{
	streams(0, 128, "--cache=none");
}

static void durable(void)
{
	streams(0, 128, "--cache=writethrough");
}

static void direct_chains(void)
{
	const uint64_t off = FE_BIT(VIRTIO_RING_F_EVENT_IDX) | FE_BIT(VIRTIO_RING_F_INDIRECT_DESC);

	streams(off, 4096, "--cache=none");
}

static void requests_in_many_pieces(void)
{
	long_lists = true;
	streams(0, 128, "--cache=writeback");
}

/* Over and over to the end of the image, whose last sector is not all there. */
static void up_to_the_end(const char *cache)
{
	begin(0, 128, cache);
	for (unsigned int i = 0; i < 20; i++)
		run_one(VIRTIO_BLK_T_IN, N_BLOCKS - 1 - dice(200), N_BLOCKS, 4);
	/* All but the last sector. */
	run_one(VIRTIO_BLK_T_OUT, N_BLOCKS - 200, N_BLOCKS - 1, 4);
	for (unsigned int i = 0; i < 20; i++)
		run_one(VIRTIO_BLK_T_IN, N_BLOCKS - 1 - dice(200), N_BLOCKS, 4);
	end(false);
}

static void end_of_the_image(void)
{
	up_to_the_end("--cache=writeback");
}

static void end_of_the_image_with_o_direct(void)
{
	up_to_the_end("--cache=none");
}

/* `n` adjacent requests of 4 KiB at once; how many operations has the kernel got for them? */
static uint32_t n_operations(uint32_t type, unsigned int n)
{
	const uint32_t before = uring_submitted(server.pid);

	for (unsigned int i = 0; i < n; i++) {
		struct fe_blk_slot *slot = fe_blk_get(&queue);

		REQUIRE_OK(fe_blk_submit(&queue, slot, type, 8 * i, 4096));
	}
	CHECK_EQ(fe_blk_drain(&queue), 0);
	return uring_submitted(server.pid) - before;
}

static void adjacent_requests_are_few_operations(void)
{
	needs_vublkd();
	begin(0, 128, "--cache=writeback");
	if (!uring_of(server.pid))
		tap_skip("io_uring tells how many operations there were, and is not used here");
	CHECK(n_operations(VIRTIO_BLK_T_OUT, DEPTH) <= 8);
	CHECK(n_operations(VIRTIO_BLK_T_IN, DEPTH) <= 8);
	/* The counter counts. */
	for (unsigned int i = 0, n = 0; i < 16; i++) {
		n += n_operations(VIRTIO_BLK_T_IN, 1);
		CHECK(n > i);
	}
	fe_shadow_free(&shadow);
	fe_blk_free(&queue);
}

static const struct tap_case cases[] = {
	{"page_cache", page_cache},
	{"o_direct", o_direct},
	{"durable", durable},
	{"direct_chains", direct_chains},
	{"requests_in_many_pieces", requests_in_many_pieces},
	{"end_of_the_image", end_of_the_image},
	{"end_of_the_image_with_o_direct", end_of_the_image_with_o_direct},
	{"adjacent_requests_are_few_operations", adjacent_requests_are_few_operations},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("sequential", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
