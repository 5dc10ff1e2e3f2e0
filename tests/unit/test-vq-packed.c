/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vq/packed.c: pop, push and publish, wrap counters, where a ring begins, and hostile ones.
 * (Indirect tables and notifications: test-vq-packed-indirect.c and test-vq-packed-notify.c.)
 */
#include <pthread.h>
#include <sched.h>

#include "tests/unit/support/packed.h"

static void setup(void)
{
	ring_run(16, RING_PACKED);
}

/* ---- entries ---- */

static void nothing_available(void)
{
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
	CHECK(!vublk_queue_broken(&ring.vq));
}

/* Neither is what was available, or used, on another lap. */
static void flags_of_another_lap(void)
{
	static const unsigned flags[2][3] = {{0, AVAIL, AVAIL | USED}, {0, USED, AVAIL | USED}};

	for (unsigned wrap = 0; wrap < 2; wrap++) {
		ring_run_at(16, RING_PACKED, packed_base(3, wrap));
		for (unsigned i = 0; i < 3; i++) {
			ring.driver.packed.desc[3].flags = (uint16_t)flags[wrap][i];
			CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
		}
		ring.driver.packed.desc[3] = (struct vring_packed_desc){
			RING_DATA, 1, 9, (uint16_t)(wrap ? AVAIL : USED)};
		CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
		vublk_queue_push(&ring.vq, &ring.chain, 0);
		ring_free();
	}
}

static void push_is_seen_after_publish_only(void)
{
	const struct vring_packed_desc before = {RING_DATA, 100, 7, WRITE | AVAIL};

	packed_offer(RING_DATA, 100, WRITE, 7);
	ring_pop_and_push(42);
	CHECK(!memcmp(packed_slot(0), &before, sizeof(before)));
	ring_publish();
	packed_check_used(0, 7, 42, true);
	CHECK(ring_called());
	ring_publish();
	CHECK(!ring_called());
}

/* virtio 2.8.4: without the flag the length means nothing. */
static void nothing_written_is_said_by_the_flag(void)
{
	packed_offer(RING_DATA, 100, 0, 7);
	ring_pop_and_push(0);
	ring_publish();
	packed_check_used(0, 7, 0, true);
	packed_offer(RING_DATA, 100, WRITE, 8);
	ring_pop_and_push(UINT32_MAX);
	ring_publish();
	packed_check_used(1, 8, UINT32_MAX, true);
}

static void list_of_descriptors(void)
{
	const struct vring_packed_desc desc[4] = {{RING_DATA, 16, 0xbad, AVAIL | NEXT},
						  {RING_DATA + 16, 8, 0xbad, AVAIL | NEXT},
						  {RING_DATA + 64, 4, 0xbad, AVAIL | NEXT | WRITE},
						  {RING_DATA + 99, 1, 77, AVAIL | WRITE}};

	fe_vq_raw_descs(&ring.driver, desc, 4);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	CHECK_EQ(ring.chain.id, 77);
	CHECK_EQ(ring.chain.num, 4);
	CHECK_EQ(ring.chain.n_out, 2);
	CHECK_EQ(ring.chain.out_size, 24);
	CHECK_EQ(ring.chain.n_in, 2);
	CHECK_EQ(ring.chain.in_size, 5);
	CHECK(ring_is_at(&ring.chain.out[1], RING_DATA + 16, 8));
	CHECK(ring_is_at(&ring.chain.in[1], RING_DATA + 99, 1));
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chains[0]), 0);
	vublk_queue_push(&ring.vq, &ring.chain, 5);
	ring_publish();
	/* One used descriptor for all, in the first slot; the next one comes behind the last. */
	packed_check_used(0, 77, 5, true);
	packed_offer(RING_DATA, 1, 0, 78);
	ring_pop_and_push(0);
	ring_publish();
	packed_check_used(4, 78, 0, true);
}

static void buffer_ids_are_the_driver_s(void)
{
	static const uint16_t ids[] = {0, 15, 16, 32768, 65535, 65535};

	for (unsigned i = 0; i < 6; i++)
		packed_offer(RING_DATA, 1, 0, ids[i]);
	for (unsigned i = 0; i < 6; i++)
		CHECK_EQ(ring_pop(i)->id, ids[i]);
	for (unsigned i = 6; i--;)
		vublk_queue_push(&ring.vq, &ring.chains[i], 0);
	ring_publish();
	/* In the order in which they were given back. */
	for (unsigned i = 0; i < 6; i++)
		packed_check_used(i, ids[5 - i], 0, true);
}

