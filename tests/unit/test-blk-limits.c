/* SPDX-License-Identifier: BSD-3-Clause */
/* src/request/limits.c: what the limits of a disk come to, by a clock that the test turns. */
#include "src/request/limits.h"

#include <errno.h>
#include <string.h>

#include "tests/tap.h"

#define S  INT64_C(1000000000) /* ns */
#define MS (S / 1000)

static struct limits_config config;
static struct limits limits;
static char error[200];

/* Average, and the maximum and length of a burst if there is one. */
#define LIMIT(id, ...) set_limit(LIMIT_##id, (const uint64_t[3]){__VA_ARGS__})

static void set_limit(enum limit_id id, const uint64_t to[3])
{
	config.limit[id] = (struct limit_config){to[0], to[1], (unsigned)to[2]};
}

static void start(void)
{
	REQUIRE_OK(limits_config_check(&config, "--", error, sizeof(error)));
	limits_init(&limits, &config, 5 * S);
}

static int64_t take(bool write, uint64_t bytes, int64_t at)
{
	return limits_take(&limits, write, bytes, 5 * S + at);
}

/*
 * How many requests begin from one time to another (ns), if there is always one more, and the one
 * who asks is late by `late` ns each time that he has to wait?
 */
static uint64_t begun(bool write, uint64_t bytes, int64_t from, int64_t to, int64_t late)
{
	uint64_t n = 0;

	for (int64_t now = from; now < to; n++) {
		const int64_t wait = take(write, bytes, now);

		now += wait ? wait + late : 0;
		if (now >= to)
			break;
	}
	return n;
}

/* But for what is lost by rounding. */
static void check_near(int64_t n, int64_t expected)
{
	const int64_t most = expected / 1000 + 2;

	if (n < expected - most || n > expected + most)
		CHECK_EQ(n, expected);
}

/* ---- what is refused ---- */

static void check_refused(const char *why)
{
	CHECK_EQ(limits_config_check(&config, "--", error, sizeof(error)), -EINVAL);
	if (strcmp(error, why) != 0)
		tap_check(false, false, __FILE__, __LINE__, "%s", error);
	config = (struct limits_config){0};
}

static void check_taken(void)
{
	CHECK_OK(limits_config_check(&config, "--", error, sizeof(error)));
	config = (struct limits_config){0};
}

static void total_excludes_the_others(void)
{
	LIMIT(IOPS_TOTAL, 10);
	LIMIT(IOPS_READ, 10);
	check_refused("--iops-total and --iops-read exclude each other");
	LIMIT(BPS_TOTAL, 10);
	LIMIT(BPS_WRITE, 1);
	check_refused("--bps-total and --bps-write exclude each other");
	LIMIT(IOPS_TOTAL, 10);
	LIMIT(BPS_READ, 10);
	LIMIT(BPS_WRITE, 10);
	check_taken();
}

static void a_burst_is_more_than_the_average(void)
{
	LIMIT(IOPS_READ, 10, 9);
	check_refused("--iops-read-max is less than --iops-read");
	LIMIT(IOPS_READ, 0, 9);
	check_refused("--iops-read-max goes only with --iops-read");
	LIMIT(IOPS_READ, 10, 10);
	check_taken();
}

static void a_burst_has_a_length(void)
{
	LIMIT(BPS_TOTAL, 10, 0, 5);
	check_refused("--bps-total-max-length goes only with --bps-total-max");
	LIMIT(BPS_TOTAL, 10, LIMITS_MOST / 5, 5);
	check_taken();
	LIMIT(BPS_TOTAL, 10, LIMITS_MOST / 5, 6);
	check_refused("--bps-total-max-length is too much for --bps-total-max: together they may "
		      "be 1000000000000000 at most");
}

static void rates_have_bounds(void)
{
	LIMIT(BPS_TOTAL, LIMITS_MOST);
	check_taken();
	LIMIT(BPS_TOTAL, LIMITS_MOST + 1);
	check_refused("--bps-total and its maximum may be 1000000000000000 at most");
}

