/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/image/image.c and src/image/probe.c: on regular files of a real file system, on tmpfs, and
 * (as root) on loop devices; every refusal and what it says. What the image claims of its
 * alignments is tried out with O_DIRECT.
 */
#include "src/image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/blkpg.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/image/probe.h"
#include "tests/tap.h"
#include "tests/unit/capture.h"

#define MIB    (UINT64_C(1) << 20)
#define NOBODY 65534

static char path[1024];   /* the image of this case */
static char words[16384]; /* what the last try() logged */
static struct image image;

static void setup(void)
{
	log_set_level(LOG_LEVEL_INFO);
	image.fd = -1;
	snprintf(path, sizeof(path), "%s/image", getenv("TMPDIR"));
}

static void teardown(void)
{
	image_close(&image);
	if (!getuid() && geteuid()) {
		/* become_nobody() was here; LeakSanitizer wants to look at a dumpable process. */
		REQUIRE_OK(seteuid(0));
		prctl(PR_SET_DUMPABLE, 1);
	}
}

static void make_file(uint64_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	REQUIRE(fd >= 0);
	REQUIRE_OK(ftruncate(fd, (off_t)size));
	close(fd);
}

/* Opens the image with these options (path aside); what is logged goes to `words`. */
static int try_open(struct image_options options)
{
	int r;

	image_close(&image);
	options.path = path;
	capture_begin(STDERR_FILENO);
	r = image_open(&image, &options);
	strcpy(words, capture_end());
	tap_diag("%s", words);
	return r;
}

#define TRY(...) try_open((struct image_options){.discard = true, __VA_ARGS__})

static unsigned count_lines(void)
{
	unsigned n = 0;

	for (const char *c = words; *c; c++)
		n += *c == '\n';
	return n;
}

/* The open was refused with this error, in one line that contains `text` and names the image. */
#define CHECK_REFUSED(result, error, text) \
	do { \
		CHECK_EQ(result, error); \
		CHECK_EQ(count_lines(), 1); \
		CHECK(!strncmp(words, "vublkd: error: ", 15)); \
		CHECK(strstr(words, path) != NULL); \
		CHECK(strstr(words, text) != NULL); \
		CHECK_EQ(image.fd, -1); \
	} while (0)

static bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* What image/image.h promises of every image. */
static void check_promises(void)
{
	CHECK(image.size > 0);
	CHECK(image.block_size == 512 || image.block_size == 4096);
	CHECK_EQ(image.size % image.block_size, 0);
	CHECK(is_power_of_two(image.physical_block_size));
	CHECK(image.physical_block_size >= image.block_size);
	CHECK_EQ(image.optimal_io_size % image.block_size, 0);
	CHECK(is_power_of_two(image.mem_align));
	CHECK(is_power_of_two(image.offset_align));
	CHECK(image.offset_align <= image.block_size);
	CHECK(image.direct || (image.mem_align == 1 && image.offset_align == 1));
	CHECK_EQ(image.can_discard, image.max_discard > 0);
	CHECK_EQ(image.can_discard, image.discard_alignment > 0);
	CHECK_EQ(image.can_write_zeroes, image.max_write_zeroes > 0);
	CHECK(image.max_discard <= INT32_MAX && image.max_write_zeroes <= INT32_MAX);
	CHECK_EQ(image.max_write_zeroes % image.block_size, 0);
	CHECK_EQ(image.discard_alignment % image.block_size, 0);
	if (image.can_discard)
		CHECK_EQ(image.max_discard % image.discard_alignment, 0);
	CHECK(!image.read_only || !(image.can_discard || image.can_write_zeroes));
	CHECK(image.can_write_zeroes || !image.unmap_zeroes);
}

