/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file system that moves fewer bytes than it was asked for, at any byte, in the middle of a file:
 * what was not read is not zeros, what was not written is not acknowledged.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/proto/fuse_file.h"
#include "tests/proto/proto.h"

#define OK    VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define SIZE  (1 * MIB)

static uint8_t buf[SIZE];
static struct fuse_file *file;

static void serve_file(uint64_t size, const char *option)
{
	char mount_point[sizeof(dir) + 8];

	needs_vublkd();
	snprintf(mount_point, sizeof(mount_point), "%s/mnt", dir);
	REQUIRE_OK(mkdir(mount_point, 0700));
	file = fuse_file_mount(mount_point, size);
	fe_pattern(file->content, 0, FUSE_FILE_MAX, 1);
	REQUIRE((size_t)snprintf(server.image, sizeof(server.image), "%s/image", mount_point) <
		sizeof(server.image));
	serve_again(option);
	attach();
}

/* Reads everything in requests of several sizes and places. */
static void check_reads(uint64_t size)
{
	static const uint32_t lens[] = {512, 4096, 5632, 65536};

	for (unsigned i = 0; i < 4; i++)
		for (uint64_t at = 0; at + lens[i] <= size; at += 9 * lens[i]) {
			memset(buf, 0xee, lens[i]);
			REQUIRE_EQ(fe_blk_read(&blk, at / 512, buf, lens[i]), OK);
			REQUIRE_EQ(fe_pattern_differs(buf, at, lens[i], 1), -1);
		}
}

static void check_writes(uint64_t size)
{
	static const uint32_t lens[] = {512, 4096, 5632};

	for (unsigned i = 0; i < 3; i++)
		for (uint64_t at = 0; at + lens[i] <= size; at += 31 * lens[i]) {
			fe_pattern(buf, at, lens[i], 2 + i);
			REQUIRE_EQ(fe_blk_write(&blk, at / 512, buf, lens[i]), OK);
			REQUIRE(!memcmp(file->content + at, buf, lens[i]));
			fe_pattern(file->content + at, at, lens[i], 1);
		}
}

static void check_most(uint32_t most, const char *option)
{
	serve_file(SIZE, option);
	file->most = most;
	check_reads(SIZE);
	check_writes(SIZE);
	CHECK_EQ(fe_blk_flush(&blk), OK);
}

static void in_thousands(void)
{
	check_most(1000, NULL);
}

/* Which is not the default there. */
static void in_thousands_with_io_uring(void)
{
	needs_io_uring();
	check_most(1000, "--engine=io_uring");
}

static void in_thousands_through_the_page_cache(void)
{
	check_most(1000, "--cache=writeback");
}

static void in_blocks(void)
{
	check_most(512, NULL);
}

/* Less than a block at a time: no transfer ever makes a block's progress. */
static void in_hundreds(void)
{
	check_most(100, NULL);
}

static void one_byte_less_than_asked(void)
{
	check_most(4095, NULL);
}

/* Several requests that are made into one operation. */
static void merged_ones(void)
{
	struct fe_blk_slot *slots[4];

	serve_file(SIZE, NULL);
	file->most = 3000;
	for (unsigned i = 0; i < 4; i++) {
		slots[i] = fe_blk_get(&blk);
		REQUIRE(slots[i]);
		memset(slots[i]->data, 0xee, 1024);
		REQUIRE_OK(fe_blk_submit(&blk, slots[i], VIRTIO_BLK_T_IN, 64 + 2 * i, 1024));
	}
	REQUIRE_OK(fe_blk_drain(&blk));
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(fe_pattern_differs(slots[i]->data, (64 + 2 * i) * 512, 1024, 1), -1);
}

/* Neither progress nor an error: not zeros, and not for ever. */
static void nothing_at_all(void)
{
	serve_file(SIZE, NULL);
	file->stuck_from = 64 * KIB;
	CHECK_EQ(fe_blk_read(&blk, 128, buf, 4096), IOERR);
	CHECK_EQ(fe_blk_read(&blk, 127, buf, 4096), IOERR);
	CHECK_EQ(fe_blk_write(&blk, 128, buf, 4096), IOERR);
	CHECK_EQ(fe_blk_write(&blk, 127, buf, 4096), IOERR);
	file->stuck_from = UINT64_MAX;
	fe_pattern(file->content, 0, FUSE_FILE_MAX, 1);
	check_reads(SIZE);
}

/* The odd tail, whatever comes short before it. */
static void tail(void)
{
	serve_file(SIZE - 100, NULL);
	file->most = 1000;
	memset(buf, 0xee, 4096);
	CHECK_EQ(fe_blk_read(&blk, SIZE / 512 - 8, buf, 4096), OK);
	CHECK_EQ(fe_pattern_differs(buf, SIZE - 4096, 3996, 1), -1);
	for (unsigned i = 3996; i < 4096; i++)
		CHECK_EQ(buf[i], 0);
}

/* Somewhere else it has been truncated, and what this kernel remembers is not to be believed. */
static void truncated_on_the_server(void)
{
	serve_file(SIZE, NULL);
	check_reads(SIZE);
	file->size = SIZE / 2 + 100;
	CHECK_EQ(fe_blk_read(&blk, SIZE / 1024, buf, 4096), IOERR);
	CHECK_EQ(fe_blk_write(&blk, SIZE / 1024, buf, 4096), IOERR);
	check_reads(SIZE / 2);
	CHECK(n_logged("truncated under the running disk") > 0);
}

static const struct tap_case cases[] = {
	{"in_thousands", in_thousands},
	{"in_thousands_with_io_uring", in_thousands_with_io_uring},
	{"in_thousands_through_the_page_cache", in_thousands_through_the_page_cache},
	{"in_blocks", in_blocks},
	{"in_hundreds", in_hundreds},
	{"one_byte_less_than_asked", one_byte_less_than_asked},
	{"merged_ones", merged_ones},
	{"nothing_at_all", nothing_at_all},
	{"tail", tail},
	{"truncated_on_the_server", truncated_on_the_server},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("short", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
