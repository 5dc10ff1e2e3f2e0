/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/image/image.c, src/image/probe.c and src/image/blocks.c on loop devices (as root): their
 * limits, and blocks of the size that the content was made for.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/blkpg.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "src/image/probe.h"
#include "tests/unit/support/capture.h"
#include "tests/unit/support/image-file.h"

static int loop_fd = -1; /* keeps the loop device, which vanishes with its last user */

/* A loop device that nobody uses now. */
static int open_free_loop(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = ioctl(control, LOOP_CTL_GET_FREE);

	if (control < 0 || number < 0)
		tap_skip("no loop devices here, or not for this user");
	close(control);
	snprintf(img_path, sizeof(img_path), "/dev/loop%d", number);
	return open(img_path, O_RDWR | O_CLOEXEC);
}

/*
 * Makes `path` a loop device on the file that is there; it is gone at its last close, however
 * the case ends. Skips the case where that cannot be.
 */
static void make_loop(uint32_t block_size, uint32_t flags)
{
	struct loop_config config = {
		.fd = (uint32_t)open(img_path, O_RDWR | O_CLOEXEC),
		.block_size = block_size,
		.info.lo_flags = flags | LO_FLAGS_AUTOCLEAR,
	};
	int r;

	do { /* somebody else may be quicker */
		if (loop_fd >= 0)
			close(loop_fd);
		loop_fd = open_free_loop();
		r = ioctl(loop_fd, LOOP_CONFIGURE, &config);
	} while (r < 0 && errno == EBUSY);
	if (r < 0)
		tap_skip("no loop device: %s", strerror(errno));
	close((int)config.fd);
}

static void loop_teardown(void)
{
	img_teardown();
	if (loop_fd >= 0)
		close(loop_fd);
}

/* A number of the device's queue in sysfs; `name` may begin with "../". */
static uint64_t queue_number(const char *name)
{
	char file[256];
	struct stat st;
	uint64_t value = 0;
	FILE *f;

	REQUIRE_OK(stat(img_path, &st));
	snprintf(file, sizeof(file), "/sys/dev/block/%u:%u/%s", major(st.st_rdev),
		 minor(st.st_rdev), name);
	f = fopen(file, "re");
	REQUIRE(f != NULL);
	CHECK_EQ(fscanf(f, "%" SCNu64, &value), 1);
	fclose(f);
	return value;
}

static void device_tells_its_limits(void)
{
	uint64_t granularity, limit;

	img_make_file(4 * MIB);
	make_loop(512, 0);
	granularity = queue_number("queue/discard_granularity");
	limit = queue_number("queue/discard_max_bytes");
	REQUIRE_OK(IMG_TRY());
	img_check_promises();
	CHECK(img.is_device && img.direct);
	CHECK_EQ(img.size, 4 * MIB);
	CHECK_EQ(img.block_size, 512);
	CHECK_EQ(img.physical_block_size, queue_number("queue/physical_block_size"));
	CHECK_EQ(img.can_discard, limit > 0);
	if (limit)
		CHECK_EQ(img.discard_alignment, granularity > 512 ? granularity : 512);
	if (limit > INT32_MAX)
		CHECK(img.max_discard > INT32_MAX - granularity);
	CHECK_EQ(img.unmap_zeroes, queue_number("queue/write_zeroes_max_bytes") > 0);
	img_check_alignments();
}

/* As asked for. */
static void device_with_large_blocks(void)
{
	uint32_t mem, offset;

	img_make_file(4 * MIB);
	make_loop(4096, 0);
	REQUIRE_OK(IMG_TRY(.block_size = 4096));
	CHECK_TEXT(img_words, "");
	img_check_promises();
	CHECK(img.direct);
	CHECK_EQ(img.block_size, 4096);
	CHECK_EQ(img.offset_align, 4096);
	img_check_alignments();
	CHECK_OK(image_probe_by_reading(img.fd, &mem, &offset));
	CHECK_EQ(offset, 4096);
}

/* Never 4096 because of where it lies, and never in silence without O_DIRECT. */
static void small_blocks_on_large_ones(void)
{
	img_make_file(4 * MIB);
	make_loop(4096, 0);
	for (uint32_t asked = 0; asked <= 512; asked += 512) {
		REQUIRE_OK(IMG_TRY(.block_size = asked));
		CHECK_EQ(img_count_lines(), 1);
		CHECK(strstr(img_words, "warning") && strstr(img_words, "--block-size=4096"));
		CHECK(strstr(img_words, "page cache"));
		img_check_promises();
		CHECK(!img.direct && !(img_open_flags() & O_DIRECT));
		CHECK_EQ(img.block_size, 512);
		CHECK_EQ(img.physical_block_size, 4096);
		CHECK_EQ(img.range_align, 4096);
		img_check_alignments();
		REQUIRE_OK(IMG_TRY(.block_size = asked, .cache = IMAGE_CACHE_WRITEBACK));
		CHECK_TEXT(img_words, "");
		CHECK_EQ(img.block_size, 512);
	}
}

/* ---- what the content was made for ---- */

static void put(uint64_t offset, const void *bytes, size_t size)
{
	int fd = open(img_path, O_WRONLY | O_CLOEXEC);

	REQUIRE(fd >= 0);
	CHECK_EQ(pwrite(fd, bytes, size, (off_t)offset), (ssize_t)size);
	close(fd);
}

static void put_gpt(uint32_t block)
{
	static const uint8_t header[32] = {'E', 'F', 'I',      ' ',       'P',     'A',
					   'R', 'T', [10] = 1, [12] = 92, [24] = 1};

	put(block, header, sizeof(header));
}