/* Reads and writes with exactly the alignments that the image claims. */
static void check_alignments(void)
{
	unsigned char *memory = NULL, *buffer;
	uint32_t length = image.offset_align < 512 ? 512 : image.offset_align;

	REQUIRE_OK(posix_memalign((void **)&memory, 1 << 17, 1 << 18));
	buffer = memory + image.mem_align; /* aligned so, and no better */
	memset(buffer, 0x5a, length);
	CHECK_EQ(pwrite(image.fd, buffer, length, length), length);
	memset(buffer, 0, length);
	CHECK_EQ(pread(image.fd, buffer, length, length), length);
	CHECK_EQ(buffer[0], 0x5a);
	CHECK_EQ(buffer[length - 1], 0x5a);
	free(memory);
}

/* --- regular files --- */

static void file_has_defaults(void)
{
	make_file(MIB);
	REQUIRE_OK(TRY());
	check_promises();
	CHECK_EQ(image.size, MIB);
	CHECK(!image.is_device && !image.read_only && !image.durable);
	CHECK(image.can_discard && image.can_write_zeroes && image.unmap_zeroes);
	CHECK(image.discard_alignment >= 512 && image.discard_alignment <= 65536);
	CHECK(image.max_discard > 2147000000 && image.max_write_zeroes > 2147000000);
	check_alignments();
}

static int flags_of_image(void)
{
	return fcntl(image.fd, F_GETFL);
}

static void cache_none_is_o_direct(void)
{
	make_file(MIB);
	REQUIRE_OK(TRY(.cache = IMAGE_CACHE_NONE));
	CHECK_EQ(image.direct, !!(flags_of_image() & O_DIRECT));
	CHECK_EQ(image.direct, !*words); /* else there was a warning */
	CHECK_EQ(flags_of_image() & O_ACCMODE, O_RDWR);
	CHECK_EQ(fcntl(image.fd, F_GETFD), FD_CLOEXEC);
}

static void cache_writeback_is_buffered(void)
{
	make_file(MIB);
	REQUIRE_OK(TRY(.cache = IMAGE_CACHE_WRITEBACK));
	check_promises();
	CHECK(!image.direct && !image.durable);
	CHECK(!(flags_of_image() & O_DIRECT));
	CHECK_EQ(image.mem_align, 1);
	CHECK_EQ(image.offset_align, 1);
	CHECK_EQ(image.block_size, 512);
	CHECK_TEXT(words, "");
}

static void cache_writethrough_is_durable(void)
{
	make_file(MIB);
	REQUIRE_OK(TRY(.cache = IMAGE_CACHE_WRITETHROUGH));
	CHECK(image.durable && !image.direct);
	CHECK(!(flags_of_image() & O_DIRECT));
}

static void size_is_rounded_up_to_sectors(void)
{
	static const uint64_t sizes[][2] = {
		{1, 512}, {511, 512}, {512, 512}, {513, 1024}, {1000000, 1000448}};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		make_file(sizes[i][0]);
		REQUIRE_OK(TRY(.cache = IMAGE_CACHE_WRITEBACK));
		CHECK_EQ(image.size, sizes[i][1]);
		check_promises();
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

	snprintf(path, sizeof(path), "/dev/shm/vublkd-test-%d", (int)getpid());
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (uint32_t block = 512; block <= 4096; block += 3584) {
			int r;

			make_file(sizes[i][0]);
			r = TRY(.block_size = block);
			unlink(path);
			CHECK_EQ(r, sizes[i][block > 512 ? 2 : 1] ? 0 : -EINVAL);
			if (r)
				continue;
			check_promises();
			CHECK_EQ(image.size, sizes[i][block > 512 ? 2 : 1]);
		}
}

static void size_is_not_changed(void)
{
	struct stat st;

	make_file(1000);
	REQUIRE_OK(TRY(.cache = IMAGE_CACHE_WRITEBACK));
	REQUIRE_OK(stat(path, &st));
	CHECK_EQ(st.st_size, 1000);
}

