/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vq/packed.c: pop, push and publish, wrap counters, and notifications both ways. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "tests/unit/ring.h"

#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define AVAIL    (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED     (1u << VRING_PACKED_DESC_F_USED)

#define ENABLE  VRING_PACKED_EVENT_FLAG_ENABLE
#define DISABLE VRING_PACKED_EVENT_FLAG_DISABLE
#define DESC    VRING_PACKED_EVENT_FLAG_DESC

#define TABLE 0x200000u /* a place for indirect tables, in the first region */

#define MOST 64u /* chains in hand at once */

static struct vublk_chain chains[MOST];
static struct iovec iovs[MOST][RING_IOVS];

static void setup(void)
{
	ring_open(16, RING_PACKED);
}

static void setup_event_idx(void)
{
	ring_open(16, RING_PACKED | RING_EVENT_IDX);
}

static void setup_indirect(void)
{
	ring_open(16, RING_PACKED | RING_INDIRECT);
}

/* A base with both positions at the same place. */
static uint32_t base_at(unsigned idx, bool wrap)
{
	return (idx | (wrap ? 0x8000u : 0)) * 0x10001u;
}

static const struct vring_packed_desc *slot(unsigned i)
{
	return &ring.driver.packed.desc[i];
}

static uint16_t driver_flags(unsigned flags)
{
	return ring.driver.packed.driver->flags = (uint16_t)flags;
}

static bool called(void)
{
	return fd_take_events(ring.driver.call_fd);
}

/* Makes one descriptor available: with `flags` besides AVAIL, and this id. */
static void offer(uint64_t addr, uint32_t len, unsigned flags, unsigned id)
{
	const struct vring_packed_desc desc = {addr, len, (uint16_t)id, (uint16_t)(flags | AVAIL)};

	fe_vq_raw_descs(&ring.driver, &desc, 1);
}

/* Makes a list of so many readable descriptors of 1 byte available. */
static void offer_list(unsigned n, unsigned id)
{
	struct vring_packed_desc desc[64];

	REQUIRE(n <= 64);
	for (unsigned i = 0; i < n; i++)
		desc[i] = (struct vring_packed_desc){RING_DATA + i, 1,
						     (uint16_t)(i + 1 < n ? 0xbad : id),
						     (uint16_t)(AVAIL | (i + 1 < n ? NEXT : 0))};
	fe_vq_raw_descs(&ring.driver, desc, n);
}

static struct vublk_chain *pop(unsigned i)
{
	vublk_chain_init(&chains[i], iovs[i], RING_IOVS);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &chains[i]), 1);
	return &chains[i];
}

static void pop_and_push(uint32_t written)
{
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	vublk_queue_push(&ring.vq, &ring.chain, written);
}

static void publish(void)
{
	vublk_queue_publish(&ring.vq);
}

/* Is this slot a used one of the lap with that wrap counter? */
static void check_used(unsigned i, unsigned id, uint32_t len, bool wrap)
{
	CHECK_EQ(slot(i)->id, id);
	CHECK_EQ(slot(i)->len, len);
	CHECK_EQ(slot(i)->flags, (wrap ? AVAIL | USED : 0) | (len ? WRITE : 0));
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
		ring_open_at(16, RING_PACKED, base_at(3, wrap));
		for (unsigned i = 0; i < 3; i++) {
			ring.driver.packed.desc[3].flags = (uint16_t)flags[wrap][i];
			CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
		}
		ring.driver.packed.desc[3] = (struct vring_packed_desc){
			RING_DATA, 1, 9, (uint16_t)(wrap ? AVAIL : USED)};
		CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
		vublk_queue_push(&ring.vq, &ring.chain, 0);
		ring_close();
	}
}

static void push_is_seen_after_publish_only(void)
{
	const struct vring_packed_desc before = {RING_DATA, 100, 7, WRITE | AVAIL};

	offer(RING_DATA, 100, WRITE, 7);
	pop_and_push(42);
	CHECK(!memcmp(slot(0), &before, sizeof(before)));
	publish();
	check_used(0, 7, 42, true);
	CHECK(called());
	publish();
	CHECK(!called());
}

