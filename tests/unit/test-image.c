/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/image/image.c and src/image/probe.c: on regular files of a real file system and on tmpfs;
 * every refusal and what it says. What the image claims of its alignments is tried out with
 * O_DIRECT. (Loop devices: test-image-device.c.)
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/image/probe.h"
#include "tests/unit/support/capture.h"
#include "tests/unit/support/image-file.h"

#define NOBODY 65534

/* ---- regular files ---- */

static void file_has_defaults(void)
{
	img_make_file(MIB);
	REQUIRE_OK(IMG_TRY());
	img_check_promises();
	CHECK_EQ(img.size, MIB);
	CHECK(!img.is_device && !img.read_only && !img.durable);
	CHECK(img.can_discard && img.can_write_zeroes && img.unmap_zeroes);
	CHECK(img.discard_alignment >= 512 && img.discard_alignment <= 65536);
	CHECK(img.max_discard > 2147000000 && img.max_write_zeroes > 2147000000);
	img_check_alignments();
}

static void cache_none_is_o_direct(void)
{
	img_make_file(MIB);
	REQUIRE_OK(IMG_TRY(.cache = IMAGE_CACHE_NONE));
	CHECK_EQ(img.direct, !!(img_open_flags() & O_DIRECT));
	CHECK_EQ(img.direct, !*img_words); /* else there was a warning */
	CHECK_EQ(img_open_flags() & O_ACCMODE, O_RDWR);
	CHECK_EQ(fcntl(img.fd, F_GETFD), FD_CLOEXEC);
}

static void cache_writeback_is_buffered(void)
{
	img_make_file(MIB);
	REQUIRE_OK(IMG_TRY(.cache = IMAGE_CACHE_WRITEBACK));
	img_check_promises();
	CHECK(!img.direct && !img.durable);
	CHECK(!(img_open_flags() & O_DIRECT));
	CHECK_EQ(img.mem_align, 1);
	CHECK_EQ(img.offset_align, 1);
	CHECK_EQ(img.block_size, 512);
	CHECK_TEXT(img_words, "");
}

static void cache_writethrough_is_durable(void)
{
	img_make_file(MIB);
	REQUIRE_OK(IMG_TRY(.cache = IMAGE_CACHE_WRITETHROUGH));
	CHECK(img.durable && !img.direct);
	CHECK(!(img_open_flags() & O_DIRECT));
}

static void size_is_rounded_up_to_sectors(void)
{
	static const uint64_t sizes[][2] = {
		{1, 512}, {511, 512}, {512, 512}, {513, 1024}, {1000000, 1000448}};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		img_make_file(sizes[i][0]);
		REQUIRE_OK(IMG_TRY(.cache = IMAGE_CACHE_WRITEBACK));
		CHECK_EQ(img.size, sizes[i][1]);
		img_check_promises();
	}
}

/* No offset is beyond 2^63 - 1: of the last sector there is nothing to be had but its start. */
static void size_next_to_the_largest(void)
{
	static const uint64_t most = INT64_MAX;
	const uint64_t sizes[][3] = {{most, most - 511, most - 4095},
				     {most - 510, most - 511, most - 4095},
				     {most - 511, most - 511, 0},
				     {most - 512, most - 511, 0},
				     {most - 1023, most - 1023, 0}};

	snprintf(img_path, sizeof(img_path), "/dev/shm/vublkd-test-%d", (int)getpid());
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (uint32_t block = 512; block <= 4096; block += 3584) {
			int r;

			img_make_file(sizes[i][0]);
			r = IMG_TRY(.block_size = block);
			unlink(img_path);
			CHECK_EQ(r, sizes[i][block > 512 ? 2 : 1] ? 0 : -EINVAL);
			if (r)
				continue;
			img_check_promises();
			CHECK_EQ(img.size, sizes[i][block > 512 ? 2 : 1]);
		}
}

static void size_is_not_changed(void)
{
	struct stat st;

	img_make_file(1000);
	REQUIRE_OK(IMG_TRY(.cache = IMAGE_CACHE_WRITEBACK));
	REQUIRE_OK(stat(img_path, &st));
	CHECK_EQ(st.st_size, 1000);
}