static void iops_size_goes_with_iops(void)
{
	config.iops_size = 4096;
	LIMIT(BPS_TOTAL, 10);
	check_refused("--iops-size goes only with --iops-total, --iops-read or --iops-write");
	config.iops_size = 4096;
	LIMIT(IOPS_WRITE, 10);
	check_taken();
}

/* ---- rates ---- */

/* Of `rate` for ten seconds, within 2 %, whoever is late by how much. */
static void check_rate(uint64_t rate, int64_t late)
{
	uint64_t n;

	config = (struct limits_config){0};
	LIMIT(IOPS_TOTAL, rate);
	start();
	n = begun(false, 4096, 0, 10 * S, late);
	tap_diag("%llu a second, %lld ns late: %llu in ten seconds", (unsigned long long)rate,
		 (long long)late, (unsigned long long)n);
	CHECK(n * 100 >= rate * 10 * 98);
	CHECK(n * 100 <= rate * 10 * 102);
}

static void rate_is_kept(void)
{
	static const uint64_t rates[] = {10, 11, 100, 1000, 54321, 100000};

	for (unsigned i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		check_rate(rates[i], 0);
		check_rate(rates[i], 60000);
		check_rate(rates[i], MS);
	}
}

/* One who was idle begins a tenth of a second's requests at once; after a pause, too. */
static void idleness_is_worth_a_tenth_of_a_second(void)
{
	LIMIT(IOPS_TOTAL, 1000);
	start();
	CHECK_EQ(begun(false, 1, 0, 1, 0), 100);
	CHECK_EQ(begun(false, 1, 100 * S, 100 * S + 1, 0), 100);
}

/* The first one, however large, begins at once; the next one waits for all of it. */
static void large_requests_are_paid_for_afterwards(void)
{
	LIMIT(BPS_WRITE, 1000);
	start();
	CHECK_EQ(take(true, 5000, 0), 0);
	CHECK_EQ(take(true, 1, 0), 4901 * MS);
}

static void bytes_are_counted(void)
{
	LIMIT(BPS_TOTAL, 1000000);
	start();
	check_near((int64_t)begun(true, 1000, 0, 10 * S, 0), 10100);
}

/* Turns are in the order in which they were asked for, whatever their size. */
static void turns_are_in_order(void)
{
	LIMIT(BPS_TOTAL, 1000);
	start();
	CHECK_EQ(take(false, 100, 0), 0);
	check_near(take(true, 1000, 0), 100 * MS);
	check_near(take(false, 1, 0), 1001 * MS);
	check_near(take(false, 1, 500 * MS), 502 * MS);
}

static void directions_are_apart(void)
{
	LIMIT(IOPS_READ, 10);
	LIMIT(IOPS_WRITE, 1000);
	start();
	check_near((int64_t)begun(true, 1, 0, S, 0), 1100);
	check_near((int64_t)begun(false, 1, S, 2 * S, 0), 10);
}

static void total_is_of_both(void)
{
	LIMIT(IOPS_TOTAL, 10);
	start();
	CHECK_EQ(take(false, 1, 0), 0);
	CHECK_EQ(take(true, 1, 0), 100 * MS);
	CHECK_EQ(take(false, 1, 0), 200 * MS);
}

static void both_kinds_are_obeyed(void)
{
	LIMIT(IOPS_TOTAL, 10);
	LIMIT(BPS_TOTAL, 10000);
	start();
	CHECK_EQ(take(false, 10000, 0), 0);
	CHECK_EQ(take(false, 100, 0), 910 * MS); /* by its bytes */
	CHECK_EQ(take(false, 100, 2 * S), 0);
	CHECK_EQ(take(false, 100, 2 * S), 100 * MS); /* by its number */
}

static void large_requests_count_as_several(void)
{
	LIMIT(IOPS_READ, 10);
	config.iops_size = 4096;
	start();
	CHECK_EQ(take(false, 6144, 0), 0);
	CHECK_EQ(take(false, 512, 0), 150 * MS);
	CHECK_EQ(take(false, 512, 0), 250 * MS);
}

