/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/io/fair.c, and what src/io/target.c makes of it: who may have how much of what there is so
 * much of, and whose turn it is.
 */
#include <errno.h>
#include <stdlib.h>

#include "src/io/fair.h"
#include "src/io/target.h"
#include "tests/tap.h"

#define SHARES 40u

static struct fair fair;
static struct fair_share shares[SHARES];

/* As many as it gets. */
static unsigned take_all(unsigned i)
{
	unsigned n = 0;

	while (fair_take(&fair, &shares[i]))
		n++;
	return n;
}

static void put_back(unsigned i, unsigned n)
{
	while (n--)
		fair_return(&fair, &shares[i]);
}

/* The one whose turn it is, or -1. */
static int next(void)
{
	struct fair_share *share = fair_next(&fair);

	return share ? (int)(share - shares) : -1;
}

/* ---- how much ---- */

static void one_does_not_have_all(void)
{
	static const struct {
		unsigned total, most;
	} of[] = {{1, 1}, {2, 2}, {5, 4}, {8, 6}, {64, 45}, {512, 359}};

	for (unsigned i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		fair = (struct fair){.total = of[i].total};
		shares[0] = (struct fair_share){0};
		CHECK_EQ(take_all(0), of[i].most);
		CHECK_EQ(fair.held, of[i].most);
	}
}

/* However many take all that they get, the next one gets something. */
static void something_is_left_for_the_next(void)
{
	unsigned least = 512;

	fair.total = 512;
	for (unsigned i = 0; i < SHARES; i++) {
		const unsigned n = take_all(i);

		REQUIRE(n > 0);
		CHECK(n <= least);
		least = n;
	}
	CHECK(fair.held <= 512);
}

/* Where all come and go they end up with about the same. */
static void shares_become_equal(void)
{
	fair.total = 90;
	take_all(0);
	for (unsigned k = 0; k < 2; k++)
		fair_wait(&fair, &shares[k]);
	for (unsigned round = 0; round < 100; round++) {
		int i;

		for (unsigned k = 0; k < 2; k++)
			put_back(k, shares[k].held > 0);
		while ((i = next()) >= 0)
			fair_wait(&fair, &shares[i]);
	}
	CHECK(abs((int)shares[0].held - (int)shares[1].held) <= 8);
	CHECK(shares[0].held >= 30);
}

/* ---- turns ---- */

/* One each, in the order in which they came, and the same again. */
static void turns_go_round(void)
{
	fair.total = 1;
	take_all(0);
	for (unsigned i = 1; i < 4; i++) {
		CHECK(!fair_take(&fair, &shares[i]));
		fair_wait(&fair, &shares[i]);
		fair_wait(&fair, &shares[i]); /* once only */
	}
	CHECK_EQ(next(), -1);
	for (unsigned turn = 0; turn < 9; turn++) {
		const unsigned before = turn ? 1 + (turn + 2) % 3 : 0, now = 1 + turn % 3;

		put_back(before, 1);
		CHECK_EQ(next(), now);
		CHECK_EQ(next(), -1);
		fair_wait(&fair, &shares[now]);
	}
}

/* Who comes now does not overtake who waits for what has been returned. */
static void nobody_overtakes(void)
{
	fair.total = 2;
	take_all(0);
	CHECK(!fair_take(&fair, &shares[1]));
	fair_wait(&fair, &shares[1]);
	put_back(0, 1);
	CHECK(fair_is_due(&fair));
	CHECK(!fair_take(&fair, &shares[0]));
	CHECK(!fair_take(&fair, &shares[2]));
	CHECK_EQ(next(), 1);
	CHECK(!fair_is_due(&fair));
	/* And who waits is no obstacle while it has its share. */
	put_back(1, 1);
	put_back(0, 1);
	fair.total = 8;
	take_all(0);
	fair_wait(&fair, &shares[0]);
	CHECK_EQ(next(), -1);
	CHECK(fair_take(&fair, &shares[2]));
}

/* Who is passed over keeps its place, and is found when enough has been returned. */
static void who_holds_much_is_passed_over(void)
{
	fair.total = 7;
	CHECK_EQ(take_all(0), 6);
	CHECK(fair_take(&fair, &shares[1]));
	for (unsigned i = 0; i < 3; i++)
		fair_wait(&fair, &shares[i]);
	put_back(1, 1);
	CHECK_EQ(next(), 1);
	CHECK_EQ(next(), -1);
	put_back(0, 4);
	CHECK_EQ(next(), 0);
	CHECK_EQ(next(), 2);
	CHECK_EQ(next(), -1);
	fair_wait(&fair, &shares[1]);
	CHECK(fair.waiting == &shares[1] && fair.last == &shares[1]);
}