static void size_must_fit_the_block_size(void)
{
	img_make_file(MIB + 512);
	IMG_CHECK_REFUSED(IMG_TRY(.block_size = 4096), -EINVAL, "4096");
	CHECK_OK(IMG_TRY(.block_size = 512, .cache = IMAGE_CACHE_WRITEBACK));
	img_make_file(MIB);
	REQUIRE_OK(IMG_TRY(.block_size = 4096));
	img_check_promises();
	CHECK_EQ(img.block_size, 4096);
}

static void read_only_can_change_nothing(void)
{
	img_make_file(MIB);
	REQUIRE_OK(IMG_TRY(.read_only = true));
	img_check_promises();
	CHECK(img.read_only);
	CHECK(!img.can_discard && !img.can_write_zeroes && !img.unmap_zeroes);
	CHECK_EQ(img_open_flags() & O_ACCMODE, O_RDONLY);
}

static void discard_can_be_ignored(void)
{
	img_make_file(MIB);
	REQUIRE_OK(img_try_open((struct image_options){.discard = false}));
	img_check_promises();
	CHECK(!img.can_discard && !img.unmap_zeroes);
	CHECK(img.can_write_zeroes);
}

static void topology_can_be_given(void)
{
	img_make_file(MIB);
	REQUIRE_OK(IMG_TRY(.physical_block_size = 65536, .optimal_io_size = 131072));
	img_check_promises();
	CHECK_EQ(img.physical_block_size, 65536);
	CHECK_EQ(img.optimal_io_size, 131072);
}

static void topology_must_fit_the_block_size(void)
{
	img_make_file(MIB);
	IMG_CHECK_REFUSED(IMG_TRY(.block_size = 4096, .physical_block_size = 512), -EINVAL,
			  "--physical-block-size=512");
	IMG_CHECK_REFUSED(IMG_TRY(.block_size = 4096, .optimal_io_size = 4608), -EINVAL,
			  "--optimal-io-size=4608");
}

static void topology_comes_from_the_file_system(void)
{
	struct stat st;

	img_make_file(MIB);
	REQUIRE_OK(stat(img_path, &st));
	REQUIRE_OK(IMG_TRY());
	if (st.st_blksize == 4096)
		CHECK_EQ(img.physical_block_size, 4096);
	CHECK(img.physical_block_size <= 65536);
	CHECK(img.optimal_io_size == 0 || img.optimal_io_size == st.st_blksize);
}

static void content_is_left_alone(void)
{
	struct stat before, after;

	img_make_file(MIB);
	REQUIRE_OK(stat(img_path, &before));
	REQUIRE_OK(IMG_TRY());
	REQUIRE_OK(stat(img_path, &after));
	CHECK_EQ(after.st_size, before.st_size);
	CHECK_EQ(after.st_blocks, before.st_blocks);
	CHECK_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
	CHECK_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
}

static void no_image_has_a_size_only(void)
{
	struct image_options options = {.null_size = 3 * MIB, .discard = true};

	REQUIRE_OK(image_open(&img, &options));
	img_check_promises();
	CHECK_EQ(img.fd, -1);
	CHECK_EQ(img.size, 3 * MIB);
	CHECK_EQ(img.block_size, 512);
	CHECK(img.can_discard && img.can_write_zeroes && !img.direct);
	options.block_size = 4096;
	REQUIRE_OK(image_open(&img, &options));
	CHECK_EQ(img.block_size, 4096);
	img_check_promises();
	options.null_size = 0;
	capture_begin(STDERR_FILENO);
	CHECK_EQ(image_open(&img, &options), -EINVAL);
	capture_end();
}

static void closing_twice_is_harmless(void)
{
	img_make_file(MIB);
	REQUIRE_OK(IMG_TRY());
	CHECK(img.fd >= 0);
	image_close(&img);
	CHECK_EQ(img.fd, -1);
	image_close(&img);
}