static void size_must_fit_the_block_size(void)
{
	make_file(MIB + 512);
	CHECK_REFUSED(TRY(.block_size = 4096), -EINVAL, "4096");
	CHECK_OK(TRY(.block_size = 512, .cache = IMAGE_CACHE_WRITEBACK));
	make_file(MIB);
	REQUIRE_OK(TRY(.block_size = 4096));
	check_promises();
	CHECK_EQ(image.block_size, 4096);
}

static void read_only_can_change_nothing(void)
{
	make_file(MIB);
	REQUIRE_OK(TRY(.read_only = true));
	check_promises();
	CHECK(image.read_only);
	CHECK(!image.can_discard && !image.can_write_zeroes && !image.unmap_zeroes);
	CHECK_EQ(flags_of_image() & O_ACCMODE, O_RDONLY);
}

static void discard_can_be_ignored(void)
{
	make_file(MIB);
	REQUIRE_OK(try_open((struct image_options){.discard = false}));
	check_promises();
	CHECK(!image.can_discard && !image.unmap_zeroes);
	CHECK(image.can_write_zeroes);
}

static void topology_can_be_given(void)
{
	make_file(MIB);
	REQUIRE_OK(TRY(.physical_block_size = 65536, .optimal_io_size = 131072));
	check_promises();
	CHECK_EQ(image.physical_block_size, 65536);
	CHECK_EQ(image.optimal_io_size, 131072);
}

static void topology_must_fit_the_block_size(void)
{
	make_file(MIB);
	CHECK_REFUSED(TRY(.block_size = 4096, .physical_block_size = 512), -EINVAL,
		      "--physical-block-size=512");
	CHECK_REFUSED(TRY(.block_size = 4096, .optimal_io_size = 4608), -EINVAL,
		      "--optimal-io-size=4608");
}

static void topology_comes_from_the_file_system(void)
{
	struct stat st;

	make_file(MIB);
	REQUIRE_OK(stat(path, &st));
	REQUIRE_OK(TRY());
	if (st.st_blksize == 4096)
		CHECK_EQ(image.physical_block_size, 4096);
	CHECK(image.physical_block_size <= 65536);
	CHECK(image.optimal_io_size == 0 || image.optimal_io_size == st.st_blksize);
}

static void content_is_left_alone(void)
{
	struct stat before, after;

	make_file(MIB);
	REQUIRE_OK(stat(path, &before));
	REQUIRE_OK(TRY());
	REQUIRE_OK(stat(path, &after));
	CHECK_EQ(after.st_size, before.st_size);
	CHECK_EQ(after.st_blocks, before.st_blocks);
	CHECK_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
	CHECK_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
}

static void no_image_has_a_size_only(void)
{
	struct image_options options = {.null_size = 3 * MIB, .discard = true};

	REQUIRE_OK(image_open(&image, &options));
	check_promises();
	CHECK_EQ(image.fd, -1);
	CHECK_EQ(image.size, 3 * MIB);
	CHECK_EQ(image.block_size, 512);
	CHECK(image.can_discard && image.can_write_zeroes && !image.direct);
	options.block_size = 4096;
	REQUIRE_OK(image_open(&image, &options));
	CHECK_EQ(image.block_size, 4096);
	check_promises();
	options.null_size = 0;
	capture_begin(STDERR_FILENO);
	CHECK_EQ(image_open(&image, &options), -EINVAL);
	capture_end();
}