static void batch_of_lists_across_the_wrap(void)
{
	ring_run_at(7, RING_PACKED, packed_base(5, false));
	packed_offer_list(3, 10);
	packed_offer_list(1, 11);
	packed_offer_list(3, 12);
	for (unsigned i = 0; i < 3; i++)
		ring_pop(i);
	/* Back to front: 3 slots at 5, 1 at 1, 3 at 2. */
	for (unsigned i = 3; i--;)
		vublk_queue_push(&ring.vq, &ring.chains[i], 20 + i);
	ring_publish();
	packed_check_used(5, 12, 22, false);
	packed_check_used(1, 11, 21, true);
	packed_check_used(2, 10, 20, true);
	CHECK_EQ(fd_take_events(ring.driver.call_fd), 1);
	CHECK_EQ(ring.vq.used_idx, 5);
	CHECK(ring.vq.used_wrap);
	CHECK_EQ(ring.vq.next_avail, 5);
	CHECK(ring.vq.avail_wrap);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
}

/*
 * Rounds through a ring of any size, by the driver that the other tests use: lists of several
 * lengths, several in hand, given back in another order and in batches.
 */
static void go_round(unsigned size, uint32_t base, uint64_t more)
{
	const unsigned rounds = size < 1000 ? 40 * size : 5 * size / 2;
	struct fe_seg segs[8];
	unsigned n_taken = 0, done = 0;
	int heads[RING_CHAINS];

	ring_run_at(size, RING_PACKED | more, base);
	for (unsigned i = 0; i < 8; i++)
		segs[i] = (struct fe_seg){.addr = RING_DATA + i, .len = 1, .write = i >= 4};
	for (unsigned i = 0; done < rounds; i++) {
		const unsigned n = 1 + i * 7 % 5;
		int head = n <= size ? fe_vq_add(&ring.driver, segs, n, NULL) : -ENOSPC;
		struct fe_used used;

		if (head >= 0 && n_taken < RING_CHAINS) {
			fe_vq_publish(&ring.driver);
			CHECK_EQ(ring_pop(n_taken)->num, n);
			CHECK_EQ(ring.chains[n_taken].n_out + ring.chains[n_taken].n_in, n);
			REQUIRE_EQ(ring.chains[n_taken].id, (uint16_t)((unsigned)head + 3 * size));
			heads[n_taken++] = head;
			if (i % 3)
				continue;
		}
		if (head >= 0 && n_taken < RING_CHAINS)
			REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
		if (!n_taken)
			continue;
		for (unsigned k = n_taken; k--;)
			vublk_queue_push(&ring.vq, &ring.chains[k], ring.chains[k].id % 3);
		ring_publish();
		REQUIRE_EQ(fe_vq_n_used(&ring.driver), n_taken);
		while (n_taken) {
			REQUIRE_EQ(fe_vq_reap(&ring.driver, &used), 1);
			REQUIRE_EQ(used.head, heads[--n_taken]);
			REQUIRE_EQ(used.len, (uint16_t)(used.head + 3 * size) % 3);
			done++;
		}
		REQUIRE_EQ(ring.vq.in_use, 0);
	}
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
	ring_free();
}

static void sizes_of_all_kinds(void)
{
	static const unsigned sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 17, 100, 128, 1000};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		go_round(sizes[i], FE_PACKED_FRESH, 0);
		go_round(sizes[i], packed_base(sizes[i] - 1, true), 0);
		go_round(sizes[i], packed_base(sizes[i] / 2, false), RING_EVENT_IDX);
	}
}

static void largest_rings(void)
{
	go_round(32768, FE_PACKED_FRESH, 0);
	go_round(32767, packed_base(32766, false), 0);
}

static void whole_ring_as_one_list(void)
{
	for (unsigned size = 1; size < 20; size++) {
		ring_run_at(size, RING_PACKED, packed_base(size / 2, true));
		for (unsigned i = 0; i < 5; i++) {
			packed_offer_list(size, 3);
			REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
			CHECK_EQ(ring.chain.num, size);
			CHECK_EQ(ring.vq.in_use, size);
			vublk_queue_push(&ring.vq, &ring.chain, 0);
			ring_publish();
			packed_check_used(size / 2, 3, 0, i % 2 == 0);
		}
		ring_free();
	}
}

/* ---- the first slot comes last ---- */

#define BATCH 32u