static const struct tap_case file_cases[] = {
	{"file_has_defaults", file_has_defaults},
	{"cache_none_is_o_direct", cache_none_is_o_direct},
	{"cache_writeback_is_buffered", cache_writeback_is_buffered},
	{"cache_writethrough_is_durable", cache_writethrough_is_durable},
	{"size_is_rounded_up_to_sectors", size_is_rounded_up_to_sectors},
	{"size_next_to_the_largest", size_next_to_the_largest},
	{"size_is_not_changed", size_is_not_changed},
	{"size_must_fit_the_block_size", size_must_fit_the_block_size},
	{"read_only_can_change_nothing", read_only_can_change_nothing},
	{"discard_can_be_ignored", discard_can_be_ignored},
	{"topology_can_be_given", topology_can_be_given},
	{"topology_must_fit_the_block_size", topology_must_fit_the_block_size},
	{"topology_comes_from_the_file_system", topology_comes_from_the_file_system},
	{"content_is_left_alone", content_is_left_alone},
	{"no_image_has_a_size_only", no_image_has_a_size_only},
	{"closing_twice_is_harmless", closing_twice_is_harmless},
	{0},
};

/* ---- what is no image ---- */

static void missing_file(void)
{
	IMG_CHECK_REFUSED(IMG_TRY(), -ENOENT, "No such file");
}

static void empty_file(void)
{
	img_make_file(0);
	IMG_CHECK_REFUSED(IMG_TRY(), -EINVAL, "empty");
}

static void directory(void)
{
	REQUIRE_OK(mkdir(img_path, 0700));
	IMG_CHECK_REFUSED(IMG_TRY(), -EISDIR, "a directory");
	IMG_CHECK_REFUSED(IMG_TRY(.read_only = true), -EISDIR, "a directory");
}

/* Opening it for reading would wait for a writer: the case's time limit tells. */
static void fifo(void)
{
	REQUIRE_OK(mkfifo(img_path, 0600));
	IMG_CHECK_REFUSED(IMG_TRY(), -EINVAL, "a FIFO");
	IMG_CHECK_REFUSED(IMG_TRY(.read_only = true), -EINVAL, "a FIFO");
}

static void character_device(void)
{
	strcpy(img_path, "/dev/zero");
	IMG_CHECK_REFUSED(IMG_TRY(), -EINVAL, "a character device");
}

static void unix_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	REQUIRE(strlen(img_path) < sizeof(address.sun_path));
	memcpy(address.sun_path, img_path, strlen(img_path));
	REQUIRE_OK(bind(fd, (struct sockaddr *)&address, sizeof(address)));
	IMG_CHECK_REFUSED(IMG_TRY(), -EINVAL, "a socket");
	close(fd);
}

static void dangling_link(void)
{
	REQUIRE_OK(symlink("/nonexistent/image", img_path));
	IMG_CHECK_REFUSED(IMG_TRY(), -ENOENT, "No such file");
}

/* Permissions do not stop root, so be somebody else; the directory is root's, open it. */
static void become_nobody(mode_t image_mode)
{
	img_make_file(MIB);
	REQUIRE_OK(chmod(img_path, image_mode));
	if (geteuid())
		return;
	REQUIRE_OK(chmod(getenv("TMPDIR"), 0755));
	REQUIRE_OK(seteuid(NOBODY));
	if (faccessat(AT_FDCWD, getenv("TMPDIR"), X_OK, AT_EACCESS))
		tap_skip("another user cannot reach %s", getenv("TMPDIR"));
}

static void no_permission(void)
{
	become_nobody(0);
	IMG_CHECK_REFUSED(IMG_TRY(), -EACCES, "Permission denied");
	CHECK(!strstr(img_words, "--read-only"));
	IMG_CHECK_REFUSED(IMG_TRY(.read_only = true), -EACCES, "Permission denied");
}

static void permission_to_read_only(void)
{
	become_nobody(0444);
	IMG_CHECK_REFUSED(IMG_TRY(), -EACCES, "--read-only");
	CHECK_OK(IMG_TRY(.read_only = true));
}

static const struct tap_case refusal_cases[] = {
	{"missing_file", missing_file},
	{"empty_file", empty_file},
	{"directory", directory},
	{"fifo", fifo},
	{"character_device", character_device},
	{"unix_socket", unix_socket},
	{"dangling_link", dangling_link},
	{"no_permission", no_permission},
	{"permission_to_read_only", permission_to_read_only},
	{0},
};

/* ---- file systems and O_DIRECT ---- */

