/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/request/counters.c and tally.c: how latencies are sorted, how sums are made, and as what each
 * request is counted, when, and with others or by itself.
 */
#include "src/request/counters.h"

#include "src/request/merge.h"
#include "src/request/tally.h"
#include "tests/unit/support/blk.h"

#define SECOND UINT64_C(1000000000)

static struct blk_counters counters;
static struct blk_totals totals;

/* ---- buckets ---- */

static void buckets_meet_at_powers_of_two(void)
{
	CHECK_EQ(blk_bucket(0), 0);
	CHECK_EQ(blk_bucket(1), 0);
	CHECK_EQ(blk_bucket_end(0), 1024);
	CHECK_EQ(blk_bucket_end(1), 2048);
	for (unsigned i = 0; i < BLK_BUCKETS - 1; i++) {
		CHECK_EQ(blk_bucket(blk_bucket_end(i) - 1), i);
		CHECK_EQ(blk_bucket(blk_bucket_end(i)), i + 1);
	}
}

static void last_bucket_has_no_end(void)
{
	CHECK_EQ(blk_bucket_end(BLK_BUCKETS - 1), UINT64_MAX);
	CHECK_EQ(blk_bucket(UINT64_C(1) << 36), BLK_BUCKETS - 1);
	CHECK_EQ(blk_bucket(UINT64_C(1) << 37), BLK_BUCKETS - 1);
	CHECK_EQ(blk_bucket(UINT64_MAX), BLK_BUCKETS - 1);
}

static void a_minute_is_told_from_more(void)
{
	CHECK_EQ(blk_bucket(60 * SECOND), BLK_BUCKETS - 2);
	CHECK_EQ(blk_bucket(70 * SECOND), BLK_BUCKETS - 1);
}

/* ---- sums ---- */

static void completions_are_counted_once(void)
{
	blk_counters_complete(&counters, BLK_KIND_READ, 3, 1000);
	blk_counters_complete(&counters, BLK_KIND_READ, 2, 5000);
	blk_counters_complete(&counters, BLK_KIND_FLUSH, 1, 60 * SECOND);
	blk_totals_add(&totals, &counters);
	CHECK_EQ(totals.kind[BLK_KIND_READ].completed, 5);
	CHECK_EQ(totals.kind[BLK_KIND_READ].latency_ns, 13000);
	CHECK_EQ(totals.kind[BLK_KIND_READ].latency[0], 3);
	CHECK_EQ(totals.kind[BLK_KIND_READ].latency[3], 2);
	CHECK_EQ(totals.kind[BLK_KIND_FLUSH].completed, 1);
	CHECK_EQ(totals.kind[BLK_KIND_FLUSH].latency_ns, 60 * SECOND);
	CHECK_EQ(totals.kind[BLK_KIND_WRITE].completed, 0);
}

/* Each number of one ends up in that number of the sum. */
static void totals_are_those_of_all(void)
{
	static struct blk_counters other;

	for (unsigned kind = 0; kind < BLK_KINDS; kind++) {
		counter_set(&counters.kind[kind].bytes, 10 + kind);
		counter_set(&counters.kind[kind].errors, 20 + kind);
		counter_set(&counters.kind[kind].merged, 30 + kind);
		counter_set(&other.kind[kind].bytes, 100);
		counter_set(&other.kind[kind].errors, 200);
		counter_set(&other.kind[kind].merged, 300);
		blk_counters_complete(&other, kind, 1, 1 << 20);
	}
	counter_set(&counters.fetched, 1);
	counter_set(&counters.abandoned, 2);
	counter_set(&counters.recovered, 3);
	counter_set(&counters.kicks, 4);
	counter_set(&counters.calls, 5);
	blk_totals_add(&totals, &counters);
	blk_totals_add(&totals, &other);
	blk_totals_add(&totals, &counters);
	for (unsigned kind = 0; kind < BLK_KINDS; kind++) {
		CHECK_EQ(totals.kind[kind].bytes, 2 * (10 + kind) + 100);
		CHECK_EQ(totals.kind[kind].errors, 2 * (20 + kind) + 200);
		CHECK_EQ(totals.kind[kind].merged, 2 * (30 + kind) + 300);
		CHECK_EQ(totals.kind[kind].latency[11], 1);
		CHECK_EQ(totals.kind[kind].latency_ns, 1 << 20);
	}
	CHECK_EQ(totals.fetched, 2);
	CHECK_EQ(totals.abandoned, 4);
	CHECK_EQ(totals.recovered, 6);
	CHECK_EQ(totals.kicks, 8);
	CHECK_EQ(totals.calls, 10);
}