static struct {
	_Atomic unsigned turn; /* odd: the driver looks */
	unsigned wrong;
} observer;

/* A driver that looks all the time: once it sees the first of a batch, it sees all of it. */
static void *observe(void *arg)
{
	(void)arg;
	for (unsigned round = 0; round < 2000; round++) {
		struct fe_used used;

		while (observer.turn != 2 * round + 1)
			;
		while (!fe_vq_n_used(&ring.driver))
			;
		if (fe_vq_n_used(&ring.driver) != BATCH)
			observer.wrong++;
		for (unsigned i = 0; i < BATCH; i++)
			while (!fe_vq_reap(&ring.driver, &used))
				;
		observer.turn++;
	}
	return NULL;
}

static void batch_is_seen_all_at_once(void)
{
	const struct fe_seg seg = {.addr = RING_DATA, .len = 1};
	pthread_t thread;

	ring_run(BATCH + 5, RING_PACKED);
	packed_driver_flags(VRING_PACKED_EVENT_FLAG_DISABLE);
	REQUIRE_OK(pthread_create(&thread, NULL, observe, NULL));
	for (unsigned round = 0; round < 2000; round++) {
		for (unsigned i = 0; i < BATCH; i++)
			REQUIRE(fe_vq_add(&ring.driver, &seg, 1, NULL) >= 0);
		fe_vq_publish(&ring.driver);
		for (unsigned i = 0; i < BATCH; i++)
			vublk_queue_push(&ring.vq, ring_pop(i), 0);
		observer.turn++;
		ring_publish();
		while (observer.turn % 2)
			sched_yield();
	}
	pthread_join(thread, NULL);
	CHECK_EQ(observer.wrong, 0);
}

/* ---- the place ---- */

static void check_base(unsigned size, uint32_t base, int expected)
{
	ring_make(size, RING_PACKED);
	ring.layout.base = base;
	REQUIRE_OK(ring_setup());
	CHECK_EQ(vublk_queue_begin(&ring.vq), expected);
	CHECK_EQ(vq_base(&ring.vq), base);
	ring_free();
}

static void base_lies_in_the_ring(void)
{
	check_base(7, 0x80068006, 0);
	check_base(7, 0x00060006, 0);
	check_base(7, 0x80008007, -EINVAL);
	check_base(7, 0x80078000, -EINVAL);
	check_base(7, 0x7fff0000, -EINVAL);
	check_base(7, UINT32_MAX, -EINVAL);
	check_base(1, 0, 0);
	check_base(1, 1, -EINVAL);
	check_base(32768, UINT32_MAX, 0);
}

static void base_tells_both_places(void)
{
	ring_run_at(5, RING_PACKED, packed_base(3, true));
	packed_offer_list(3, 1);
	ring_pop(0);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), 0x80030001); /* 3 with wrap 1 used, 1 with wrap 0 next */
	vublk_queue_push(&ring.vq, &ring.chains[0], 0);
	ring_publish();
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), 0x00010001);
}

static void goes_on_from_its_base(void)
{
	ring_run(5, RING_PACKED);
	for (unsigned i = 0; i < 23; i++) {
		packed_offer_list(1 + i % 3, i);
		ring_pop_and_push(0);
		ring_publish();
		vublk_queue_end(&ring.vq);
		ring.layout.base = vq_base(&ring.vq);
		vq_teardown(&ring.vq);
		REQUIRE_OK(ring_setup());
		REQUIRE_OK(vublk_queue_begin(&ring.vq));
		CHECK_EQ(ring.vq.in_use, 0);
	}
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
}

/* ---- hostile rings ---- */

static void list_without_an_end(void)
{
	for (unsigned i = 0; i < 16; i++)
		ring.driver.packed.desc[i] =
			(struct vring_packed_desc){RING_DATA, 1, 0, AVAIL | NEXT};
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	CHECK_EQ(ring.vq.next_avail, 0);
}

/* All of the ring is in flight, and there is still more. */
static void slots_in_flight_made_available_again(void)
{
	for (unsigned i = 0; i < 16; i++) {
		packed_offer(RING_DATA, 1, 0, i);
		ring_pop(i);
	}
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
	packed_offer(RING_DATA, 1, 0, 16);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	/* What was taken is still given back. */
	for (unsigned i = 0; i < 16; i++)
		vublk_queue_push(&ring.vq, &ring.chains[i], 0);
	ring_publish();
	for (unsigned i = 0; i < 16; i++)
		packed_check_used(i, i, 0, true);
	CHECK(ring_called());
}