/* virtio 2.8.4: without the flag the length means nothing. */
static void nothing_written_is_said_by_the_flag(void)
{
	offer(RING_DATA, 100, 0, 7);
	pop_and_push(0);
	publish();
	check_used(0, 7, 0, true);
	offer(RING_DATA, 100, WRITE, 8);
	pop_and_push(UINT32_MAX);
	publish();
	check_used(1, 8, UINT32_MAX, true);
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
	CHECK_EQ(vublk_queue_pop(&ring.vq, &chains[0]), 0);
	vublk_queue_push(&ring.vq, &ring.chain, 5);
	publish();
	/* One used descriptor for all, in the first slot; the next one comes behind the last. */
	check_used(0, 77, 5, true);
	offer(RING_DATA, 1, 0, 78);
	pop_and_push(0);
	publish();
	check_used(4, 78, 0, true);
}

static void buffer_ids_are_the_driver_s(void)
{
	static const uint16_t ids[] = {0, 15, 16, 32768, 65535, 65535};

	for (unsigned i = 0; i < 6; i++)
		offer(RING_DATA, 1, 0, ids[i]);
	for (unsigned i = 0; i < 6; i++)
		CHECK_EQ(pop(i)->id, ids[i]);
	for (unsigned i = 6; i--;)
		vublk_queue_push(&ring.vq, &chains[i], 0);
	publish();
	/* In the order in which they were given back. */
	for (unsigned i = 0; i < 6; i++)
		check_used(i, ids[5 - i], 0, true);
}

static void batch_of_lists_across_the_wrap(void)
{
	ring_open_at(7, RING_PACKED, base_at(5, false));
	offer_list(3, 10);
	offer_list(1, 11);
	offer_list(3, 12);
	for (unsigned i = 0; i < 3; i++)
		pop(i);
	/* Back to front: 3 slots at 5, 1 at 1, 3 at 2. */
	for (unsigned i = 3; i--;)
		vublk_queue_push(&ring.vq, &chains[i], 20 + i);
	publish();
	check_used(5, 12, 22, false);
	check_used(1, 11, 21, true);
	check_used(2, 10, 20, true);
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
	int heads[MOST];

	ring_open_at(size, RING_PACKED | more, base);
	for (unsigned i = 0; i < 8; i++)
		segs[i] = (struct fe_seg){.addr = RING_DATA + i, .len = 1, .write = i >= 4};
	for (unsigned i = 0; done < rounds; i++) {
		const unsigned n = 1 + i * 7 % 5;
		int head = n <= size ? fe_vq_add(&ring.driver, segs, n, NULL) : -ENOSPC;
		struct fe_used used;

		if (head >= 0 && n_taken < MOST) {
			fe_vq_publish(&ring.driver);
			CHECK_EQ(pop(n_taken)->num, n);
			CHECK_EQ(chains[n_taken].n_out + chains[n_taken].n_in, n);
			REQUIRE_EQ(chains[n_taken].id, (uint16_t)((unsigned)head + 3 * size));
			heads[n_taken++] = head;
			if (i % 3)
				continue;
		}
		if (head >= 0 && n_taken < MOST)
			REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
		if (!n_taken)
			continue;
		for (unsigned k = n_taken; k--;)
			vublk_queue_push(&ring.vq, &chains[k], chains[k].id % 3);
		publish();
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
	ring_close();
}

static void sizes_of_all_kinds(void)
{
	static const unsigned sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 17, 100, 128, 1000};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		go_round(sizes[i], FE_PACKED_FRESH, 0);
		go_round(sizes[i], base_at(sizes[i] - 1, true), 0);
		go_round(sizes[i], base_at(sizes[i] / 2, false), RING_EVENT_IDX);
	}
}

static void largest_rings(void)
{
	go_round(32768, FE_PACKED_FRESH, 0);
	go_round(32767, base_at(32766, false), 0);
}

