/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/shared/dirty_log.c: the log of dirty pages, handed in and marked. */
#define _GNU_SOURCE
#include "lib/shared/dirty_log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/vublk.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"

#define BYTES     64u /* of the log */
#define FILE_SIZE 0x4000u
#define PAGE      4096ull

static struct vhu_dirty_log *dirty;
static uint8_t *seen; /* the file, as the front-end sees it */
static int file;
static unsigned n_warnings, n_errors;

static void count(enum vublk_log_level level, const char *line)
{
	n_warnings += level == VUBLK_LOG_WARNING && strstr(line, "log of dirty pages");
	n_errors += level == VUBLK_LOG_ERROR && strstr(line, "log of dirty pages");
}

static void setup(void)
{
	vublk_set_log(count);
	file = fd_memory(FILE_SIZE);
	seen = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	REQUIRE(seen != MAP_FAILED);
}

static void teardown(void)
{
	vhu_dirty_log_put(dirty);
	dirty = NULL;
	munmap(seen, FILE_SIZE);
	close(file);
}

static int make(uint64_t size, uint64_t offset, int signal_fd)
{
	const struct vhu_log desc = {size, offset};

	return vhu_dirty_log_new(&dirty, "test", &desc, file, signal_fd);
}

/* Are these bytes of the log what they must be, and all others of the file 0? */
static void check_bytes(uint64_t at, const uint8_t *bytes, size_t n)
{
	uint8_t expected[FILE_SIZE] = {0};

	memcpy(expected + at, bytes, n);
	CHECK(!memcmp(seen, expected, FILE_SIZE));
}

/* ---- marks ---- */

static void a_page_is_a_bit(void)
{
	REQUIRE_OK(make(BYTES, 0, -1));
	vhu_dirty_log_mark(dirty, 0, 1);
	vhu_dirty_log_mark(dirty, 2 * PAGE - 1, 1);
	vhu_dirty_log_mark(dirty, 15 * PAGE, PAGE);
	check_bytes(0, (const uint8_t[]){0x03, 0x80}, 2);
}

static void ranges_mark_all_that_they_touch(void)
{
	REQUIRE_OK(make(BYTES, 0, -1));
	vhu_dirty_log_mark(dirty, 3 * PAGE - 1, 2);
	check_bytes(0, (const uint8_t[]){0x0c}, 1);
	vhu_dirty_log_mark(dirty, 6 * PAGE + 5, 12 * PAGE);
	check_bytes(0, (const uint8_t[]){0xcc, 0xff, 0x07}, 3);
	/* What is marked stays so. */
	vhu_dirty_log_mark(dirty, 0, 1);
	check_bytes(0, (const uint8_t[]){0xcd, 0xff, 0x07}, 3);
}

static void every_range_of_a_small_log(void)
{
	REQUIRE_OK(make(4, 0, -1));
	for (unsigned from = 0; from < 32; from++) {
		for (unsigned to = from; to < 32; to++) {
			const uint64_t bits = ((1ull << (to - from + 1)) - 1) << from;
			uint32_t got;

			memset(seen, 0, 8);
			vhu_dirty_log_mark(dirty, from * PAGE + 7, (to - from) * PAGE + 1);
			memcpy(&got, seen, sizeof(got));
			CHECK_EQ(got, bits);
		}
	}
}

static void log_at_an_offset_that_is_no_page_s(void)
{
	REQUIRE_OK(make(BYTES, 0x1018, -1));
	vhu_dirty_log_mark(dirty, 9 * PAGE, 1);
	check_bytes(0x1018, (const uint8_t[]){0, 0x02}, 2);
}

static void what_lies_beyond_is_said_once(void)
{
	REQUIRE_OK(make(2, 0, -1));
	vhu_dirty_log_mark(dirty, 15 * PAGE, 3 * PAGE);
	vhu_dirty_log_mark(dirty, 16 * PAGE, 1);
	vhu_dirty_log_mark(dirty, UINT64_MAX - 10, 5);
	check_bytes(0, (const uint8_t[]){0, 0x80}, 2);
	CHECK_EQ(n_errors, 1);
}

/* Many workers, and a front-end that takes bits away: none is lost. */
static void *mark_often(void *arg)
{
	const unsigned bit = *(const unsigned *)arg;

	for (unsigned i = 0; i < 20000; i++)
		vhu_dirty_log_mark(dirty, bit * PAGE, 1);
	return NULL;
}

