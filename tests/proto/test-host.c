/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images that are no files on the usual file system: block devices (loop devices), and a tmpfs that
 * fills up. Needs root; skipped where the host gives no loop devices or mounts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/proto/proto.h"

static uint8_t buf[MIB];
static char backing[300]; /* the file behind the loop device */
static int loop_fd = -1;

static void make_device(uint64_t size, uint32_t block_size, uint32_t flags)
{
	snprintf(backing, sizeof(backing), "%s/backing", dir);
	REQUIRE_OK(fe_image_make(backing, size));
	for (uint64_t at = 0; at < size; at += MIB) {
		fe_pattern(buf, at, MIB, 1);
		REQUIRE_OK(fe_image_write(backing, at, buf, MIB));
	}
	loop_fd = need_loop(backing, block_size, flags, server.image, sizeof(server.image));
}

static bool device_is_pattern(uint64_t offset, uint32_t len)
{
	REQUIRE_EQ(fe_blk_read(&blk, offset / 512, buf, len), 0);
	return fe_pattern_differs(buf, offset, len, 1) < 0;
}

static void block_device(void)
{
	make_device(4 * MIB, 512, 0);
	serve_again();
	attach();
	CHECK_EQ(dev.config.capacity, 4 * MIB / 512);
	CHECK(device_is_pattern(0, MIB));
	check_round_trip(&blk, 0, 512);
	check_round_trip(&blk, 4 * MIB / 512 - 1, 512);
	check_round_trip(&blk, 9, 64 * KIB);
	CHECK_EQ(fe_blk_flush(&blk), 0);
	CHECK_EQ(fe_blk_read(&blk, 4 * MIB / 512, buf, 512), VIRTIO_BLK_S_IOERR);
}

static void block_device_of_4096_byte_blocks(void)
{
	needs_vublkd();
	make_device(4 * MIB, 4096, 0);
	serve_again("--block-size=4096");
	attach();
	CHECK_EQ(dev.config.blk_size, 4096);
	CHECK_EQ(dev.config.physical_block_exp, 0);
	CHECK_EQ(dev.config.capacity, 4 * MIB / 512);
	check_round_trip(&blk, 8, 4096);
	CHECK(device_is_pattern(8192, 4096));
	/* finer blocks than the device has: refused with a reason, or served all the same */
	detach();
	CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	int ret = fe_daemon_serve(&server, (const char *const[]){"--block-size=512", NULL});

	if (ret) {
		REQUIRE_EQ(ret, -ECHILD);
		CHECK_EQ(fe_daemon_wait(&server), 1);
		CHECK(fe_daemon_stderr(&server, (char *)buf, sizeof(buf)) > 0);
		return;
	}
	attach();
	check_round_trip(&blk, 17, 512);
	CHECK(device_is_pattern(16 * 512, 512));
	CHECK(device_is_pattern(18 * 512, 512));
}

static void discard_on_a_block_device(void)
{
	uint64_t before, after;

	make_device(8 * MIB, 512, 0);
	serve_again();
	attach();
	REQUIRE_OK(fe_image_allocated(backing, &before));
	CHECK_EQ(fe_blk_discard(&blk, 2 * MIB / 512, 4 * MIB / 512, 0), 0);
	REQUIRE_OK(fe_image_allocated(backing, &after));
	CHECK(after <= before - 4 * MIB + 64 * KIB);
	CHECK(device_is_pattern(MIB, MIB));
	CHECK(device_is_pattern(6 * MIB, MIB));
	CHECK(!device_is_pattern(2 * MIB, MIB));
}

static void write_zeroes_on_a_block_device(void)
{
	static const uint32_t flags[] = {0, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP};

	make_device(8 * MIB, 512, 0);
	serve_again();
	attach();
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t at = (2 + 2 * i) * MIB;

		CHECK_EQ(fe_blk_write_zeroes(&blk, at / 512 + 1, 200, flags[i]), 0);
		REQUIRE_EQ(fe_blk_read(&blk, at / 512 + 1, buf, 200 * 512), 0);
		for (unsigned int b = 0; b < 200 * 512; b++)
			REQUIRE_EQ(buf[b], 0);
		CHECK(device_is_pattern(at, 512));
		CHECK(device_is_pattern(at + 201 * 512, 64 * KIB));
	}
}

