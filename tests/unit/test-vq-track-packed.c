/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vq/track_packed.c: what is written down of a packed ring's requests in flight, in which
 * order, and what the front-end's base means beside that.
 */
#include "tests/unit/support/track.h"

static void setup_packed(void)
{
	track_open(16, RING_PACKED, FE_PACKED_FRESH);
}

static void packed_fresh_region(void)
{
	track_make(7, 9, RING_PACKED, packed_base(5, false));
	pr->desc[3].inflight = 1;
	pr->free_head = 4;
	pr->used.all = UINT64_MAX;
	REQUIRE_OK(track_start());
	CHECK_EQ(pr->version, 1);
	CHECK_EQ(pr->desc_num, 9);
	track_check_settled(5, false);
	CHECK_EQ(pr->free_head, 0);
	for (unsigned i = 0; i < 9; i++) {
		CHECK_EQ(pr->desc[i].next, i + 1);
		CHECK_EQ(pr->desc[i].inflight, 0);
	}
}

static void packed_take(void)
{
	const struct vring_packed_desc desc[2] = {{0x1234567890, 512, 3, AVAIL | NEXT},
						  {0x4444, 1, 99, AVAIL | WRITE}};

	vq_track_packed_begin(&ring.vq);
	REQUIRE_OK(vq_track_packed_add(&ring.vq, &desc[0]));
	REQUIRE_OK(vq_track_packed_add(&ring.vq, &desc[1]));
	CHECK_EQ(pr->desc[0].addr, 0x1234567890);
	CHECK_EQ(pr->desc[0].len, 512);
	CHECK_EQ(pr->desc[0].flags, AVAIL | NEXT);
	CHECK_EQ(pr->desc[1].id, 99);
	CHECK_EQ(pr->desc[0].inflight, 0);
	track_check_settled(0, true);
	CHECK_EQ(pr->free_head, 0);
	CHECK_EQ(vq_track_packed_end(&ring.vq), 0);
	CHECK_EQ(pr->desc[0].inflight, 1);
	CHECK_EQ(pr->desc[0].num, 2);
	CHECK_EQ(pr->desc[0].last, 1);
	CHECK_EQ(pr->desc[0].next, 1);
	CHECK_EQ(pr->desc[0].counter, 0);
	CHECK_EQ(pr->desc[1].inflight, 0); /* the first one stands for all */
	CHECK_EQ(pr->free_head, 2);
	track_check_settled(0, true);
	vq_track_packed_begin(&ring.vq);
	REQUIRE_OK(vq_track_packed_add(&ring.vq, &desc[1]));
	CHECK_EQ(vq_track_packed_end(&ring.vq), 2);
	CHECK_EQ(pr->desc[2].counter, 1);
	CHECK_EQ(pr->desc[2].last, 2);
	CHECK_EQ(pr->free_head, 3);
}

/* What is begun anew leaves nothing of the attempt. */
static void packed_take_given_up(void)
{
	const struct vring_packed_desc desc = {1, 2, 3, AVAIL};

	vq_track_packed_begin(&ring.vq);
	REQUIRE_OK(vq_track_packed_add(&ring.vq, &desc));
	REQUIRE_OK(vq_track_packed_add(&ring.vq, &desc));
	vq_track_packed_begin(&ring.vq);
	REQUIRE_OK(vq_track_packed_add(&ring.vq, &desc));
	CHECK_EQ(vq_track_packed_end(&ring.vq), 0);
	CHECK_EQ(pr->desc[0].num, 1);
	CHECK_EQ(pr->desc[0].last, 0);
	CHECK_EQ(pr->free_head, 1);
}

static void packed_no_entry_left(void)
{
	const struct vring_packed_desc desc = {1, 2, 3, AVAIL};

	vq_track_packed_begin(&ring.vq);
	for (unsigned i = 0; i < 16; i++)
		REQUIRE_OK(vq_track_packed_add(&ring.vq, &desc));
	CHECK_EQ(vq_track_packed_end(&ring.vq), 0);
	CHECK_EQ(pr->free_head, 16); /* no entry: the end */
	vq_track_packed_begin(&ring.vq);
	CHECK_EQ(vq_track_packed_add(&ring.vq, &desc), -EPROTO);
}