static void most_is_no_trouble(void)
{
	LIMIT(BPS_TOTAL, LIMITS_MOST);
	LIMIT(IOPS_TOTAL, 1);
	config.iops_size = 1;
	start();
	CHECK_EQ(take(true, UINT64_MAX, 0), 0);
	CHECK(take(true, UINT64_MAX, 0) > 1000 * S);
	CHECK(take(true, UINT64_MAX, -S) > 1000 * S);
}

/* ---- bursts ---- */

/* A bucket of 2000, which may be emptied at any rate. */
static void a_burst_of_a_second_comes_at_once(void)
{
	LIMIT(IOPS_TOTAL, 100, 2000);
	start();
	CHECK_EQ(begun(false, 1, 0, 1, 0), 2000);
	check_near((int64_t)begun(false, 1, MS, 10 * S, 0), 1000);
}

/*
 * The example of QEMU's documentation: 60 s at 2000, and about three more, for 100 leak away each
 * second; then 100. And again when it was idle for long enough.
 */
static void a_burst_lasts(void)
{
	const double full = 120000.0 / (2000 - 100); /* s */
	uint64_t n;

	LIMIT(IOPS_TOTAL, 100, 2000, 60);
	start();
	n = begun(false, 1, 0, 60 * S, 0);
	CHECK(n >= 119900 && n <= 120300);
	n = begun(false, 1, 60 * S, 70 * S, 0);
	tap_diag("%llu in the ten seconds after a minute", (unsigned long long)n);
	CHECK(n >= (uint64_t)((full - 60) * 2000 + (70 - full) * 100) - 300);
	CHECK(n <= (uint64_t)((full - 60) * 2000 + (70 - full) * 100) + 300);
	n = begun(false, 1, 80 * S, 90 * S, 0);
	CHECK(n >= 980 && n <= 2020);
	n = begun(false, 1, 2000 * S, 2060 * S, 0);
	CHECK(n >= 119900 && n <= 120300);
}

/* ---- other limits ---- */

static void change(int64_t at)
{
	REQUIRE_OK(limits_config_check(&config, "--", error, sizeof(error)));
	limits_change(&limits, &config, 5 * S + at);
}

static int64_t retake(uint64_t bytes, int64_t at)
{
	return limits_retake(&limits, false, bytes, 5 * S + at);
}

static void change_counts_from_now(void)
{
	LIMIT(IOPS_TOTAL, 1);
	start();
	CHECK_EQ(take(false, 1, 0), 0);
	CHECK_EQ(take(false, 1, 0), S);
	LIMIT(IOPS_TOTAL, 1000);
	change(0);
	CHECK(retake(1, 0) <= MS);
	LIMIT(IOPS_TOTAL, 0);
	change(0);
	CHECK_EQ(retake(1, 0), 0);
	LIMIT(IOPS_TOTAL, 10);
	change(0);
	CHECK_EQ(take(false, 1, 0), 0);
}

/* What was done quickly while that was allowed is not paid for at the new rate. */
static void lower_ones_do_not_look_back(void)
{
	LIMIT(IOPS_TOTAL, 1000, 5000);
	start();
	CHECK_EQ(begun(false, 1, 0, 1, 0), 5000);
	LIMIT(IOPS_TOTAL, 10);
	change(0);
	CHECK(take(false, 1, 0) <= 300 * MS);
}

/*
 * Who has a turn to come, and hears again and again that the limits are others, neither begins
 * sooner for that, nor never.
 */
static void changes_neither_open_nor_close(void)
{
	int64_t due = 0;
	uint64_t n = 0;

	LIMIT(IOPS_TOTAL, 1000);
	start();
	for (int64_t now = 0; now < 10 * S; now += MS / 10) {
		for (; due <= now; n++)
			due = now + take(false, 1, now);
		change(now);
		due = now + retake(1, now);
	}
	tap_diag("%llu", (unsigned long long)n);
	CHECK(n >= 9800 && n <= 10200);
}

/* ---- what is told of it ---- */

