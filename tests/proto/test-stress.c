/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random reads, writes, zeroes and flushes on several queues at depth 32 each, a part of them in
 * sequential runs, every block verified against a model (fe_shadow) while it runs and against the
 * image at the end.
 * FE_STRESS_SECONDS says for how long (5), FE_STRESS_SEED which sequence.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <string.h>

#include "tests/proto/proto.h"
#include "tests/proto/shadow_check.h"

#define QUEUES    4
#define DEPTH     32
#define MAX_BYTES (64 * KIB)
#define DISK      (64 * MIB)
#define MAX_RUN   40        /* requests, each of which goes on where the one before ends */
#define RUN_BYTES (8 * KIB) /* the most of one of those */
#define ALL_SLOTS (QUEUES * DEPTH)

struct op {
	uint32_t type;
	uint64_t first; /* block */
	uint32_t n;
	uint64_t stamp;
};

struct run {
	uint32_t type;
	uint64_t next;     /* block */
	unsigned int left; /* requests */
};

static struct fe_shadow shadow;
static struct fe_blk queue[QUEUES];
static struct op ops[QUEUES][DEPTH];
static struct run runs[QUEUES];
static uint64_t rng;
static uint64_t done;

static unsigned int seconds(void)
{
	return number_from("FE_STRESS_SECONDS", 5);
}

static uint32_t random_type(void)
{
	unsigned int dice = fe_random(&rng) % 100;

	if (dice < 48)
		return VIRTIO_BLK_T_IN;
	if (dice < 96)
		return VIRTIO_BLK_T_OUT;
	if (dice < 98 && fe_dev_has(&dev, VIRTIO_BLK_F_WRITE_ZEROES))
		return VIRTIO_BLK_T_WRITE_ZEROES;
	return fe_dev_has(&dev, VIRTIO_BLK_F_FLUSH) ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_IN;
}

/* Data in up to four pieces, not all aligned better than the block size. */
static int submit_data(struct fe_blk *q, struct fe_blk_slot *slot, const struct op *op)
{
	uint32_t len = op->n * shadow.block_size;
	const uint32_t sizes[] = {1 + (uint32_t)(fe_random(&rng) % len), 512, 4096, len};
	struct fe_seg segs[FE_BLK_MAX_SEG];
	unsigned int n = 0;

	if (fe_random(&rng) % 4 == 0)
		n = fe_cut(segs, 32, slot->data_gpa, len, op->type == VIRTIO_BLK_T_IN, sizes, 4);
	if (!n)
		return fe_blk_submit(q, slot, op->type, op->first * shadow.block_size / FE_SECTOR,
				     len);
	return fe_blk_submit_segs(q, slot, op->type, op->first * shadow.block_size / FE_SECTOR,
				  segs, n);
}

static int submit_zeroes(struct fe_blk *q, struct fe_blk_slot *slot, const struct op *op)
{
	uint32_t per_block = shadow.block_size / FE_SECTOR;
	struct virtio_blk_discard_write_zeroes range = {
		.sector = op->first * per_block,
		.num_sectors = op->n * per_block,
		.flags = fe_random(&rng) & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
	};

	memcpy(slot->data, &range, sizeof(range));
	return fe_blk_submit(q, slot, op->type, 0, sizeof(range));
}

/* Blocks for the run's next request; false when it is over. */
static bool place_in_run(struct run *run, struct op *op)
{
	op->n = 1 + (uint32_t)(fe_random(&rng) % (RUN_BYTES / shadow.block_size));
	op->first = run->next;
	if (!run->left || op->first + op->n > shadow.n_blocks ||
	    !fe_shadow_claim(&shadow, op->first, op->n, run->type == VIRTIO_BLK_T_OUT)) {
		run->left = 0;
		return false;
	}
	op->type = run->type;
	run->left--;
	run->next += op->n;
	return true;
}

/* Blocks anywhere; now and then a run begins with them. */
static void place_anywhere(struct run *run, struct op *op)
{
	do {
		op->n = 1 + (uint32_t)(fe_random(&rng) % (MAX_BYTES / shadow.block_size));
		op->first = fe_random(&rng) % (shadow.n_blocks - op->n + 1);
	} while (!fe_shadow_claim(&shadow, op->first, op->n, op->type != VIRTIO_BLK_T_IN));
	if (fe_random(&rng) % 16 || op->type > VIRTIO_BLK_T_OUT)
		return;
	*run = (struct run){op->type, op->first + op->n,
			    1 + (unsigned int)(fe_random(&rng) % MAX_RUN)};
}