static void closing_twice_is_harmless(void)
{
	make_file(MIB);
	REQUIRE_OK(TRY());
	CHECK(image.fd >= 0);
	image_close(&image);
	CHECK_EQ(image.fd, -1);
	image_close(&image);
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

/* --- what is no image --- */

static void missing_file(void)
{
	CHECK_REFUSED(TRY(), -ENOENT, "No such file");
}

static void empty_file(void)
{
	make_file(0);
	CHECK_REFUSED(TRY(), -EINVAL, "empty");
}

static void directory(void)
{
	REQUIRE_OK(mkdir(path, 0700));
	CHECK_REFUSED(TRY(), -EISDIR, "a directory");
	CHECK_REFUSED(TRY(.read_only = true), -EISDIR, "a directory");
}

/* Opening it for reading would wait for a writer: the case's time limit tells. */
static void fifo(void)
{
	REQUIRE_OK(mkfifo(path, 0600));
	CHECK_REFUSED(TRY(), -EINVAL, "a FIFO");
	CHECK_REFUSED(TRY(.read_only = true), -EINVAL, "a FIFO");
}

static void character_device(void)
{
	strcpy(path, "/dev/zero");
	CHECK_REFUSED(TRY(), -EINVAL, "a character device");
}

static void unix_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	REQUIRE(strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path));
	REQUIRE_OK(bind(fd, (struct sockaddr *)&address, sizeof(address)));
	CHECK_REFUSED(TRY(), -EINVAL, "a socket");
	close(fd);
}

static void dangling_link(void)
{
	REQUIRE_OK(symlink("/nonexistent/image", path));
	CHECK_REFUSED(TRY(), -ENOENT, "No such file");
}

/* Permissions do not stop root, so be somebody else; the directory is root's, open it. */
static void become_nobody(mode_t image_mode)
{
	make_file(MIB);
	REQUIRE_OK(chmod(path, image_mode));
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
	CHECK_REFUSED(TRY(), -EACCES, "Permission denied");
	CHECK(!strstr(words, "--read-only"));
	CHECK_REFUSED(TRY(.read_only = true), -EACCES, "Permission denied");
}

static void permission_to_read_only(void)
{
	become_nobody(0444);
	CHECK_REFUSED(TRY(), -EACCES, "--read-only");
	CHECK_OK(TRY(.read_only = true));
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

/* --- file systems and O_DIRECT --- */

/* A file of sysfs is regular, not empty, and never had O_DIRECT. */
static void without_o_direct_it_is_buffered(void)
{
	strcpy(path, "/sys/devices/system/cpu/online");
	if (access(path, R_OK))
		tap_skip("no %s", path);
	REQUIRE_OK(TRY(.read_only = true));
	CHECK(!image.direct && !(flags_of_image() & O_DIRECT));
	CHECK_EQ(count_lines(), 1);
	CHECK(strstr(words, "warning") && strstr(words, "O_DIRECT"));
	check_promises();
	REQUIRE_OK(TRY(.read_only = true, .cache = IMAGE_CACHE_WRITEBACK));
	CHECK_TEXT(words, "");
}

/* Puts `path` onto an ext4 of its own, seen by this process only, which journals data. */
static void mount_journalling_ext4(void)
{
	char command[8192];

	if (unshare(CLONE_NEWNS) || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL))
		tap_skip("mounting needs root");
	make_file(32 * MIB);
	snprintf(command, sizeof(command),
		 "mkdir '%s.d' && mkfs.ext4 -q '%s' && mount -o loop,data=journal '%s' '%s.d'",
		 path, path, path, path);
	if (system(command))
		tap_skip("no ext4 can be made and mounted");
	strcat(path, ".d/image");
}

/* Such an ext4 takes O_DIRECT at open() and tells by statx(2) that it has none. */
static void o_direct_that_is_none_is_dropped(void)
{
	mount_journalling_ext4();
	make_file(MIB);
	REQUIRE_OK(TRY());
	check_promises();
	if (image.direct)
		tap_skip("this kernel's ext4 has O_DIRECT with journalled data, or does not tell");
	CHECK(!(flags_of_image() & O_DIRECT));
	CHECK_EQ(count_lines(), 1);
	CHECK(strstr(words, "warning") != NULL);
	check_alignments();
}

static void tmpfs_works(void)
{
	snprintf(path, sizeof(path), "/dev/shm/vublkd-test-%d", (int)getpid());
	make_file(MIB);
	CHECK_OK(TRY());
	unlink(path);
	check_promises();
	CHECK_EQ(image.direct, !*words);
	CHECK_EQ(image.block_size, 512);
	check_alignments();
}

