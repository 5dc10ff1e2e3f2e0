/* SPDX-License-Identifier: BSD-3-Clause */
/* The values of options: what is one, and all that is none. */
#include "config/values.h"

#include <stddef.h>

#include "tests/tap.h"

static void digits(void)
{
	uint64_t n = 7;

	CHECK(parse_digits("0", 10, 0, &n) && n == 0);
	CHECK(parse_digits("00012", 10, 12, &n) && n == 12);
	CHECK(parse_digits("0660", 8, 0777, &n) && n == 0660);
	CHECK(parse_digits("18446744073709551615", 10, UINT64_MAX, &n) && n == UINT64_MAX);
	CHECK(!parse_digits("18446744073709551616", 10, UINT64_MAX, &n));
	CHECK(!parse_digits("13", 10, 12, &n));
	CHECK(!parse_digits("8", 8, 0777, &n));
	CHECK(!parse_digits("", 10, 12, &n));
	CHECK(!parse_digits("+1", 10, 12, &n));
	CHECK(!parse_digits(" 1", 10, 12, &n));
	CHECK(!parse_digits("1 ", 10, 12, &n));
	CHECK(!parse_digits("-0", 10, 12, &n));
	CHECK_EQ(n, UINT64_MAX); /* what is none leaves it alone */
}

static void sizes(void)
{
	uint64_t n;

	CHECK(parse_size("512", &n) && n == 512);
	CHECK(parse_size("1K", &n) && n == 1024);
	CHECK(parse_size("3T", &n) && n == UINT64_C(3) << 40);
	CHECK(parse_size("9223372036854775807", &n) && n == INT64_MAX);
	CHECK(!parse_size("9223372036854775808", &n));
	CHECK(!parse_size("8388608T", &n)); /* 2^63 */
	CHECK(!parse_size("", &n));
	CHECK(!parse_size("K", &n));
	CHECK(!parse_size("1k", &n));
	CHECK(!parse_size("1KK", &n));
	CHECK(!parse_size("0000000000000000000000000000000000001", &n));
}

static void decimals(void)
{
	double n = 0;

	CHECK(parse_decimal("10", 10, &n) && n == 10);
	CHECK(parse_decimal("0.5", 10, &n) && n == 0.5);
	CHECK(!parse_decimal("10.1", 10, &n));
	CHECK(!parse_decimal(".5", 10, &n));
	CHECK(!parse_decimal("1.", 10, &n));
	CHECK(!parse_decimal("1e3", 10000, &n));
	CHECK(!parse_decimal("-1", 10, &n));
	CHECK(!parse_decimal("inf", 10, &n));
	CHECK(!parse_decimal("", 10, &n));
}

static void lists(void)
{
	unsigned n;
	int list[4];

	CHECK(parse_list("2", 9, list, 4, &n) && n == 1 && list[0] == 2);
	CHECK(parse_list("0,2-4", 9, list, 4, &n) && n == 4 && list[0] == 0 && list[3] == 4);
	CHECK(parse_list("3-3,1", 9, list, 4, &n) && n == 2 && list[1] == 1);
	CHECK(!parse_list("0-4", 9, list, 4, &n));
	CHECK(!parse_list("0-3,5", 9, list, 4, &n));
	CHECK(!parse_list("0-18446744073709551615", UINT32_MAX, list, 4, &n));
	CHECK(!parse_list("10", 9, list, 4, &n));
	CHECK(!parse_list("3-1", 9, list, 4, &n));
	CHECK(!parse_list("1,", 9, list, 4, &n));
	CHECK(!parse_list(",1", 9, list, 4, &n));
	CHECK(!parse_list("1-", 9, list, 4, &n));
	CHECK(!parse_list("-1", 9, list, 4, &n));
	CHECK(!parse_list("", 9, list, 4, &n));
}

static void words(void)
{
	static const char *const list[] = {"off", "on", NULL};

	CHECK_EQ(find_word(list, "off"), 0);
	CHECK_EQ(find_word(list, "on"), 1);
	CHECK_EQ(find_word(list, "o"), -1);
	CHECK_EQ(find_word(list, "On"), -1);
}

static const struct tap_case cases[] = {
	{"digits", digits}, {"sizes", sizes}, {"decimals", decimals},
	{"lists", lists},   {"words", words}, {0},
};

static const struct tap_suite suites[] = {
	{.name = "values", .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