/* Puts one request on the queue; false when its slots are all in flight. */
static bool submit_one(unsigned int index)
{
	struct fe_blk *q = &queue[index];
	struct fe_blk_slot *slot = fe_blk_get(q);
	int ret;

	if (!slot)
		return false;

	struct op *op = &ops[index][slot - q->slot];

	*op = (struct op){0};
	slot->cookie = op;
	if (!place_in_run(&runs[index], op)) {
		op->type = random_type();
		if (op->type != VIRTIO_BLK_T_FLUSH)
			place_anywhere(&runs[index], op);
	}
	if (op->type == VIRTIO_BLK_T_FLUSH) {
		ret = fe_blk_submit(q, slot, op->type, 0, 0);
	} else {
		if (op->type == VIRTIO_BLK_T_OUT)
			op->stamp = fe_shadow_fill(&shadow, op->first, op->n, slot->data);
		if (op->type == VIRTIO_BLK_T_WRITE_ZEROES)
			ret = submit_zeroes(q, slot, op);
		else
			ret = submit_data(q, slot, op);
	}
	REQUIRE_OK(ret);
	return true;
}

static void complete_one(struct fe_blk *q, struct fe_blk_slot *slot)
{
	struct op *op = slot->cookie;

	REQUIRE_EQ(*slot->status, VIRTIO_BLK_S_OK);
	if (op->type == VIRTIO_BLK_T_IN) {
		REQUIRE_EQ(q->last_len, op->n * shadow.block_size + 1);
		shadow_check_read(&shadow, op->first, op->n, slot->data);
	} else if (op->type != VIRTIO_BLK_T_FLUSH) {
		fe_shadow_wrote(&shadow, op->first, op->n, op->stamp);
	}
	fe_blk_put(q, slot);
	done++;
}

/* Reaps what all queues have; returns how many. */
static unsigned int reap_all(void)
{
	struct fe_blk_slot *slot;
	unsigned int n = 0;
	int ret;

	for (unsigned int i = 0; i < QUEUES; i++) {
		while ((ret = fe_blk_reap(&queue[i], &slot)) > 0) {
			complete_one(&queue[i], slot);
			n++;
		}
		REQUIRE_OK(ret);
	}
	return n;
}

/* Sleeps until some queue has called; a request that never completes ends the case here. */
static void await_any(uint64_t deadline)
{
	struct pollfd p[QUEUES];
	int n;

	for (unsigned int i = 0; i < QUEUES; i++) {
		p[i] = (struct pollfd){.fd = dev.vq[i].call_fd, .events = POLLIN};
		fe_vq_silence(&dev.vq[i], false); /* asks for the next call */
	}
	if (reap_all())
		return;
	n = poll(p, QUEUES, fe_left_ms(deadline));
	REQUIRE(n > 0);
	for (unsigned int i = 0; i < QUEUES; i++)
		fe_vq_take_event(p[i].fd);
}

static void stress(uint64_t features_off)
{
	uint64_t start, end;

	serve(DISK);
	attach(.n_queues = QUEUES, .mem_size = 64 * MIB, .features_off = features_off);
	rng = seed_from("FE_STRESS_SEED");
	uint32_t block = fe_dev_has(&dev, VIRTIO_BLK_F_BLK_SIZE) ? dev.config.blk_size : FE_SECTOR;

	REQUIRE_OK(fe_shadow_init(&shadow, DISK / block, block));
	for (unsigned int i = 0; i < QUEUES; i++)
		REQUIRE_OK(fe_blk_init(&queue[i], &dev, i, DEPTH, MAX_BYTES));
	/* The time is that of the requests; a slow machine does as many as it takes. */
	start = fe_now_ns();
	end = start + seconds() * 1000000000ull;
	while (fe_now_ns() < end || done <= ALL_SLOTS) {
		for (unsigned int i = 0; i < QUEUES; i++) {
			while (queue[i].vq->n_free >= 34 && submit_one(i))
				;
			fe_vq_kick(&dev.vq[i]);
		}
		if (!reap_all())
			await_any(fe_deadline(FE_TIMEOUT_MS));
	}
	for (uint64_t limit = fe_deadline(FE_TIMEOUT_MS);;) {
		unsigned int busy = 0;

		reap_all();
		for (unsigned int i = 0; i < QUEUES; i++)
			busy += queue[i].in_flight;
		if (!busy)
			break;
		await_any(limit);
	}
	tap_diag("%llu requests, %.0f a second", (unsigned long long)done,
		 (double)done * 1e9 / (double)(fe_now_ns() - start));
	CHECK(done > ALL_SLOTS);
	REQUIRE_OK(fe_dev_stop(&dev));
	shadow_check_image(&shadow, server.image);
	fe_shadow_free(&shadow);
	for (unsigned int i = 0; i < QUEUES; i++)
		fe_blk_free(&queue[i]);
}

static void event_idx(void)
{
	stress(0);
}

static void flags_and_direct_chains(void)
{
	stress(FE_BIT(VIRTIO_RING_F_EVENT_IDX) | FE_BIT(VIRTIO_RING_F_INDIRECT_DESC));
}

static const struct tap_case cases[] = {
	{"event_idx", event_idx},
	{"flags_and_direct_chains", flags_and_direct_chains},
	{0},
};

static struct tap_suite suites[] = {
	PROTO_SUITES("stress", cases),
	{0},
};

int main(int argc, char **argv)
{
	suites[0].seconds = suites[1].seconds = seconds() + 30;
	return tap_main(argc, argv, suites);
}