static void read_only_block_device(void)
{
	needs_vublkd();
	make_device(MIB, 512, LO_FLAGS_READ_ONLY);
	CHECK_EQ(run(option("--socket-path", server.socket), option("--blk-file", server.image)),
		 1);
	serve_again("--read-only");
	attach();
	CHECK(device_is_pattern(0, MIB));
	CHECK_EQ(fe_blk_write(&blk, 0, buf, 4096), VIRTIO_BLK_S_IOERR);
}

/* A tmpfs of this size, which nobody else sees, as the place of the image. */
static void mount_tmpfs(const char *options)
{
	char place[280];

	snprintf(place, sizeof(place), "%s/tmpfs", dir);
	REQUIRE_OK(mkdir(place, 0755));
	if (geteuid() || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", place, "tmpfs", 0, options))
		tap_skip("needs to mount");
	snprintf(server.image, sizeof(server.image), "%s/image", place);
}

static void tmpfs(void)
{
	uint64_t before, after;

	mount_tmpfs("size=16m");
	serve(4 * MIB);
	attach();
	check_round_trip(&blk, 0, MIB);
	check_round_trip(&blk, 3, 512);
	CHECK_EQ(fe_blk_flush(&blk), 0);
	/* there is no FALLOC_FL_ZERO_RANGE here */
	CHECK_EQ(fe_blk_write_zeroes(&blk, 8, 16, 0), 0);
	REQUIRE_EQ(fe_blk_read(&blk, 8, buf, 16 * 512), 0);
	for (unsigned int b = 0; b < 16 * 512; b++)
		REQUIRE_EQ(buf[b], 0);
	REQUIRE_OK(fe_image_allocated(server.image, &before));
	CHECK_EQ(fe_blk_discard(&blk, 0, MIB / 512, 0), 0);
	REQUIRE_OK(fe_image_allocated(server.image, &after));
	CHECK(after < before);
}

/* "Errors of the host become IOERR for that request alone." */
static void file_system_full(void)
{
	struct fe_blk_slot *slot;
	unsigned int bad = 0;

	mount_tmpfs("size=2m");
	serve(16 * MIB);
	attach();
	check_round_trip(&blk, 0, 4096);
	for (unsigned int i = 0; (slot = fe_blk_get(&blk)); i++)
		REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_OUT, (1 + i) * MIB / 512, MIB));
	fe_vq_kick(blk.vq);
	for (uint64_t deadline = fe_deadline(FE_TIMEOUT_MS); blk.in_flight;) {
		REQUIRE_OK(fe_vq_wait(blk.vq, deadline));
		while (fe_blk_reap(&blk, &slot) > 0) {
			CHECK(*slot->status <= VIRTIO_BLK_S_IOERR);
			bad += *slot->status == VIRTIO_BLK_S_IOERR;
			fe_blk_put(&blk, slot);
		}
	}
	CHECK(bad > 0);
	check_round_trip(&blk, 0, 4096);
	CHECK_EQ(fe_blk_read(&blk, 12 * MIB / 512, buf, MIB), 0);
	/* room again, and it works again */
	CHECK_EQ(fe_blk_discard(&blk, MIB / 512, 4 * MIB / 512, 0), 0);
	check_round_trip(&blk, 5 * MIB / 512, 512 * KIB);
	detach();
	CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
}

static void teardown(void)
{
	char place[280];

	proto_teardown();
	if (loop_fd >= 0)
		close(loop_fd);
	snprintf(place, sizeof(place), "%s/tmpfs", dir);
	umount2(place, MNT_DETACH);
}

#define ROW(name) \
	{ \
#name, name \
	}
static const struct tap_case cases[] = {
	ROW(block_device),
	ROW(block_device_of_4096_byte_blocks),
	ROW(discard_on_a_block_device),
	ROW(write_zeroes_on_a_block_device),
	ROW(read_only_block_device),
	ROW(tmpfs),
	ROW(file_system_full),
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "host", .setup = proto_setup, .teardown = teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
