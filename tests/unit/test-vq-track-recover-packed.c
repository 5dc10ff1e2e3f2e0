/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vq/track_packed.c: what the next process makes of a packed ring's region, row by row of the
 * table in its head, and of one that is corrupt.
 */
#include "tests/unit/support/recover.h"

static unsigned n_free(void)
{
	unsigned n = 0;

	for (unsigned at = pr->free_head; at < 8; at = pr->desc[at].next)
		REQUIRE(n++ < 8);
	return n;
}

static void packed_at_nothing(void)
{
	recover_packed();
	recover_start();
	CHECK_EQ(ring.vq.used_idx, 5);
	CHECK(ring.vq.used_wrap);
	CHECK_EQ(ring.vq.next_avail, 2);
	CHECK(!ring.vq.avail_wrap);
	CHECK_EQ(ring.vq.in_use, 5);
	CHECK_EQ(pr->desc[3].counter, 0);
	CHECK_EQ(pr->desc[0].counter, 1);
	CHECK_EQ(pr->desc[6].counter, 2);
	track_check_pops("1234");
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(n_free(), 8);
	track_check_settled(3, false);
	/* Given back the other way round: 1 slot, 2, 1, 2. */
	CHECK_EQ(ring.driver.packed.desc[5].id, 4);
	CHECK_EQ(ring.driver.packed.desc[6].id, 3);
	CHECK_EQ(ring.driver.packed.desc[0].id, 2);
	CHECK_EQ(ring.driver.packed.desc[1].id, 1);
}

/* Taking id 4, in entry 5. */
static void packed_killed_in_a_take(void)
{
	for (unsigned step = 0; step < 5; step++) {
		recover_packed();
		recover_entry(5, 2, 4, USED);
		if (step > 0)
			recover_in_flight_packed(5, 5, 1, 53);
		if (step > 1)
			pr->free_head = 2;
		if (step > 2)
			pr->old_free_head = 2;
		recover_start();
		/* Before the last step it was not taken: the ring still has it. */
		CHECK_EQ(ring.vq.track->n_recovered, step > 2 ? 4 : 3);
		CHECK_EQ(ring.vq.next_avail, step > 2 ? 3 : 2);
		CHECK_EQ(pr->free_head, step > 2 ? 2 : 5);
		CHECK_EQ(pr->old_free_head, pr->free_head);
		CHECK_EQ(pr->desc[5].inflight, step > 2);
		track_check_pops("1234");
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(n_free(), 8);
		ring_free();
	}
}

/*
 * Giving back id 3 and then id 1: 2 slots at 5, 2 at 7 (and 0). Links, used index, later slots, the
 * first one's flags, clearing, free head, old index: so many of these seven.
 */
static void build_packed_give(unsigned steps)
{
	struct vring_packed_desc *desc = ring.driver.packed.desc;

	recover_packed();
	desc = ring.driver.packed.desc;
	if (steps > 0) {
		pr->desc[1].next = 5;
		pr->free_head = 6;
	}
	if (steps > 1) {
		pr->desc[4].next = 6;
		pr->free_head = 3;
	}
	if (steps > 2) {
		pr->used.idx = 1;
		pr->used.wrap = 0;
	}
	if (steps > 3) {
		desc[5].id = 3;
		desc[7].id = 1;
		desc[7].flags = AVAIL | USED;
	}
	if (steps > 4)
		desc[5].flags = AVAIL | USED;
	if (steps > 5)
		pr->desc[6].inflight = 0;
	if (steps > 6)
		pr->desc[3].inflight = 0;
	if (steps > 7)
		pr->old_free_head = 3;
	if (steps > 8) {
		pr->used.old_idx = 1;
		pr->used.old_wrap = 0;
	}
}

