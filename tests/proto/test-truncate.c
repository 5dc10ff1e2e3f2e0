/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An image that is truncated under the running disk: what was cut off is neither zeros nor
 * writable, and the operator is told, once. Polling is off where a write comes right after the
 * truncation, so that it is kicked.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define OK    VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define SIZE  (4 * MIB)
#define CUT   MIB
#define LAST  (SIZE / 512 - 1) /* sector */
#define TOLD  "truncated under the running disk"

static uint8_t buf[MIB];

static void serve_pattern(const char *option)
{
	needs_vublkd();
	REQUIRE_OK(fe_image_make(server.image, SIZE));
	for (uint64_t at = 0; at < SIZE; at += sizeof(buf)) {
		fe_pattern(buf, at, sizeof(buf), 1);
		REQUIRE_OK(fe_image_write(server.image, at, buf, sizeof(buf)));
	}
	if (option && !strncmp(option, "--poll", 6))
		serve_again(option);
	else
		serve_again("--poll=off", option);
	attach();
}

/* When the daemon asks for kicks its next write is the first after a rest. */
static void truncate_at_rest(const struct fe_blk *idle)
{
	REQUIRE_OK(fe_vq_wait_rest(idle->vq, fe_deadline(5000)));
	REQUIRE_OK(truncate(server.image, CUT));
}

static uint64_t image_size(void)
{
	struct stat st;

	REQUIRE_OK(stat(server.image, &st));
	return (uint64_t)st.st_size;
}

static void check_cut_off(void)
{
	struct virtio_blk_discard_write_zeroes range = {.sector = CUT / 512, .num_sectors = 8};

	for (uint64_t sector = CUT / 512; sector <= LAST; sector += 511) {
		CHECK_EQ(fe_blk_write(&blk, sector, buf, 512), IOERR);
		CHECK_EQ(fe_blk_read(&blk, sector, buf, 512), IOERR);
	}
	CHECK_EQ(fe_blk_read(&blk, CUT / 512 - 1, buf, 1024), IOERR);
	CHECK_EQ(fe_blk_write(&blk, CUT / 512 - 1, buf, 1024), IOERR);
	CHECK_EQ(fe_blk_write(&blk, LAST, buf, 512), IOERR);
	CHECK_EQ(fe_blk_ranges(&blk, VIRTIO_BLK_T_WRITE_ZEROES, &range, 16), IOERR);
	CHECK_EQ(fe_blk_ranges(&blk, VIRTIO_BLK_T_DISCARD, &range, 16), IOERR);
	CHECK_EQ(image_size(), CUT);
	/* What is left is served. */
	REQUIRE_EQ(fe_blk_read(&blk, CUT / 512 - 8, buf, 4096), OK);
	CHECK_EQ(fe_pattern_differs(buf, CUT - 4096, 4096, 1), -1);
	check_round_trip(&blk, 0, 4096);
	CHECK_EQ(n_logged(TOLD), 1);
}

static void read_first(void)
{
	serve_pattern(NULL);
	REQUIRE_OK(truncate(server.image, CUT));
	CHECK_EQ(fe_blk_read(&blk, LAST, buf, 512), IOERR);
	check_cut_off();
}

/* The first that comes is a write: it must not make the file grow. */
static void write_first(void)
{
	serve_pattern(NULL);
	REQUIRE_EQ(fe_blk_write(&blk, 0, buf, 512), OK);
	truncate_at_rest(&blk);
	CHECK_EQ(fe_blk_write(&blk, SIZE / 2 / 512, buf, 4096), IOERR);
	check_cut_off();
}

static void write_first_through_the_page_cache(void)
{
	serve_pattern("--cache=writeback");
	REQUIRE_OK(truncate(server.image, CUT));
	CHECK_EQ(fe_blk_write(&blk, SIZE / 2 / 512, buf, 4096), IOERR);
	check_cut_off();
}