/* Wherever it is in the line. */
static void who_waits_may_leave(void)
{
	for (unsigned k = 0; k < 3; k++) {
		fair = (struct fair){.total = 1};
		take_all(5);
		for (unsigned i = 0; i < 3; i++)
			fair_wait(&fair, &shares[i]);
		fair_leave(&fair, &shares[k]);
		fair_leave(&fair, &shares[k]);
		fair_wait(&fair, &shares[3]);
		put_back(5, 1);
		for (unsigned i = 0; i < 4; i++) {
			if (i == k)
				continue;
			CHECK_EQ(next(), i);
			put_back(i, 1);
		}
		CHECK_EQ(next(), -1);
	}
}

/* ---- operations ---- */

static struct target target;
static struct io ios[40];

static int next_io(void)
{
	struct io *io = target_next(&target);

	return io ? (int)(io - ios) : -1;
}

static int open_class(struct target **targetp, struct reactor *reactor)
{
	(void)reactor;
	*targetp = &target;
	return 0;
}

static void close_class(struct target *closed)
{
	CHECK(closed == &target);
}

static const struct target_class class = {
	.name = "test", .open = open_class, .close = close_class, .without_files = true};

/* Those of [first, end) are the file's; how many may begin? They are the first ones. */
static unsigned submit(unsigned first, unsigned end, int file)
{
	unsigned n = 0;

	for (unsigned i = first; i < end; i++) {
		ios[i].file = file;
		if (!target_admit(&target, &ios[i]))
			continue;
		CHECK_EQ(i, first + n);
		n++;
	}
	return n;
}

static void open_target(unsigned total)
{
	struct target *opened;

	target = (struct target){.class = &class, .fair = {.total = total}};
	REQUIRE_OK(target_open(&class, &opened, NULL));
}

static void operations_of_a_file_stay_in_order(void)
{
	static const int order[] = {12, 23, 13, 24, 14, 25, -1};

	open_target(16);
	CHECK_EQ(submit(0, 20, 0), 12);
	CHECK_EQ(submit(20, 22, 1), 2);
	CHECK_EQ(submit(22, 30, 2), 1);
	CHECK_EQ(next_io(), -1);
	for (unsigned i = 0; i < 7; i++)
		target_ended(&target, &ios[i]);
	/* A new one is behind those that wait. */
	CHECK_EQ(submit(30, 31, 2), 0);
	for (unsigned i = 0; i < 7; i++)
		CHECK_EQ(next_io(), order[i]);
	target_close(&target);
}

static void what_waits_can_be_cancelled(void)
{
	open_target(1);
	CHECK_EQ(submit(0, 5, 0), 1);
	CHECK_EQ(submit(5, 7, 1), 0);
	CHECK(!target_cancel_waiting(&target, &ios[0]));
	CHECK(target_cancel_waiting(&target, &ios[4]));
	CHECK(target_cancel_waiting(&target, &ios[2]));
	CHECK(!target_cancel_waiting(&target, &ios[2]));
	/* All of a file's: its turn passes. */
	CHECK(target_cancel_waiting(&target, &ios[1]));
	CHECK(target_cancel_waiting(&target, &ios[3]));
	target_ended(&target, &ios[0]);
	CHECK_EQ(next_io(), 5);
	target_ended(&target, &ios[5]);
	CHECK(target_cancel_waiting(&target, &ios[6]));
	CHECK_EQ(next_io(), -1);
	CHECK_EQ(target.fair.held, 0);
	CHECK_EQ(submit(0, 2, 0), 1);
	target_close(&target);
}

/* Handles that are none have a share together, and it is none of a file's. */
static void handles_that_are_none(void)
{
	static const int none[] = {-1, TARGET_FILES, INT32_MIN, INT32_MAX, 77};

	open_target(512);
	for (unsigned i = 0; i < 5; i++)
		CHECK_EQ(submit(i, i + 1, none[i]), 1);
	CHECK_EQ(target.no_file.share.held, 4);
	CHECK_EQ(target_get_file(&target, 5, 0), 0);
	for (unsigned i = 0; i < 5; i++)
		target_ended(&target, &ios[i]);
	CHECK_EQ(target.fair.held, 0);
	target_close(&target);
}

static void setup(void)
{
	fair = (struct fair){0};
	for (unsigned i = 0; i < SHARES; i++)
		shares[i] = (struct fair_share){0};
}

static const struct tap_case cases[] = {
	{"one_does_not_have_all", one_does_not_have_all},
	{"something_is_left_for_the_next", something_is_left_for_the_next},
	{"shares_become_equal", shares_become_equal},
	{"turns_go_round", turns_go_round},
	{"nobody_overtakes", nobody_overtakes},
	{"who_holds_much_is_passed_over", who_holds_much_is_passed_over},
	{"who_waits_may_leave", who_waits_may_leave},
	{"operations_of_a_file_stay_in_order", operations_of_a_file_stay_in_order},
	{"what_waits_can_be_cancelled", what_waits_can_be_cancelled},
	{"handles_that_are_none", handles_that_are_none},
	{0},
};

static const struct tap_suite suites[] = {{"fair", setup, NULL, 0, cases}, {0}};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
