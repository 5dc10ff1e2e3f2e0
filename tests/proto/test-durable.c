/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was acknowledged is on the medium, or it was not acknowledged, when the medium runs full
 * behind the page cache: a loop device on a file in a tmpfs that is too small. The kernel tells of
 * each failed write-back once; who is told, and who else should have been, is what this is about.
 * Needs root; skipped where the host gives no loop devices or mounts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define OK     VIRTIO_BLK_S_OK
#define IOERR  VIRTIO_BLK_S_IOERR
#define SIZE   (64 * MIB)
#define ROOM   "size=8m"
#define BLOCK  4096u
#define BLOCKS (SIZE / BLOCK)
#define WRITES 6000u
#define QUEUES 4u
#define DEPTH  16u

static int loop_fd = -1;
static char backing[300];
static struct fe_blk queue[QUEUES];
static bool acknowledged[BLOCKS];

/* Puts the device that is too good to be true in the place of the image. */
static void make_thin_device(void)
{
	char place[280];

	needs_vublkd();
	snprintf(place, sizeof(place), "%s/thin", dir);
	snprintf(backing, sizeof(backing), "%s/backing", place);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mkdir(place, 0700) || mount("thin", place, "tmpfs", 0, ROOM))
		tap_skip("needs to mount: %s", strerror(errno));
	REQUIRE_OK(fe_image_make(backing, SIZE));
	loop_fd = need_loop(backing, 512, 0, server.image, sizeof(server.image));
}

static void open_queues(void)
{
	attach(.n_queues = QUEUES);
	fe_blk_free(&blk);
	for (unsigned int q = 0; q < QUEUES; q++)
		REQUIRE_OK(fe_blk_init(&queue[q], &dev, q, DEPTH, BLOCK));
}

static void submit(struct fe_blk *b, struct fe_blk_slot *slot, uint64_t block)
{
	fe_pattern(slot->data, block * BLOCK, BLOCK, 1);
	slot->cookie = &acknowledged[block];
	REQUIRE_OK(fe_blk_submit(b, slot, VIRTIO_BLK_T_OUT, block * (BLOCK / 512), BLOCK));
}

/* Takes what is there; how much. */
static unsigned int take(struct fe_blk *b)
{
	struct fe_blk_slot *slot;
	unsigned int n = 0;

	for (; fe_blk_reap(b, &slot) > 0; n++) {
		REQUIRE(*slot->status <= IOERR);
		*(bool *)slot->cookie = *slot->status == OK;
		fe_blk_put(b, slot);
	}
	return n;
}

/* Writes WRITES different blocks, in an order that no neighbours meet in. */
static void write_blocks(void)
{
	const uint64_t deadline = fe_deadline(60000);
	unsigned int submitted = 0, done = 0;

	while (done < WRITES) {
		REQUIRE(fe_left_ms(deadline));
		for (unsigned int q = 0; q < QUEUES; q++) {
			struct fe_blk_slot *slot;

			while (submitted < WRITES && (slot = fe_blk_get(&queue[q])))
				submit(&queue[q], slot, submitted++ * 7919ull % BLOCKS);
			fe_vq_kick(queue[q].vq);
			done += take(&queue[q]);
		}
	}
}

static void close_queues(void)
{
	for (unsigned int q = 0; q < QUEUES; q++)
		fe_blk_free(&queue[q]);
	fe_dev_close(&dev);
}

/* The device's own cache is gone, so this is what the medium has. */
static void check_medium(void)
{
	static uint8_t data[BLOCK];
	unsigned int n_acknowledged = 0, n_missing = 0;

	REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	REQUIRE_OK(ioctl(loop_fd, BLKFLSBUF, 0));
	for (uint64_t i = 0; i < BLOCKS; i++) {
		if (!acknowledged[i])
			continue;
		n_acknowledged++;
		REQUIRE_OK(fe_image_read(backing, i * BLOCK, data, BLOCK));
		n_missing += fe_pattern_differs(data, i * BLOCK, BLOCK, 1) >= 0;
	}
	tap_diag("%u of %u writes acknowledged, %u of them are missing", n_acknowledged, WRITES,
		 n_missing);
	CHECK(n_acknowledged > 0 && n_acknowledged < WRITES);
	CHECK_EQ(n_missing, 0);
}

static void writethrough(const char *workers)
{
	make_thin_device();
	serve_again("--cache=writethrough", option("--num-workers", workers));
	open_queues();
	write_blocks();
	close_queues();
	check_medium();
}

static void writethrough_with_one_worker(void)
{
	writethrough("1");
}

static void writethrough_with_four_workers(void)
{
	writethrough("4");
}

/* The same when it is the driver who switches the cache off. */
static void write_cache_off(void)
{
	make_thin_device();
	serve_again("--cache=writeback", "--num-workers=2");
	open_queues();
	REQUIRE_OK(fe_set_config(&dev.conn, offsetof(struct virtio_blk_config, wce), 1,
				 VHU_CONFIG_FLAG_WRITABLE, &(uint8_t){0}));
	write_blocks();
	close_queues();
	check_medium();
}

/* A flush of each queue at the same time; how many say that all is well. */
static unsigned int flush_all(void)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	unsigned int n = 0;

	for (unsigned int q = 0; q < QUEUES; q++)
		for (unsigned int i = 0; i < 2; i++)
			REQUIRE_OK(fe_blk_submit(&queue[q], fe_blk_get(&queue[q]),
						 VIRTIO_BLK_T_FLUSH, 0, 0));
	for (unsigned int q = 0; q < QUEUES; q++)
		fe_vq_kick(queue[q].vq);
	for (unsigned int q = 0; q < QUEUES; q++)
		while (queue[q].in_flight) {
			struct fe_blk_slot *slot;

			REQUIRE_OK(fe_vq_wait(queue[q].vq, deadline));
			while (fe_blk_reap(&queue[q], &slot) > 0) {
				n += *slot->status == OK;
				fe_blk_put(&queue[q], slot);
			}
		}
	return n;
}

/* None of those that covers the lost data may say OK, nor any later one; a new process may. */
static void flush_after_a_loss(void)
{
	static uint8_t data[BLOCK];

	make_thin_device();
	serve_again("--cache=writeback", "--num-workers=2");
	open_queues();
	CHECK_EQ(flush_all(), 2 * QUEUES);
	write_blocks();
	for (unsigned int i = 0; i < 4; i++)
		CHECK_EQ(flush_all(), 0);
	REQUIRE_OK(fe_daemon_await_log(&server, "restart vublkd"));
	CHECK_EQ(fe_blk_read(&queue[0], 0, data, BLOCK), OK);
	close_queues();
	/* Nor in the next session of the same process. */
	open_queues();
	CHECK_EQ(flush_all(), 0);
	close_queues();
	REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
}

static void teardown(void)
{
	proto_teardown();
	if (loop_fd >= 0)
		close(loop_fd);
}

static const struct tap_case cases[] = {
	{"writethrough_with_one_worker", writethrough_with_one_worker},
	{"writethrough_with_four_workers", writethrough_with_four_workers},
	{"write_cache_off", write_cache_off},
	{"flush_after_a_loss", flush_after_a_loss},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "durable", .setup = proto_setup, .teardown = teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