static void marks_of_others_stay(void)
{
	pthread_t threads[4];
	unsigned bits[4] = {0, 1, 2, 3}, got = 0;

	REQUIRE_OK(make(BYTES, 0, -1));
	for (unsigned i = 0; i < 4; i++)
		REQUIRE_OK(pthread_create(&threads[i], NULL, mark_often, &bits[i]));
	for (unsigned i = 0; i < 1000; i++)
		got |= __atomic_exchange_n(seen, 0, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	got |= *seen;
	CHECK_EQ(got, 0xf);
}

/* ---- the descriptor that is signalled ---- */

static void signal_when_asked(void)
{
	const int fd = fd_event(), other = fd_event();
	struct vhu_dirty_log *first;

	REQUIRE_OK(make(BYTES, 0, -1));
	vhu_dirty_log_signal(dirty); /* nobody */
	first = dirty;
	REQUIRE_OK(vhu_dirty_log_renew(&dirty, "test", first, fd));
	vhu_dirty_log_put(first);
	vhu_dirty_log_signal(dirty);
	CHECK(fd_take_events(fd));
	first = dirty;
	REQUIRE_OK(vhu_dirty_log_renew(&dirty, "test", first, other));
	vhu_dirty_log_put(first);
	vhu_dirty_log_signal(dirty);
	CHECK(!fd_take_events(fd));
	CHECK(fd_take_events(other));
	vhu_dirty_log_mark(dirty, PAGE, 1);
	check_bytes(0, (const uint8_t[]){0x02}, 1);
	close(fd);
	close(other);
}

/* ---- what is refused ---- */

static void check_refused(uint64_t size, uint64_t offset)
{
	const unsigned before = fds_open(), warned = n_warnings;

	CHECK_EQ(make(size, offset, -1), -EINVAL);
	CHECK(!dirty);
	CHECK_EQ(n_warnings, warned + 1);
	CHECK_EQ(fds_open(), before);
}

static void sizes_and_offsets_that_cannot_be(void)
{
	check_refused(0, 0);
	check_refused(FILE_SIZE + 1, 0);
	check_refused(1, FILE_SIZE);
	check_refused(FILE_SIZE, 1);
	check_refused(UINT64_MAX, 0);
	check_refused(UINT64_MAX, 1);
	check_refused(1, UINT64_MAX);
	check_refused(INT64_MAX, INT64_MAX);
	REQUIRE_OK(make(FILE_SIZE, 0, -1));
}

static void files_that_are_no_memory(void)
{
	const struct vhu_log desc = {BYTES, 0};
	int pair[2];

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	CHECK_EQ(vhu_dirty_log_new(&dirty, "test", &desc, pair[0], -1), -EINVAL);
	close(pair[0]);
	close(pair[1]);
}

static void nothing_leaks(void)
{
	const unsigned fds = fds_open();

	for (unsigned i = 0; i < 3; i++) {
		REQUIRE_OK(make(BYTES, 0, -1));
		CHECK(vhu_dirty_log_get(dirty) == dirty);
		vhu_dirty_log_put(dirty);
		vhu_dirty_log_mark(dirty, 0, 1);
		vhu_dirty_log_put(dirty);
		dirty = NULL;
	}
	CHECK_EQ(fds_open(), fds);
}

static void truncated_log_is_lost(void)
{
	REQUIRE(vublk_guard_memory() >= 0);
	REQUIRE_OK(make(BYTES, 0, -1));
	CHECK(!vhu_dirty_log_is_lost(dirty));
	CHECK(!vhu_dirty_log_is_lost(NULL));
	REQUIRE_OK(ftruncate(file, 0));
	vhu_dirty_log_mark(dirty, 0, 1);
	CHECK(vhu_dirty_log_is_lost(dirty));
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"a_page_is_a_bit", a_page_is_a_bit},
		{"ranges_mark_all_that_they_touch", ranges_mark_all_that_they_touch},
		{"every_range_of_a_small_log", every_range_of_a_small_log},
		{"log_at_an_offset_that_is_no_page_s", log_at_an_offset_that_is_no_page_s},
		{"what_lies_beyond_is_said_once", what_lies_beyond_is_said_once},
		{"marks_of_others_stay", marks_of_others_stay},
		{"signal_when_asked", signal_when_asked},
		{"sizes_and_offsets_that_cannot_be", sizes_and_offsets_that_cannot_be},
		{"files_that_are_no_memory", files_that_are_no_memory},
		{"nothing_leaks", nothing_leaks},
		{"truncated_log_is_lost", truncated_log_is_lost},
		{0},
	};
	static const struct tap_suite suites[] = {
		{.name = "dirty log", .setup = setup, .teardown = teardown, .cases = cases},
		{0},
	};

	return tap_main(argc, argv, suites);
}
