/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/shared/mem.c: what a region may be, look-ups at every border, and who keeps memory alive. */
#include "lib/shared/mem.h"
#include "lib/vublk.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/tap.h"
#include "tests/unit/support/fds.h"
#include "tests/unit/support/mem-at.h"

#define PAGE 0x1000u
#define GPA  0x100000u
#define UVA  0x7f0000000000u

/* A region of two pages at the beginning of its file. */
static const struct vhu_region plain = {
	.guest_addr = GPA,
	.size = 2 * PAGE,
	.user_addr = UVA,
};

/* A map of one region, backed by a file of `file_size` bytes. */
static int make(struct vhu_mem **mem, const struct vhu_region *region, uint64_t file_size)
{
	int fd = fd_memory(file_size);
	int err = vhu_mem_new(mem, "test", region, &fd, 1);

	close(fd);
	CHECK_EQ(!*mem, err != 0);
	return err;
}

static struct vhu_mem *make_plain(void)
{
	struct vhu_mem *mem;

	REQUIRE_OK(make(&mem, &plain, 2 * PAGE));
	return mem;
}

static int add(struct vhu_mem **mem, const struct vhu_mem *to, uint64_t gpa, uint64_t uva,
	       uint64_t size)
{
	const struct vhu_region region = {.guest_addr = gpa, .size = size, .user_addr = uva};
	int fd = fd_memory(size);
	int err = vhu_mem_add(mem, "test", to, &region, fd);

	close(fd);
	CHECK_EQ(!*mem, err != 0);
	return err;
}

/* Our address of a guest one, where `expected` bytes of the 1 GiB asked for are in one piece. */
static char *gpa(const struct vhu_mem *mem, uint64_t address, uint64_t expected)
{
	uint64_t size = 1 << 30;
	char *host = mem_at(mem, address, &size);

	CHECK_EQ(host ? size : 0, expected);
	return host;
}

/* Would the region be refused, for `file_size` bytes of file? */
static void check_refused(const struct vhu_region *region, uint64_t file_size, int err)
{
	struct vhu_mem *mem;

	CHECK_EQ(make(&mem, region, file_size), err);
	vhu_mem_put(mem);
}

/* ---- look-ups ---- */

static void guest_addresses_at_the_borders(void)
{
	struct vhu_mem *mem = make_plain();
	char *host = gpa(mem, GPA, 2 * PAGE);

	REQUIRE(host);
	CHECK(!gpa(mem, GPA - 1, 0));
	CHECK(gpa(mem, GPA + 1, 2 * PAGE - 1) == host + 1);
	CHECK(gpa(mem, GPA + 2 * PAGE - 1, 1) == host + 2 * PAGE - 1);
	CHECK(!gpa(mem, GPA + 2 * PAGE, 0));
	CHECK(!gpa(mem, 0, 0));
	CHECK(!gpa(mem, UINT64_MAX, 0));
	vhu_mem_put(mem);
}

static void size_is_cut_only_where_it_must(void)
{
	struct vhu_mem *mem = make_plain();
	uint64_t size = 2 * PAGE;

	CHECK(mem_at(mem, GPA, &size));
	CHECK_EQ(size, 2 * PAGE);
	size = 1;
	CHECK(mem_at(mem, GPA, &size));
	CHECK_EQ(size, 1);
	size = UINT64_MAX;
	CHECK(mem_at(mem, GPA + 1, &size));
	CHECK_EQ(size, 2 * PAGE - 1);
	vhu_mem_put(mem);
}

static void user_addresses_at_the_borders(void)
{
	struct vhu_mem *mem = make_plain();
	char *host = gpa(mem, GPA, 2 * PAGE);

	CHECK(vhu_mem_uva(mem, UVA, 2 * PAGE) == host);
	CHECK(!vhu_mem_uva(mem, UVA, 2 * PAGE + 1));
	CHECK(!vhu_mem_uva(mem, UVA - 1, 1));
	CHECK(vhu_mem_uva(mem, UVA + 2 * PAGE - 1, 1) == host + 2 * PAGE - 1);
	CHECK(!vhu_mem_uva(mem, UVA + 2 * PAGE - 1, 2));
	CHECK(!vhu_mem_uva(mem, UVA + 2 * PAGE, 1));
	CHECK(!vhu_mem_uva(mem, UVA + 1, UINT64_MAX));
	CHECK(!vhu_mem_uva(mem, UINT64_MAX, 2));
	vhu_mem_put(mem);
}