static void sums_wrap_around(void)
{
	counter_set(&counters.kind[BLK_KIND_READ].bytes, UINT64_MAX);
	counter_add(&counters.kind[BLK_KIND_READ].bytes, 11);
	CHECK_EQ(counter_read(&counters.kind[BLK_KIND_READ].bytes), 10);
	blk_counters_complete(&counters, BLK_KIND_READ, 2, UINT64_MAX);
	blk_totals_add(&totals, &counters);
	CHECK_EQ(totals.kind[BLK_KIND_READ].completed, 2);
	CHECK_EQ(totals.kind[BLK_KIND_READ].latency_ns, UINT64_MAX - 1);
}

static void what_has_not_ended_is_in_flight(void)
{
	totals.fetched = 10;
	totals.abandoned = 1;
	totals.kind[BLK_KIND_READ].completed = 4;
	totals.kind[BLK_KIND_OTHER].completed = 3;
	CHECK_EQ(blk_totals_in_flight(&totals), 2);
	/* As numbers may be that were not read together. */
	totals.kind[BLK_KIND_WRITE].completed = 3;
	CHECK_EQ(blk_totals_in_flight(&totals), 0);
}

static void kinds_have_names(void)
{
	for (unsigned i = 0; i < BLK_KINDS; i++) {
		REQUIRE(blk_kind_name(i) != NULL);
		for (unsigned k = 0; k < i; k++)
			CHECK(strcmp(blk_kind_name(i), blk_kind_name(k)) != 0);
	}
}

/* ---- requests ---- */

#define NOW 1000000

static uint8_t buffer[4096];

static void setup(void)
{
	blk_setup();
	blk.clock.now = NOW;
}

static const struct blk_kind_totals *counted(enum blk_kind kind)
{
	blk_tally_flush(&blk.env);
	totals = (struct blk_totals){0};
	blk_totals_add(&totals, &blk.counters);
	return &totals.kind[kind];
}

static void go(uint64_t ago)
{
	blk.req.begun = NOW - (int64_t)ago;
	blk_go();
}

static void read_once(uint64_t ago)
{
	blk_begin(VIRTIO_BLK_T_IN, 0);
	blk_in(buffer, 512);
	go(ago);
	blk_complete(512);
}

static void discard_like(uint32_t type)
{
	static const struct virtio_blk_discard_write_zeroes segment = {.num_sectors = 8};

	blk_begin(type, 0);
	blk_out(&segment, sizeof(segment));
	go(3000);
	blk_complete(0);
}

static void each_is_counted_as_what_it_is(void)
{
	static const uint64_t bytes[BLK_KINDS] = {
		[BLK_KIND_READ] = 512,          [BLK_KIND_WRITE] = 1024, [BLK_KIND_DISCARD] = 4096,
		[BLK_KIND_WRITE_ZEROES] = 4096, [BLK_KIND_OTHER] = 20,
	};

	read_once(3000);
	blk_begin(VIRTIO_BLK_T_OUT, 0);
	blk_out(buffer, 1024);
	go(3000);
	blk_complete(1024);
	blk_begin(VIRTIO_BLK_T_FLUSH, 0);
	go(3000);
	blk_complete(0);
	discard_like(VIRTIO_BLK_T_DISCARD);
	discard_like(VIRTIO_BLK_T_WRITE_ZEROES);
	blk_begin(VIRTIO_BLK_T_GET_ID, 0);
	blk_in(buffer, 20);
	go(3000);
	for (unsigned kind = 0; kind < BLK_KINDS; kind++) {
		CHECK_EQ(counted(kind)->completed, 1);
		CHECK_EQ(counted(kind)->latency_ns, 3000);
		CHECK_EQ(counted(kind)->latency[2], 1);
		CHECK_EQ(counted(kind)->bytes, bytes[kind]);
		CHECK_EQ(counted(kind)->errors, 0);
	}
}

