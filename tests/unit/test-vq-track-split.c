/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vq/track_split.c: what is written down of a split ring's requests in flight, in which order,
 * and what the front-end's base means beside that.
 */
#include "tests/unit/support/track.h"

static void setup_split(void)
{
	track_open(16, 0, 0);
}

static void split_fresh_region(void)
{
	track_make(16, 20, 0, 0);
	ring.driver.ring.used->idx = 777;
	ring.driver.ring.avail->idx = ring.driver.avail_idx = 777;
	sr->desc[19].inflight = sr->desc[3].inflight = 1; /* means nothing yet */
	sr->used_idx = sr->last_batch_head = 99;
	REQUIRE_OK(track_start_at(777));
	CHECK_EQ(sr->version, 1);
	CHECK_EQ(sr->desc_num, 20);
	CHECK_EQ(sr->used_idx, 777);
	CHECK_EQ(sr->last_batch_head, 0);
	CHECK_EQ(sr->desc[3].inflight, 0);
	CHECK_EQ(sr->desc[19].inflight, 0);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
}

static void split_take(void)
{
	CHECK_EQ(ring.vq.track->counter, 0);
	REQUIRE_OK(vq_track_split_take(&ring.vq, 5));
	CHECK_EQ(sr->desc[5].inflight, 1);
	CHECK_EQ(sr->desc[5].counter, 0);
	REQUIRE_OK(vq_track_split_take(&ring.vq, 15));
	CHECK_EQ(sr->desc[15].counter, 1);
	CHECK_EQ(sr->used_idx, 0);
	CHECK_EQ(vq_track_split_take(&ring.vq, 5), -EPROTO);
	CHECK(vublk_queue_broken(&ring.vq));
	CHECK_EQ(sr->desc[5].counter, 0);
}

static void split_pop_takes(void)
{
	track_offer(7);
	track_offer(2);
	CHECK_EQ(ring_pop(0)->id, 7);
	CHECK_EQ(sr->desc[7].inflight, 1);
	CHECK_EQ(sr->desc[2].inflight, 0);
	ring_pop(1);
	CHECK_EQ(sr->desc[2].inflight, 1);
	CHECK_EQ(sr->desc[2].counter, 1);
	ring_push(0);
	CHECK_EQ(sr->desc[7].inflight, 1); /* until it is published */
	ring_push(1);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(sr->desc[7].inflight, 0);
	CHECK_EQ(sr->desc[2].inflight, 0);
	CHECK_EQ(sr->used_idx, 2);
	CHECK_EQ(sr->last_batch_head, 2);
	CHECK_EQ(sr->desc[2].next, 7);
	CHECK_EQ(ring.vq.n_taken, 0);
}

static void split_link_and_commit(void)
{
	for (unsigned i = 0; i < 4; i++) {
		track_offer(10 + i);
		ring_pop(i);
	}
	ring_push(2);
	ring_push(0);
	vq_track_split_link(&ring.vq);
	CHECK_EQ(sr->last_batch_head, 10);
	CHECK_EQ(sr->desc[10].next, 12);
	CHECK_EQ(sr->used_idx, 0);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(sr->desc[10 + i].inflight, 1);
	ring.vq.used_idx = 2;
	vq_track_split_commit(&ring.vq);
	CHECK_EQ(sr->desc[10].inflight, 0);
	CHECK_EQ(sr->desc[11].inflight, 1);
	CHECK_EQ(sr->desc[12].inflight, 0);
	CHECK_EQ(sr->desc[13].inflight, 1);
	CHECK_EQ(sr->used_idx, 2);
	ring.vq.n_pushed = 0;
	track_drop(1);
	track_drop(3);
}

/* A guest that gives the same request twice. */
static void split_head_in_flight_made_available_again(void)
{
	ring_give_fds();
	track_offer(4);
	ring_pop(0);
	track_offer(4);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	CHECK_EQ(ring.vq.n_taken, 1);
	ring_push(0);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(sr->desc[4].inflight, 0);
}

static void chain_that_breaks_the_ring_is_not_taken(void)
{
	ring_desc(4, RING_END, 1, 0, 0);
	fe_vq_raw_push(&ring.driver, 4);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EPROTO);
	CHECK_EQ(sr->desc[4].inflight, 0);
	CHECK_EQ(ring.vq.n_taken, 0);
}

/* ---- the base ---- */

static void split_base_with_and_without_requests_in_flight(void)
{
	for (unsigned i = 0; i < 5; i++) {
		track_offer(i);
		if (i < 3)
			ring_pop(i);
	}
	ring_push(1);
	vublk_queue_publish(&ring.vq);
	track_drop(0);
	track_drop(2);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), 1); /* the used index */
	vq_teardown(&ring.vq);
	REQUIRE_OK(track_start_at(1));
	CHECK_EQ(ring_pop(0)->id, 0);
	CHECK_EQ(ring_pop(1)->id, 2);
	CHECK_EQ(ring_pop(2)->id, 3);
	CHECK_EQ(ring_pop(3)->id, 4);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
	for (unsigned i = 0; i < 4; i++)
		ring_push(i);
	vublk_queue_publish(&ring.vq);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), 5);
	CHECK_EQ(ring.driver.ring.used->idx, 5);
}