static void what_is_waited_for_is_known(void)
{
	LIMIT(IOPS_READ, 100);
	LIMIT(BPS_TOTAL, 1000);
	start();
	CHECK_EQ(take(false, 10, 0), 0);
	CHECK(take(false, 1000, 0) > 0);
	CHECK_EQ(limits.waited_for, LIMIT_BPS_TOTAL);
	for (unsigned i = 0; i < 200; i++)
		take(false, 1, 0);
	CHECK_EQ(limits.waited_for, LIMIT_IOPS_READ);
	CHECK(!strcmp(limits_name(LIMIT_IOPS_READ), "iops-read"));
}

/* As long as a turn is to come, and not for ever. */
static void it_is_exceeded_while_somebody_waits(void)
{
	int64_t wait;

	LIMIT(IOPS_TOTAL, 100);
	start();
	CHECK(!limits_are_exceeded(&limits, 5 * S));
	for (unsigned i = 0; i < 10; i++)
		CHECK_EQ(take(true, 512, 0), 0);
	CHECK(!limits_are_exceeded(&limits, 5 * S));
	wait = take(true, 512, 0);
	CHECK(wait > 0);
	CHECK(limits_are_exceeded(&limits, 5 * S + wait - 1000));
	CHECK(!limits_are_exceeded(&limits, 5 * S + wait + 1000));
}

/* Of a burst's own rate, too. */
static void a_burst_is_exceeded(void)
{
	int64_t wait = 0;

	LIMIT(IOPS_TOTAL, 10, 100, 10);
	start();
	for (unsigned i = 0; i < 100 && !wait; i++)
		wait = take(true, 512, 0);
	CHECK(wait > 0);
	CHECK(limits_are_exceeded(&limits, 5 * S));
	CHECK(!limits_are_exceeded(&limits, 5 * S + wait + 1000));
}

int main(int argc, char **argv)
{
	static const struct tap_case refused[] = {
		{"total_excludes_the_others", total_excludes_the_others},
		{"a_burst_is_more_than_the_average", a_burst_is_more_than_the_average},
		{"a_burst_has_a_length", a_burst_has_a_length},
		{"rates_have_bounds", rates_have_bounds},
		{"iops_size_goes_with_iops", iops_size_goes_with_iops},
		{0},
	};
	static const struct tap_case rates[] = {
		{"rate_is_kept", rate_is_kept},
		{"idleness_is_worth_a_tenth_of_a_second", idleness_is_worth_a_tenth_of_a_second},
		{"large_requests_are_paid_for_afterwards", large_requests_are_paid_for_afterwards},
		{"bytes_are_counted", bytes_are_counted},
		{"turns_are_in_order", turns_are_in_order},
		{"directions_are_apart", directions_are_apart},
		{"total_is_of_both", total_is_of_both},
		{"both_kinds_are_obeyed", both_kinds_are_obeyed},
		{"large_requests_count_as_several", large_requests_count_as_several},
		{"most_is_no_trouble", most_is_no_trouble},
		{"a_burst_of_a_second_comes_at_once", a_burst_of_a_second_comes_at_once},
		{"a_burst_lasts", a_burst_lasts},
		{0},
	};
	static const struct tap_case changes[] = {
		{"change_counts_from_now", change_counts_from_now},
		{"lower_ones_do_not_look_back", lower_ones_do_not_look_back},
		{"changes_neither_open_nor_close", changes_neither_open_nor_close},
		{0},
	};
	static const struct tap_case told[] = {
		{"what_is_waited_for_is_known", what_is_waited_for_is_known},
		{"it_is_exceeded_while_somebody_waits", it_is_exceeded_while_somebody_waits},
		{"a_burst_is_exceeded", a_burst_is_exceeded},
		{0},
	};
	static const struct tap_suite suites[] = {
		{.name = "refused", .cases = refused},
		{.name = "told", .cases = told},
		{.name = "rates", .cases = rates},
		{.name = "changes", .cases = changes},
		{0},
	};

	return tap_main(argc, argv, suites);
}
