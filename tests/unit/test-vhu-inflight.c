/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/shared/inflight.c: the memory of the in-flight region, made and handed in again. */
#include "lib/shared/inflight.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/vublk.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"

#define QUEUES 3u /* as many as the front-end may have */
#define PAGE   4096u

static struct vhu_inflight *region;
static unsigned n_warnings;

static void count_warnings(enum vublk_log_level level, const char *line)
{
	if (level == VUBLK_LOG_WARNING && strstr(line, "in-flight"))
		n_warnings++;
}

static void setup(void)
{
	vublk_set_log(count_warnings);
}

/* ---- making one ---- */

/* Bytes of one queue's region, by the specification's structures, in whole cache lines. */
static uint64_t stride(unsigned queue_size, bool packed)
{
	const uint64_t size = packed ? 32 + 32ull * queue_size : 16 + 16ull * queue_size;

	return (size + 63) / 64 * 64;
}

static void check_size(unsigned queues, unsigned queue_size, bool packed)
{
	uint64_t size = 0;
	struct stat st;
	int fd;

	REQUIRE_OK(vhu_inflight_create(queues, queue_size, packed, &fd, &size));
	CHECK_EQ(size, queues * stride(queue_size, packed));
	REQUIRE_OK(fstat(fd, &st));
	CHECK_EQ(st.st_size, size);
	close(fd);
}

static void sizes_are_those_of_the_specification(void)
{
	static const unsigned sizes[] = {1,  2,   3,   4,   5,    7,     8,    16,
					 17, 100, 128, 256, 1023, 32767, 32768};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		for (unsigned queues = 1; queues <= 4; queues++) {
			check_size(queues, sizes[i], false);
			check_size(queues, sizes[i], true);
		}
	check_size(256, 32768, true);
	/* By hand, so that the formula is not its own judge. */
	CHECK_EQ(stride(128, false), 2112);
	CHECK_EQ(stride(128, true), 4160);
	CHECK_EQ(stride(1, true), 64);
}

static void no_region_for_nothing(void)
{
	static const struct {
		unsigned queues, size;
	} wrong[] = {{0, 128}, {1, 0}, {0, 0}, {1, 32769}, {1, 65535}};
	uint64_t size;
	int fd;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		for (unsigned packed = 0; packed < 2; packed++) {
			fd = 99;
			CHECK_EQ(vhu_inflight_create(wrong[i].queues, wrong[i].size, packed, &fd,
						     &size),
				 -EINVAL);
			CHECK_EQ(fd, -1);
		}
}

static int make(unsigned queues, unsigned queue_size, bool packed, struct vhu_inflight_desc *desc)
{
	int fd;

	*desc = (struct vhu_inflight_desc){.num_queues = (uint16_t)queues,
					   .queue_size = (uint16_t)queue_size};
	REQUIRE_OK(vhu_inflight_create(queues, queue_size, packed, &fd, &desc->mmap_size));
	return fd;
}

