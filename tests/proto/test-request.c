/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of every type: what they do to the image, and which are refused how. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define OK     VIRTIO_BLK_S_OK
#define IOERR  VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP
#define UNMAP  VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP

static uint8_t buf[2 * MIB];

/* An image of `size` bytes full of fe_pattern(seed 1), and the daemon and `dev` on it. */
static void serve_full(uint64_t size, const char *const options[])
{
	REQUIRE_OK(fe_image_make(server.image, size));
	for (uint64_t at = 0; at < size; at += MIB) {
		size_t n = size - at < MIB ? size - at : MIB;

		fe_pattern(buf, at, n, 1);
		REQUIRE_OK(fe_image_write(server.image, at, buf, n));
	}
	proto_serve_again(options);
	attach();
}
#define serve_pattern(size, ...) \
	serve_full(size, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* Is [offset, offset + len) of the image still (or not) the pattern, or zeros? */
static bool image_is_pattern(uint64_t offset, size_t len)
{
	REQUIRE_OK(fe_image_read(server.image, offset, buf, len));
	return fe_pattern_differs(buf, offset, len, 1) < 0;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	while (len--)
		if (*bytes++)
			return false;
	return true;
}

static bool image_is_zero(uint64_t offset, size_t len)
{
	REQUIRE_OK(fe_image_read(server.image, offset, buf, len));
	return all_zero(buf, len);
}

static void reads_what_the_image_holds(void)
{
	static const uint32_t lens[] = {512, 1024, 4096, 65536, 1048576};

	serve_pattern(2 * MIB);
	for (unsigned int i = 0; i < 5; i++)
		for (uint64_t sector = 0; sector < 64; sector += 9) {
			REQUIRE_EQ(fe_blk_read(&blk, sector, buf, lens[i]), OK);
			CHECK_EQ(fe_pattern_differs(buf, sector * 512, lens[i], 1), -1);
			CHECK_EQ(blk.last_len, lens[i] + 1);
		}
}

static void writes_into_the_image_and_nowhere_else(void)
{
	serve_pattern(2 * MIB);
	fe_pattern(buf, 0, 8 * 512, 2);
	REQUIRE_EQ(fe_blk_write(&blk, 100, buf, 8 * 512), OK);
	CHECK_EQ(blk.last_len, 1);
	CHECK(image_is_pattern(0, 100 * 512));
	CHECK(image_is_pattern(108 * 512, 2 * MIB - 108 * 512));
	REQUIRE_OK(fe_image_read(server.image, 100 * 512, buf, 8 * 512));
	CHECK_EQ(fe_pattern_differs(buf, 0, 8 * 512, 2), -1);
}

static void first_and_last_sector(void)
{
	serve(MIB);
	attach();
	check_round_trip(&blk, 0, 512);
	check_round_trip(&blk, MIB / 512 - 1, 512);
	check_round_trip(&blk, 0, MIB);
}

static void beyond_the_capacity(void)
{
	uint64_t end = MIB / 512;

	serve_pattern(MIB);
	CHECK_EQ(fe_blk_read(&blk, end, buf, 512), IOERR);
	CHECK_EQ(fe_blk_read(&blk, end + 1, buf, 512), IOERR);
	CHECK_EQ(fe_blk_read(&blk, end - 1, buf, 1024), IOERR);
	CHECK_EQ(fe_blk_read(&blk, UINT64_MAX / 512, buf, 512), IOERR);
	CHECK_EQ(fe_blk_read(&blk, UINT64_MAX, buf, 512), IOERR);
	CHECK_EQ(fe_blk_read(&blk, FE_BIT(55), buf, 512), IOERR); /* times 512 it is 0 again */
	CHECK_EQ(fe_blk_write(&blk, end, buf, 512), IOERR);
	CHECK_EQ(fe_blk_write(&blk, end + 1, buf, 512), IOERR);
	CHECK_EQ(fe_blk_write(&blk, end - 1, buf, 1024), IOERR);
	CHECK_EQ(fe_blk_write(&blk, UINT64_MAX, buf, 512), IOERR);
	CHECK_EQ(fe_blk_write(&blk, FE_BIT(55), buf, 512), IOERR);
	CHECK(image_is_pattern(0, MIB));
	check_round_trip(&blk, 0, 4096);
}

static void lengths_that_are_no_sectors(void)
{
	serve_pattern(MIB);
	CHECK_EQ(fe_blk_read(&blk, 0, buf, 100), IOERR);
	CHECK_EQ(fe_blk_read(&blk, 0, buf, 513), IOERR);
	CHECK_EQ(fe_blk_write(&blk, 0, buf, 511), IOERR);
	CHECK(image_is_pattern(0, MIB));
	CHECK(fe_blk_read(&blk, 0, buf, 0) >= 0);
	CHECK(fe_blk_write(&blk, 0, buf, 0) >= 0);
	check_round_trip(&blk, 0, 4096);
}

static void buffers_at_any_address(void)
{
	static const uint32_t at[] = {1, 3, 8, 511, 513, 4095};
	static const uint32_t lens[] = {512, 4096, 65536, 300 * 1024};
	uint64_t gpa;

	serve(2 * MIB);
	attach();
	gpa = fe_alloc(&dev.mem, MIB, 4096);
	for (unsigned int a = 0; a < 6; a++)
		for (unsigned int l = 0; l < 4; l++) {
			struct fe_seg seg = {.addr = gpa + at[a], .len = lens[l]};
			uint8_t *data = fe_ptr(&dev.mem, seg.addr, seg.len);
			uint64_t sector = 8 * a + l;

			fe_pattern(data, 0, seg.len, a + 10 * l);
			CHECK_EQ(fe_blk_segs(&blk, VIRTIO_BLK_T_OUT, sector, &seg, 1), OK);
			REQUIRE_OK(fe_image_read(server.image, sector * 512, buf, seg.len));
			CHECK_EQ(fe_pattern_differs(buf, 0, seg.len, a + 10 * l), -1);
			memset(data - 1, 0xa5, seg.len + 2);
			seg.write = true;
			CHECK_EQ(fe_blk_segs(&blk, VIRTIO_BLK_T_IN, sector, &seg, 1), OK);
			CHECK_EQ(fe_pattern_differs(data, 0, seg.len, a + 10 * l), -1);
			CHECK(data[-1] == 0xa5 && data[seg.len] == 0xa5);
		}
}

static void large_request(void)
{
	uint32_t len = 12 * MIB;
	struct fe_seg seg;

	serve(16 * MIB);
	attach();
	seg = (struct fe_seg){.addr = fe_alloc(&dev.mem, len, 4096), .len = len};
	uint8_t *data = fe_ptr(&dev.mem, seg.addr, len);

	fe_pattern(data, 0, len, 3);
	CHECK_EQ(fe_blk_segs(&blk, VIRTIO_BLK_T_OUT, 1, &seg, 1), OK);
	memset(data, 0, len);
	seg.write = true;
	CHECK_EQ(fe_blk_segs(&blk, VIRTIO_BLK_T_IN, 1, &seg, 1), OK);
	CHECK_EQ(fe_pattern_differs(data, 0, len, 3), -1);
}

static void flush(void)
{
	serve(MIB);
	attach();
	CHECK_EQ(fe_blk_flush(&blk), OK);
	check_round_trip(&blk, 0, 4096);
	CHECK_EQ(fe_blk_flush(&blk), OK);
	CHECK_EQ(blk.last_len, 1);
}

static void without_flush_negotiated(void)
{
	serve(MIB);
	attach(.features_off = FE_BIT(VIRTIO_BLK_F_FLUSH) | FE_BIT(VIRTIO_BLK_F_CONFIG_WCE));
	check_round_trip(&blk, 0, MIB);
}

static void cache_modes(void)
{
	static const char *const modes[] = {"--cache=none", "--cache=writeback",
					    "--cache=writethrough"};

	needs_vublkd();
	for (unsigned int i = 0; i < 3; i++) {
		serve(MIB, modes[i]);
		attach();
		check_round_trip(&blk, 0, MIB);
		CHECK_EQ(fe_blk_flush(&blk), OK);
		detach();
		CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	}
}

static void get_id(void)
{
	char id[64];

	needs_vublkd();
	serve(MIB, "--serial=disk-7");
	attach();
	memset(id, 'x', sizeof(id));
	CHECK_EQ(fe_blk_get_id(&blk, id, 20), OK);
	CHECK(!memcmp(id, "disk-7\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20));
	CHECK_EQ(blk.last_len, 21);
	/* Virtio says 20 bytes; a driver that gives less gets less. */
	memset(id, 'x', sizeof(id));
	CHECK_EQ(fe_blk_get_id(&blk, id, 4), OK);
	CHECK(!memcmp(id, "disk", 4));
	memset(id, 'x', sizeof(id));
	CHECK_EQ(fe_blk_get_id(&blk, id, 64), OK);
	CHECK(!memcmp(id, "disk-7\0", 7));
	CHECK(fe_blk_get_id(&blk, id, 0) >= 0);
	detach();
	CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	serve_again("--serial=12345678901234567890"); /* no NUL fits */
	attach();
	CHECK_EQ(fe_blk_get_id(&blk, id, 20), OK);
	CHECK(!memcmp(id, "12345678901234567890", 20));
}

static void unknown_types(void)
{
	static const uint32_t types[] = {2, 3, 6, 7, 9, 10, 12, 14, 15, 16, 99, UINT32_MAX};

	serve_pattern(MIB);
	for (unsigned int i = 0; i < sizeof(types) / sizeof(*types); i++) {
		struct fe_seg in = {.addr = blk.slot[3].data_gpa, .len = 512, .write = true};
		struct fe_seg out = {.addr = blk.slot[3].data_gpa, .len = 512};

		CHECK_EQ(fe_blk_segs(&blk, types[i], 0, &in, 1), UNSUPP);
		CHECK_EQ(fe_blk_segs(&blk, types[i], 0, &out, 1), UNSUPP);
		CHECK_EQ(fe_blk_segs(&blk, types[i], 0, NULL, 0), UNSUPP);
	}
	CHECK(image_is_pattern(0, MIB));
	check_round_trip(&blk, 0, 4096);
}

static void discard_frees_blocks(void)
{
	uint64_t before, after;

	serve_pattern(8 * MIB);
	REQUIRE_OK(fe_image_allocated(server.image, &before));
	REQUIRE(before >= 8 * MIB);
	CHECK_EQ(fe_blk_discard(&blk, 2 * MIB / 512, 4 * MIB / 512, 0), OK);
	CHECK_EQ(blk.last_len, 1);
	REQUIRE_OK(fe_image_allocated(server.image, &after));
	CHECK(after <= before - 4 * MIB + 64 * KIB);
	CHECK(image_is_pattern(0, 2 * MIB));
	CHECK(image_is_pattern(6 * MIB, 2 * MIB));
	CHECK(image_is_zero(2 * MIB, 2 * MIB));
	/* the file keeps its size */
	CHECK_EQ(fe_blk_discard(&blk, 7 * MIB / 512, MIB / 512, 0), OK);
	CHECK(image_is_zero(7 * MIB, MIB));
}

static void discard_of_a_few_sectors_spares_the_neighbours(void)
{
	serve_pattern(MIB);
	CHECK_EQ(fe_blk_discard(&blk, 17, 3, 0), OK);
	CHECK(image_is_pattern(0, 17 * 512));
	CHECK(image_is_pattern(20 * 512, MIB - 20 * 512));
}

static void discard_ignored(void)
{
	uint64_t before, after;

	needs_vublkd();
	serve_pattern(4 * MIB, "--discard=ignore");
	REQUIRE_OK(fe_image_allocated(server.image, &before));
	int ret = fe_blk_discard(&blk, 0, 2 * MIB / 512, 0);

	CHECK(ret == OK || (ret == UNSUPP && !fe_dev_has(&dev, VIRTIO_BLK_F_DISCARD)));
	REQUIRE_OK(fe_image_allocated(server.image, &after));
	CHECK_EQ(after, before);
	CHECK(image_is_pattern(0, 2 * MIB));
}

static void write_zeroes(void)
{
	uint64_t before, after;

	serve_pattern(8 * MIB);
	REQUIRE_OK(fe_image_allocated(server.image, &before));
	CHECK_EQ(fe_blk_write_zeroes(&blk, 17, 3, 0), OK);
	CHECK(image_is_zero(17 * 512, 3 * 512));
	CHECK(image_is_pattern(0, 17 * 512));
	CHECK(image_is_pattern(20 * 512, MIB));
	CHECK_EQ(fe_blk_write_zeroes(&blk, 2 * MIB / 512, 2 * MIB / 512, 0), OK);
	CHECK(image_is_zero(2 * MIB, 2 * MIB));
	CHECK(image_is_pattern(4 * MIB, MIB));
	REQUIRE_OK(fe_image_allocated(server.image, &after));
	CHECK(after + 64 * KIB >= before); /* no unmap: they stay */
	CHECK_EQ(fe_blk_write_zeroes(&blk, 4 * MIB / 512, 2 * MIB / 512, UNMAP), OK);
	CHECK(image_is_zero(4 * MIB, 2 * MIB));
	CHECK(image_is_pattern(6 * MIB, 2 * MIB));
	REQUIRE_OK(fe_image_allocated(server.image, &after));
	CHECK(after <= before - 2 * MIB + 64 * KIB);
	REQUIRE_EQ(fe_blk_read(&blk, 4 * MIB / 512, buf, MIB), OK);
	CHECK(all_zero(buf, MIB));
}

static void bad_ranges(uint32_t type)
{
	struct virtio_blk_discard_write_zeroes two[2] = {{.sector = 0, .num_sectors = 8},
							 {.sector = 16, .num_sectors = 8}};
	uint32_t flags = type == VIRTIO_BLK_T_DISCARD ? UNMAP : 0;
	uint32_t most;

	serve_pattern(MIB);
	most = type == VIRTIO_BLK_T_DISCARD ? dev.config.max_discard_sectors
					    : dev.config.max_write_zeroes_sectors;
	CHECK_EQ(fe_blk_ranges(&blk, type, two, sizeof(two)), UNSUPP);
	two[0].flags = flags | 2;
	CHECK_EQ(fe_blk_ranges(&blk, type, two, 16), UNSUPP);
	two[0].flags = 0x80000000;
	CHECK_EQ(fe_blk_ranges(&blk, type, two, 16), UNSUPP);
	if (flags) {
		two[0].flags = flags;
		CHECK_EQ(fe_blk_ranges(&blk, type, two, 16), UNSUPP);
	}
	two[0] = (struct virtio_blk_discard_write_zeroes){.sector = 2048, .num_sectors = 1};
	CHECK_EQ(fe_blk_ranges(&blk, type, two, 16), IOERR);
	two[0] = (struct virtio_blk_discard_write_zeroes){.sector = 2047, .num_sectors = 2};
	CHECK_EQ(fe_blk_ranges(&blk, type, two, 16), IOERR);
	two[0] = (struct virtio_blk_discard_write_zeroes){.sector = UINT64_MAX, .num_sectors = 2};
	CHECK_EQ(fe_blk_ranges(&blk, type, two, 16), IOERR);
	two[0] = (struct virtio_blk_discard_write_zeroes){.sector = FE_BIT(55), .num_sectors = 8};
	CHECK_EQ(fe_blk_ranges(&blk, type, two, 16), IOERR);
	two[0] = (struct virtio_blk_discard_write_zeroes){.num_sectors = UINT32_MAX};
	CHECK_EQ(fe_blk_ranges(&blk, type, two, 16), IOERR);
	if (most < UINT32_MAX) {
		two[0].num_sectors = most + 1;
		CHECK_EQ(fe_blk_ranges(&blk, type, two, 16), IOERR);
	}
	/* not one range */
	two[0] = (struct virtio_blk_discard_write_zeroes){.num_sectors = 8};
	CHECK(fe_blk_ranges(&blk, type, two, 15) > OK);
	CHECK(fe_blk_ranges(&blk, type, two, 17) > OK);
	CHECK(fe_blk_ranges(&blk, type, two, 1) > OK);
	CHECK(fe_blk_ranges(&blk, type, two, 0) > OK);
	CHECK(image_is_pattern(0, MIB));
	check_round_trip(&blk, 0, 4096);
}

static void bad_discards(void)
{
	needs_vublkd();
	bad_ranges(VIRTIO_BLK_T_DISCARD);
}

static void bad_write_zeroes(void)
{
	needs_vublkd();
	bad_ranges(VIRTIO_BLK_T_WRITE_ZEROES);
}

static void read_only(void)
{
	struct virtio_blk_discard_write_zeroes range = {.num_sectors = 8};

	serve_pattern(MIB, "--read-only");
	CHECK(dev.offered & FE_BIT(VIRTIO_BLK_F_RO));
	for (unsigned int i = 0; i < 2; i++) {
		CHECK_EQ(fe_blk_read(&blk, 8, buf, 4096), OK);
		CHECK_EQ(fe_pattern_differs(buf, 4096, 4096, 1), -1);
		memset(buf, 0, 4096);
		CHECK_EQ(fe_blk_write(&blk, 8, buf, 4096), IOERR);
		CHECK(fe_blk_ranges(&blk, VIRTIO_BLK_T_DISCARD, &range, 16) > OK);
		CHECK(fe_blk_ranges(&blk, VIRTIO_BLK_T_WRITE_ZEROES, &range, 16) > OK);
		CHECK(image_is_pattern(0, MIB));
		/* once more with a driver that did not take the bit */
		detach();
		attach(.features_off = FE_BIT(VIRTIO_BLK_F_RO));
	}
}

static void tail_that_is_no_sector(void)
{
	serve_pattern(MIB + 100);
	CHECK_EQ(dev.config.capacity, MIB / 512 + 1);
	memset(buf, 0xee, 1024);
	CHECK_EQ(fe_blk_read(&blk, MIB / 512 - 1, buf, 1024), OK);
	CHECK_EQ(fe_pattern_differs(buf, MIB - 512, 612, 1), -1);
	CHECK(all_zero(buf + 612, 412));
	memset(buf, 0xee, 512);
	CHECK_EQ(fe_blk_read(&blk, MIB / 512, buf, 512), OK);
	CHECK_EQ(fe_pattern_differs(buf, MIB, 100, 1), -1);
	CHECK(all_zero(buf + 100, 412));
	CHECK_EQ(fe_blk_read(&blk, MIB / 512 + 1, buf, 512), IOERR);
	fe_pattern(buf, 0, 512, 2);
	CHECK_EQ(fe_blk_write(&blk, MIB / 512, buf, 512), OK);
	memset(buf, 0, 512);
	CHECK_EQ(fe_blk_read(&blk, MIB / 512, buf, 512), OK);
	CHECK_EQ(fe_pattern_differs(buf, 0, 100, 2), -1);
}

/* A limit of the process's (ulimit -f) is an error of what is written beyond, not its end. */
static void limit_of_file_sizes(void)
{
	const struct rlimit limit = {MIB, MIB};

	needs_vublkd();
	serve(2 * MIB);
	attach();
	REQUIRE_OK(prlimit(server.pid, RLIMIT_FSIZE, &limit, NULL));
	CHECK_EQ(fe_blk_write(&blk, MIB / 512 + 8, buf, 4096), IOERR);
	CHECK_EQ(fe_blk_read(&blk, MIB / 512 + 8, buf, 4096), OK);
	check_round_trip(&blk, 0, 4096);
}

/* Files that end anywhere in a sector: a write there stays, whoever serves it next. */
static void tail_is_written_and_read_again(void)
{
	static const uint64_t sizes[] = {1, 511, 513, 4095, 4097, MIB - 1, MIB + 1};

	needs_vublkd();
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		const uint64_t last = (sizes[i] - 1) / 512;

		serve_pattern(sizes[i]);
		CHECK_EQ(dev.config.capacity, last + 1);
		fe_pattern(buf, 0, 512, 2);
		CHECK_EQ(fe_blk_write(&blk, last, buf, 512), OK);
		CHECK_EQ(fe_blk_flush(&blk), OK);
		detach();
		REQUIRE_EQ(fe_daemon_stop(&server, SIGKILL, NULL), 128 + SIGKILL);
		serve_again();
		attach();
		CHECK_EQ(dev.config.capacity, last + 1);
		CHECK_EQ(fe_blk_read(&blk, last, buf, 512), OK);
		CHECK_EQ(fe_pattern_differs(buf, 0, 512, 2), -1);
		CHECK_EQ(fe_blk_read(&blk, last + 1, buf, 512), IOERR);
		detach();
		REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	}
}

/* The largest file that there can be: what is offered can be read and written, to the last. */
static void image_next_to_the_largest(void)
{
	needs_vublkd();
	snprintf(server.image, sizeof(server.image), "/dev/shm/vublkd-test-%d", (int)getpid());
	REQUIRE_OK(fe_image_make(server.image, INT64_MAX));
	serve_again();
	unlink(server.image);
	attach();
	CHECK_EQ(dev.config.capacity, INT64_MAX / 512);
	for (uint64_t sector = 0; sector <= INT64_MAX / 512; sector += INT64_MAX / 512 - 8) {
		fe_pattern(buf, sector, 4096, 2);
		REQUIRE_EQ(fe_blk_write(&blk, sector, buf, 4096), OK);
		memset(buf, 0, 4096);
		REQUIRE_EQ(fe_blk_read(&blk, sector, buf, 4096), OK);
		CHECK_EQ(fe_pattern_differs(buf, sector, 4096, 2), -1);
	}
	CHECK_EQ(fe_blk_read(&blk, INT64_MAX / 512 - 8, buf, 4608), IOERR);
	CHECK_EQ(fe_blk_write(&blk, INT64_MAX / 512, buf, 512), IOERR);
	CHECK_EQ(fe_blk_write_zeroes(&blk, INT64_MAX / 512 - 8, 8, 0), OK);
	CHECK_EQ(fe_blk_write_zeroes(&blk, INT64_MAX / 512 - 8, 9, 0), IOERR);
	CHECK_EQ(fe_blk_read(&blk, INT64_MAX / 512 - 8, buf, 4096), OK);
	CHECK(all_zero(buf, 4096));
	CHECK_EQ(fe_blk_discard(&blk, INT64_MAX / 512 - 8, 8, 0), OK);
	CHECK_EQ(fe_blk_flush(&blk), OK);
}

static void one_byte_image(void)
{
	serve_pattern(1);
	CHECK_EQ(dev.config.capacity, 1);
	memset(buf, 0xee, 512);
	CHECK_EQ(fe_blk_read(&blk, 0, buf, 512), OK);
	CHECK_EQ(fe_pattern_differs(buf, 0, 1, 1), -1);
	CHECK(all_zero(buf + 1, 511));
}

static void blocks_of_4096(void)
{
	serve_pattern(2 * MIB, "--block-size=4096");
	CHECK_EQ(dev.config.blk_size, 4096);
	CHECK_EQ(dev.config.capacity, 2 * MIB / 512); /* sectors are 512 all the same */
	check_round_trip(&blk, 8, 4096);
	check_round_trip(&blk, 16, 64 * KIB);
	detach();
	attach();
	needs_vublkd();
	CHECK_EQ(fe_blk_read(&blk, 1, buf, 4096), IOERR);
	CHECK_EQ(fe_blk_read(&blk, 8, buf, 512), IOERR);
	CHECK_EQ(fe_blk_write(&blk, 9, buf, 4096), IOERR);
	CHECK_EQ(fe_blk_write(&blk, 8, buf, 4096 + 512), IOERR);
	CHECK(image_is_pattern(MIB, MIB));
}

static void block_sizes_in_the_config(void)
{
	needs_vublkd();
	serve(MIB, "--block-size=512", "--physical-block-size=4096", "--optimal-io-size=64K");
	greet();
	CHECK_EQ(dev.config.blk_size, 512);
	CHECK_EQ(dev.config.physical_block_exp, 3);
	CHECK_EQ(dev.config.opt_io_size, 128);
	detach();
	CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	serve_again("--block-size=4096", "--physical-block-size=16384", "--optimal-io-size=1M");
	greet();
	CHECK_EQ(dev.config.blk_size, 4096);
	CHECK_EQ(dev.config.physical_block_exp, 2);
	CHECK_EQ(dev.config.opt_io_size, 256);
}

static void null_engine(void)
{
	needs_vublkd();
	serve_again("--engine=null", "--size=1G");
	attach();
	CHECK_EQ(dev.config.capacity, FE_BIT(30) / 512);
	CHECK_EQ(fe_blk_write(&blk, 0, buf, 4096), OK);
	CHECK_EQ(fe_blk_read(&blk, FE_BIT(30) / 512 - 8, buf, 4096), OK);
	CHECK_EQ(fe_blk_read(&blk, FE_BIT(30) / 512 - 7, buf, 4096), IOERR);
	CHECK_EQ(fe_blk_flush(&blk), OK);
}

static void sizes_with_suffixes(void)
{
	static const struct {
		const char *option;
		uint64_t size;
	} tries[] = {{"--size=1048576", MIB},
		     {"--size=512K", 512 * KIB},
		     {"--size=3M", 3 * MIB},
		     {"--size=2G", 2048 * MIB},
		     {"--size=5T", 5 * MIB * MIB}};

	needs_vublkd();
	for (unsigned int i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
		proto_serve_again((const char *const[]){"--engine=null", tries[i].option, NULL});
		greet();
		CHECK_EQ(dev.config.capacity, tries[i].size / 512);
		detach();
		CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	}
}

/* The image shrinks behind the daemon's back: requests end somehow, and the daemon lives. */
static void image_cut_while_served(void)
{
	serve_pattern(2 * MIB);
	REQUIRE_OK(truncate(server.image, 4096));
	CHECK(fe_blk_read(&blk, MIB / 512, buf, 4096) >= 0);
	CHECK(fe_blk_read(&blk, 7, buf, 4096) >= 0);
	CHECK_EQ(fe_blk_read(&blk, 0, buf, 4096), OK);
	CHECK_EQ(fe_pattern_differs(buf, 0, 4096, 1), -1);
}

static const struct tap_case cases[] = {
	{"reads_what_the_image_holds", reads_what_the_image_holds},
	{"writes_into_the_image_and_nowhere_else", writes_into_the_image_and_nowhere_else},
	{"first_and_last_sector", first_and_last_sector},
	{"beyond_the_capacity", beyond_the_capacity},
	{"lengths_that_are_no_sectors", lengths_that_are_no_sectors},
	{"buffers_at_any_address", buffers_at_any_address},
	{"large_request", large_request},
	{"flush", flush},
	{"without_flush_negotiated", without_flush_negotiated},
	{"cache_modes", cache_modes},
	{"get_id", get_id},
	{"unknown_types", unknown_types},
	{"discard_frees_blocks", discard_frees_blocks},
	{"discard_of_a_few_sectors_spares_the_neighbours",
	 discard_of_a_few_sectors_spares_the_neighbours},
	{"discard_ignored", discard_ignored},
	{"write_zeroes", write_zeroes},
	{"bad_discards", bad_discards},
	{"bad_write_zeroes", bad_write_zeroes},
	{"read_only", read_only},
	{"tail_that_is_no_sector", tail_that_is_no_sector},
	{"limit_of_file_sizes", limit_of_file_sizes},
	{"tail_is_written_and_read_again", tail_is_written_and_read_again},
	{"image_next_to_the_largest", image_next_to_the_largest},
	{"one_byte_image", one_byte_image},
	{"blocks_of_4096", blocks_of_4096},
	{"block_sizes_in_the_config", block_sizes_in_the_config},
	{"null_engine", null_engine},
	{"sizes_with_suffixes", sizes_with_suffixes},
	{"image_cut_while_served", image_cut_while_served},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("request", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