/* One partition, up to block `end`. */
static void put_mbr(uint32_t end)
{
	uint8_t entry[16] = {[4] = 0x83, [8] = 8};
	const uint32_t length = end - 8;

	memcpy(entry + 12, &length, sizeof(length));
	put(446, entry, sizeof(entry));
	put(510, "\x55\xaa", 2);
}

static void check_blocks(uint32_t asked, uint32_t expected, const char *word)
{
	int r = IMG_TRY(.block_size = asked);

	CHECK_EQ(r, expected ? 0 : -EINVAL);
	CHECK(strstr(img_words, word) != NULL);
	if (r)
		return;
	img_check_promises();
	CHECK_EQ(img.block_size, expected);
}

static void gpt_for_512_on_large_blocks(void)
{
	img_make_file(4 * MIB);
	put_gpt(512);
	make_loop(4096, 0);
	check_blocks(0, 512, "page cache");
	check_blocks(4096, 4096, "warning");
}

static void gpt_for_4096_on_large_blocks(void)
{
	img_make_file(4 * MIB);
	put_gpt(4096);
	make_loop(4096, 0);
	check_blocks(0, 4096, "info");
	CHECK(img.direct);
	check_blocks(512, 512, "for blocks of 4096 bytes");
}

/* And the other way round: moved to where small blocks are to be had. */
static void gpt_for_4096_on_small_blocks(void)
{
	img_make_file(4 * MIB);
	put_gpt(4096);
	check_blocks(0, 4096, "info");
	check_blocks(512, 512, "no guest finds its partitions");
	img_make_file(4 * MIB + 512);
	put_gpt(4096);
	check_blocks(0, 512, "");
	/* A name alone is none. */
	img_make_file(4 * MIB);
	put(4096, "EFI PART", 8);
	check_blocks(0, 512, "");
}

static void gpt_of_both_kinds(void)
{
	img_make_file(4 * MIB);
	put_gpt(512);
	put_gpt(4096);
	check_blocks(0, 512, "");
	make_loop(4096, 0);
	check_blocks(0, 0, "choose with --block-size=512 or --block-size=4096");
	check_blocks(512, 512, "page cache");
	check_blocks(4096, 4096, "");
}

static void mbr_that_fills_the_disk(void)
{
	img_make_file(4 * MIB);
	put_mbr(4 * MIB / 512);
	make_loop(4096, 0);
	check_blocks(0, 512, "page cache");
}

static void mbr_that_may_be_either(void)
{
	img_make_file(4 * MIB);
	put_mbr(4 * MIB / 4096);
	check_blocks(0, 512, "");
	make_loop(4096, 0);
	check_blocks(0, 0, "choose with --block-size=512 or --block-size=4096");
	check_blocks(4096, 4096, "");
}

static void read_only_device(void)
{
	int r;

	img_make_file(4 * MIB);
	make_loop(512, LO_FLAGS_READ_ONLY);
	r = IMG_TRY();
	IMG_CHECK_REFUSED(r, r == -EROFS ? -EROFS : -EACCES, "--read-only");
	REQUIRE_OK(IMG_TRY(.read_only = true));
	img_check_promises();
}

/* The limits of a partition are its parent's. */
static void partition_has_its_parents_limits(void)
{
	struct blkpg_partition partition = {.pno = 1, .start = MIB, .length = MIB};
	struct blkpg_ioctl_arg add = {
		.op = BLKPG_ADD_PARTITION,
		.datalen = sizeof(partition),
		.data = &partition,
	};

	img_make_file(4 * MIB);
	make_loop(512, LO_FLAGS_PARTSCAN);
	if (ioctl(loop_fd, BLKPG, &add) < 0)
		tap_skip("no partitions on loop devices here: %s", strerror(errno));
	strcat(img_path, "p1");
	REQUIRE_OK(IMG_TRY());
	img_check_promises();
	CHECK_EQ(img.size, MIB);
	CHECK_EQ(img.can_discard, queue_number("../queue/discard_max_bytes") > 0);
	if (img.can_discard)
		CHECK_EQ(img.discard_alignment, queue_number("../queue/discard_granularity"));
	img_check_alignments();
}

static void device_without_medium_is_empty(void)
{
	img_make_file(0);
	make_loop(512, 0);
	IMG_CHECK_REFUSED(IMG_TRY(), -EINVAL, "empty");
}

static const struct tap_case device_cases[] = {
	{"device_tells_its_limits", device_tells_its_limits},
	{"device_with_large_blocks", device_with_large_blocks},
	{"small_blocks_on_large_ones", small_blocks_on_large_ones},
	{"gpt_for_512_on_large_blocks", gpt_for_512_on_large_blocks},
	{"gpt_for_4096_on_large_blocks", gpt_for_4096_on_large_blocks},
	{"gpt_for_4096_on_small_blocks", gpt_for_4096_on_small_blocks},
	{"gpt_of_both_kinds", gpt_of_both_kinds},
	{"mbr_that_fills_the_disk", mbr_that_fills_the_disk},
	{"mbr_that_may_be_either", mbr_that_may_be_either},
	{"read_only_device", read_only_device},
	{"partition_has_its_parents_limits", partition_has_its_parents_limits},
	{"device_without_medium_is_empty", device_without_medium_is_empty},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "image device",
	 .setup = img_setup,
	 .teardown = loop_teardown,
	 .cases = device_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