static void packed_link_and_commit(void)
{
	packed_offer_list(2, 1); /* entries 0, 1 */
	packed_offer_list(1, 2); /* 2 */
	packed_offer_list(3, 3); /* 3, 4, 5 */
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(ring_pop(i)->entry, i ? i + 1 : 0);
	CHECK_EQ(pr->free_head, 6);
	ring_push(2);
	ring_push(0);
	ring.vq.used_idx = 5;
	vq_track_packed_link(&ring.vq);
	CHECK_EQ(pr->desc[5].next, 6);
	CHECK_EQ(pr->desc[1].next, 3);
	CHECK_EQ(pr->free_head, 0);
	CHECK_EQ(pr->used.idx, 5);
	CHECK_EQ(pr->old_free_head, 6);
	CHECK_EQ(pr->used.old_idx, 0);
	CHECK_EQ(pr->used.old_wrap, 1);
	CHECK_EQ(pr->desc[0].inflight, 1);
	CHECK_EQ(pr->desc[3].inflight, 1);
	vq_track_packed_commit(&ring.vq);
	CHECK_EQ(pr->desc[0].inflight, 0);
	CHECK_EQ(pr->desc[2].inflight, 1);
	CHECK_EQ(pr->desc[3].inflight, 0);
	CHECK_EQ(pr->free_head, 0);
	track_check_settled(5, true);
	ring.vq.n_pushed = 0;
	track_drop(1);
}

static void packed_publish_wraps(void)
{
	ring_free();
	track_open(5, RING_PACKED, packed_base(3, true));
	packed_offer_list(2, 1);
	packed_offer_list(2, 2);
	ring_pop(0);
	ring_pop(1);
	ring_push(1);
	vublk_queue_publish(&ring.vq);
	track_check_settled(0, false);
	ring_push(0);
	vublk_queue_publish(&ring.vq);
	track_check_settled(2, false);
	/* Free ones are taken again as they were given back. */
	packed_offer_list(3, 3);
	ring_pop(0);
	CHECK_EQ(ring.chains[0].entry, 0);
	CHECK_EQ(pr->desc[0].next, 1);
	CHECK_EQ(pr->desc[1].next, 2);
	CHECK_EQ(pr->desc[0].last, 2);
	CHECK_EQ(pr->desc[0].counter, 2);
	ring_push(0);
}

static void packed_breaks_are_not_taken(void)
{
	packed_offer_list(2, 1);
	ring.driver.packed.desc[1].addr = RING_END;
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EPROTO);
	CHECK_EQ(pr->desc[0].inflight, 0);
	track_check_settled(0, true);
	CHECK_EQ(pr->free_head, 0);
}

/* ---- the base ---- */

static void packed_base_with_and_without_requests_in_flight(void)
{
	packed_offer_list(3, 0);
	packed_offer_list(2, 1);
	packed_offer_list(1, 2);
	ring_pop(0);
	ring_pop(1);
	ring_push(1);
	vublk_queue_publish(&ring.vq);
	track_drop(0);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), packed_base(2, true));
	vq_teardown(&ring.vq);
	REQUIRE_OK(track_start_at(packed_base(2, true)));
	CHECK_EQ(ring_pop(0)->id, 0);
	CHECK_EQ(ring.chains[0].num, 3);
	CHECK_EQ(ring_pop(1)->id, 2);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
	ring_push(0);
	ring_push(1);
	vublk_queue_publish(&ring.vq);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), packed_base(6, true));
}

static void packed_base_means_nothing(void)
{
	static const uint32_t bases[] = {FE_PACKED_FRESH, 0,          0xffffffff,
					 0x7fff7fff,      0x8000,     0x00058007,
					 0x80008003,      0x12345678, 0x80028002};

	for (unsigned i = 0; i < sizeof(bases) / sizeof(*bases); i++)
		for (unsigned left = 0; left < 2; left++) {
			track_open(16, RING_PACKED, FE_PACKED_FRESH);
			packed_offer_list(2, 3);
			ring_pop(0);
			ring_push(0);
			vublk_queue_publish(&ring.vq);
			packed_offer_list(1, 5);
			if (left) {
				ring_pop(0);
				track_drop(0);
			}
			vq_teardown(&ring.vq);
			packed_offer_list(1, 6);
			REQUIRE_OK(track_start_at(bases[i]));
			CHECK_EQ(ring_pop(0)->id, 5);
			CHECK_EQ(ring_pop(1)->id, 6);
			CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
			ring_push(0);
			ring_push(1);
			vublk_queue_publish(&ring.vq);
			CHECK_EQ(pr->used.idx, 4);
			ring_free();
		}
}

static const struct tap_case place_cases[] = {
	{"packed_base_means_nothing", packed_base_means_nothing},
	{0},
};

static const struct tap_case own_cases[] = {
	{"packed_fresh_region", packed_fresh_region},
	{0},
};

static const struct tap_case packed_cases[] = {
	{"packed_take", packed_take},
	{"packed_take_given_up", packed_take_given_up},
	{"packed_no_entry_left", packed_no_entry_left},
	{"packed_link_and_commit", packed_link_and_commit},
	{"packed_publish_wraps", packed_publish_wraps},
	{"packed_breaks_are_not_taken", packed_breaks_are_not_taken},
	{"packed_base_with_and_without_requests_in_flight",
	 packed_base_with_and_without_requests_in_flight},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "track places", .cases = place_cases},
	{.name = "track", .teardown = ring_free, .cases = own_cases},
	{.name = "track packed",
	 .setup = setup_packed,
	 .teardown = ring_free,
	 .cases = packed_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