static void refused_and_failed_ones_are_errors(void)
{
	blk_begin(VIRTIO_BLK_T_IN, UINT64_MAX);
	blk_in(buffer, 512);
	go(100); /* beyond the end */
	CHECK_EQ(counted(BLK_KIND_READ)->errors, 1);
	blk_begin(VIRTIO_BLK_T_IN, 0);
	blk_in(buffer, 512);
	go(100);
	blk_complete(-EIO);
	read_once(100);
	CHECK_EQ(counted(BLK_KIND_READ)->errors, 2);
	CHECK_EQ(counted(BLK_KIND_READ)->completed, 3);
	CHECK_EQ(counted(BLK_KIND_READ)->bytes, 512);
	blk_begin(77, 0);
	go(100); /* unknown */
	blk_begin_raw();
	go(100); /* no header */
	blk_begin_raw();
	blk_req_begin(&blk.req); /* no status */
	CHECK_EQ(counted(BLK_KIND_OTHER)->errors, 3);
	CHECK_EQ(counted(BLK_KIND_OTHER)->completed, 3);
	CHECK_EQ(counted(BLK_KIND_OTHER)->bytes, 0);
}

static void alike_are_counted_at_once(void)
{
	for (unsigned i = 0; i < 5; i++)
		read_once(2000);
	totals = (struct blk_totals){0};
	blk_totals_add(&totals, &blk.counters);
	CHECK_EQ(totals.kind[BLK_KIND_READ].completed, 0);
	CHECK_EQ(counted(BLK_KIND_READ)->completed, 5);
	CHECK_EQ(counted(BLK_KIND_READ)->latency[1], 5);
	CHECK_EQ(counted(BLK_KIND_READ)->latency_ns, 10000);
	CHECK_EQ(counted(BLK_KIND_READ)->bytes, 5 * 512);
}

static void different_ones_are_told_apart(void)
{
	read_once(2000);
	read_once(9000);
	read_once(2000);
	blk_begin(VIRTIO_BLK_T_OUT, 0);
	blk_out(buffer, 512);
	go(2000);
	blk_complete(512);
	CHECK_EQ(counted(BLK_KIND_READ)->latency[1], 2);
	CHECK_EQ(counted(BLK_KIND_READ)->latency[4], 1);
	CHECK_EQ(counted(BLK_KIND_READ)->latency_ns, 13000);
	CHECK_EQ(counted(BLK_KIND_WRITE)->latency[1], 1);
	CHECK_EQ(counted(BLK_KIND_WRITE)->latency_ns, 2000);
}

static void clock_is_read_once_a_step(void)
{
	struct step_clock clock = {0};
	const int64_t first = clock_read(&clock), before = now_ns();

	while (now_ns() == before)
		;
	CHECK_EQ(clock_read(&clock), first);
	clock_step(&clock);
	CHECK(clock_read(&clock) > first);
}

int main(int argc, char **argv)
{
	static const struct tap_case alone[] = {
		{"buckets_meet_at_powers_of_two", buckets_meet_at_powers_of_two},
		{"last_bucket_has_no_end", last_bucket_has_no_end},
		{"a_minute_is_told_from_more", a_minute_is_told_from_more},
		{"completions_are_counted_once", completions_are_counted_once},
		{"totals_are_those_of_all", totals_are_those_of_all},
		{"sums_wrap_around", sums_wrap_around},
		{"what_has_not_ended_is_in_flight", what_has_not_ended_is_in_flight},
		{"kinds_have_names", kinds_have_names},
		{"clock_is_read_once_a_step", clock_is_read_once_a_step},
		{0},
	};
	static const struct tap_case requests[] = {
		{"each_is_counted_as_what_it_is", each_is_counted_as_what_it_is},
		{"refused_and_failed_ones_are_errors", refused_and_failed_ones_are_errors},
		{"alike_are_counted_at_once", alike_are_counted_at_once},
		{"different_ones_are_told_apart", different_ones_are_told_apart},
		{0},
	};
	static const struct tap_suite suites[] = {
		{.name = "counters", .cases = alone},
		{.name = "requests", .setup = setup, .teardown = blk_teardown, .cases = requests},
		{0},
	};

	return tap_main(argc, argv, suites);
}