static void whole_ring_as_one_list(void)
{
	for (unsigned size = 1; size < 20; size++) {
		ring_open_at(size, RING_PACKED, base_at(size / 2, true));
		for (unsigned i = 0; i < 5; i++) {
			offer_list(size, 3);
			REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
			CHECK_EQ(ring.chain.num, size);
			CHECK_EQ(ring.vq.in_use, size);
			vublk_queue_push(&ring.vq, &ring.chain, 0);
			publish();
			check_used(size / 2, 3, 0, i % 2 == 0);
		}
		ring_close();
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

	ring_open(BATCH + 5, RING_PACKED);
	driver_flags(DISABLE);
	REQUIRE_OK(pthread_create(&thread, NULL, observe, NULL));
	for (unsigned round = 0; round < 2000; round++) {
		for (unsigned i = 0; i < BATCH; i++)
			REQUIRE(fe_vq_add(&ring.driver, &seg, 1, NULL) >= 0);
		fe_vq_publish(&ring.driver);
		for (unsigned i = 0; i < BATCH; i++)
			vublk_queue_push(&ring.vq, pop(i), 0);
		observer.turn++;
		publish();
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
	ring_close();
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
	ring_open_at(5, RING_PACKED, base_at(3, true));
	offer_list(3, 1);
	pop(0);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), 0x80030001); /* 3 with wrap 1 used, 1 with wrap 0 next */
	vublk_queue_push(&ring.vq, &chains[0], 0);
	publish();
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), 0x00010001);
}

static void goes_on_from_its_base(void)
{
	ring_open(5, RING_PACKED);
	for (unsigned i = 0; i < 23; i++) {
		offer_list(1 + i % 3, i);
		pop_and_push(0);
		publish();
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
		offer(RING_DATA, 1, 0, i);
		pop(i);
	}
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
	offer(RING_DATA, 1, 0, 16);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	/* What was taken is still given back. */
	for (unsigned i = 0; i < 16; i++)
		vublk_queue_push(&ring.vq, &chains[i], 0);
	publish();
	for (unsigned i = 0; i < 16; i++)
		check_used(i, i, 0, true);
	CHECK(called());
}

static void list_that_runs_into_slots_in_flight(void)
{
	offer_list(14, 1);
	pop(0);
	offer_list(3, 2);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	vublk_queue_push(&ring.vq, &chains[0], 0);
	publish();
	check_used(0, 1, 0, true);
}

static void list_that_just_fits(void)
{
	offer_list(14, 1);
	pop(0);
	offer_list(2, 2);
	pop(1);
	CHECK_EQ(ring.vq.in_use, 16);
	vublk_queue_push(&ring.vq, &chains[1], 0);
	vublk_queue_push(&ring.vq, &chains[0], 0);
	publish();
	check_used(0, 2, 0, true);
	check_used(2, 1, 0, true);
}

