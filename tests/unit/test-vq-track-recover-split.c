/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vq/track_split.c: what the next process makes of a split ring's region, row by row of the
 * table in its head, and of one that is corrupt.
 */
#include "tests/unit/support/recover.h"

static void split_killed_in_a_take(void)
{
	recover_split();
	sr->desc[0].counter = 5; /* the counter, and no more */
	REQUIRE_OK(track_start_at(40));
	track_check_pops("0123");
	ring_free();
	recover_split();
	recover_in_flight(0, 5);
	recover_in_flight(1, 6);
	REQUIRE_OK(track_start_at(40));
	CHECK_EQ(ring.vq.next_avail, 42);
	CHECK_EQ(sr->desc[0].counter, 0);
	CHECK_EQ(sr->desc[1].counter, 1);
	track_check_pops("0123");
}

static void split_killed_before_the_used_index(void)
{
	for (unsigned linked = 0; linked < 2; linked++) {
		recover_split_give(linked, false, 0);
		REQUIRE_OK(track_start_at(40));
		track_check_pops("0123");
		ring_free();
	}
}

static void split_killed_after_the_used_index(void)
{
	for (unsigned cleared = 0; cleared < 3; cleared++) {
		recover_split_give(true, true, cleared);
		REQUIRE_OK(track_start_at(42));
		CHECK_EQ(sr->used_idx, 42);
		CHECK_EQ(sr->desc[1].inflight, 0);
		CHECK_EQ(sr->desc[2].inflight, 0);
		track_check_pops("03");
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(ring.driver.ring.used->idx, 44);
		ring_free();
	}
}

static void split_killed_when_only_the_index_was_left(void)
{
	recover_split_give(true, true, 2);
	sr->desc[0].inflight = sr->desc[3].inflight = 0;
	ring.driver.ring.used->idx = 44;
	sr->desc[1].next = 2;
	REQUIRE_OK(track_start_at(44));
	CHECK_EQ(sr->used_idx, 44);
	track_check_pops("");
}

static void split_index_that_wraps(void)
{
	recover_split();
	fe_vq_reset(&ring.driver, 65535);
	for (unsigned i = 0; i < 4; i++) {
		track_offer(i);
		recover_in_flight(i, UINT64_MAX - 3 + i);
	}
	sr->used_idx = 65535;
	ring.driver.ring.used->idx = 1;
	sr->last_batch_head = 3;
	sr->desc[3].next = 0;
	REQUIRE_OK(track_start_at(1));
	CHECK_EQ(sr->used_idx, 1);
	CHECK_EQ(ring.vq.next_avail, 3);
	track_check_pops("12");
}

static void split_counters_are_counted_anew(void)
{
	static const uint64_t counters[4] = {UINT64_MAX, 7, UINT64_MAX - 1, 1ull << 40};

	recover_split();
	for (unsigned i = 0; i < 4; i++)
		recover_in_flight(i, counters[i]);
	REQUIRE_OK(track_start_at(40));
	CHECK_EQ(sr->desc[1].counter, 0);
	CHECK_EQ(sr->desc[3].counter, 1);
	CHECK_EQ(sr->desc[2].counter, 2);
	CHECK_EQ(sr->desc[0].counter, 3);
	CHECK_EQ(ring.vq.track->counter, 4);
	track_check_pops("1320");
	vublk_queue_publish(&ring.vq);
	track_offer(5);
	ring_pop(0);
	CHECK_EQ(sr->desc[5].counter, 4);
	ring_push(0);
}

static void split_corrupt(const char *what)
{
	const int err = track_start_at(ring.driver.ring.used->idx);

	tap_check(err == -EINVAL, false, __FILE__, __LINE__, "%s: %d", what, err);
	ring_free();
	recover_split_give(true, true, 1);
}

static void split_corrupt_regions(void)
{
	recover_split_give(true, true, 1);
	sr->version = 2;
	split_corrupt("version");
	sr->features = 1;
	split_corrupt("features");
	sr->desc_num = 7;
	split_corrupt("fewer entries");
	sr->desc_num = 9;
	split_corrupt("more entries");
	sr->used_idx = 42 - 9;
	split_corrupt("a batch longer than the ring");
	sr->used_idx = 43;
	split_corrupt("a used index ahead of the ring's");
	sr->last_batch_head = 8;
	split_corrupt("a head that there is not");
	sr->last_batch_head = UINT16_MAX;
	split_corrupt("a head far from the ring");
	sr->desc[1].next = 8;
	split_corrupt("a list that leaves the region");
	for (unsigned i = 0; i < 8; i++)
		recover_in_flight(i, i);
	split_corrupt("more in flight than available");
	ring_free();
	track_make(8, 16, 0, 0);
	sr->version = 1;
	sr->desc_num = 16;
	recover_in_flight(8, 0);
	split_corrupt("an entry that the ring has not");
}

/* What cannot be told from a right one is survived. */
static void split_strange_regions(void)
{
	recover_split_give(true, true, 0);
	sr->desc[1].next = 1; /* a loop: so three are in flight, of two that there can be */
	CHECK_EQ(track_start_at(42), -EINVAL);
	ring_free();
	recover_split();
	recover_in_flight(7, 1); /* never made available; its descriptor is what there is */
	sr->desc[7].inflight = 255;
	REQUIRE_OK(track_start_at(40));
	CHECK_EQ(ring_pop(0)->id, 7);
	ring_push(0);
}

static const struct tap_case place_cases[] = {
	{"split_killed_before_the_used_index", split_killed_before_the_used_index},
	{"split_killed_after_the_used_index", split_killed_after_the_used_index},
	{0},
};

static const struct tap_case own_cases[] = {
	{"split_killed_in_a_take", split_killed_in_a_take},
	{"split_killed_when_only_the_index_was_left", split_killed_when_only_the_index_was_left},
	{"split_index_that_wraps", split_index_that_wraps},
	{"split_counters_are_counted_anew", split_counters_are_counted_anew},
	{"split_corrupt_regions", split_corrupt_regions},
	{"split_strange_regions", split_strange_regions},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "track places", .cases = place_cases},
	{.name = "track", .teardown = ring_free, .cases = own_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
