/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk of 512-byte blocks on a device of 4096-byte ones: what is written side by side at the same
 * time, by several queues on several workers, must not undo its neighbours.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>

#include "tests/proto/proto.h"
#include "tests/proto/shadow_check.h"

#define OK       VIRTIO_BLK_S_OK
#define SIZE     (4 * MIB)
#define BLOCKS   64u /* of the disk that are fought for: eight of the device's */
#define QUEUES   2u
#define DEPTH    16u
#define REQUESTS 20000u

struct op {
	uint64_t sector, stamp;
	uint32_t n, type;
};

static struct fe_blk queue[QUEUES];
static struct op ops[QUEUES][DEPTH];
static struct fe_shadow shadow;
static uint64_t rng = 4711;

/* Puts a loop device of 4096-byte blocks in the place of server.image. */
static void make_device(void)
{
	char file[sizeof(server.image)];

	needs_vublkd();
	REQUIRE_OK(fe_image_make(server.image, SIZE));
	memcpy(file, server.image, sizeof(file));
	need_loop(file, 4096, 0, server.image, sizeof(server.image));
}

static void submit(unsigned int q, struct fe_blk_slot *slot)
{
	struct op *op = &ops[q][slot - queue[q].slot];
	uint32_t kind;

	do {
		kind = (uint32_t)fe_random(&rng) % 8;
		op->n = kind == 7 ? 8 : 1 + (uint32_t)fe_random(&rng) % 11;
		op->sector = fe_random(&rng) % (BLOCKS - op->n + 1);
		if (kind == 7)
			op->sector &= ~7ull;
		op->type = kind < 3 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
	} while (!fe_shadow_claim(&shadow, op->sector, op->n, kind >= 3));
	if (op->type == VIRTIO_BLK_T_OUT)
		op->stamp = fe_shadow_fill(&shadow, op->sector, op->n, slot->data);
	REQUIRE_OK(fe_blk_submit(&queue[q], slot, op->type, op->sector, op->n * 512));
}

static void complete(unsigned int q, struct fe_blk_slot *slot)
{
	const struct op *op = &ops[q][slot - queue[q].slot];

	REQUIRE_EQ(*slot->status, OK);
	if (op->type == VIRTIO_BLK_T_OUT) {
		fe_shadow_wrote(&shadow, op->sector, op->n, op->stamp);
		return;
	}
	shadow_check_read(&shadow, op->sector, op->n, slot->data);
}

/* Random reads and writes, several at a time in each queue, none in the way of another. */
static void fight(void)
{
	unsigned int submitted = 0, done = 0;
	const uint64_t deadline = fe_deadline(20000);

	while (done < REQUESTS && fe_left_ms(deadline))
		for (unsigned int q = 0; q < QUEUES; q++) {
			struct fe_blk_slot *slot;

			/* Few enough that a free range is to be found. */
			while (submitted < REQUESTS && submitted - done < 6 &&
			       (slot = fe_blk_get(&queue[q]))) {
				submit(q, slot);
				submitted++;
			}
			fe_vq_kick(queue[q].vq);
			while (fe_blk_reap(&queue[q], &slot) > 0) {
				complete(q, slot);
				fe_blk_put(&queue[q], slot);
				done++;
			}
		}
	CHECK_EQ(done, REQUESTS);
}

static void neighbours_do_not_undo_each_other(void)
{
	make_device();
	serve_again("--num-workers=2");
	attach(.n_queues = QUEUES);
	CHECK_EQ(dev.config.blk_size, 512);
	CHECK_EQ(dev.config.physical_block_exp, 3);
	fe_blk_free(&blk);
	REQUIRE_OK(fe_shadow_init(&shadow, BLOCKS, 512));
	for (unsigned int q = 0; q < QUEUES; q++)
		REQUIRE_OK(fe_blk_init(&queue[q], &dev, q, DEPTH, 11 * 512));
	fight();
	for (unsigned int q = 0; q < QUEUES; q++)
		fe_blk_free(&queue[q]);
	fe_shadow_free(&shadow);
}

/* As firmware and an installer do it: single sectors, their neighbours, the very last; killed. */
static void single_sectors_are_there_afterwards(void)
{
	static uint8_t buf[4096];
	const uint64_t last = SIZE / 512 - 1;

	make_device();
	serve_again();
	attach();
	CHECK_EQ(dev.config.blk_size, 512);
	for (uint64_t sector = 0; sector <= last; sector += sector < 40 ? 1 : last - 40) {
		fe_pattern(buf, sector * 512, 512, 3);
		REQUIRE_EQ(fe_blk_write(&blk, sector, buf, 512), OK);
	}
	CHECK_EQ(fe_blk_flush(&blk), OK);
	detach();
	REQUIRE_EQ(fe_daemon_stop(&server, SIGKILL, NULL), 128 + SIGKILL);
	serve_again();
	attach();
	for (uint64_t sector = 0; sector <= last; sector += sector < 40 ? 1 : last - 40) {
		REQUIRE_EQ(fe_blk_read(&blk, sector, buf, 512), OK);
		CHECK_EQ(fe_pattern_differs(buf, sector * 512, 512, 3), -1);
	}
	REQUIRE_EQ(fe_blk_discard(&blk, 1, 3, 0), OK); /* no whole block: nothing need happen */
	REQUIRE_EQ(fe_blk_write_zeroes(&blk, 1, 3, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP), OK);
	for (uint64_t sector = 0; sector < 8; sector++) {
		REQUIRE_EQ(fe_blk_read(&blk, sector, buf, 512), OK);
		if (sector < 1 || sector > 3)
			CHECK_EQ(fe_pattern_differs(buf, sector * 512, 512, 3), -1);
		else
			CHECK(!buf[0] && !memcmp(buf, buf + 1, 511));
	}
}

static void as_asked_blocks_are_large(void)
{
	static uint8_t buf[4096];

	make_device();
	serve_again("--block-size=4096");
	attach();
	CHECK_EQ(dev.config.blk_size, 4096);
	CHECK_EQ(fe_blk_write(&blk, 1, buf, 512), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(fe_blk_write(&blk, 8, buf, 4096), OK);
}

static const struct tap_case cases[] = {
	{"neighbours_do_not_undo_each_other", neighbours_do_not_undo_each_other},
	{"single_sectors_are_there_afterwards", single_sectors_are_there_afterwards},
	{"as_asked_blocks_are_large", as_asked_blocks_are_large},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("blocks", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