/* They stay in flight if the queue ends before they were popped again. */
static void recovered_and_not_popped(void)
{
	for (unsigned i = 0; i < 3; i++)
		track_offer(i);
	for (unsigned i = 0; i < 3; i++) {
		ring_pop(i);
		track_drop(i);
	}
	for (unsigned i = 0; i < 3; i++) {
		vq_teardown(&ring.vq);
		REQUIRE_OK(track_start_at(0));
		if (i) {
			CHECK_EQ(ring_pop(0)->id, 0);
			track_drop(0);
		}
		vublk_queue_end(&ring.vq);
		CHECK_EQ(vq_base(&ring.vq), 0);
	}
	vq_teardown(&ring.vq);
	REQUIRE_OK(track_start_at(0));
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(ring_pop(i)->id, i);
	for (unsigned i = 0; i < 3; i++)
		ring_push(i);
}

/* The front-end's base may count what is in flight, or be anything. */
static void split_base_means_nothing_with_requests_in_flight(void)
{
	static const uint32_t bases[] = {100, 102, 0, 99, 65535};

	for (unsigned i = 0; i < 5; i++) {
		track_open(16, 0, 100);
		for (unsigned k = 0; k < 3; k++)
			track_offer(k);
		ring_pop(0);
		ring_pop(1);
		track_drop(0);
		track_drop(1);
		vq_teardown(&ring.vq);
		REQUIRE_OK(track_start_at(bases[i]));
		for (unsigned k = 0; k < 3; k++)
			CHECK_EQ(ring_pop(k)->id, k);
		CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
		for (unsigned k = 0; k < 3; k++)
			ring_push(k);
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(ring.driver.ring.used->idx, 103);
		ring_free();
	}
}

/* With nothing in flight it means nothing either: what was queued meanwhile is served, once. */
static void split_base_means_nothing_with_none_in_flight(void)
{
	/* Of now, of when the front-end hung up, the driver's, of a fresh ring, nonsense. */
	static const uint32_t bases[] = {102, 101, 100, 104, 0, 65535, 30000};

	for (unsigned i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		track_open(16, 0, 100);
		for (unsigned k = 0; k < 2; k++) {
			track_offer(k);
			ring_pop(k);
			ring_push(k);
		}
		vublk_queue_publish(&ring.vq);
		vq_teardown(&ring.vq);
		track_offer(7);
		track_offer(9);
		REQUIRE_OK(track_start_at(bases[i]));
		CHECK_EQ(ring_pop(0)->id, 7);
		CHECK_EQ(ring_pop(1)->id, 9);
		CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
		ring_push(0);
		ring_push(1);
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(ring.driver.ring.used->idx, 104);
		CHECK_EQ(sr->used_idx, 104);
		ring_free();
	}
}

/* A ring that a driver creates anew, with a region that its front-end keeps. */
static void split_ring_made_anew(void)
{
	for (unsigned i = 0; i < 9; i++) {
		track_offer(i);
		ring_pop(0);
		ring_push(0);
		vublk_queue_publish(&ring.vq);
	}
	CHECK_EQ(sr->used_idx, 9);
	vq_teardown(&ring.vq);
	fe_vq_reset(&ring.driver, 0);
	REQUIRE_OK(track_start_at(0));
	CHECK_EQ(sr->used_idx, 0);
	track_offer(6);
	CHECK_EQ(ring_pop(0)->id, 6);
	ring_push(0);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(sr->used_idx, 1);
	CHECK_EQ(ring.driver.ring.used->ring[0].id, 6);
}

static const struct tap_case place_cases[] = {
	{"split_base_means_nothing_with_requests_in_flight",
	 split_base_means_nothing_with_requests_in_flight},
	{"split_base_means_nothing_with_none_in_flight",
	 split_base_means_nothing_with_none_in_flight},
	{0},
};

static const struct tap_case own_cases[] = {
	{"split_fresh_region", split_fresh_region},
	{0},
};

static const struct tap_case split_cases[] = {
	{"split_take", split_take},
	{"split_pop_takes", split_pop_takes},
	{"split_link_and_commit", split_link_and_commit},
	{"split_head_in_flight_made_available_again", split_head_in_flight_made_available_again},
	{"chain_that_breaks_the_ring_is_not_taken", chain_that_breaks_the_ring_is_not_taken},
	{"split_base_with_and_without_requests_in_flight",
	 split_base_with_and_without_requests_in_flight},
	{"recovered_and_not_popped", recovered_and_not_popped},
	{"split_ring_made_anew", split_ring_made_anew},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "track places", .cases = place_cases},
	{.name = "track", .teardown = ring_free, .cases = own_cases},
	{.name = "track split", .setup = setup_split, .teardown = ring_free, .cases = split_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