static void no_memory_has_no_addresses(void)
{
	struct vhu_mem *mem;

	REQUIRE_OK(vhu_mem_new(&mem, "test", NULL, NULL, 0));
	CHECK(!gpa(mem, 0, 0));
	CHECK(!vhu_mem_uva(mem, 0, 1));
	CHECK(!vhu_mem_uva(NULL, 0, 1));
	vhu_mem_put(mem);
}

/* Regions that touch stay two: their mappings do not. */
static void regions_that_touch(void)
{
	struct vhu_mem *one = make_plain(), *two;
	char *first, *second;

	REQUIRE_OK(add(&two, one, GPA + 2 * PAGE, UVA + 2 * PAGE, PAGE));
	first = gpa(two, GPA + 2 * PAGE - 1, 1);
	second = gpa(two, GPA + 2 * PAGE, PAGE);
	CHECK(first && second);
	CHECK(!vhu_mem_uva(two, UVA + 2 * PAGE - 1, 2));
	CHECK(vhu_mem_uva(two, UVA + 2 * PAGE, 1) == second);
	vhu_mem_put(one);
	vhu_mem_put(two);
}

static void region_at_guest_address_0(void)
{
	const struct vhu_region region = {.size = PAGE};
	struct vhu_mem *mem;

	REQUIRE_OK(make(&mem, &region, PAGE));
	CHECK(gpa(mem, 0, PAGE));
	CHECK(vhu_mem_uva(mem, 0, PAGE));
	CHECK(!gpa(mem, PAGE, 0));
	vhu_mem_put(mem);
}

/* The order in which regions come does not matter; each is found, and the gaps are not. */
static void every_region_of_many_is_found(void)
{
	struct vhu_region regions[VHU_MAX_TABLE];
	int fds[VHU_MAX_TABLE];
	struct vhu_mem *mem;

	for (unsigned i = 0; i < VHU_MAX_TABLE; i++) {
		const uint64_t place = i * 7 % VHU_MAX_TABLE;

		regions[i] = (struct vhu_region){.guest_addr = (2 * place + 1) * PAGE,
						 .size = PAGE,
						 .user_addr = UVA + place * PAGE};
		fds[i] = fd_memory(PAGE);
		REQUIRE_EQ(pwrite(fds[i], &place, sizeof(place), 0), sizeof(place));
	}
	REQUIRE_OK(vhu_mem_new(&mem, "test", regions, fds, VHU_MAX_TABLE));
	for (uint64_t place = 0; place < VHU_MAX_TABLE; place++) {
		const uint64_t *host = (void *)gpa(mem, (2 * place + 1) * PAGE, PAGE);

		REQUIRE(host);
		CHECK_EQ(*host, place);
		CHECK(vhu_mem_uva(mem, UVA + place * PAGE, PAGE) == host);
		CHECK(!gpa(mem, 2 * place * PAGE, 0));
		close(fds[place]);
	}
	vhu_mem_put(mem);
}

/* ---- what a region may be ---- */

static void memory_is_the_file_s(void)
{
	struct vhu_region region = plain;
	int fd = fd_memory(4 * PAGE);
	struct vhu_mem *mem;
	char byte = 0;

	region.mmap_offset = PAGE;
	REQUIRE_EQ(pwrite(fd, "x", 1, PAGE), 1);
	REQUIRE_OK(vhu_mem_new(&mem, "test", &region, &fd, 1));
	CHECK_EQ(*gpa(mem, GPA, 2 * PAGE), 'x');
	*(char *)vublk_guest_writable(gpa(mem, GPA + 1, 2 * PAGE - 1)) = 'y';
	REQUIRE_EQ(pread(fd, &byte, 1, PAGE + 1), 1);
	CHECK_EQ(byte, 'y');
	close(fd);
	vhu_mem_put(mem);
}

