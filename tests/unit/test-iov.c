/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/iov.c: lists of ranges, compared with plain memory for every way to cut it into pieces. */
#include "lib/vublk.h"

#include <string.h>

#include "tests/tap.h"

#define SIZE     7u             /* bytes that a list holds */
#define MAX_IOVS (2 * SIZE + 1) /* an empty range before each byte and one at the end */
#define ROOM     (2 * SIZE)     /* no two ranges touch in memory */
#define FRAMINGS (1u << (SIZE - 1))
#define CANARY   0xee

/* A list whose ranges lie in `memory`, one canary between them. */
struct list {
	struct iovec iov[MAX_IOVS];
	unsigned n;
	unsigned char memory[ROOM];
	unsigned at[SIZE]; /* where each byte is in memory */
};

/* Bit i of `cuts` ends a range after byte i; `empties` puts an empty one before each. */
static void make_list(struct list *list, unsigned cuts, bool empties)
{
	unsigned at = 0;

	memset(list, 0, sizeof(*list));
	memset(list->memory, CANARY, sizeof(list->memory));
	for (unsigned byte = 0; byte < SIZE; byte++) {
		if (!byte || cuts >> (byte - 1) & 1) {
			at += byte ? 1 : 0;
			if (empties)
				list->iov[list->n++] = (struct iovec){&list->memory[at], 0};
			list->iov[list->n++] = (struct iovec){&list->memory[at], 0};
		}
		list->iov[list->n - 1].iov_len++;
		list->memory[at] = (unsigned char)(0x10 + byte);
		list->at[byte] = at++;
	}
	if (empties)
		list->iov[list->n++] = (struct iovec){NULL, 0};
}

/* Calls `check` for every framing, offset and size, those beyond the end included. */
static void for_all(void (*check)(struct list *list, unsigned offset, unsigned size))
{
	struct list list;

	for (unsigned cuts = 0; cuts < 2 * FRAMINGS; cuts++)
		for (unsigned offset = 0; offset <= SIZE + 1; offset++)
			for (unsigned size = 0; size <= SIZE + 1; size++) {
				make_list(&list, cuts / 2, cuts % 2);
				check(&list, offset, size);
			}
}

/* How many of `size` bytes from `offset` on the list holds. */
static unsigned held(unsigned offset, unsigned size)
{
	if (offset >= SIZE)
		return 0;
	return size < SIZE - offset ? size : SIZE - offset;
}

/* Is every byte what it was, but for those of the range, which are `value` + their place in it? */
static bool only_changed(const struct list *list, unsigned offset, unsigned n, int value, int step)
{
	unsigned char expected[ROOM];

	memset(expected, CANARY, sizeof(expected));
	for (unsigned i = 0; i < SIZE; i++)
		expected[list->at[i]] = (unsigned char)(0x10 + i);
	for (unsigned i = 0; i < n; i++)
		expected[list->at[offset + i]] = (unsigned char)(value + step * (int)i);
	return !memcmp(expected, list->memory, sizeof(expected));
}

static void check_read(struct list *list, unsigned offset, unsigned size)
{
	const unsigned n = held(offset, size);
	unsigned char data[SIZE + 2];

	memset(data, CANARY, sizeof(data));
	REQUIRE_EQ(vublk_iov_read(list->iov, list->n, offset, data, size), n);
	for (unsigned i = 0; i < sizeof(data); i++)
		REQUIRE_EQ(data[i], i < n ? 0x10 + offset + i : CANARY);
	REQUIRE(only_changed(list, 0, 0, 0, 0));
}

static void read_with_any_framing(void)
{
	for_all(check_read);
}

static void check_write(struct list *list, unsigned offset, unsigned size)
{
	static const unsigned char data[SIZE + 1] = {0x80, 0x81, 0x82, 0x83,
						     0x84, 0x85, 0x86, 0x87};
	const unsigned n = held(offset, size);

	REQUIRE_EQ(vublk_iov_write(list->iov, list->n, offset, data, size), n);
	REQUIRE(only_changed(list, offset, n, 0x80, 1));
}

static void write_with_any_framing(void)
{
	for_all(check_write);
}

static void check_zero(struct list *list, unsigned offset, unsigned size)
{
	const unsigned n = held(offset, size);

	REQUIRE_EQ(vublk_iov_zero(list->iov, list->n, offset, size), n);
	REQUIRE(only_changed(list, offset, n, 0, 0));
}

static void zero_with_any_framing(void)
{
	for_all(check_zero);
}

