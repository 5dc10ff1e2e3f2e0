/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vq/track.c: which region a ring is tracked in, and how far that is trusted. What is written
 * into it: test-vq-track-split.c and -packed.c; what the next process makes of that:
 * test-vq-track-recover-split.c and -packed.c, and -kill.c, after any store.
 */
#include "tests/unit/support/recover.h"

static void check_no_place(unsigned queues, unsigned entries, bool region_packed, uint64_t features,
			   unsigned index)
{
	ring_make(16, features);
	track_make_region(queues, entries, region_packed);
	vq_init(&ring.vq, "test", index);
	CHECK_EQ(ring_setup(), -EINVAL);
	CHECK(!ring.vq.track && !ring.vq.pushed && !ring.vq.lease);
	CHECK(is_mapped(sr));
	vhu_inflight_put(ring.inflight);
	ring.inflight = NULL;
	CHECK(!is_mapped(sr)); /* no reference was left */
	ring_free();
}

static void region_of_the_other_kind(void)
{
	check_no_place(1, 16, true, 0, 0);
	check_no_place(1, 16, false, RING_PACKED, 0);
}

/* Too few entries or queues: the ring runs all the same. */
static void check_untracked(unsigned queues, unsigned entries, uint64_t features, unsigned index)
{
	ring_make(16, features);
	track_make_region(queues, entries, features);
	vq_init(&ring.vq, "test", index);
	CHECK_OK(ring_setup());
	CHECK(!vublk_queue_tracked(&ring.vq));
	vhu_inflight_put(ring.inflight);
	ring.inflight = NULL;
	CHECK(!is_mapped(sr)); /* no reference was left */
	ring_free();
}

static void region_has_no_place(void)
{
	check_untracked(1, 15, 0, 0);
	check_untracked(1, 15, RING_PACKED, 0);
	check_untracked(3, 16, 0, 3);
	check_untracked(3, 16, RING_PACKED, 255);
}

static void queue_keeps_its_region(void)
{
	track_open(16, 0, 0);
	CHECK(vublk_queue_tracked(&ring.vq));
	vhu_inflight_put(ring.inflight);
	ring.inflight = NULL;
	CHECK(is_mapped(sr));
	vq_teardown(&ring.vq);
	CHECK(!is_mapped(sr));
	CHECK(!vublk_queue_tracked(&ring.vq));
}

static void each_queue_has_its_own(void)
{
	ring_make(16, 0);
	track_make_region(3, 16, false);
	vq_init(&ring.vq, "test", 2);
	REQUIRE_OK(track_start());
	track_offer(3);
	ring_pop(0);
	CHECK_EQ(sr->version, 0);
	sr = vhu_inflight_queue(ring.inflight, 2);
	CHECK_EQ(sr->version, 1);
	CHECK_EQ(sr->desc[3].inflight, 1);
	ring_push(0);
}

/* A queue that is not tracked says how far it has popped. */
static void base_without_tracking(void)
{
	ring_run(16, 0);
	CHECK(!vublk_queue_tracked(&ring.vq));
	track_offer(0);
	track_offer(1);
	ring_pop(0);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), 1);
	ring_push(0);
}

/* What somebody left in a region that says it is not initialised is not ours. */
static void fresh_region_has_no_features(void)
{
	track_make(16, 16, 0, 0);
	sr->features = 1;
	REQUIRE_OK(track_start());
	vq_teardown(&ring.vq);
	CHECK_OK(track_start());
	ring_free();
	track_make(16, 16, RING_PACKED, FE_PACKED_FRESH);
	pr->features = 1;
	REQUIRE_OK(track_start());
	vq_teardown(&ring.vq);
	CHECK_OK(track_start());
}

/* The front-end that changes the region under us harms only itself. */
static void region_is_not_read_again(void)
{
	recover_packed();
	recover_start();
	for (unsigned i = 0; i < 8; i++)
		pr->desc[i].next = pr->desc[i].last = pr->desc[i].num = UINT16_MAX;
	pr->free_head = pr->old_free_head = UINT16_MAX;
	pr->used.all = UINT64_MAX;
	track_check_pops("1234");
	vublk_queue_publish(&ring.vq);
	track_check_settled(3, false);
	for (unsigned i = 0; i < 8; i++) {
		packed_offer_list(3, 5);
		ring_pop(0);
		ring_push(0);
		vublk_queue_publish(&ring.vq);
	}
	track_check_settled((3 + 24) % 8, true);
	ring_free();
	recover_split_give(true, true, 1);
	REQUIRE_OK(track_start_at(42));
	memset(sr, 0xff, 16 + 16 * 8);
	track_check_pops("03");
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(ring.driver.ring.used->idx, 44);
	CHECK_EQ(sr->used_idx, 44);
}

/* A request that has to wait for memory is not lost, in either ring. */
static void recovered_request_that_waits(void)
{
	recover_packed();
	recover_start();
	ring.vq.allocated = 2 * 65536;
	vublk_chain_init(&ring.chain, ring.iov, 1);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EAGAIN);
	ring.vq.allocated = 0;
	track_check_pops("1234");
	ring_free();
	recover_split();
	ring_desc(0, RING_DATA, 1, NEXT, 5);
	ring_desc(5, RING_DATA, 1, 0, 0);
	recover_in_flight(0, 1);
	REQUIRE_OK(track_start_at(40));
	ring.vq.allocated = 2 * 65536;
	vublk_chain_init(&ring.chain, ring.iov, 1);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EAGAIN);
	ring.vq.allocated = 0;
	track_check_pops("0123");
}

static const struct tap_case place_cases[] = {
	{"region_of_the_other_kind", region_of_the_other_kind},
	{"region_has_no_place", region_has_no_place},
	{0},
};

static const struct tap_case own_cases[] = {
	{"queue_keeps_its_region", queue_keeps_its_region},
	{"each_queue_has_its_own", each_queue_has_its_own},
	{"fresh_region_has_no_features", fresh_region_has_no_features},
	{"base_without_tracking", base_without_tracking},
	{"region_is_not_read_again", region_is_not_read_again},
	{"recovered_request_that_waits", recovered_request_that_waits},
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