static void packed_killed_before_the_flags(void)
{
	for (unsigned steps = 0; steps <= 4; steps++) {
		build_packed_give(steps);
		recover_start();
		track_check_settled(5, true);
		CHECK_EQ(pr->free_head, 5);
		/* What was marked used behind the first slot is not any more. */
		CHECK_EQ(ring.driver.packed.desc[7].flags & (AVAIL | USED), AVAIL);
		CHECK_EQ(ring.driver.packed.desc[0].flags & (AVAIL | USED), USED);
		/* The next to be given back does not expose it. */
		REQUIRE_EQ(ring_pop(0)->id, 1);
		REQUIRE_EQ(ring_pop(1)->id, 2);
		ring_push(0);
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(ring.driver.packed.desc[5].flags & (AVAIL | USED), AVAIL | USED);
		CHECK_EQ(ring.driver.packed.desc[7].flags & (AVAIL | USED), AVAIL);
		ring_push(1);
		track_check_pops("34");
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(n_free(), 8);
		track_check_settled(3, false);
		ring_free();
	}
}

static void packed_killed_after_the_flags(void)
{
	for (unsigned steps = 5; steps <= 9; steps++)
		for (unsigned again = 0; again < 2; again++) {
			build_packed_give(steps);
			if (again) /* the driver uses the slot on its next lap */
				ring.driver.packed.desc[5].flags = USED;
			recover_start();
			track_check_settled(1, false);
			CHECK_EQ(pr->free_head, 3);
			CHECK_EQ(n_free(), 7);
			CHECK_EQ(pr->desc[3].inflight, 0);
			CHECK_EQ(pr->desc[6].inflight, 0);
			CHECK_EQ(ring.vq.in_use, 1);
			track_check_pops("24");
			vublk_queue_publish(&ring.vq);
			CHECK_EQ(n_free(), 8);
			track_check_settled(3, false);
			ring_free();
		}
}

static void packed_counters_are_counted_anew(void)
{
	recover_packed();
	pr->desc[3].counter = UINT64_MAX;
	pr->desc[0].counter = UINT64_MAX - 1;
	pr->desc[6].counter = 3;
	recover_start();
	CHECK_EQ(pr->desc[6].counter, 0);
	CHECK_EQ(pr->desc[0].counter, 1);
	CHECK_EQ(pr->desc[3].counter, 2);
	track_check_pops("3214");
}

/* A request's descriptors come from the region, for the ring's may be overwritten. */
static void packed_descriptors_come_from_the_region(void)
{
	recover_packed();
	for (unsigned i = 5; i < 8; i++) {
		ring.driver.packed.desc[i].addr = RING_END;
		ring.driver.packed.desc[i].id = 0xbad;
	}
	recover_start();
	CHECK_EQ(ring_pop(0)->n_out, 2);
	CHECK(ring_is_at(&ring.chains[0].out[0], RING_DATA + 3, 1));
	CHECK(ring_is_at(&ring.chains[0].out[1], RING_DATA + 4, 1));
	CHECK_EQ(ring_pop(1)->id, 2);
	ring_push(0);
	ring_push(1);
}

static void packed_whole_ring_in_flight(void)
{
	track_open(5, RING_PACKED, packed_base(3, false));
	for (unsigned i = 0; i < 5; i++)
		packed_offer_list(1, i);
	for (unsigned i = 0; i < 5; i++) {
		ring_pop(i);
		track_drop(i);
	}
	vq_teardown(&ring.vq);
	recover_start();
	CHECK_EQ(ring.vq.in_use, 5);
	CHECK_EQ(ring.vq.next_avail, 3);
	CHECK(ring.vq.avail_wrap && !ring.vq.used_wrap);
	track_check_pops("01234");
	vublk_queue_publish(&ring.vq);
	track_check_settled(3, true);
}

static void packed_corrupt(const char *what)
{
	const int err = track_start_at(FE_PACKED_FRESH);

	tap_check(err == -EINVAL, false, __FILE__, __LINE__, "%s: %d", what, err);
	ring_free();
	recover_packed();
}