static void trial_reads_find_an_alignment_that_works(void)
{
	uint32_t mem, offset;

	make_file(MIB);
	REQUIRE_OK(TRY());
	if (!image.direct)
		tap_skip("this file system has no O_DIRECT");
	check_alignments(); /* so there are data */
	REQUIRE_OK(image_probe_by_reading(image.fd, &mem, &offset));
	CHECK(mem >= image.mem_align && offset >= image.offset_align);
	CHECK(mem <= 4096 && offset <= 4096);
	image.mem_align = mem;
	image.offset_align = offset;
	check_alignments();
}

static void trial_reads_of_a_tiny_file(void)
{
	uint32_t mem = 0, offset = 0;

	make_file(1);
	REQUIRE_OK(TRY(.block_size = 512, .cache = IMAGE_CACHE_WRITEBACK));
	CHECK_OK(image_probe_by_reading(image.fd, &mem, &offset));
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

/* --- block devices --- */

static int loop_fd = -1; /* keeps the loop device, which vanishes with its last user */

/* A loop device that nobody uses now. */
static int open_free_loop(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = ioctl(control, LOOP_CTL_GET_FREE);

	if (control < 0 || number < 0)
		tap_skip("no loop devices here, or not for this user");
	close(control);
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	return open(path, O_RDWR | O_CLOEXEC);
}

/*
 * Makes `path` a loop device on the file that is there; it is gone at its last close, however
 * the case ends. Skips the case where that cannot be.
 */
static void make_loop(uint32_t block_size, uint32_t flags)
{
	struct loop_config config = {
		.fd = (uint32_t)open(path, O_RDWR | O_CLOEXEC),
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
	teardown();
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

	REQUIRE_OK(stat(path, &st));
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

	make_file(4 * MIB);
	make_loop(512, 0);
	granularity = queue_number("queue/discard_granularity");
	limit = queue_number("queue/discard_max_bytes");
	REQUIRE_OK(TRY());
	check_promises();
	CHECK(image.is_device && image.direct);
	CHECK_EQ(image.size, 4 * MIB);
	CHECK_EQ(image.block_size, 512);
	CHECK_EQ(image.physical_block_size, queue_number("queue/physical_block_size"));
	CHECK_EQ(image.can_discard, limit > 0);
	if (limit)
		CHECK_EQ(image.discard_alignment, granularity > 512 ? granularity : 512);
	if (limit > INT32_MAX)
		CHECK(image.max_discard > INT32_MAX - granularity);
	CHECK_EQ(image.unmap_zeroes, queue_number("queue/write_zeroes_max_bytes") > 0);
	check_alignments();
}

/* As asked for. */
static void device_with_large_blocks(void)
{
	uint32_t mem, offset;

	make_file(4 * MIB);
	make_loop(4096, 0);
	REQUIRE_OK(TRY(.block_size = 4096));
	CHECK_TEXT(words, "");
	check_promises();
	CHECK(image.direct);
	CHECK_EQ(image.block_size, 4096);
	CHECK_EQ(image.offset_align, 4096);
	check_alignments();
	CHECK_OK(image_probe_by_reading(image.fd, &mem, &offset));
	CHECK_EQ(offset, 4096);
}

/* Never 4096 because of where it lies, and never in silence without O_DIRECT. */
static void small_blocks_on_large_ones(void)
{
	make_file(4 * MIB);
	make_loop(4096, 0);
	for (uint32_t asked = 0; asked <= 512; asked += 512) {
		REQUIRE_OK(TRY(.block_size = asked));
		CHECK_EQ(count_lines(), 1);
		CHECK(strstr(words, "warning") && strstr(words, "--block-size=4096"));
		CHECK(strstr(words, "page cache"));
		check_promises();
		CHECK(!image.direct && !(flags_of_image() & O_DIRECT));
		CHECK_EQ(image.block_size, 512);
		CHECK_EQ(image.physical_block_size, 4096);
		CHECK_EQ(image.range_align, 4096);
		check_alignments();
		REQUIRE_OK(TRY(.block_size = asked, .cache = IMAGE_CACHE_WRITEBACK));
		CHECK_TEXT(words, "");
		CHECK_EQ(image.block_size, 512);
	}
}

/* ---- what the content was made for ---- */

static void put(uint64_t offset, const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

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
	int r = TRY(.block_size = asked);

	CHECK_EQ(r, expected ? 0 : -EINVAL);
	CHECK(strstr(words, word) != NULL);
	if (r)
		return;
	check_promises();
	CHECK_EQ(image.block_size, expected);
}

static void gpt_for_512_on_large_blocks(void)
{
	make_file(4 * MIB);
	put_gpt(512);
	make_loop(4096, 0);
	check_blocks(0, 512, "page cache");
	check_blocks(4096, 4096, "warning");
}

static void gpt_for_4096_on_large_blocks(void)
{
	make_file(4 * MIB);
	put_gpt(4096);
	make_loop(4096, 0);
	check_blocks(0, 4096, "info");
	CHECK(image.direct);
	check_blocks(512, 512, "for blocks of 4096 bytes");
}

/* And the other way round: moved to where small blocks are to be had. */
static void gpt_for_4096_on_small_blocks(void)
{
	make_file(4 * MIB);
	put_gpt(4096);
	check_blocks(0, 4096, "info");
	check_blocks(512, 512, "no guest finds its partitions");
	make_file(4 * MIB + 512);
	put_gpt(4096);
	check_blocks(0, 512, "");
	/* A name alone is none. */
	make_file(4 * MIB);
	put(4096, "EFI PART", 8);
	check_blocks(0, 512, "");
}

static void gpt_of_both_kinds(void)
{
	make_file(4 * MIB);
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
	make_file(4 * MIB);
	put_mbr(4 * MIB / 512);
	make_loop(4096, 0);
	check_blocks(0, 512, "page cache");
}

static void mbr_that_may_be_either(void)
{
	make_file(4 * MIB);
	put_mbr(4 * MIB / 4096);
	check_blocks(0, 512, "");
	make_loop(4096, 0);
	check_blocks(0, 0, "choose with --block-size=512 or --block-size=4096");
	check_blocks(4096, 4096, "");
}

static void read_only_device(void)
{
	int r;

	make_file(4 * MIB);
	make_loop(512, LO_FLAGS_READ_ONLY);
	r = TRY();
	CHECK_REFUSED(r, r == -EROFS ? -EROFS : -EACCES, "--read-only");
	REQUIRE_OK(TRY(.read_only = true));
	check_promises();
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

	make_file(4 * MIB);
	make_loop(512, LO_FLAGS_PARTSCAN);
	if (ioctl(loop_fd, BLKPG, &add) < 0)
		tap_skip("no partitions on loop devices here: %s", strerror(errno));
	strcat(path, "p1");
	REQUIRE_OK(TRY());
	check_promises();
	CHECK_EQ(image.size, MIB);
	CHECK_EQ(image.can_discard, queue_number("../queue/discard_max_bytes") > 0);
	if (image.can_discard)
		CHECK_EQ(image.discard_alignment, queue_number("../queue/discard_granularity"));
	check_alignments();
}

static void device_without_medium_is_empty(void)
{
	make_file(0);
	make_loop(512, 0);
	CHECK_REFUSED(TRY(), -EINVAL, "empty");
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
	{.name = "image file", .setup = setup, .teardown = teardown, .cases = file_cases},
	{.name = "image refused", .setup = setup, .teardown = teardown, .cases = refusal_cases},
	{.name = "image direct", .setup = setup, .teardown = teardown, .cases = direct_cases},
	{.name = "image device", .setup = setup, .teardown = loop_teardown, .cases = device_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