/* A file of sysfs is regular, not empty, and never had O_DIRECT. */
static void without_o_direct_it_is_buffered(void)
{
	strcpy(img_path, "/sys/devices/system/cpu/online");
	if (access(img_path, R_OK))
		tap_skip("no %s", img_path);
	REQUIRE_OK(IMG_TRY(.read_only = true));
	CHECK(!img.direct && !(img_open_flags() & O_DIRECT));
	CHECK_EQ(img_count_lines(), 1);
	CHECK(strstr(img_words, "warning") && strstr(img_words, "O_DIRECT"));
	img_check_promises();
	REQUIRE_OK(IMG_TRY(.read_only = true, .cache = IMAGE_CACHE_WRITEBACK));
	CHECK_TEXT(img_words, "");
}

/* Puts `path` onto an ext4 of its own, seen by this process only, which journals data. */
static void mount_journalling_ext4(void)
{
	char command[8192];

	if (unshare(CLONE_NEWNS) || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL))
		tap_skip("mounting needs root");
	img_make_file(32 * MIB);
	snprintf(command, sizeof(command),
		 "mkdir '%s.d' && mkfs.ext4 -q '%s' && mount -o loop,data=journal '%s' '%s.d'",
		 img_path, img_path, img_path, img_path);
	if (system(command))
		tap_skip("no ext4 can be made and mounted");
	strcat(img_path, ".d/image");
}

/* Such an ext4 takes O_DIRECT at open() and tells by statx(2) that it has none. */
static void o_direct_that_is_none_is_dropped(void)
{
	mount_journalling_ext4();
	img_make_file(MIB);
	REQUIRE_OK(IMG_TRY());
	img_check_promises();
	if (img.direct)
		tap_skip("this kernel's ext4 has O_DIRECT with journalled data, or does not tell");
	CHECK(!(img_open_flags() & O_DIRECT));
	CHECK_EQ(img_count_lines(), 1);
	CHECK(strstr(img_words, "warning") != NULL);
	img_check_alignments();
}

static void tmpfs_works(void)
{
	snprintf(img_path, sizeof(img_path), "/dev/shm/vublkd-test-%d", (int)getpid());
	img_make_file(MIB);
	CHECK_OK(IMG_TRY());
	unlink(img_path);
	img_check_promises();
	CHECK_EQ(img.direct, !*img_words);
	CHECK_EQ(img.block_size, 512);
	img_check_alignments();
}

static void trial_reads_find_an_alignment_that_works(void)
{
	uint32_t mem, offset;

	img_make_file(MIB);
	REQUIRE_OK(IMG_TRY());
	if (!img.direct)
		tap_skip("this file system has no O_DIRECT");
	img_check_alignments(); /* so there are data */
	REQUIRE_OK(image_probe_by_reading(img.fd, &mem, &offset));
	CHECK(mem >= img.mem_align && offset >= img.offset_align);
	CHECK(mem <= 4096 && offset <= 4096);
	img.mem_align = mem;
	img.offset_align = offset;
	img_check_alignments();
}

static void trial_reads_of_a_tiny_file(void)
{
	uint32_t mem = 0, offset = 0;

	img_make_file(1);
	REQUIRE_OK(IMG_TRY(.block_size = 512, .cache = IMAGE_CACHE_WRITEBACK));
	CHECK_OK(image_probe_by_reading(img.fd, &mem, &offset));
	CHECK_EQ(mem, 512);
	CHECK_EQ(offset, 512);
}

static const struct tap_case direct_cases[] = {
	{"without_o_direct_it_is_buffered", without_o_direct_it_is_buffered},
	{"o_direct_that_is_none_is_dropped", o_direct_that_is_none_is_dropped},
	{"tmpfs_works", tmpfs_works},
	{"trial_reads_find_an_alignment_that_works", trial_reads_find_an_alignment_that_works},
	{"trial_reads_of_a_tiny_file", trial_reads_of_a_tiny_file},
	{0},
};

/* ---- block devices ---- */

static const struct tap_suite suites[] = {
	{.name = "image file", .setup = img_setup, .teardown = img_teardown, .cases = file_cases},
	{.name = "image refused",
	 .setup = img_setup,
	 .teardown = img_teardown,
	 .cases = refusal_cases},
	{.name = "image direct",
	 .setup = img_setup,
	 .teardown = img_teardown,
	 .cases = direct_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