static void packed_corrupt_regions(void)
{
	recover_packed();
	pr->version = 2;
	packed_corrupt("version");
	pr->features = 1ull << 63;
	packed_corrupt("features");
	pr->desc_num = 7;
	packed_corrupt("fewer entries");
	pr->desc_num = 9;
	packed_corrupt("more entries");
	pr->used.idx = 8;
	packed_corrupt("a used index beyond the ring");
	pr->used.old_idx = 8;
	packed_corrupt("an old used index beyond the ring");
	pr->used.old_idx = pr->used.idx = UINT16_MAX;
	packed_corrupt("both");
	pr->used.wrap = 2;
	packed_corrupt("a wrap counter");
	pr->used.old_wrap = 255;
	packed_corrupt("an old wrap counter");
	pr->desc[7].next = 5;
	packed_corrupt("a loop of free entries");
	pr->desc[5].next = 5;
	packed_corrupt("a free entry that follows itself");
	pr->desc[3].num = 0;
	packed_corrupt("a request of nothing");
	pr->desc[3].num = 9;
	packed_corrupt("a request longer than the ring");
	pr->desc[3].num = 3;
	packed_corrupt("a request that leaves its entries");
	pr->desc[3].num = 1;
	packed_corrupt("a request that is too short");
	pr->desc[3].last = 5;
	packed_corrupt("a last one that is not");
	pr->desc[3].last = UINT16_MAX;
	packed_corrupt("a last one that there is not");
	pr->desc[3].next = 8;
	packed_corrupt("a next one that there is not");
	pr->desc[3].next = 3;
	packed_corrupt("a loop in a request");
	pr->desc[3].next = 5;
	packed_corrupt("a request with a free entry");
	pr->desc[3].next = 0;
	pr->desc[3].last = 0;
	packed_corrupt("a request with another one's entry");
	recover_in_flight_packed(1, 1, 1, 9);
	packed_corrupt("an entry within a request that is one itself");
	pr->desc[7].next = 0;
	pr->desc[0].next = 6;
	packed_corrupt("a free list that cuts a request in two");
	ring_free();
	/* Each request by itself could be. */
	track_make(4, 16, RING_PACKED, FE_PACKED_FRESH);
	pr->version = 1;
	pr->desc_num = 16;
	pr->free_head = pr->old_free_head = 16;
	pr->used.wrap = pr->used.old_wrap = 1;
	for (unsigned i = 0; i < 5; i++) {
		recover_entry(i, i + 1, i, AVAIL);
		recover_in_flight_packed(i, i, 1, i);
	}
	packed_corrupt("more in flight than the ring has");
}

/* What is in a region's descriptors is as little trusted as what is in the ring's. */
static void packed_hostile_descriptors(void)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags;
	} wrong[] = {{RING_END, 1, AVAIL},
		     {UINT64_MAX, 2, AVAIL},
		     {RING_DATA, 16, INDIRECT},
		     {RING_DATA, 0, INDIRECT},
		     {RING_DATA, 16, INDIRECT | NEXT},
		     {RING_DATA, UINT32_MAX, WRITE}};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		recover_packed();
		pr->desc[3].addr = wrong[i].addr;
		pr->desc[3].len = wrong[i].len;
		pr->desc[3].flags = wrong[i].flags;
		recover_start();
		ring_give_fds();
		ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
		vublk_queue_end(&ring.vq);
		CHECK_EQ(vq_base(&ring.vq), packed_base(5, true));
		ring_free();
	}
}

static const struct tap_case place_cases[] = {
	{"packed_killed_in_a_take", packed_killed_in_a_take},
	{"packed_killed_before_the_flags", packed_killed_before_the_flags},
	{"packed_killed_after_the_flags", packed_killed_after_the_flags},
	{"packed_hostile_descriptors", packed_hostile_descriptors},
	{0},
};

static const struct tap_case own_cases[] = {
	{"packed_at_nothing", packed_at_nothing},
	{"packed_counters_are_counted_anew", packed_counters_are_counted_anew},
	{"packed_descriptors_come_from_the_region", packed_descriptors_come_from_the_region},
	{"packed_whole_ring_in_flight", packed_whole_ring_in_flight},
	{"packed_corrupt_regions", packed_corrupt_regions},
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