/* An offset within a page, and a size that is no whole page, as some front-ends have them. */
static void offset_within_a_page(void)
{
	static const uint64_t offsets[] = {1, 16, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE - 512};
	struct vhu_region region = plain;

	for (unsigned i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		int fd = fd_memory(8 * PAGE);
		struct vhu_mem *mem;

		region.mmap_offset = offsets[i];
		region.size = PAGE + 3;
		REQUIRE_EQ(pwrite(fd, "ab", 2, (off_t)offsets[i]), 2);
		REQUIRE_EQ(pwrite(fd, "z", 1, (off_t)(offsets[i] + PAGE + 2)), 1);
		REQUIRE_OK(vhu_mem_new(&mem, "test", &region, &fd, 1));
		CHECK(!memcmp(gpa(mem, GPA, PAGE + 3), "ab", 2));
		CHECK_EQ(*gpa(mem, GPA + PAGE + 2, 1), 'z');
		CHECK(!gpa(mem, GPA + PAGE + 3, 0));
		close(fd);
		vhu_mem_put(mem);
	}
}

static void empty_region_is_refused(void)
{
	struct vhu_region region = plain;

	region.size = 0;
	check_refused(&region, 2 * PAGE, -EINVAL);
}

static void file_must_hold_all_of_it(void)
{
	struct vhu_region region = plain;

	check_refused(&region, 2 * PAGE, 0);
	check_refused(&region, 2 * PAGE - 1, -EINVAL);
	check_refused(&region, PAGE, -EINVAL);
	check_refused(&region, 0, -EINVAL);
	region.mmap_offset = 1;
	check_refused(&region, 2 * PAGE, -EINVAL);
	check_refused(&region, 2 * PAGE + 1, 0);
	region.mmap_offset = 3 * PAGE;
	check_refused(&region, 2 * PAGE, -EINVAL);
}

static void regions_that_wrap_around_are_refused(void)
{
	struct vhu_region region = plain;

	region.guest_addr = -(uint64_t)PAGE;
	check_refused(&region, 2 * PAGE, -EINVAL);
	region.guest_addr = -(uint64_t)2 * PAGE - 1;
	check_refused(&region, 2 * PAGE, 0);
	region = plain;
	region.user_addr = -(uint64_t)PAGE;
	check_refused(&region, 2 * PAGE, -EINVAL);
	region = plain;
	region.mmap_offset = -(uint64_t)PAGE;
	check_refused(&region, 2 * PAGE, -EINVAL);
	region.mmap_offset = (uint64_t)INT64_MAX - PAGE;
	check_refused(&region, 2 * PAGE, -EINVAL);
	region = plain;
	region.size = UINT64_MAX;
	check_refused(&region, 2 * PAGE, -EINVAL);
	region = (struct vhu_region){.size = UINT64_MAX};
	check_refused(&region, 2 * PAGE, -EINVAL);
}

static void overlap_is_refused(void)
{
	static const struct {
		uint64_t gpa, size;
		int err;
	} cases[] = {
		{GPA, 2 * PAGE, -EINVAL},            /* the same */
		{GPA - PAGE, PAGE, 0},               /* just before */
		{GPA - PAGE, PAGE + 1, -EINVAL},     /* reaches into it */
		{GPA + 2 * PAGE, PAGE, 0},           /* just behind */
		{GPA + 2 * PAGE - 1, PAGE, -EINVAL}, /* begins in it */
		{GPA + PAGE, 1, -EINVAL},            /* within it */
		{GPA - PAGE, 8 * PAGE, -EINVAL},     /* around it */
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct vhu_mem *one = make_plain(), *two;

		CHECK_EQ(add(&two, one, cases[i].gpa, 0, cases[i].size), cases[i].err);
		vhu_mem_put(one);
		vhu_mem_put(two);
	}
}

