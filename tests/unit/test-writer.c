/* SPDX-License-Identifier: BSD-3-Clause */
/* src/api/writer.c: numbers as printf(3) has them, and texts of any length. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/writer.h"
#include "tests/tap.h"

static const uint64_t numbers[] = {
	0, 9, 10, 999999999, 1000000000, 1000000001, 12345678901234567, UINT64_MAX,
};

static void check_text(struct writer *writer, const char *wanted)
{
	char *text = writer_end(writer);

	REQUIRE(text != NULL);
	CHECK(!strcmp(text, wanted));
	free(text);
}

static void numbers_are_digits(void)
{
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		struct writer writer = {0};
		char wanted[32];

		snprintf(wanted, sizeof(wanted), "%" PRIu64, numbers[i]);
		writer_number(&writer, numbers[i]);
		check_text(&writer, wanted);
	}
}

static void seconds_have_nine_digits(void)
{
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		struct writer writer = {0};
		char wanted[32];

		snprintf(wanted, sizeof(wanted), "%" PRIu64 ".%09" PRIu64, numbers[i] / 1000000000,
			 numbers[i] % 1000000000);
		writer_seconds(&writer, numbers[i]);
		check_text(&writer, wanted);
	}
}

static void nothing_is_a_text(void)
{
	struct writer writer = {0};

	check_text(&writer, "");
}

/* It grows where a part ends, and in the middle of one that is larger than all before. */
static void texts_may_be_long(void)
{
	static char part[200000];
	struct writer writer = {0};
	size_t size = 0;
	char *text;

	for (size_t n = 1; n <= sizeof(part); n = 2 * n + 1) {
		memset(part, 'a' + (int)(n % 26), n);
		writer_put(&writer, part, n);
		size += n;
	}
	text = writer_end(&writer);
	REQUIRE(text != NULL);
	CHECK_EQ(strlen(text), size);
	for (size_t n = 1, at = 0; n <= sizeof(part); at += n, n = 2 * n + 1)
		CHECK(text[at] == (char)('a' + n % 26) && text[at + n - 1] == text[at]);
	free(text);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"numbers_are_digits", numbers_are_digits},
		{"seconds_have_nine_digits", seconds_have_nine_digits},
		{"nothing_is_a_text", nothing_is_a_text},
		{"texts_may_be_long", texts_may_be_long},
		{0},
	};
	static const struct tap_suite suites[] = {{.name = "writer", .cases = cases}, {0}};

	return tap_main(argc, argv, suites);
}