/* Nobody can take it away under us, or undo that. */
static void file_is_sealed(void)
{
	struct vhu_inflight_desc desc;
	const int fd = make(1, 16, false, &desc);
	const int seals = fcntl(fd, F_GET_SEALS);

	CHECK(seals & F_SEAL_SHRINK);
	CHECK(seals & F_SEAL_GROW);
	CHECK(seals & F_SEAL_SEAL);
	CHECK(!(seals & F_SEAL_WRITE));
	CHECK_EQ(ftruncate(fd, 0), -1);
	CHECK_EQ(ftruncate(fd, (off_t)desc.mmap_size + PAGE), -1);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static bool is_zero(const void *memory, size_t size)
{
	const uint8_t *bytes = memory;

	while (size--)
		if (bytes[size])
			return false;
	return true;
}

/* ---- handing it in ---- */

static int adopt(const struct vhu_inflight_desc *desc, int fd, bool packed)
{
	n_warnings = 0;
	region = NULL;
	return vhu_inflight_adopt(&region, "test", desc, fd, packed, QUEUES);
}

static void check_adopted(bool packed, unsigned queue_size)
{
	struct vhu_inflight_desc desc;
	const int fd = make(QUEUES, queue_size, packed, &desc);
	const uint8_t *first;

	REQUIRE_OK(adopt(&desc, fd, packed));
	close(fd);
	CHECK_EQ(n_warnings, 0);
	CHECK_EQ(vhu_inflight_is_packed(region), packed);
	CHECK_EQ(vhu_inflight_queue_size(region), queue_size);
	CHECK(!vhu_inflight_is_lost(region));
	first = vhu_inflight_queue(region, 0);
	REQUIRE(first);
	CHECK_EQ((uintptr_t)first % 64, 0);
	for (unsigned i = 0; i < QUEUES; i++)
		CHECK_EQ((const uint8_t *)vhu_inflight_queue(region, i) - first,
			 i * stride(queue_size, packed));
	CHECK(!vhu_inflight_queue(region, QUEUES));
	CHECK(is_zero(first, desc.mmap_size));
	vhu_inflight_put(region);
	CHECK(!is_mapped(first));
}

static void region_is_adopted(void)
{
	for (unsigned size = 1; size < 40; size++) {
		check_adopted(false, size);
		check_adopted(true, size);
	}
	check_adopted(false, 32768);
	check_adopted(true, 32768);
}

static void what_is_written_is_in_the_file(void)
{
	struct vhu_inflight_desc desc;
	const int fd = make(2, 5, true, &desc);
	uint8_t byte = 0;

	REQUIRE_OK(adopt(&desc, fd, true));
	*(uint8_t *)vhu_inflight_queue(region, 1) = 77;
	REQUIRE_EQ(pread(fd, &byte, 1, (off_t)stride(5, true)), 1);
	CHECK_EQ(byte, 77);
	vhu_inflight_put(region);
	close(fd);
}

/* ---- who has laid it out ---- */

static void use(int fd, uint64_t at, unsigned entries)
{
	const struct inflight_split header = {.version = 1, .desc_num = (uint16_t)entries};

	REQUIRE_EQ(pwrite(fd, &header, sizeof(header), (off_t)at), sizeof(header));
}

/* The layout that is found: bytes between two queues, and entries. */
static void check_layout(const struct vhu_inflight_desc *desc, int fd, bool packed, uint64_t bytes,
			 unsigned entries)
{
	REQUIRE_OK(adopt(desc, fd, packed));
	CHECK_EQ((const uint8_t *)vhu_inflight_queue(region, 1) -
			 (const uint8_t *)vhu_inflight_queue(region, 0),
		 bytes);
	CHECK_EQ(vhu_inflight_queue_size(region), entries);
	vhu_inflight_put(region);
	close(fd);
}

/* QEMU hands in the size that it was given and the queue size that it asked for. */
static void region_larger_than_asked_for(void)
{
	for (unsigned packed = 0; packed < 2; packed++)
		for (unsigned used = 0; used < 3; used++) {
			struct vhu_inflight_desc desc;
			const int fd = make(2, 1024, packed, &desc);

			desc.queue_size = 128;
			if (used < 2)
				use(fd, used * stride(1024, packed), 1024);
			check_layout(&desc, fd, packed, stride(1024, packed), 1024);
		}
}

/* Another back-end's, whose file is one of whole pages: what it used says where. */
static void region_as_asked_for_in_more_room(void)
{
	for (unsigned packed = 0; packed < 2; packed++)
		for (unsigned used = 0; used < 2; used++) {
			const struct vhu_inflight_desc desc = {
				.mmap_size = 3ull * PAGE, .num_queues = 2, .queue_size = 100};
			const int fd = fd_memory(desc.mmap_size);

			use(fd, used * stride(100, packed), 100);
			check_layout(&desc, fd, packed, stride(100, packed), 100);
		}
}

/* More than is there is not believed, nor more entries than a ring can have. */
static void size_is_bounded(void)
{
	struct vhu_inflight_desc desc = {
		.mmap_size = 1ull << 40, .num_queues = 2, .queue_size = 16};
	int fd = fd_memory(2 * stride(16, false) + 63);

	check_layout(&desc, fd, false, stride(16, false), 16);
	fd = fd_memory(2 * stride(64, false));
	check_layout(&desc, fd, false, stride(64, false), 64);
	fd = fd_memory(1ull << 32);
	check_layout(&desc, fd, true, stride(32768, true), 32768);
}

static void entries_that_fit_neither_layout(void)
{
	static const unsigned wrong[] = {0, 1, 127, 129, 1000, 1028, 65535};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct vhu_inflight_desc desc;
		const int fd = make(1, 1024, false, &desc);

		desc.queue_size = 128;
		use(fd, 0, wrong[i]);
		CHECK_EQ(adopt(&desc, fd, false), -EINVAL);
		CHECK(!region);
		CHECK_EQ(n_warnings, 1);
		close(fd);
	}
}