static void user_addresses_may_overlap(void)
{
	struct vhu_mem *one = make_plain(), *two;

	CHECK_OK(add(&two, one, 0, UVA, 2 * PAGE));
	vhu_mem_put(one);
	vhu_mem_put(two);
}

static void table_that_overlaps_itself_is_refused(void)
{
	const struct vhu_region regions[2] = {plain, plain};
	const int fds[2] = {fd_memory(2 * PAGE), fd_memory(2 * PAGE)};
	struct vhu_mem *mem;

	CHECK_EQ(vhu_mem_new(&mem, "test", regions, fds, 2), -EINVAL);
	CHECK(!mem);
	close(fds[0]);
	close(fds[1]);
}

static void check_no_file(int fd)
{
	struct vhu_mem *mem;

	REQUIRE(fd >= 0);
	CHECK_EQ(vhu_mem_new(&mem, "test", &plain, &fd, 1), -EBADF);
	CHECK(!mem);
	close(fd);
}

static void what_is_no_memory_file_is_refused(void)
{
	int pair[2];

	check_no_file(eventfd(0, 0));
	check_no_file(open("/", O_RDONLY | O_DIRECTORY));
	REQUIRE_OK(pipe(pair));
	check_no_file(pair[0]);
	check_no_file(pair[1]);
	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	check_no_file(pair[0]);
	close(pair[1]);
}

static void descriptor_that_cannot_be_mapped(void)
{
	int fd = open("/dev/null", O_RDWR), closed = dup(fd);
	struct vhu_mem *mem;

	CHECK_EQ(vhu_mem_new(&mem, "test", &plain, &fd, 1), -ENODEV);
	close(closed);
	CHECK_EQ(vhu_mem_new(&mem, "test", &plain, &closed, 1), -EBADF);
	close(fd);
}

static void read_only_descriptor_is_refused(void)
{
	const struct vhu_region region = {.size = 16};
	int fd = open("/proc/self/exe", O_RDONLY);
	struct vhu_mem *mem;

	REQUIRE(fd >= 0);
	CHECK_EQ(vhu_mem_new(&mem, "test", &region, &fd, 1), -EACCES);
	close(fd);
}

/* ---- lifetimes ---- */

/* A duplicate is kept: by the lowest region's the guest is known. */
static void descriptor_is_not_needed_afterwards(void)
{
	const unsigned before = fds_open();
	struct vhu_mem *mem = make_plain();
	int fds[2];

	CHECK_EQ(fds_open(), before + 1);
	vhu_mem_files(mem, fds, 2);
	CHECK(fds[0] >= 0);
	*(char *)vublk_guest_writable(gpa(mem, GPA, 2 * PAGE)) = 1;
	vhu_mem_put(mem);
	CHECK_EQ(fds_open(), before);
}

/* One descriptor for each file, whatever of it is mapped by how many; each map has it on. */
static void descriptors_are_shared(void)
{
	const struct vhu_region more[2] = {
		{.guest_addr = 0, .size = PAGE, .user_addr = 0, .mmap_offset = PAGE},
		{.guest_addr = 4 * PAGE, .size = PAGE, .user_addr = 4 * PAGE},
	};
	const unsigned before = fds_open();
	const int fd = fd_memory(4 * PAGE);
	struct vhu_mem *one, *two, *three;
	int fds[3];

	REQUIRE_OK(vhu_mem_new(&one, "test", more, (const int[]){fd, fd}, 2));
	REQUIRE_OK(add(&two, one, GPA, UVA, PAGE));
	close(fd);
	CHECK_EQ(fds_open(), before + 2);
	CHECK_EQ(vhu_mem_files(two, fds, 3), 3);
	CHECK(fds[0] >= 0 && fds[0] == fds[1] && fds[2] >= 0 && fds[2] != fds[0]);
	vhu_mem_put(one);
	CHECK_EQ(fds_open(), before + 2);
	REQUIRE_OK(vhu_mem_remove(&three, "test", two, &more[0]));
	vhu_mem_put(two);
	CHECK_EQ(fds_open(), before + 2);
	CHECK_EQ(vhu_mem_files(three, fds, 3), 2);
	CHECK(fds[0] != fds[1]);
	vhu_mem_put(three);
	CHECK_EQ(fds_open(), before);
}

