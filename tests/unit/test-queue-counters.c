/* SPDX-License-Identifier: BSD-3-Clause */
/* src/queue/queue.c: what it counts of its ring, while requests are held by the engine. */
#include "src/request/counters.h"

#include "tests/unit/support/one-queue.h"

static const struct blk_totals *counted(void)
{
	static struct blk_totals totals;

	totals = (struct blk_totals){0};
	blk_totals_add(&totals, &oq.queue->counters);
	return &totals;
}

static void add_apart(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		oq_add_at(i, RING_DATA, 16 * i);
	fe_vq_kick(&ring.driver);
	oq_check_held(n);
}

static void what_is_held_is_in_flight(void)
{
	add_apart(3);
	CHECK_EQ(counted()->fetched, 3);
	CHECK_EQ(blk_totals_in_flight(counted()), 3);
	CHECK_EQ(counted()->kind[BLK_KIND_WRITE].merged, 0);
	CHECK_EQ(counted()->kicks, 1);
	oq_release(2);
	oq_reap(2);
	CHECK_EQ(counted()->kind[BLK_KIND_WRITE].completed, 2);
	CHECK_EQ(counted()->kind[BLK_KIND_WRITE].bytes, 2 * DATA);
	CHECK_EQ(blk_totals_in_flight(counted()), 1);
}

/* Requests that are held do take their time. */
static void latency_is_that_of_the_engine(void)
{
	int64_t before, after, held;

	before = now_ns();
	add_apart(1);
	held = now_ns();
	while (now_ns() - held < 3000000)
		;
	oq_release(1);
	oq_reap(1);
	after = now_ns();
	CHECK(counted()->kind[BLK_KIND_WRITE].latency_ns > 3000000);
	CHECK(counted()->kind[BLK_KIND_WRITE].latency_ns <= (uint64_t)(after - before));
}

static void followers_are_merged(void)
{
	oq_add_run(5);
	fe_vq_kick(&ring.driver);
	oq_check_held(1);
	CHECK_EQ(counted()->kind[BLK_KIND_WRITE].merged, 4);
	CHECK_EQ(counted()->fetched, 5);
	oq_release(1);
	oq_reap(5);
	CHECK_EQ(counted()->kind[BLK_KIND_WRITE].completed, 5);
	CHECK_EQ(counted()->kind[BLK_KIND_WRITE].bytes, 5 * DATA);
}

/* At the start, and for what was completed. */
static void calls_are_counted(void)
{
	CHECK_EQ(counted()->calls, 1);
	add_apart(1);
	oq_release(1);
	oq_reap(1);
	oq_check_held(0); /* the worker has gone on */
	CHECK_EQ(counted()->calls, 2);
}

static void driver_that_polls_costs_no_call(void)
{
	fe_vq_silence(&ring.driver, true);
	add_apart(1);
	oq_release(1);
	oq_reap(1);
	oq_check_held(0);
	CHECK_EQ(counted()->calls, 1); /* at the start */
}

/* Of three requests that an earlier process has taken, and one more. */
static void what_is_popped_again_is_told(void)
{
	oq_open_tracked(16);
	oq.region->version = 1;
	oq.region->desc_num = 16;
	for (unsigned i = 0; i < 4; i++)
		oq_add_at(i, RING_DATA, 16 * i);
	fe_vq_publish(&ring.driver);
	for (unsigned i = 0; i < 3; i++)
		oq.region->desc[3 * i].inflight = 1;
	oq_start();
	oq_check_held(4);
	CHECK_EQ(counted()->fetched, 4);
	CHECK_EQ(counted()->recovered, 3);
	oq_teardown();
}

/* Two that the engine has, and has not begun. */
static void what_is_abandoned_is_not_in_flight(void)
{
	oq_open_tracked(16);
	oq_start();
	add_apart(2);
	oq_abandon();
	oq_wait_until_drained();
	CHECK_EQ(counted()->fetched, 2);
	CHECK_EQ(counted()->abandoned, 2);
	CHECK_EQ(blk_totals_in_flight(counted()), 0);
	oq_destroy();
}

int main(int argc, char **argv)
{
	static const struct tap_case running[] = {
		{"what_is_held_is_in_flight", what_is_held_is_in_flight},
		{"latency_is_that_of_the_engine", latency_is_that_of_the_engine},
		{"followers_are_merged", followers_are_merged},
		{"calls_are_counted", calls_are_counted},
		{"driver_that_polls_costs_no_call", driver_that_polls_costs_no_call},
		{0},
	};
	static const struct tap_case tracked[] = {
		{"what_is_popped_again_is_told", what_is_popped_again_is_told},
		{"what_is_abandoned_is_not_in_flight", what_is_abandoned_is_not_in_flight},
		{0},
	};
	static const struct tap_suite suites[] = {
		{.name = "counters", .setup = oq_setup, .teardown = oq_teardown, .cases = running},
		{.name = "recovery", .cases = tracked},
		{0},
	};

	return tap_main(argc, argv, suites);
}