/* What a cursor has before it is what a read from there on gives; `offset` only varies the list. */
static void check_advance(struct list *list, unsigned offset, unsigned size)
{
	struct vublk_cursor at = {list->iov, list->n, 0};
	unsigned char data[SIZE + 2];
	const unsigned gone = size < SIZE ? size : SIZE;

	(void)offset;
	vublk_cursor_advance(&at, size);
	REQUIRE_EQ(vublk_iov_size(at.iov, at.n) - at.skip, SIZE - gone);
	REQUIRE_EQ(vublk_iov_read(at.iov, at.n, at.skip, data, sizeof(data)), SIZE - gone);
	for (unsigned i = 0; i < SIZE - gone; i++)
		REQUIRE_EQ(data[i], 0x10 + gone + i);
	/* It lies in a range that is not empty: an engine is given what is left as it is. */
	REQUIRE(!at.n || at.skip < at.iov->iov_len);
	REQUIRE(only_changed(list, 0, 0, 0, 0));
}

static void advance_with_any_framing(void)
{
	for_all(check_advance);
}

static void advance_in_steps_is_advance_at_once(void)
{
	for (unsigned step = 1; step <= SIZE; step++) {
		struct list list;
		struct vublk_cursor at;

		make_list(&list, 0x15, true);
		at = (struct vublk_cursor){list.iov, list.n, 0};
		for (unsigned done = 0; done < SIZE; done += step) {
			CHECK_EQ(vublk_iov_size(at.iov, at.n) - at.skip, SIZE - done);
			vublk_cursor_advance(&at, step);
		}
		CHECK_EQ(at.n, 0);
		CHECK_EQ(at.skip, 0);
	}
}

/* The ranges one by one, from any place on and cut at any size, are what lies there. */
static void check_ranges(struct list *list, unsigned offset, unsigned size)
{
	struct vublk_cursor at = {list->iov, list->n, 0};
	unsigned done = 0;

	vublk_cursor_advance(&at, offset);
	while (done < size) {
		const struct iovec range = vublk_cursor_range(&at, size - done);
		const unsigned char *data = range.iov_base;

		if (!range.iov_len)
			break;
		REQUIRE(range.iov_len <= size - done);
		for (size_t i = 0; i < range.iov_len; i++)
			REQUIRE_EQ(data[i], 0x10 + offset + done + i);
		done += (unsigned)range.iov_len;
	}
	REQUIRE_EQ(done, held(offset, size));
	REQUIRE(only_changed(list, 0, 0, 0, 0));
}

static void ranges_with_any_framing(void)
{
	for_all(check_ranges);
}

static void no_list_holds_nothing(void)
{
	struct vublk_cursor at = {NULL, 0, 0};
	char byte = 1;

	CHECK_EQ(vublk_iov_size(NULL, 0), 0);
	CHECK_EQ(vublk_iov_read(NULL, 0, 0, &byte, 1), 0);
	CHECK_EQ(vublk_iov_write(NULL, 0, 0, &byte, 1), 0);
	CHECK_EQ(vublk_iov_zero(NULL, 0, 0, 1), 0);
	vublk_cursor_advance(&at, 1);
	CHECK_EQ(at.n, 0);
	CHECK_EQ(vublk_cursor_range(&at, 1).iov_len, 0);
	CHECK_EQ(byte, 1);
}

/* Two descriptors of the largest size are more than 32 bits hold; none of it is touched. */
static void sizes_beyond_4_gib(void)
{
	static char byte;
	struct iovec list[3] = {{&byte, UINT32_MAX}, {&byte, UINT32_MAX}, {&byte, 1}};
	struct vublk_cursor at = {list, 3, 0};
	char got;

	byte = 'x';
	CHECK_EQ(vublk_iov_size(list, 3), 2ull * UINT32_MAX + 1);
	CHECK_EQ(vublk_iov_read(list, 3, 2ull * UINT32_MAX, &got, 1), 1);
	CHECK_EQ(got, 'x');
	CHECK_EQ(vublk_iov_read(list, 3, 2ull * UINT32_MAX + 1, &got, 1), 0);
	vublk_cursor_advance(&at, 2ull * UINT32_MAX);
	CHECK_EQ(at.n, 1);
	CHECK_EQ(at.skip, 0);
	vublk_cursor_advance(&at, UINT64_MAX);
	CHECK_EQ(at.n, 0);
}

static const struct tap_case cases[] = {
	{"read_with_any_framing", read_with_any_framing},
	{"write_with_any_framing", write_with_any_framing},
	{"zero_with_any_framing", zero_with_any_framing},
	{"advance_with_any_framing", advance_with_any_framing},
	{"advance_in_steps_is_advance_at_once", advance_in_steps_is_advance_at_once},
	{"ranges_with_any_framing", ranges_with_any_framing},
	{"no_list_holds_nothing", no_list_holds_nothing},
	{"sizes_beyond_4_gib", sizes_beyond_4_gib},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "iov", .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