static void list_that_runs_into_slots_in_flight(void)
{
	packed_offer_list(14, 1);
	ring_pop(0);
	packed_offer_list(3, 2);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	vublk_queue_push(&ring.vq, &ring.chains[0], 0);
	ring_publish();
	packed_check_used(0, 1, 0, true);
}

static void list_that_just_fits(void)
{
	packed_offer_list(14, 1);
	ring_pop(0);
	packed_offer_list(2, 2);
	ring_pop(1);
	CHECK_EQ(ring.vq.in_use, 16);
	vublk_queue_push(&ring.vq, &ring.chains[1], 0);
	vublk_queue_push(&ring.vq, &ring.chains[0], 0);
	ring_publish();
	packed_check_used(0, 2, 0, true);
	packed_check_used(2, 1, 0, true);
}

static void buffer_outside_memory(void)
{
	packed_offer(RING_END, 1, 0, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	CHECK_EQ(ring.vq.next_avail, 0);
	CHECK_EQ(ring.vq.in_use, 0);
}

static void buffer_that_wraps_around(void)
{
	packed_offer(UINT64_MAX, 2, 0, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
}

static void readable_after_writable(void)
{
	const struct vring_packed_desc desc[2] = {{RING_DATA, 16, 0, AVAIL | NEXT | WRITE},
						  {RING_DATA, 16, 0, AVAIL}};

	fe_vq_raw_descs(&ring.driver, desc, 2);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
}

static void broken_ring_gives_nothing_more(void)
{
	vublk_queue_break(&ring.vq, "because");
	packed_offer(RING_DATA, 1, 0, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	vublk_queue_want_kicks(&ring.vq, false);
	CHECK(!vublk_queue_want_kicks(&ring.vq, true));
}

/* What the driver does to slots that are ours does not change our mind. */
static void place_and_ids_are_our_own(void)
{
	packed_offer(RING_DATA, 1, 0, 5);
	packed_offer(RING_DATA, 1, 0, 6);
	ring_pop(0);
	ring_pop(1);
	memset(ring.driver.packed.desc, 0xff, 16 * sizeof(*ring.driver.packed.desc));
	vublk_queue_push(&ring.vq, &ring.chains[0], 0);
	vublk_queue_push(&ring.vq, &ring.chains[1], 3);
	ring_publish();
	packed_check_used(0, 5, 0, true);
	packed_check_used(1, 6, 3, true);
}

static const struct tap_case entry_cases[] = {
	{"nothing_available", nothing_available},
	{"push_is_seen_after_publish_only", push_is_seen_after_publish_only},
	{"nothing_written_is_said_by_the_flag", nothing_written_is_said_by_the_flag},
	{"list_of_descriptors", list_of_descriptors},
	{"buffer_ids_are_the_driver_s", buffer_ids_are_the_driver_s},
	{"list_without_an_end", list_without_an_end},
	{"slots_in_flight_made_available_again", slots_in_flight_made_available_again},
	{"list_that_runs_into_slots_in_flight", list_that_runs_into_slots_in_flight},
	{"list_that_just_fits", list_that_just_fits},
	{"buffer_outside_memory", buffer_outside_memory},
	{"buffer_that_wraps_around", buffer_that_wraps_around},
	{"readable_after_writable", readable_after_writable},
	{"broken_ring_gives_nothing_more", broken_ring_gives_nothing_more},
	{"place_and_ids_are_our_own", place_and_ids_are_our_own},
	{0},
};

/* These set up the ring in their own way ... */
static const struct tap_case size_cases[] = {
	{"batch_of_lists_across_the_wrap", batch_of_lists_across_the_wrap},
	{"batch_is_seen_all_at_once", batch_is_seen_all_at_once},
	{"base_tells_both_places", base_tells_both_places},
	{"goes_on_from_its_base", goes_on_from_its_base},
	{0},
};

/* ... and these several, one after the other. */
static const struct tap_case many_cases[] = {
	{"flags_of_another_lap", flags_of_another_lap},
	{"sizes_of_all_kinds", sizes_of_all_kinds},
	{"largest_rings", largest_rings},
	{"whole_ring_as_one_list", whole_ring_as_one_list},
	{"base_lies_in_the_ring", base_lies_in_the_ring},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "packed", .setup = setup, .teardown = ring_free, .cases = entry_cases},
	{.name = "packed ring", .teardown = ring_free, .cases = size_cases},
	{.name = "packed rings", .cases = many_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