/* The worker finds it before it hears of the kick, or looks at the ring for another reason. */
static void write_first_without_a_kick(void)
{
	struct fe_blk_slot *slot, *done;

	serve_pattern(NULL);
	REQUIRE_EQ(fe_blk_write(&blk, 0, buf, 512), OK);
	truncate_at_rest(&blk);
	slot = fe_blk_get(&blk);
	REQUIRE(slot);
	REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_OUT, SIZE / 2 / 512, 4096));
	fe_vq_publish(blk.vq);
	REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, blk.vq->call_fd));
	REQUIRE_OK(fe_vq_wait(blk.vq, fe_deadline(5000)));
	REQUIRE_EQ(fe_blk_reap(&blk, &done), 1);
	CHECK_EQ(*done->status, IOERR);
	fe_blk_put(&blk, done);
	check_cut_off();
}

static void two_workers(void)
{
	static struct fe_blk second;

	serve_pattern("--num-workers=2");
	detach();
	attach(.n_queues = 2);
	REQUIRE_OK(fe_blk_init(&second, &dev, 1, 4, 64 * KIB));
	REQUIRE_EQ(fe_blk_write(&second, 0, buf, 512), OK);
	truncate_at_rest(&second);
	CHECK_EQ(fe_blk_write(&second, SIZE / 2 / 512, buf, 4096), IOERR);
	check_cut_off();
	fe_blk_free(&second);
}

/* The only write that could hide it: it would give the file its size back. */
static void write_of_the_last_sector_first(void)
{
	serve_pattern("--poll=auto");
	for (int i = 0; i < 100; i++)
		REQUIRE_EQ(fe_blk_write(&blk, 0, buf, 512), OK);
	REQUIRE_OK(truncate(server.image, CUT));
	CHECK_EQ(fe_blk_write(&blk, LAST, buf, 512), IOERR);
	CHECK(image_size() < SIZE);
	check_cut_off();
}

/*
 * By a worker that is never kicked, and so never looks, it is noticed soon all the same, and what
 * came between restores no size.
 */
static void while_writing(void)
{
	const uint64_t behind = SIZE * 3 / 4 / 512;
	uint64_t deadline;

	serve_pattern("--poll=always");
	for (uint64_t i = 0; i < 1000; i++)
		REQUIRE_EQ(fe_blk_write(&blk, i * 8, buf, 512), OK);
	REQUIRE_OK(truncate(server.image, CUT));
	deadline = fe_deadline(5000);
	for (uint64_t sector = SIZE / 2 / 512; !n_logged(TOLD) && fe_left_ms(deadline); sector += 8)
		fe_blk_write(&blk, sector < behind ? sector : SIZE / 2 / 512, buf, 512);
	CHECK_EQ(n_logged(TOLD), 1);
	CHECK(image_size() <= behind * 512);
	CHECK_EQ(fe_blk_write(&blk, behind, buf, 512), IOERR);
	CHECK_EQ(fe_blk_write(&blk, LAST, buf, 512), IOERR);
	CHECK_EQ(fe_blk_read(&blk, behind, buf, 512), IOERR);
}

/* While nobody is connected, too: the next session finds it short. */
static void between_two_sessions(void)
{
	serve_pattern(NULL);
	check_round_trip(&blk, 0, 4096);
	detach();
	REQUIRE_OK(truncate(server.image, CUT));
	attach();
	CHECK_EQ(fe_blk_write(&blk, SIZE / 2 / 512, buf, 4096), IOERR);
	check_cut_off();
}

/* A file that is longer is none of ours to complain about. */
static void longer_is_no_error(void)
{
	serve_pattern(NULL);
	REQUIRE_OK(truncate(server.image, 2 * SIZE));
	check_round_trip(&blk, LAST, 512);
	check_round_trip(&blk, 0, 4096);
	CHECK_EQ(n_logged(TOLD), 0);
}

static const struct tap_case cases[] = {
	{"read_first", read_first},
	{"write_first", write_first},
	{"write_first_through_the_page_cache", write_first_through_the_page_cache},
	{"write_first_without_a_kick", write_first_without_a_kick},
	{"two_workers", two_workers},
	{"write_of_the_last_sector_first", write_of_the_last_sector_first},
	{"while_writing", while_writing},
	{"between_two_sessions", between_two_sessions},
	{"longer_is_no_error", longer_is_no_error},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("truncate", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