static void buffer_outside_memory(void)
{
	offer(RING_END, 1, 0, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	CHECK_EQ(ring.vq.next_avail, 0);
	CHECK_EQ(ring.vq.in_use, 0);
}

static void buffer_that_wraps_around(void)
{
	offer(UINT64_MAX, 2, 0, 0);
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
	offer(RING_DATA, 1, 0, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	vublk_queue_want_kicks(&ring.vq, false);
	CHECK(!vublk_queue_want_kicks(&ring.vq, true));
}

/* What the driver does to slots that are ours does not change our mind. */
static void place_and_ids_are_our_own(void)
{
	offer(RING_DATA, 1, 0, 5);
	offer(RING_DATA, 1, 0, 6);
	pop(0);
	pop(1);
	memset(ring.driver.packed.desc, 0xff, 16 * sizeof(*ring.driver.packed.desc));
	vublk_queue_push(&ring.vq, &chains[0], 0);
	vublk_queue_push(&ring.vq, &chains[1], 3);
	publish();
	check_used(0, 5, 0, true);
	check_used(1, 6, 3, true);
}

/* ---- indirect tables ---- */

/* Entry `i` of the indirect table. */
static void table_desc(unsigned i, uint64_t addr, uint32_t len, unsigned flags)
{
	const struct vring_packed_desc desc = {addr, len, 0xbad, (uint16_t)flags};

	REQUIRE_OK(fe_mem_write(&ring.mem, TABLE + i * sizeof(desc), &desc, sizeof(desc)));
}

static void offer_table(uint32_t len, unsigned flags)
{
	offer(TABLE, len, INDIRECT | flags, 9);
}

static void indirect_table(void)
{
	table_desc(0, RING_DATA, 16, 0);
	table_desc(1, RING_DATA + 16, 8, WRITE);
	table_desc(2, RING_DATA + 32, 1, WRITE);
	offer_table(48, 0);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	CHECK_EQ(ring.chain.id, 9);
	CHECK_EQ(ring.chain.num, 1);
	CHECK_EQ(ring.chain.n_out, 1);
	CHECK_EQ(ring.chain.n_in, 2);
	CHECK(ring_is_at(&ring.chain.in[1], RING_DATA + 32, 1));
	vublk_queue_push(&ring.vq, &ring.chain, 9);
	publish();
	check_used(0, 9, 9, true);
}

/* virtio 2.8.7: NEXT is reserved there; all others but WRITE, too. */
static void other_flags_of_a_table_are_ignored(void)
{
	table_desc(0, RING_DATA, 16, NEXT | AVAIL | USED);
	table_desc(1, RING_DATA + 16, 8, 0xffff);
	table_desc(2, RING_DATA + 32, 1, INDIRECT | WRITE);
	offer_table(48, WRITE);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	CHECK_EQ(ring.chain.n_out, 1);
	CHECK_EQ(ring.chain.n_in, 2);
	vublk_queue_push(&ring.vq, &ring.chain, 0);
}

static void table_longer_than_the_ring(void)
{
	for (unsigned i = 0; i < 200; i++)
		table_desc(i, RING_DATA + i, 1, 0);
	offer_table(200 * 16, 0);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	CHECK_EQ(ring.chain.n_out, 200);
	CHECK_EQ(ring.chain.num, 1);
	vublk_queue_push(&ring.vq, &ring.chain, 0);
	CHECK_EQ(ring.vq.allocated, 0);
}

static void tables_and_lists_in_turn(void)
{
	table_desc(0, RING_DATA, 16, 0);
	offer_table(16, 0);
	offer_list(3, 4);
	offer_table(16, 0);
	for (unsigned i = 0; i < 3; i++)
		vublk_queue_push(&ring.vq, pop(i), 0);
	publish();
	check_used(0, 9, 0, true);
	check_used(1, 4, 0, true);
	check_used(4, 9, 0, true);
}

static void check_table(uint32_t len, unsigned flags)
{
	ring_open(16, RING_PACKED | RING_INDIRECT);
	table_desc(0, RING_DATA, 1, 0);
	offer_table(len, flags);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	ring_close();
}

static void tables_of_wrong_sizes(void)
{
	check_table(0, 0);
	check_table(8, 0);
	check_table(15, 0);
	check_table(17, 0);
	check_table(32769 * 16, 0);
	check_table(UINT32_MAX, 0);
	check_table(16, NEXT);
}

static void indirect_after_direct(void)
{
	const struct vring_packed_desc desc[2] = {{RING_DATA, 16, 0, AVAIL | NEXT},
						  {TABLE, 16, 0, AVAIL | INDIRECT}};

	table_desc(0, RING_DATA, 16, 0);
	fe_vq_raw_descs(&ring.driver, desc, 2);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
}

static void table_outside_memory(void)
{
	offer(RING_END - 16, 32, INDIRECT, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
}

static void table_that_wraps_around(void)
{
	offer(-(uint64_t)16, 32, INDIRECT, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
}

static void indirect_not_negotiated(void)
{
	ring_open(16, RING_PACKED);
	table_desc(0, RING_DATA, 16, 0);
	offer_table(16, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
}

/* What has to wait is not taken. */
static void long_chains_wait_for_each_other(void)
{
	for (unsigned i = 0; i < 32768; i++)
		table_desc(i, RING_DATA, 1, 0);
	for (unsigned i = 0; i < 5; i++)
		offer_table(32768 * 16, 0);
	for (unsigned i = 0; i < 4; i++)
		pop(i);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EAGAIN);
		CHECK_EQ(ring.vq.in_use, 4);
		CHECK_EQ(ring.vq.next_avail, 4);
	}
	CHECK(!vublk_queue_broken(&ring.vq));
	vublk_queue_push(&ring.vq, &chains[2], 0);
	pop(2);
	for (unsigned i = 0; i < 4; i++)
		vublk_queue_push(&ring.vq, &chains[i], 0);
	publish();
	CHECK_EQ(ring.vq.in_use, 0);
	CHECK_EQ(ring.vq.allocated, 0);
}

/* ---- calls ---- */

/* Publishes lists of so many slots in all, in one batch; was the driver called? */
static bool publish_slots(unsigned n)
{
	while (n) {
		const unsigned slots = n > 2 ? 2 : n;

		offer_list(slots, 0);
		pop_and_push(0);
		n -= slots;
	}
	publish();
	return called();
}

static void call_unless_the_flags_say_no(void)
{
	driver_flags(ENABLE);
	CHECK(publish_slots(1));
	driver_flags(DISABLE);
	CHECK(!publish_slots(1));
	/* Reserved bits mean nothing. */
	driver_flags(0xfffc | DISABLE);
	CHECK(!publish_slots(1));
	driver_flags(0xfffc | ENABLE);
	CHECK(publish_slots(1));
	/* Not negotiated: better once too often. */
	driver_flags(DESC);
	CHECK(publish_slots(1));
	driver_flags(3);
	CHECK(publish_slots(1));
}

static void flags_count_with_event_idx_too(void)
{
	driver_flags(ENABLE);
	for (unsigned i = 0; i < 40; i++)
		CHECK(publish_slots(3));
	driver_flags(DISABLE);
	for (unsigned i = 0; i < 40; i++)
		CHECK(!publish_slots(3));
}

/* Asks for a call when the slot `ahead` of a place (behind, if negative) is used. */
static void set_event(unsigned size, unsigned idx, bool wrap, int ahead)
{
	int at = (int)idx + ahead;

	if (at >= (int)size) {
		at -= (int)size;
		wrap = !wrap;
	} else if (at < 0) {
		at += (int)size;
		wrap = !wrap;
	}
	REQUIRE(at >= 0 && at < (int)size);
	ring.driver.packed.driver->off_wrap = (uint16_t)(at | (wrap ? 0x8000 : 0));
	driver_flags(DESC);
}

/* From each place, batches of any size, and events anywhere up to a lap before or behind. */
static void check_events(unsigned size)
{
	for (unsigned idx = 0; idx < size; idx++)
		for (unsigned wrap = 0; wrap < 2; wrap++)
			for (unsigned n = 1; n <= size; n++) {
				const unsigned start = (idx + size - 1) % size;

				/* One slot before, for the first batch always calls. */
				ring_open_at(size, RING_PACKED | RING_EVENT_IDX,
					     base_at(start, idx ? wrap : !wrap));
				publish_slots(1);
				for (int ahead = -(int)size; ahead < (int)size; ahead++) {
					const unsigned at = ring.vq.used_idx;

					set_event(size, at, ring.vq.used_wrap, ahead);
					CHECK_EQ(publish_slots(n), ahead >= 0 && ahead < (int)n);
				}
				ring_close();
			}
}

static void call_when_the_event_is_in_the_batch(void)
{
	check_events(1);
	check_events(2);
	check_events(3);
	check_events(7);
	check_events(8);
}

/* Nobody knows what an earlier session looked at. */
static void first_batch_always_calls(void)
{
	set_event(16, 0, true, 10);
	CHECK(publish_slots(1));
	CHECK(!publish_slots(1));
}

/* As the driver of the other tests asks for them. */
static void calls_as_the_driver_asks(void)
{
	const struct fe_seg seg = {.addr = RING_DATA, .len = 1};
	struct fe_used used;

	ring_open_at(7, RING_PACKED | RING_EVENT_IDX, base_at(4, true));
	for (unsigned i = 0; i < 100; i++) {
		const unsigned n = 1 + i % 7, after = i / 7 % 7;

		for (unsigned k = 0; k < n; k++)
			REQUIRE(fe_vq_add(&ring.driver, &seg, 1, NULL) >= 0);
		fe_vq_publish(&ring.driver);
		fe_vq_call_after(&ring.driver, after);
		for (unsigned k = 0; k < n; k++) {
			pop_and_push(0);
			publish();
			CHECK_EQ(called(), !i || k == after); /* the first one always */
		}
		while (fe_vq_reap(&ring.driver, &used))
			;
	}
}

static void no_call_descriptor(void)
{
	close(ring.vq.call_fd);
	ring.vq.call_fd = -1;
	CHECK(!publish_slots(1));
	CHECK_EQ(slot(0)->flags, AVAIL | USED);
}

/* ---- kicks ---- */

static uint16_t device_flags(void)
{
	return ring.driver.packed.device->flags;
}

static void flags_tell_not_to_kick(void)
{
	CHECK_EQ(device_flags(), ENABLE);
	CHECK(!vublk_queue_want_kicks(&ring.vq, false));
	CHECK_EQ(device_flags(), DISABLE);
	CHECK(!vublk_queue_want_kicks(&ring.vq, false));
	CHECK_EQ(device_flags(), DISABLE);
	CHECK(!vublk_queue_want_kicks(&ring.vq, true));
	CHECK_EQ(device_flags(), ENABLE);
}

static void flags_are_cleared_at_start(void)
{
	ring_make(16, RING_PACKED);
	ring.driver.packed.device->flags = DISABLE;
	REQUIRE_OK(ring_setup());
	CHECK_EQ(device_flags(), DISABLE);
	REQUIRE_OK(vublk_queue_begin(&ring.vq));
	CHECK_EQ(device_flags(), ENABLE);
}

static void event_is_the_next_slot(void)
{
	ring_open_at(5, RING_PACKED | RING_EVENT_IDX, base_at(3, true));
	for (unsigned i = 0; i < 12; i++) {
		const unsigned at = (3 + i) % 5, lap = (3 + i) / 5;

		CHECK(!vublk_queue_want_kicks(&ring.vq, true));
		CHECK_EQ(device_flags(), DESC);
		CHECK_EQ(ring.driver.packed.device->off_wrap, at | (lap % 2 ? 0 : 0x8000));
		CHECK(!vublk_queue_want_kicks(&ring.vq, false));
		CHECK_EQ(device_flags(), DISABLE);
		offer(RING_DATA, 1, 0, 0);
		pop_and_push(0);
		publish();
	}
}

static void look_after_asking(void)
{
	for (unsigned i = 0; i < 40; i++) {
		vublk_queue_want_kicks(&ring.vq, false);
		offer(RING_DATA, 1, 0, 0);
		CHECK(!vublk_queue_want_kicks(&ring.vq, false));
		CHECK(vublk_queue_want_kicks(&ring.vq, true));
		pop_and_push(0);
		CHECK(!vublk_queue_want_kicks(&ring.vq, true));
		publish();
		CHECK(!vublk_queue_want_kicks(&ring.vq, true));
	}
}

/* As the driver of the other tests decides it, over many laps. */
static void check_kicks(unsigned size, uint64_t features)
{
	const struct fe_seg seg = {.addr = RING_DATA, .len = 1};

	ring_open_at(size, RING_PACKED | features, base_at(size - 1, true));
	for (unsigned i = 0; i < 100; i++) {
		struct fe_used used;

		REQUIRE(!vublk_queue_want_kicks(&ring.vq, true));
		REQUIRE(fe_vq_add(&ring.driver, &seg, 1, NULL) >= 0);
		REQUIRE(fe_vq_kick(&ring.driver));
		REQUIRE(fe_vq_add(&ring.driver, &seg, 1, NULL) >= 0);
		/* With an event it has been passed: no kick, whether we want one or not. */
		if (!features)
			vublk_queue_want_kicks(&ring.vq, false);
		REQUIRE(!fe_vq_kick(&ring.driver));
		for (unsigned n = 0; n < 2; n++)
			pop_and_push(0);
		publish();
		vublk_queue_want_kicks(&ring.vq, false);
		while (fe_vq_reap(&ring.driver, &used))
			;
		REQUIRE(fe_vq_add(&ring.driver, &seg, 1, NULL) >= 0);
		REQUIRE(!fe_vq_kick(&ring.driver));
		pop_and_push(0);
		publish();
		REQUIRE_EQ(fe_vq_reap(&ring.driver, &used), 1);
	}
	ring_close();
}

static void driver_kicks_as_it_should(void)
{
	for (unsigned size = 2; size < 12; size++) {
		check_kicks(size, 0);
		check_kicks(size, RING_EVENT_IDX);
	}
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
	{"call_unless_the_flags_say_no", call_unless_the_flags_say_no},
	{"no_call_descriptor", no_call_descriptor},
	{"flags_tell_not_to_kick", flags_tell_not_to_kick},
	{"look_after_asking", look_after_asking},
	{0},
};

/* These set up the ring in their own way ... */
static const struct tap_case size_cases[] = {
	{"batch_of_lists_across_the_wrap", batch_of_lists_across_the_wrap},
	{"batch_is_seen_all_at_once", batch_is_seen_all_at_once},
	{"base_tells_both_places", base_tells_both_places},
	{"goes_on_from_its_base", goes_on_from_its_base},
	{"indirect_not_negotiated", indirect_not_negotiated},
	{"calls_as_the_driver_asks", calls_as_the_driver_asks},
	{"flags_are_cleared_at_start", flags_are_cleared_at_start},
	{"event_is_the_next_slot", event_is_the_next_slot},
	{0},
};

/* ... and these several, one after the other. */
static const struct tap_case many_cases[] = {
	{"flags_of_another_lap", flags_of_another_lap},
	{"sizes_of_all_kinds", sizes_of_all_kinds},
	{"largest_rings", largest_rings},
	{"whole_ring_as_one_list", whole_ring_as_one_list},
	{"base_lies_in_the_ring", base_lies_in_the_ring},
	{"tables_of_wrong_sizes", tables_of_wrong_sizes},
	{"call_when_the_event_is_in_the_batch", call_when_the_event_is_in_the_batch},
	{"driver_kicks_as_it_should", driver_kicks_as_it_should},
	{0},
};

static const struct tap_case indirect_cases[] = {
	{"indirect_table", indirect_table},
	{"other_flags_of_a_table_are_ignored", other_flags_of_a_table_are_ignored},
	{"table_longer_than_the_ring", table_longer_than_the_ring},
	{"tables_and_lists_in_turn", tables_and_lists_in_turn},
	{"indirect_after_direct", indirect_after_direct},
	{"table_outside_memory", table_outside_memory},
	{"table_that_wraps_around", table_that_wraps_around},
	{"long_chains_wait_for_each_other", long_chains_wait_for_each_other},
	{0},
};

static const struct tap_case event_cases[] = {
	{"flags_count_with_event_idx_too", flags_count_with_event_idx_too},
	{"first_batch_always_calls", first_batch_always_calls},
	{"look_after_asking_with_an_event", look_after_asking},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "packed", .setup = setup, .teardown = ring_close, .cases = entry_cases},
	{.name = "packed ring", .teardown = ring_close, .cases = size_cases},
	{.name = "packed rings", .cases = many_cases},
	{.name = "packed indirect",
	 .setup = setup_indirect,
	 .teardown = ring_close,
	 .cases = indirect_cases},
	{.name = "packed event_idx",
	 .setup = setup_event_idx,
	 .teardown = ring_close,
	 .cases = event_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