static void references_are_counted(void)
{
	struct vhu_inflight_desc desc;
	const int fd = make(1, 16, false, &desc);
	void *queue;

	REQUIRE_OK(adopt(&desc, fd, false));
	close(fd);
	queue = vhu_inflight_queue(region, 0);
	CHECK(vhu_inflight_get(region) == region);
	vhu_inflight_put(region);
	CHECK(is_mapped(queue));
	vhu_inflight_put(region);
	CHECK(!is_mapped(queue));
	CHECK(!vhu_inflight_get(NULL));
	vhu_inflight_put(NULL);
	CHECK(!vhu_inflight_queue(NULL, 0));
	CHECK(!vhu_inflight_is_lost(NULL));
}

/* Another back-end's region may begin anywhere in its file, and be larger. */
static void region_at_an_offset(void)
{
	static const uint64_t offsets[] = {8, 64, PAGE - 8, PAGE, PAGE + 64, 5 * PAGE + 24};

	for (unsigned i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		const uint64_t size = 2 * stride(16, false);
		const struct vhu_inflight_desc desc = {.mmap_size = size + 100,
						       .mmap_offset = offsets[i],
						       .num_queues = 2,
						       .queue_size = 16};
		const int fd = fd_memory(offsets[i] + size);
		const char mark = 'x';

		REQUIRE_EQ(pwrite(fd, &mark, 1, (off_t)(offsets[i] + stride(16, false))), 1);
		REQUIRE_OK(adopt(&desc, fd, false));
		CHECK_EQ(*(char *)vhu_inflight_queue(region, 1), mark);
		vhu_inflight_put(region);
		/* One byte less of a file, and it is none. */
		REQUIRE_OK(ftruncate(fd, (off_t)(offsets[i] + size - 1)));
		CHECK_EQ(adopt(&desc, fd, false), -EINVAL);
		close(fd);
	}
}

/* A good description of what is in a file of 64 KiB, to be spoilt. */
static const struct vhu_inflight_desc good = {
	.mmap_size = 3 * 320, .mmap_offset = 64, .num_queues = 3, .queue_size = 16};

static void check_refused(struct vhu_inflight_desc desc)
{
	const int fd = fd_memory(0x10000);
	const unsigned before = fds_open();

	CHECK_EQ(adopt(&desc, fd, false), -EINVAL);
	CHECK(!region);
	CHECK_EQ(n_warnings, 1);
	CHECK_EQ(fds_open(), before);
	close(fd);
}

/* The good description with one field changed is refused. */
#define REFUSED(field, value) \
	do { \
		struct vhu_inflight_desc wrong = good; \
		wrong.field = (value); \
		check_refused(wrong); \
	} while (0)

static void good_is_good(void)
{
	const int fd = fd_memory(0x10000);

	CHECK_EQ(stride(16, false), 320);
	REQUIRE_OK(adopt(&good, fd, false));
	vhu_inflight_put(region);
	close(fd);
}

static void wrong_number_of_queues(void)
{
	REFUSED(num_queues, 0);
	REFUSED(num_queues, QUEUES + 1);
	REFUSED(num_queues, 256);
	REFUSED(num_queues, UINT16_MAX);
}

static void wrong_queue_size(void)
{
	REFUSED(queue_size, 0);
	REFUSED(queue_size, 20); /* the region is too small for it */
	REFUSED(queue_size, 32769);
	REFUSED(queue_size, UINT16_MAX);
}

static void wrong_size_of_the_mapping(void)
{
	REFUSED(mmap_size, 0);
	REFUSED(mmap_size, good.mmap_size - 1);
	REFUSED(mmap_size, UINT64_MAX);
	REFUSED(mmap_size, (uint64_t)INT64_MAX + 1);
	REFUSED(mmap_size, (uint64_t)INT64_MAX - 63); /* wraps around with the offset */
}

static void wrong_offset(void)
{
	for (unsigned i = 1; i < 8; i++)
		REFUSED(mmap_offset, 64 + i);
	REFUSED(mmap_offset, 0x10000);
	REFUSED(mmap_offset, 0x10000 - 952);
	REFUSED(mmap_offset, 1ull << 40);
	REFUSED(mmap_offset, (uint64_t)INT64_MAX & ~7ull);
	REFUSED(mmap_offset, 1ull << 63);
	REFUSED(mmap_offset, UINT64_MAX & ~7ull);
}

static void packed_region_needs_more(void)
{
	struct vhu_inflight_desc desc = good;
	const int fd = fd_memory(0x10000);

	CHECK_EQ(adopt(&desc, fd, true), -EINVAL);
	desc.mmap_size = 3 * 576;
	CHECK_EQ(adopt(&desc, fd, true), 0);
	vhu_inflight_put(region);
	close(fd);
}

