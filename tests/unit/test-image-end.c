/* SPDX-License-Identifier: BSD-3-Clause */
/* src/image/end.c: a file that grows and shrinks under a disk, and what is known of it when. */
#define _GNU_SOURCE
#include "src/image/end.h"

#include <string.h>

#include "tests/tap.h"
#include "tests/unit/support/capture.h"
#include "tests/unit/support/fds.h"

#define SIZE (1ull << 20)
#define CUT  "truncated under the running disk"

static struct image image;
static struct image_end end;

static void resize_to(uint64_t size)
{
	REQUIRE_OK(ftruncate(image.fd, (off_t)size));
}

static void open_file(uint64_t size, uint32_t block_size)
{
	image = (struct image){
		.fd = fd_memory(size),
		.end = size,
		.size = (size + 511) / 512 * 512,
		.block_size = block_size,
	};
	image_end_init(&end, &image, "test");
	capture_begin(STDERR_FILENO);
}

static void check_is(uint64_t capacity, uint64_t limit)
{
	CHECK_EQ(image_end_capacity(&end), capacity);
	CHECK_EQ(image_end_limit(&end), limit);
}

/* Has an error been logged since the file was opened? */
static void check_told(bool told)
{
	CHECK_EQ(strstr(capture_end(), CUT) != NULL, told);
	close(image.fd);
}

static void grows(void)
{
	open_file(SIZE, 512);
	CHECK(!image_end_look(&end));
	check_is(SIZE, SIZE);
	CHECK(!image_end_asks(&end, SIZE - 512) && image_end_asks(&end, SIZE));
	resize_to(2 * SIZE);
	image_end_check(&end); /* a worker finds out about what is less only */
	check_is(SIZE, SIZE);
	CHECK(image_end_look(&end));
	check_is(2 * SIZE, 2 * SIZE);
	CHECK_EQ(image_end_size(&end), 2 * SIZE);
	CHECK(!image_end_asks(&end, 2 * SIZE - 512) && image_end_asks(&end, 2 * SIZE));
	CHECK(!image_end_look(&end));
	check_told(false);
}

static void by_parts(void)
{
	open_file(SIZE, 512);
	resize_to(SIZE + 1);
	CHECK(image_end_look(&end));
	check_is(SIZE + 512, SIZE + 512);
	CHECK(image_end_asks(&end, SIZE + 512));
	/* The guest has written the tail. */
	resize_to(SIZE + 512);
	CHECK(!image_end_look(&end));
	check_told(false);

	open_file(SIZE, 4096);
	resize_to(SIZE + 4095 - 511);
	CHECK(!image_end_look(&end));
	check_is(SIZE, SIZE);
	resize_to(SIZE + 4096 + 1);
	CHECK(image_end_look(&end));
	check_is(SIZE + 4096, SIZE + 4096);
	check_told(false);
}

static void read_only(void)
{
	open_file(SIZE, 512);
	image.read_only = true;
	image_end_init(&end, &image, "test");
	resize_to(2 * SIZE);
	CHECK(image_end_look(&end));
	check_is(2 * SIZE, 2 * SIZE);
	CHECK(!image_end_asks(&end, 2 * SIZE));
	check_told(false);
}

/* Who has asked before it grew gets an old answer, which is no truncation. */
static void answer_that_is_out_of_date(void)
{
	uint64_t had;

	open_file(SIZE, 512);
	had = image_end_size(&end);
	resize_to(2 * SIZE);
	CHECK(image_end_look(&end));
	image_end_found(&end, had, SIZE);
	check_is(2 * SIZE, 2 * SIZE);
	check_told(false);
	/* Asked for now, it is one. */
	capture_begin(STDERR_FILENO);
	image_end_found(&end, image_end_size(&end), SIZE);
	check_is(2 * SIZE, SIZE);
	CHECK(strstr(capture_end(), CUT) != NULL);
}

static void shrinks(void)
{
	open_file(SIZE, 512);
	resize_to(SIZE / 2 + 100);
	CHECK(!image_end_look(&end));
	check_is(SIZE, SIZE / 2);
	for (uint64_t size = SIZE; size <= 2 * SIZE; size += SIZE) {
		resize_to(size);
		CHECK(!image_end_look(&end));
		check_is(SIZE, SIZE / 2);
	}
	resize_to(SIZE / 4);
	CHECK(!image_end_look(&end));
	check_is(SIZE, SIZE / 4);
	check_told(true);
}

static void nothing_behind_it(void)
{
	image = (struct image){.fd = -1, .end = SIZE, .size = SIZE, .block_size = 512};
	image_end_init(&end, &image, "test");
	CHECK(!image_end_look(&end));
	image_end_check(&end);
	check_is(SIZE, SIZE);
}

/* ---- the next process ---- */

/* What does one say that has an image of `now` bytes, and finds what was noted of one of `then`? */
static bool complains(uint64_t then, uint64_t now)
{
	uint32_t note;
	const char *words;

	image = (struct image){.fd = -1, .end = then, .size = then, .block_size = 512};
	image_end_init(&end, &image, "test");
	note = atomic_load(&end.identity);
	CHECK(note != 0);
	image = (struct image){.fd = -1, .end = now, .size = now, .block_size = 512};
	image_end_init(&end, &image, "test");
	capture_begin(STDERR_FILENO);
	image_end_recognise(&end, 0);
	image_end_recognise(&end, note);
	words = capture_end();
	return strstr(words, "not the image") != NULL;
}

static void is_it_smaller(void)
{
	static const uint64_t sizes[] = {512,        1024,    4096,       1 << 20,
					 3ull << 20, 1 << 30, 5ull << 40, 1ull << 62};
	const unsigned n = sizeof(sizes) / sizeof(sizes[0]);

	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < n; k++)
			CHECK_EQ(complains(sizes[i], sizes[k]), k < i);
	CHECK(complains((10ull << 30) + (1 << 20), 10ull << 30));
	CHECK(!complains(10ull << 30, (10ull << 30) + (1 << 20)));
}

static void is_it_another_file(void)
{
	uint32_t note;
	int other = fd_memory(SIZE);

	open_file(SIZE, 512);
	note = atomic_load(&end.identity);
	image_end_recognise(&end, note);
	CHECK(!strstr(capture_end(), "not the image"));
	close(image.fd);
	image.fd = other;
	resize_to(2 * SIZE);
	image_end_init(&end, &image, "test");
	capture_begin(STDERR_FILENO);
	for (int i = 0; i < 2; i++)
		image_end_recognise(&end, note);
	CHECK(strstr(capture_end(), "not the image") != NULL);
	close(other);
}

static const struct tap_case cases[] = {
	{"grows", grows},
	{"by_parts", by_parts},
	{"read_only", read_only},
	{"answer_that_is_out_of_date", answer_that_is_out_of_date},
	{"shrinks", shrinks},
	{"nothing_behind_it", nothing_behind_it},
	{"is_it_smaller", is_it_smaller},
	{"is_it_another_file", is_it_another_file},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "image end", .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