/* It is the memory that matters. */
static void no_descriptors_left(void)
{
	const int fd = fd_memory(2 * PAGE);
	struct rlimit limit;
	struct vhu_mem *mem;
	int kept;

	REQUIRE_OK(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = (rlim_t)fd + 1;
	REQUIRE_OK(setrlimit(RLIMIT_NOFILE, &limit));
	REQUIRE_OK(vhu_mem_new(&mem, "test", &plain, &fd, 1));
	CHECK_EQ(vhu_mem_files(mem, &kept, 1), 1);
	CHECK_EQ(kept, -1);
	gpa(mem, GPA, 2 * PAGE);
	vhu_mem_put(mem);
	close(fd);
}

static void last_reference_unmaps(void)
{
	struct vhu_mem *mem = make_plain();
	char *host = gpa(mem, GPA, 2 * PAGE);

	CHECK(vhu_mem_get(mem) == mem);
	vhu_mem_put(mem);
	CHECK(is_mapped(host));
	CHECK(is_mapped(host + PAGE));
	vhu_mem_put(mem);
	CHECK(!is_mapped(host));
	CHECK(!is_mapped(host + PAGE));
}

static void null_may_be_got_and_put(void)
{
	CHECK(!vhu_mem_get(NULL));
	vhu_mem_put(NULL);
}

static void add_shares_the_mappings(void)
{
	struct vhu_mem *one = make_plain(), *two;
	char *host = gpa(one, GPA, 2 * PAGE), *new;

	REQUIRE_OK(add(&two, one, 0, 0, PAGE));
	CHECK(gpa(two, GPA, 2 * PAGE) == host);
	CHECK(!gpa(one, 0, 0)); /* the old map is as it was */
	new = gpa(two, 0, PAGE);
	vhu_mem_put(one);
	CHECK(is_mapped(host));
	vhu_mem_put(two);
	CHECK(!is_mapped(host));
	CHECK(!is_mapped(new));
}

static void remove_leaves_the_old_map_alone(void)
{
	struct vhu_mem *one = make_plain(), *two, *three;
	char *host = gpa(one, GPA, 2 * PAGE), *other;

	REQUIRE_OK(add(&two, one, 0, 0, PAGE));
	REQUIRE_OK(vhu_mem_remove(&three, "test", two, &plain));
	other = gpa(two, 0, PAGE);
	CHECK(!gpa(three, GPA, 0));
	CHECK(gpa(three, 0, PAGE) == other);
	CHECK(gpa(two, GPA, 2 * PAGE) == host);
	vhu_mem_put(one);
	vhu_mem_put(two);
	CHECK(!is_mapped(host));
	CHECK(is_mapped(other));
	vhu_mem_put(three);
	CHECK(!is_mapped(other));
}

static void remove_the_only_one(void)
{
	struct vhu_mem *one = make_plain(), *none;

	REQUIRE_OK(vhu_mem_remove(&none, "test", one, &plain));
	vhu_mem_put(one);
	REQUIRE(none);
	CHECK(!gpa(none, GPA, 0));
	vhu_mem_put(none);
}

static void remove_wants_all_three_to_match(void)
{
	struct vhu_mem *mem = make_plain(), *new;
	struct vhu_region region = plain;

	region.guest_addr++;
	CHECK_EQ(vhu_mem_remove(&new, "test", mem, &region), -ENOENT);
	region = plain;
	region.user_addr++;
	CHECK_EQ(vhu_mem_remove(&new, "test", mem, &region), -ENOENT);
	region = plain;
	region.size--;
	CHECK_EQ(vhu_mem_remove(&new, "test", mem, &region), -ENOENT);
	CHECK(!new);
	CHECK_EQ(vhu_mem_remove(&new, "test", NULL, &plain), -ENOENT);
	region = plain;
	region.mmap_offset = 5; /* means nothing here */
	CHECK_OK(vhu_mem_remove(&new, "test", mem, &region));
	vhu_mem_put(new);
	vhu_mem_put(mem);
}

static void failed_add_changes_nothing(void)
{
	struct vhu_mem *one = make_plain(), *two;
	char *host = gpa(one, GPA, 2 * PAGE);

	CHECK_EQ(add(&two, one, GPA, 0, PAGE), -EINVAL);
	CHECK(is_mapped(host));
	CHECK(gpa(one, GPA, 2 * PAGE) == host);
	vhu_mem_put(one);
	CHECK(!is_mapped(host));
}

static void as_many_slots_as_there_are(void)
{
	struct vhu_mem *mem = NULL, *new;

	for (uint64_t i = 0; i < VHU_MEM_MAX_SLOTS; i++) {
		REQUIRE_OK(add(&new, mem, i * 2 * PAGE, UVA + i * PAGE, PAGE));
		vhu_mem_put(mem);
		mem = new;
	}
	CHECK(gpa(mem, (VHU_MEM_MAX_SLOTS - 1) * 2 * PAGE, PAGE));
	CHECK_EQ(add(&new, mem, 1ull << 40, 0, PAGE), -ENOSPC);
	vhu_mem_put(mem);
}

static const struct tap_case lookup_cases[] = {
	{"guest_addresses_at_the_borders", guest_addresses_at_the_borders},
	{"size_is_cut_only_where_it_must", size_is_cut_only_where_it_must},
	{"user_addresses_at_the_borders", user_addresses_at_the_borders},
	{"no_memory_has_no_addresses", no_memory_has_no_addresses},
	{"regions_that_touch", regions_that_touch},
	{"region_at_guest_address_0", region_at_guest_address_0},
	{"every_region_of_many_is_found", every_region_of_many_is_found},
	{0},
};

static const struct tap_case region_cases[] = {
	{"memory_is_the_file_s", memory_is_the_file_s},
	{"offset_within_a_page", offset_within_a_page},
	{"empty_region_is_refused", empty_region_is_refused},
	{"file_must_hold_all_of_it", file_must_hold_all_of_it},
	{"regions_that_wrap_around_are_refused", regions_that_wrap_around_are_refused},
	{"overlap_is_refused", overlap_is_refused},
	{"user_addresses_may_overlap", user_addresses_may_overlap},
	{"table_that_overlaps_itself_is_refused", table_that_overlaps_itself_is_refused},
	{"what_is_no_memory_file_is_refused", what_is_no_memory_file_is_refused},
	{"descriptor_that_cannot_be_mapped", descriptor_that_cannot_be_mapped},
	{"read_only_descriptor_is_refused", read_only_descriptor_is_refused},
	{0},
};

static const struct tap_case lifetime_cases[] = {
	{"descriptor_is_not_needed_afterwards", descriptor_is_not_needed_afterwards},
	{"descriptors_are_shared", descriptors_are_shared},
	{"no_descriptors_left", no_descriptors_left},
	{"last_reference_unmaps", last_reference_unmaps},
	{"null_may_be_got_and_put", null_may_be_got_and_put},
	{"add_shares_the_mappings", add_shares_the_mappings},
	{"remove_leaves_the_old_map_alone", remove_leaves_the_old_map_alone},
	{"remove_the_only_one", remove_the_only_one},
	{"remove_wants_all_three_to_match", remove_wants_all_three_to_match},
	{"failed_add_changes_nothing", failed_add_changes_nothing},
	{"as_many_slots_as_there_are", as_many_slots_as_there_are},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "mem lookup", .cases = lookup_cases},
	{.name = "mem region", .cases = region_cases},
	{.name = "mem lifetime", .cases = lifetime_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