static void check_wrong_file(int fd, int expected)
{
	const unsigned before = fds_open();

	CHECK_EQ(adopt(&good, fd, false), expected);
	CHECK(!region);
	CHECK_EQ(n_warnings, 1);
	CHECK_EQ(fds_open(), before);
	if (fd >= 0)
		close(fd);
}

static void what_is_no_memory_file(void)
{
	int pair[2];

	check_wrong_file(fd_event(), -EINVAL);
	check_wrong_file(open("/", O_RDONLY | O_DIRECTORY), -EINVAL);
	check_wrong_file(open("/dev/zero", O_RDWR), -EINVAL);
	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	check_wrong_file(pair[0], -EINVAL);
	close(pair[1]);
	REQUIRE_OK(pipe(pair));
	check_wrong_file(pair[0], -EINVAL);
	close(pair[1]);
	check_wrong_file(-1, -EINVAL);
}

static void what_cannot_be_mapped(void)
{
	const int fd = fd_memory(0x10000);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	check_wrong_file(open(path, O_RDONLY), -EACCES);
	check_wrong_file(open(path, O_PATH), -EBADF);
	close(fd);
}

/* As a front-end might that wants to have it read only. */
static void sealed_against_writing(void)
{
	const int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	REQUIRE_OK(ftruncate(fd, 0x10000));
	REQUIRE_OK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	check_wrong_file(fd, -EPERM);
}

/* ---- truncation ---- */

static void truncated_region_is_lost(void)
{
	const int lost = vublk_guard_memory();
	const struct vhu_inflight_desc desc = {
		.mmap_size = 2 * PAGE, .num_queues = 1, .queue_size = 500};
	const int fd = fd_memory(2 * PAGE);
	struct inflight_split *split;

	REQUIRE(lost >= 0);
	REQUIRE_OK(adopt(&desc, fd, false));
	split = vhu_inflight_queue(region, 0);
	split->desc[400].inflight = 1;
	REQUIRE_OK(ftruncate(fd, 0));
	CHECK(!vhu_inflight_is_lost(region));
	__atomic_store_n(&split->desc[499].inflight, 1, __ATOMIC_RELEASE);
	CHECK(vhu_inflight_is_lost(region));
	CHECK_EQ(fd_take_events(lost), 1);
	CHECK_EQ(split->desc[400].inflight, 0);
	vhu_inflight_put(region);
	CHECK(!is_mapped(split));
	close(fd);
}

/* More than there are guards: nothing leaks. */
static void no_guard_is_left(void)
{
	static struct vhu_inflight *many[5000];
	const int fd = fd_memory(0x10000);
	unsigned n = 0;
	int err;

	while (n < 5000 && !(err = adopt(&good, fd, false)))
		many[n++] = region;
	if (n < 5000) {
		CHECK(err < 0);
		CHECK_EQ(n_warnings, 1);
	}
	while (n)
		vhu_inflight_put(many[--n]);
	REQUIRE_OK(adopt(&good, fd, false));
	vhu_inflight_put(region);
	close(fd);
}

static const struct tap_case create_cases[] = {
	{"sizes_are_those_of_the_specification", sizes_are_those_of_the_specification},
	{"no_region_for_nothing", no_region_for_nothing},
	{"file_is_sealed", file_is_sealed},
	{0},
};

static const struct tap_case adopt_cases[] = {
	{"region_is_adopted", region_is_adopted},
	{"what_is_written_is_in_the_file", what_is_written_is_in_the_file},
	{"region_larger_than_asked_for", region_larger_than_asked_for},
	{"region_as_asked_for_in_more_room", region_as_asked_for_in_more_room},
	{"size_is_bounded", size_is_bounded},
	{"entries_that_fit_neither_layout", entries_that_fit_neither_layout},
	{"references_are_counted", references_are_counted},
	{"region_at_an_offset", region_at_an_offset},
	{"good_is_good", good_is_good},
	{"wrong_number_of_queues", wrong_number_of_queues},
	{"wrong_queue_size", wrong_queue_size},
	{"wrong_size_of_the_mapping", wrong_size_of_the_mapping},
	{"wrong_offset", wrong_offset},
	{"packed_region_needs_more", packed_region_needs_more},
	{"what_is_no_memory_file", what_is_no_memory_file},
	{"what_cannot_be_mapped", what_cannot_be_mapped},
	{"sealed_against_writing", sealed_against_writing},
	{"truncated_region_is_lost", truncated_region_is_lost},
	{"no_guard_is_left", no_guard_is_left},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "inflight create", .setup = setup, .cases = create_cases},
	{.name = "inflight adopt", .setup = setup, .cases = adopt_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
