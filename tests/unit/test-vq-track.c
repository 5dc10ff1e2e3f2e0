/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vq/track*.c: what is written down of requests in flight, in which order, and what the next
 * process makes of it. The "kill" cases run a piece of code one instruction at a time, take a
 * picture of memory after each store, and have a new queue go on from every one of them.
 */
#include <signal.h>
#include <stdlib.h>

#include "tests/unit/ring.h"

#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define AVAIL    (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED     (1u << VRING_PACKED_DESC_F_USED)

#define MOST 32u

static struct vublk_chain chains[MOST];
static struct iovec iovs[MOST][RING_IOVS];
static struct inflight_split *sr;
static struct inflight_packed *pr;

/* ---- a ring and its region ---- */

/* The region of the ring's queue, of `entries` entries, all zeros. */
static void make_region(unsigned queues, unsigned entries, bool packed)
{
	struct vhu_inflight_desc desc = {.num_queues = (uint16_t)queues,
					 .queue_size = (uint16_t)entries};
	int fd;

	REQUIRE_OK(vhu_inflight_create(queues, entries, packed, &fd, &desc.mmap_size));
	REQUIRE_OK(vhu_inflight_adopt(&ring.inflight, "test", &desc, fd, packed, queues));
	close(fd);
	sr = vhu_inflight_queue(ring.inflight, 0);
	pr = vhu_inflight_queue(ring.inflight, 0);
}

static uint32_t base_at(unsigned idx, bool wrap)
{
	return (idx | (wrap ? 0x8000u : 0)) * 0x10001u;
}

/* A tracked ring that does not run yet. */
static void make_tracked(unsigned size, unsigned entries, uint64_t features, uint32_t base)
{
	ring_make(size, features);
	fe_vq_reset(&ring.driver, base);
	ring.layout.base = base;
	make_region(1, entries, features & RING_PACKED);
}

/* Starts it, with this base. */
static int start_at(uint32_t base)
{
	ring.layout.base = base;
	REQUIRE_OK(ring_setup());
	return vublk_queue_begin(&ring.vq);
}

static int start(void)
{
	return start_at(ring.layout.base);
}

static void open_tracked(unsigned size, uint64_t features, uint32_t base)
{
	make_tracked(size, size, features, base);
	REQUIRE_OK(start());
}

static void setup_split(void)
{
	open_tracked(16, 0, 0);
}

static void setup_packed(void)
{
	open_tracked(16, RING_PACKED, FE_PACKED_FRESH);
}

static struct vublk_chain *pop(unsigned i)
{
	vublk_chain_init(&chains[i], iovs[i], RING_IOVS);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &chains[i]), 1);
	return &chains[i];
}

static void push(unsigned i)
{
	vublk_queue_push(&ring.vq, &chains[i], 0);
}

/* The process dies: what it had in hand is in nobody's any more. */
static void drop(unsigned i)
{
	vublk_queue_abandon(&ring.vq, &chains[i]);
}

/* Makes descriptor `head` available as a request by itself. */
static void offer_head(unsigned head)
{
	ring_desc(head, RING_DATA + head, 1, 0, 0);
	fe_vq_raw_push(&ring.driver, (uint16_t)head);
}

/* Makes a list of n descriptors available, in a packed ring. */
static void offer_list(unsigned n, unsigned id)
{
	struct vring_packed_desc desc[MOST];

	for (unsigned i = 0; i < n; i++)
		desc[i] = (struct vring_packed_desc){RING_DATA + 16 * id + i, 1,
						     (uint16_t)(i + 1 < n ? 0xbad : id),
						     (uint16_t)(AVAIL | (i + 1 < n ? NEXT : 0))};
	fe_vq_raw_descs(&ring.driver, desc, n);
}

/* ---- a region that does not fit ---- */

static void check_no_place(unsigned queues, unsigned entries, bool region_packed, uint64_t features,
			   unsigned index)
{
	ring_make(16, features);
	make_region(queues, entries, region_packed);
	vq_init(&ring.vq, "test", index);
	CHECK_EQ(ring_setup(), -EINVAL);
	CHECK(!ring.vq.track && !ring.vq.pushed && !ring.vq.lease);
	CHECK(is_mapped(sr));
	vhu_inflight_put(ring.inflight);
	ring.inflight = NULL;
	CHECK(!is_mapped(sr)); /* no reference was left */
	ring_close();
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
	make_region(queues, entries, features);
	vq_init(&ring.vq, "test", index);
	CHECK_OK(ring_setup());
	CHECK(!vublk_queue_tracked(&ring.vq));
	vhu_inflight_put(ring.inflight);
	ring.inflight = NULL;
	CHECK(!is_mapped(sr)); /* no reference was left */
	ring_close();
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
	open_tracked(16, 0, 0);
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
	make_region(3, 16, false);
	vq_init(&ring.vq, "test", 2);
	REQUIRE_OK(start());
	offer_head(3);
	pop(0);
	CHECK_EQ(sr->version, 0);
	sr = vhu_inflight_queue(ring.inflight, 2);
	CHECK_EQ(sr->version, 1);
	CHECK_EQ(sr->desc[3].inflight, 1);
	push(0);
}

/* ---- split: step by step ---- */

static void split_fresh_region(void)
{
	make_tracked(16, 20, 0, 0);
	ring.driver.ring.used->idx = 777;
	ring.driver.ring.avail->idx = ring.driver.avail_idx = 777;
	sr->desc[19].inflight = sr->desc[3].inflight = 1; /* means nothing yet */
	sr->used_idx = sr->last_batch_head = 99;
	REQUIRE_OK(start_at(777));
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
	offer_head(7);
	offer_head(2);
	CHECK_EQ(pop(0)->id, 7);
	CHECK_EQ(sr->desc[7].inflight, 1);
	CHECK_EQ(sr->desc[2].inflight, 0);
	pop(1);
	CHECK_EQ(sr->desc[2].inflight, 1);
	CHECK_EQ(sr->desc[2].counter, 1);
	push(0);
	CHECK_EQ(sr->desc[7].inflight, 1); /* until it is published */
	push(1);
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
		offer_head(10 + i);
		pop(i);
	}
	push(2);
	push(0);
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
	drop(1);
	drop(3);
}

/* A guest that gives the same request twice. */
static void split_head_in_flight_made_available_again(void)
{
	ring_give_fds();
	offer_head(4);
	pop(0);
	offer_head(4);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	CHECK_EQ(ring.vq.n_taken, 1);
	push(0);
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

/* ---- packed: step by step ---- */

/* Nothing is half-done in the region. */
static void check_settled(unsigned idx, bool wrap)
{
	CHECK_EQ(pr->free_head, pr->old_free_head);
	CHECK_EQ(pr->used.idx, idx);
	CHECK_EQ(pr->used.wrap, wrap);
	CHECK_EQ(pr->used.old_idx, idx);
	CHECK_EQ(pr->used.old_wrap, wrap);
}

static void packed_fresh_region(void)
{
	make_tracked(7, 9, RING_PACKED, base_at(5, false));
	pr->desc[3].inflight = 1;
	pr->free_head = 4;
	pr->used.all = UINT64_MAX;
	REQUIRE_OK(start());
	CHECK_EQ(pr->version, 1);
	CHECK_EQ(pr->desc_num, 9);
	check_settled(5, false);
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
	check_settled(0, true);
	CHECK_EQ(pr->free_head, 0);
	CHECK_EQ(vq_track_packed_end(&ring.vq), 0);
	CHECK_EQ(pr->desc[0].inflight, 1);
	CHECK_EQ(pr->desc[0].num, 2);
	CHECK_EQ(pr->desc[0].last, 1);
	CHECK_EQ(pr->desc[0].next, 1);
	CHECK_EQ(pr->desc[0].counter, 0);
	CHECK_EQ(pr->desc[1].inflight, 0); /* the first one stands for all */
	CHECK_EQ(pr->free_head, 2);
	check_settled(0, true);
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
	offer_list(2, 1); /* entries 0, 1 */
	offer_list(1, 2); /* 2 */
	offer_list(3, 3); /* 3, 4, 5 */
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(pop(i)->entry, i ? i + 1 : 0);
	CHECK_EQ(pr->free_head, 6);
	push(2);
	push(0);
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
	check_settled(5, true);
	ring.vq.n_pushed = 0;
	drop(1);
}

static void packed_publish_wraps(void)
{
	ring_close();
	open_tracked(5, RING_PACKED, base_at(3, true));
	offer_list(2, 1);
	offer_list(2, 2);
	pop(0);
	pop(1);
	push(1);
	vublk_queue_publish(&ring.vq);
	check_settled(0, false);
	push(0);
	vublk_queue_publish(&ring.vq);
	check_settled(2, false);
	/* Free ones are taken again as they were given back. */
	offer_list(3, 3);
	pop(0);
	CHECK_EQ(chains[0].entry, 0);
	CHECK_EQ(pr->desc[0].next, 1);
	CHECK_EQ(pr->desc[1].next, 2);
	CHECK_EQ(pr->desc[0].last, 2);
	CHECK_EQ(pr->desc[0].counter, 2);
	push(0);
}

static void packed_breaks_are_not_taken(void)
{
	offer_list(2, 1);
	ring.driver.packed.desc[1].addr = RING_END;
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EPROTO);
	CHECK_EQ(pr->desc[0].inflight, 0);
	check_settled(0, true);
	CHECK_EQ(pr->free_head, 0);
}

/* ---- the base ---- */

static void split_base_with_and_without_requests_in_flight(void)
{
	for (unsigned i = 0; i < 5; i++) {
		offer_head(i);
		if (i < 3)
			pop(i);
	}
	push(1);
	vublk_queue_publish(&ring.vq);
	drop(0);
	drop(2);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), 1); /* the used index */
	vq_teardown(&ring.vq);
	REQUIRE_OK(start_at(1));
	CHECK_EQ(pop(0)->id, 0);
	CHECK_EQ(pop(1)->id, 2);
	CHECK_EQ(pop(2)->id, 3);
	CHECK_EQ(pop(3)->id, 4);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
	for (unsigned i = 0; i < 4; i++)
		push(i);
	vublk_queue_publish(&ring.vq);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), 5);
	CHECK_EQ(ring.driver.ring.used->idx, 5);
}

static void packed_base_with_and_without_requests_in_flight(void)
{
	offer_list(3, 0);
	offer_list(2, 1);
	offer_list(1, 2);
	pop(0);
	pop(1);
	push(1);
	vublk_queue_publish(&ring.vq);
	drop(0);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), base_at(2, true));
	vq_teardown(&ring.vq);
	REQUIRE_OK(start_at(base_at(2, true)));
	CHECK_EQ(pop(0)->id, 0);
	CHECK_EQ(chains[0].num, 3);
	CHECK_EQ(pop(1)->id, 2);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
	push(0);
	push(1);
	vublk_queue_publish(&ring.vq);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), base_at(6, true));
}

/* They stay in flight if the queue ends before they were popped again. */
static void recovered_and_not_popped(void)
{
	for (unsigned i = 0; i < 3; i++)
		offer_head(i);
	for (unsigned i = 0; i < 3; i++) {
		pop(i);
		drop(i);
	}
	for (unsigned i = 0; i < 3; i++) {
		vq_teardown(&ring.vq);
		REQUIRE_OK(start_at(0));
		if (i) {
			CHECK_EQ(pop(0)->id, 0);
			drop(0);
		}
		vublk_queue_end(&ring.vq);
		CHECK_EQ(vq_base(&ring.vq), 0);
	}
	vq_teardown(&ring.vq);
	REQUIRE_OK(start_at(0));
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(pop(i)->id, i);
	for (unsigned i = 0; i < 3; i++)
		push(i);
}

/* A queue that is not tracked says how far it has popped. */
static void base_without_tracking(void)
{
	ring_open(16, 0);
	CHECK(!vublk_queue_tracked(&ring.vq));
	offer_head(0);
	offer_head(1);
	pop(0);
	vublk_queue_end(&ring.vq);
	CHECK_EQ(vq_base(&ring.vq), 1);
	push(0);
}

/* The front-end's base may count what is in flight, or be anything. */
static void split_base_means_nothing_with_requests_in_flight(void)
{
	static const uint32_t bases[] = {100, 102, 0, 99, 65535};

	for (unsigned i = 0; i < 5; i++) {
		open_tracked(16, 0, 100);
		for (unsigned k = 0; k < 3; k++)
			offer_head(k);
		pop(0);
		pop(1);
		drop(0);
		drop(1);
		vq_teardown(&ring.vq);
		REQUIRE_OK(start_at(bases[i]));
		for (unsigned k = 0; k < 3; k++)
			CHECK_EQ(pop(k)->id, k);
		CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
		for (unsigned k = 0; k < 3; k++)
			push(k);
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(ring.driver.ring.used->idx, 103);
		ring_close();
	}
}

/* With nothing in flight it means nothing either: what was queued meanwhile is served, once. */
static void split_base_means_nothing_with_none_in_flight(void)
{
	/* Of now, of when the front-end hung up, the driver's, of a fresh ring, nonsense. */
	static const uint32_t bases[] = {102, 101, 100, 104, 0, 65535, 30000};

	for (unsigned i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		open_tracked(16, 0, 100);
		for (unsigned k = 0; k < 2; k++) {
			offer_head(k);
			pop(k);
			push(k);
		}
		vublk_queue_publish(&ring.vq);
		vq_teardown(&ring.vq);
		offer_head(7);
		offer_head(9);
		REQUIRE_OK(start_at(bases[i]));
		CHECK_EQ(pop(0)->id, 7);
		CHECK_EQ(pop(1)->id, 9);
		CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
		push(0);
		push(1);
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(ring.driver.ring.used->idx, 104);
		CHECK_EQ(sr->used_idx, 104);
		ring_close();
	}
}

static void packed_base_means_nothing(void)
{
	static const uint32_t bases[] = {FE_PACKED_FRESH, 0,          0xffffffff,
					 0x7fff7fff,      0x8000,     0x00058007,
					 0x80008003,      0x12345678, 0x80028002};

	for (unsigned i = 0; i < sizeof(bases) / sizeof(*bases); i++)
		for (unsigned left = 0; left < 2; left++) {
			open_tracked(16, RING_PACKED, FE_PACKED_FRESH);
			offer_list(2, 3);
			pop(0);
			push(0);
			vublk_queue_publish(&ring.vq);
			offer_list(1, 5);
			if (left) {
				pop(0);
				drop(0);
			}
			vq_teardown(&ring.vq);
			offer_list(1, 6);
			REQUIRE_OK(start_at(bases[i]));
			CHECK_EQ(pop(0)->id, 5);
			CHECK_EQ(pop(1)->id, 6);
			CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
			push(0);
			push(1);
			vublk_queue_publish(&ring.vq);
			CHECK_EQ(pr->used.idx, 4);
			ring_close();
		}
}

/* A ring that a driver creates anew, with a region that its front-end keeps. */
static void split_ring_made_anew(void)
{
	for (unsigned i = 0; i < 9; i++) {
		offer_head(i);
		pop(0);
		push(0);
		vublk_queue_publish(&ring.vq);
	}
	CHECK_EQ(sr->used_idx, 9);
	vq_teardown(&ring.vq);
	fe_vq_reset(&ring.driver, 0);
	REQUIRE_OK(start_at(0));
	CHECK_EQ(sr->used_idx, 0);
	offer_head(6);
	CHECK_EQ(pop(0)->id, 6);
	push(0);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(sr->used_idx, 1);
	CHECK_EQ(ring.driver.ring.used->ring[0].id, 6);
}

/* ---- the rows of the tables in doc/architecture.md ---- */

/* A known region of which nothing is in flight, used and available index 40. */
static void build_split(void)
{
	make_tracked(8, 8, 0, 40);
	sr->version = 1;
	sr->desc_num = 8;
	sr->used_idx = 40;
	sr->last_batch_head = 3; /* of long ago */
	sr->desc[3].next = 6;
	for (unsigned i = 0; i < 4; i++)
		offer_head(i);
}

static void in_flight(unsigned head, uint64_t counter)
{
	sr->desc[head].inflight = 1;
	sr->desc[head].counter = counter;
}

/* What comes out, in order: heads or ids, and nothing more. */
static void check_pops(const char *expected)
{
	unsigned n;

	for (n = 0; expected[n]; n++)
		CHECK_EQ(pop(n)->id, (unsigned)(expected[n] - '0'));
	vublk_chain_init(&chains[n], iovs[n], RING_IOVS);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &chains[n]), 0);
	while (n)
		push(--n);
}

/* The used elements that the dead process wrote. */
static void used_element(unsigned at, unsigned head)
{
	ring.driver.ring.used->ring[at % 8] = (struct vring_used_elem){head, 0};
}

static void split_killed_in_a_take(void)
{
	build_split();
	sr->desc[0].counter = 5; /* the counter, and no more */
	REQUIRE_OK(start_at(40));
	check_pops("0123");
	ring_close();
	build_split();
	in_flight(0, 5);
	in_flight(1, 6);
	REQUIRE_OK(start_at(40));
	CHECK_EQ(ring.vq.next_avail, 42);
	CHECK_EQ(sr->desc[0].counter, 0);
	CHECK_EQ(sr->desc[1].counter, 1);
	check_pops("0123");
}

/* 0 to 3 in flight, 2 and then 1 being given back. */
static void build_split_give(bool linked, bool used, unsigned cleared)
{
	build_split();
	for (unsigned i = 0; i < 4; i++)
		in_flight(i, 10 + i);
	used_element(40, 2);
	used_element(41, 1);
	sr->desc[2].next = 3;
	sr->last_batch_head = 2;
	if (linked) {
		sr->desc[1].next = 2;
		sr->last_batch_head = 1;
	}
	if (used)
		ring.driver.ring.used->idx = 42;
	if (cleared > 0)
		sr->desc[2].inflight = 0;
	if (cleared > 1)
		sr->desc[1].inflight = 0;
}

static void split_killed_before_the_used_index(void)
{
	for (unsigned linked = 0; linked < 2; linked++) {
		build_split_give(linked, false, 0);
		REQUIRE_OK(start_at(40));
		check_pops("0123");
		ring_close();
	}
}

static void split_killed_after_the_used_index(void)
{
	for (unsigned cleared = 0; cleared < 3; cleared++) {
		build_split_give(true, true, cleared);
		REQUIRE_OK(start_at(42));
		CHECK_EQ(sr->used_idx, 42);
		CHECK_EQ(sr->desc[1].inflight, 0);
		CHECK_EQ(sr->desc[2].inflight, 0);
		check_pops("03");
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(ring.driver.ring.used->idx, 44);
		ring_close();
	}
}

static void split_killed_when_only_the_index_was_left(void)
{
	build_split_give(true, true, 2);
	sr->desc[0].inflight = sr->desc[3].inflight = 0;
	ring.driver.ring.used->idx = 44;
	sr->desc[1].next = 2;
	REQUIRE_OK(start_at(44));
	CHECK_EQ(sr->used_idx, 44);
	check_pops("");
}

static void split_index_that_wraps(void)
{
	build_split();
	fe_vq_reset(&ring.driver, 65535);
	for (unsigned i = 0; i < 4; i++) {
		offer_head(i);
		in_flight(i, UINT64_MAX - 3 + i);
	}
	sr->used_idx = 65535;
	ring.driver.ring.used->idx = 1;
	sr->last_batch_head = 3;
	sr->desc[3].next = 0;
	REQUIRE_OK(start_at(1));
	CHECK_EQ(sr->used_idx, 1);
	CHECK_EQ(ring.vq.next_avail, 3);
	check_pops("12");
}

static void split_counters_are_counted_anew(void)
{
	static const uint64_t counters[4] = {UINT64_MAX, 7, UINT64_MAX - 1, 1ull << 40};

	build_split();
	for (unsigned i = 0; i < 4; i++)
		in_flight(i, counters[i]);
	REQUIRE_OK(start_at(40));
	CHECK_EQ(sr->desc[1].counter, 0);
	CHECK_EQ(sr->desc[3].counter, 1);
	CHECK_EQ(sr->desc[2].counter, 2);
	CHECK_EQ(sr->desc[0].counter, 3);
	CHECK_EQ(ring.vq.track->counter, 4);
	check_pops("1320");
	vublk_queue_publish(&ring.vq);
	offer_head(5);
	pop(0);
	CHECK_EQ(sr->desc[5].counter, 4);
	push(0);
}

static void split_corrupt(const char *what)
{
	const int err = start_at(ring.driver.ring.used->idx);

	tap_check(err == -EINVAL, false, __FILE__, __LINE__, "%s: %d", what, err);
	ring_close();
	build_split_give(true, true, 1);
}

static void split_corrupt_regions(void)
{
	build_split_give(true, true, 1);
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
		in_flight(i, i);
	split_corrupt("more in flight than available");
	ring_close();
	make_tracked(8, 16, 0, 0);
	sr->version = 1;
	sr->desc_num = 16;
	in_flight(8, 0);
	split_corrupt("an entry that the ring has not");
}

/* What cannot be told from a right one is survived. */
static void split_strange_regions(void)
{
	build_split_give(true, true, 0);
	sr->desc[1].next = 1; /* a loop: so three are in flight, of two that there can be */
	CHECK_EQ(start_at(42), -EINVAL);
	ring_close();
	build_split();
	in_flight(7, 1); /* never made available; its descriptor is what there is */
	sr->desc[7].inflight = 255;
	REQUIRE_OK(start_at(40));
	CHECK_EQ(pop(0)->id, 7);
	push(0);
}

/* ---- the same for packed rings ---- */

static void entry(unsigned i, unsigned next, unsigned id, unsigned flags)
{
	pr->desc[i].next = (uint16_t)next;
	pr->desc[i].id = (uint16_t)id;
	pr->desc[i].flags = (uint16_t)flags;
	pr->desc[i].addr = RING_DATA + i;
	pr->desc[i].len = 1;
}

static void in_flight_packed(unsigned first, unsigned last, unsigned num, uint64_t counter)
{
	pr->desc[first].inflight = 1;
	pr->desc[first].last = (uint16_t)last;
	pr->desc[first].num = (uint16_t)num;
	pr->desc[first].counter = counter;
}

/*
 * A ring of 8 that begins at slot 5: lists of 2 (id 1; slots 5, 6), 1 (id 2; slot 7), 2 (id 3;
 * slots 0, 1, the next lap) and 1 (id 4; slot 2), of which the first three are in flight in entries
 * 3 4, 0 and 6 1; the free ones are 5 2 7.
 */
static void build_packed(void)
{
	make_tracked(8, 8, RING_PACKED, base_at(5, true));
	offer_list(2, 1);
	offer_list(1, 2);
	offer_list(2, 3);
	offer_list(1, 4);
	pr->version = 1;
	pr->desc_num = 8;
	entry(3, 4, 0xbad, AVAIL | NEXT);
	entry(4, 99, 1, AVAIL);
	in_flight_packed(3, 4, 2, 50);
	entry(0, 77, 2, AVAIL);
	in_flight_packed(0, 0, 1, 51);
	entry(6, 1, 0xbad, USED | NEXT);
	entry(1, 5, 3, USED);
	in_flight_packed(6, 1, 2, 52);
	entry(5, 2, 0, 0);
	entry(2, 7, 0, 0);
	entry(7, 8, 0, 0);
	pr->free_head = pr->old_free_head = 5;
	pr->used = (union inflight_used_packed){.idx = 5, .old_idx = 5, .wrap = 1, .old_wrap = 1};
}

/* Starts with the base that QEMU has, of long ago. */
static void start_stale(void)
{
	REQUIRE_OK(start_at(FE_PACKED_FRESH));
}

static unsigned n_free(void)
{
	unsigned n = 0;

	for (unsigned at = pr->free_head; at < 8; at = pr->desc[at].next)
		REQUIRE(n++ < 8);
	return n;
}

static void packed_at_nothing(void)
{
	build_packed();
	start_stale();
	CHECK_EQ(ring.vq.used_idx, 5);
	CHECK(ring.vq.used_wrap);
	CHECK_EQ(ring.vq.next_avail, 2);
	CHECK(!ring.vq.avail_wrap);
	CHECK_EQ(ring.vq.in_use, 5);
	CHECK_EQ(pr->desc[3].counter, 0);
	CHECK_EQ(pr->desc[0].counter, 1);
	CHECK_EQ(pr->desc[6].counter, 2);
	check_pops("1234");
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(n_free(), 8);
	check_settled(3, false);
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
		build_packed();
		entry(5, 2, 4, USED);
		if (step > 0)
			in_flight_packed(5, 5, 1, 53);
		if (step > 1)
			pr->free_head = 2;
		if (step > 2)
			pr->old_free_head = 2;
		start_stale();
		/* Before the last step it was not taken: the ring still has it. */
		CHECK_EQ(ring.vq.track->n_recovered, step > 2 ? 4 : 3);
		CHECK_EQ(ring.vq.next_avail, step > 2 ? 3 : 2);
		CHECK_EQ(pr->free_head, step > 2 ? 2 : 5);
		CHECK_EQ(pr->old_free_head, pr->free_head);
		CHECK_EQ(pr->desc[5].inflight, step > 2);
		check_pops("1234");
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(n_free(), 8);
		ring_close();
	}
}

/*
 * Giving back id 3 and then id 1: 2 slots at 5, 2 at 7 (and 0). Links, used index, later slots, the
 * first one's flags, clearing, free head, old index: so many of these seven.
 */
static void build_packed_give(unsigned steps)
{
	struct vring_packed_desc *desc = ring.driver.packed.desc;

	build_packed();
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
		start_stale();
		check_settled(5, true);
		CHECK_EQ(pr->free_head, 5);
		/* What was marked used behind the first slot is not any more. */
		CHECK_EQ(ring.driver.packed.desc[7].flags & (AVAIL | USED), AVAIL);
		CHECK_EQ(ring.driver.packed.desc[0].flags & (AVAIL | USED), USED);
		/* The next to be given back does not expose it. */
		REQUIRE_EQ(pop(0)->id, 1);
		REQUIRE_EQ(pop(1)->id, 2);
		push(0);
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(ring.driver.packed.desc[5].flags & (AVAIL | USED), AVAIL | USED);
		CHECK_EQ(ring.driver.packed.desc[7].flags & (AVAIL | USED), AVAIL);
		push(1);
		check_pops("34");
		vublk_queue_publish(&ring.vq);
		CHECK_EQ(n_free(), 8);
		check_settled(3, false);
		ring_close();
	}
}

static void packed_killed_after_the_flags(void)
{
	for (unsigned steps = 5; steps <= 9; steps++)
		for (unsigned again = 0; again < 2; again++) {
			build_packed_give(steps);
			if (again) /* the driver uses the slot on its next lap */
				ring.driver.packed.desc[5].flags = USED;
			start_stale();
			check_settled(1, false);
			CHECK_EQ(pr->free_head, 3);
			CHECK_EQ(n_free(), 7);
			CHECK_EQ(pr->desc[3].inflight, 0);
			CHECK_EQ(pr->desc[6].inflight, 0);
			CHECK_EQ(ring.vq.in_use, 1);
			check_pops("24");
			vublk_queue_publish(&ring.vq);
			CHECK_EQ(n_free(), 8);
			check_settled(3, false);
			ring_close();
		}
}

static void packed_counters_are_counted_anew(void)
{
	build_packed();
	pr->desc[3].counter = UINT64_MAX;
	pr->desc[0].counter = UINT64_MAX - 1;
	pr->desc[6].counter = 3;
	start_stale();
	CHECK_EQ(pr->desc[6].counter, 0);
	CHECK_EQ(pr->desc[0].counter, 1);
	CHECK_EQ(pr->desc[3].counter, 2);
	check_pops("3214");
}

/* A request's descriptors come from the region, for the ring's may be overwritten. */
static void packed_descriptors_come_from_the_region(void)
{
	build_packed();
	for (unsigned i = 5; i < 8; i++) {
		ring.driver.packed.desc[i].addr = RING_END;
		ring.driver.packed.desc[i].id = 0xbad;
	}
	start_stale();
	CHECK_EQ(pop(0)->n_out, 2);
	CHECK(ring_is_at(&chains[0].out[0], RING_DATA + 3, 1));
	CHECK(ring_is_at(&chains[0].out[1], RING_DATA + 4, 1));
	CHECK_EQ(pop(1)->id, 2);
	push(0);
	push(1);
}

static void packed_whole_ring_in_flight(void)
{
	open_tracked(5, RING_PACKED, base_at(3, false));
	for (unsigned i = 0; i < 5; i++)
		offer_list(1, i);
	for (unsigned i = 0; i < 5; i++) {
		pop(i);
		drop(i);
	}
	vq_teardown(&ring.vq);
	start_stale();
	CHECK_EQ(ring.vq.in_use, 5);
	CHECK_EQ(ring.vq.next_avail, 3);
	CHECK(ring.vq.avail_wrap && !ring.vq.used_wrap);
	check_pops("01234");
	vublk_queue_publish(&ring.vq);
	check_settled(3, true);
}

static void packed_corrupt(const char *what)
{
	const int err = start_at(FE_PACKED_FRESH);

	tap_check(err == -EINVAL, false, __FILE__, __LINE__, "%s: %d", what, err);
	ring_close();
	build_packed();
}

static void packed_corrupt_regions(void)
{
	build_packed();
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
	in_flight_packed(1, 1, 1, 9);
	packed_corrupt("an entry within a request that is one itself");
	pr->desc[7].next = 0;
	pr->desc[0].next = 6;
	packed_corrupt("a free list that cuts a request in two");
	ring_close();
	/* Each request by itself could be. */
	make_tracked(4, 16, RING_PACKED, FE_PACKED_FRESH);
	pr->version = 1;
	pr->desc_num = 16;
	pr->free_head = pr->old_free_head = 16;
	pr->used.wrap = pr->used.old_wrap = 1;
	for (unsigned i = 0; i < 5; i++) {
		entry(i, i + 1, i, AVAIL);
		in_flight_packed(i, i, 1, i);
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
		build_packed();
		pr->desc[3].addr = wrong[i].addr;
		pr->desc[3].len = wrong[i].len;
		pr->desc[3].flags = wrong[i].flags;
		start_stale();
		ring_give_fds();
		ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
		vublk_queue_end(&ring.vq);
		CHECK_EQ(vq_base(&ring.vq), base_at(5, true));
		ring_close();
	}
}

/* The front-end that changes the region under us harms only itself. */
static void region_is_not_read_again(void)
{
	build_packed();
	start_stale();
	for (unsigned i = 0; i < 8; i++)
		pr->desc[i].next = pr->desc[i].last = pr->desc[i].num = UINT16_MAX;
	pr->free_head = pr->old_free_head = UINT16_MAX;
	pr->used.all = UINT64_MAX;
	check_pops("1234");
	vublk_queue_publish(&ring.vq);
	check_settled(3, false);
	for (unsigned i = 0; i < 8; i++) {
		offer_list(3, 5);
		pop(0);
		push(0);
		vublk_queue_publish(&ring.vq);
	}
	check_settled((3 + 24) % 8, true);
	ring_close();
	build_split_give(true, true, 1);
	REQUIRE_OK(start_at(42));
	memset(sr, 0xff, 16 + 16 * 8);
	check_pops("03");
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(ring.driver.ring.used->idx, 44);
	CHECK_EQ(sr->used_idx, 44);
}

/* A request that has to wait for memory is not lost, in either ring. */
static void recovered_request_that_waits(void)
{
	build_packed();
	start_stale();
	ring.vq.allocated = 2 * 65536;
	vublk_chain_init(&ring.chain, ring.iov, 1);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EAGAIN);
	ring.vq.allocated = 0;
	check_pops("1234");
	ring_close();
	build_split();
	ring_desc(0, RING_DATA, 1, NEXT, 5);
	ring_desc(5, RING_DATA, 1, 0, 0);
	in_flight(0, 1);
	REQUIRE_OK(start_at(40));
	ring.vq.allocated = 2 * 65536;
	vublk_chain_init(&ring.chain, ring.iov, 1);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EAGAIN);
	ring.vq.allocated = 0;
	check_pops("0123");
}

/* ---- killed after any store ---- */

struct picture {
	uint8_t guest[1024], region[1024];
};

struct pictures {
	unsigned n;
	struct picture p[300];
};

static uint8_t *guest;
static size_t guest_size, region_size;
static struct pictures *recorder;

static void take_picture(struct picture *p)
{
	memcpy(p->guest, guest, guest_size);
	memcpy(p->region, sr, region_size);
}

static void restore(const struct picture *p)
{
	memcpy(guest, p->guest, guest_size);
	memcpy(sr, p->region, region_size);
}

static void trapped(int signal)
{
	const struct picture *last = &recorder->p[recorder->n - 1];

	(void)signal;
	if (memcmp(last->guest, guest, guest_size) || memcmp(last->region, sr, region_size)) {
		if (recorder->n == 300)
			abort();
		take_picture(&recorder->p[recorder->n++]);
	}
}

/* Runs it, with a picture before and after each instruction that stores. */
static void record(struct pictures *pictures, void (*run)(void))
{
#ifdef __x86_64__
	const struct sigaction action = {.sa_handler = trapped};
	struct picture after;

	recorder = pictures;
	recorder->n = 1;
	take_picture(&recorder->p[0]);
	REQUIRE_OK(sigaction(SIGTRAP, &action, NULL));
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | 0x100);
	run();
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~0x100ull);
	take_picture(&after);
	if (memcmp(after.guest, recorder->p[recorder->n - 1].guest, guest_size) ||
	    memcmp(after.region, recorder->p[recorder->n - 1].region, region_size))
		tap_skip("nothing runs one instruction at a time here");
#else
	(void)pictures;
	(void)run;
	(void)trapped;
	tap_skip("only x86-64 runs one instruction at a time");
#endif
}

/* A ring with `n` requests available of which `taken` are, and some of those given back. */
struct plan {
	bool packed;
	unsigned size;
	uint32_t base;
	unsigned warm; /* rounds before, so that lists are in disorder */
	unsigned n, taken, before, batch;
};

static struct plan plan;
static struct fe_pos first_slot; /* packed: where the first of the n is */
static uint16_t first_idx;       /* split */

static unsigned slots_of(unsigned i)
{
	return plan.packed ? 1 + i % 3 : 1;
}

static unsigned id_of(unsigned i)
{
	return plan.packed ? 100 + i : (3 * i + 1) % plan.size;
}

static unsigned request_of(unsigned id)
{
	unsigned i = 0;

	while (i < plan.n && id_of(i) != id)
		i++;
	return i;
}

static void offer_request(unsigned i)
{
	if (plan.packed)
		offer_list(slots_of(i), id_of(i));
	else
		offer_head(id_of(i));
}

/* The requests that the driver sees as used, in order; how many. */
static unsigned given(unsigned list[MOST])
{
	const struct vring_packed_desc *desc = ring.driver.packed.desc;
	struct fe_pos at = first_slot;
	unsigned n = 0;

	if (!plan.packed) {
		const uint16_t idx = ring.driver.ring.used->idx;

		for (uint16_t k = first_idx; k != idx; k++) {
			REQUIRE(n < MOST);
			list[n++] = request_of(ring.driver.ring.used->ring[k % plan.size].id);
		}
		return n;
	}
	while (n < plan.n &&
	       (desc[at.idx].flags & (AVAIL | USED)) == (at.wrap ? AVAIL | USED : 0)) {
		bool wrap = at.wrap;

		list[n] = request_of(desc[at.idx].id);
		if (list[n] == plan.n) /* the driver does not know it, and says so */
			return n + 1;
		vq_packed_advance(&ring.vq, &at.idx, &wrap, slots_of(list[n++]));
		at.wrap = wrap;
	}
	return n;
}

static int begin_err;

static void begin(void)
{
	begin_err = vublk_queue_begin(&ring.vq);
}

static void publish(void)
{
	vublk_queue_publish(&ring.vq);
}

/* The base that QEMU sends to the next process. */
static uint32_t qemu_base(void)
{
	return plan.packed ? plan.base : ring.driver.ring.used->idx;
}

static void setup_next(void)
{
	ring.layout.base = qemu_base();
	REQUIRE_OK(ring_setup());
}

static bool all_is_well; /* so that a thousand failures are one line */

static void check_next_process(const struct picture *p, const char *when, unsigned step)
{
	unsigned list[MOST], n_given, n = 0, expected[MOST], n_expected = 0;
	bool seen[MOST] = {0}, good = true;

	if (!all_is_well)
		return;
	restore(p);
	n_given = given(list);
	for (unsigned i = 0; i < n_given; i++) {
		good = good && list[i] < plan.n && !seen[list[i]];
		if (good)
			seen[list[i]] = true;
	}
	for (unsigned i = 0; i < plan.n; i++)
		if (!seen[i])
			expected[n_expected++] = i;
	setup_next();
	begin();
	good = good && !begin_err;
	for (; good && n <= n_expected; n++) {
		vublk_chain_init(&chains[n], iovs[n], RING_IOVS);
		if (vublk_queue_pop(&ring.vq, &chains[n]) != 1)
			break;
		good = n < n_expected && chains[n].id == id_of(expected[n]) &&
		       chains[n].n_out == slots_of(expected[n]) &&
		       chains[n].out[0].iov_base ==
			       ring_host(RING_DATA + (plan.packed ? 16 : 1) * id_of(expected[n]));
		if (!good)
			n++;
		if (!good)
			break;
	}
	good = good && n == n_expected && !vublk_queue_broken(&ring.vq);
	/* In two batches, both in disorder; then each was given back once. */
	for (unsigned half = 0; half < 2; half++) {
		for (unsigned i = n; i--;)
			if (i % 2 == half)
				push(i);
		publish();
	}
	memset(seen, 0, sizeof(seen));
	n_given = given(list);
	good = good && n_given == plan.n;
	for (unsigned i = 0; good && i < n_given; i++) {
		good = list[i] < plan.n && !seen[list[i]];
		if (good)
			seen[list[i]] = true;
	}
	for (unsigned i = 0; i < plan.size; i++)
		good = good && !(plan.packed ? pr->desc[i].inflight : sr->desc[i].inflight);
	if (plan.packed)
		good = good && pr->used.idx == pr->used.old_idx &&
		       pr->used.wrap == pr->used.old_wrap && pr->free_head == pr->old_free_head;
	else
		good = good && sr->used_idx == ring.driver.ring.used->idx;
	vq_teardown(&ring.vq);
	/* And the one after it finds nothing to do. */
	setup_next();
	begin();
	vublk_chain_init(&ring.chain, ring.iov, RING_IOVS);
	good = good && !begin_err && vublk_queue_pop(&ring.vq, &ring.chain) == 0;
	vq_teardown(&ring.vq);
	all_is_well = good;
	tap_check(good, false, __FILE__, __LINE__,
		  "%s ring of %u, base 0x%x, warm %u: %u of %u taken, %u given, %u being given: "
		  "killed %s at %u; %u popped of %u, %u given",
		  plan.packed ? "packed" : "split", plan.size, plan.base, plan.warm, plan.taken,
		  plan.n, plan.before, plan.batch, when, step, n, n_expected, n_given);
}

/* In what order they are given back. */
static unsigned order(unsigned i)
{
	static const unsigned disorder[6] = {2, 0, 1, 5, 3, 4};
	unsigned n = 0;

	for (unsigned k = 0; k < 6; k++)
		if (disorder[k] < plan.taken && n++ == i)
			return disorder[k];
	return 0;
}

static void run_warm_round(void)
{
	for (unsigned i = 0; i < 3; i++)
		offer_request(i);
	for (unsigned i = 0; i < 3; i++)
		pop(i);
	push(1);
	push(0);
	publish();
	push(2);
	publish();
}

static void open_plan(const struct plan *p)
{
	plan = *p;
	make_tracked(plan.size, plan.size, plan.packed ? RING_PACKED : 0, plan.base);
	REQUIRE_OK(start());
	for (unsigned i = 0; i < plan.warm; i++)
		run_warm_round();
	first_slot = (struct fe_pos){ring.vq.used_idx, ring.vq.used_wrap};
	first_idx = ring.vq.used_idx;
	guest = fe_ptr(&ring.mem, ring.driver.desc_gpa, 1);
	guest_size =
		ring.driver.used_gpa + (plan.packed ? 4 : 4 + 8 * plan.size) - ring.driver.desc_gpa;
	region_size = plan.packed ? 32 + 32 * plan.size : 16 + 16 * plan.size;
	REQUIRE(guest_size <= sizeof(((struct picture *)0)->guest));
	REQUIRE(region_size <= sizeof(((struct picture *)0)->region));
	for (unsigned i = 0; i < plan.n; i++)
		offer_request(i);
	for (unsigned i = 0; i < plan.taken; i++)
		pop(i);
	for (unsigned i = 0; i < plan.before; i++) {
		push(order(i));
		publish();
	}
}

/* The process that ran until here is no more. */
static void die(void)
{
	for (unsigned i = 0; i < plan.taken; i++)
		if (chains[i].lease)
			drop(i);
	vq_teardown(&ring.vq);
}

static struct pictures first_kill, second_kill;

static void take_next(void)
{
	vublk_chain_init(&chains[plan.taken], iovs[plan.taken], RING_IOVS);
	vublk_queue_pop(&ring.vq, &chains[plan.taken]);
}

/* Kills it at each step of what it does next, and with `twice` the next one as it recovers. */
static void kill_it(const struct plan *p, bool twice)
{
	unsigned n;

	open_plan(p);
	for (unsigned i = 0; i < plan.batch; i++)
		push(order(plan.before + i));
	if (!plan.batch)
		plan.taken++;
	if (!plan.batch && plan.taken <= plan.n) {
		plan.taken--;
		record(&first_kill, take_next);
		plan.taken++;
	} else {
		record(&first_kill, publish);
	}
	die();
	n = first_kill.n;
	CHECK(n > (plan.batch ? 4 : 1)); /* it has seen something */
	for (unsigned i = 0; i < n; i++) {
		check_next_process(&first_kill.p[i], plan.batch ? "giving" : "taking", i);
		if (!twice || !all_is_well)
			continue;
		restore(&first_kill.p[i]);
		setup_next();
		record(&second_kill, begin);
		CHECK_OK(begin_err);
		vq_teardown(&ring.vq);
		for (unsigned k = 0; k < second_kill.n; k++)
			check_next_process(&second_kill.p[k], "recovering", k);
	}
	ring_close();
}

static void kill_all(bool packed, bool twice)
{
	static const uint32_t split_bases[] = {0, 65533, 5};
	const uint32_t packed_bases[] = {FE_PACKED_FRESH, base_at(10, true), base_at(7, false)};

	all_is_well = true;
	for (unsigned b = 0; b < 3; b++)
		for (unsigned warm = 0; warm < 3; warm++)
			for (unsigned taken = 0; taken <= 6; taken++)
				for (unsigned before = 0; before <= taken && before < 3; before++)
					for (unsigned batch = 0; batch <= taken - before; batch++) {
						const struct plan p = {
							.packed = packed,
							.size = packed ? 13 : 8,
							.base = packed ? packed_bases[b]
								       : split_bases[b],
							.warm = warm,
							.n = packed ? 6 : 7,
							.taken = taken,
							.before = before,
							.batch = batch,
						};

						if (!batch && taken == p.n)
							continue;
						/* Twice takes long: some of them. */
						if (twice && (b != 1 || taken % 3 || batch % 2 ||
							      before == 2))
							continue;
						/* Each base and each number of rounds once. */
						if ((b + warm) % 3 != 2)
							continue;
						kill_it(&p, twice);
					}
}

static void split_killed_anywhere(void)
{
	kill_all(false, false);
}

static void packed_killed_anywhere(void)
{
	kill_all(true, false);
}

static void split_killed_twice(void)
{
	kill_all(false, true);
}

static void packed_killed_twice(void)
{
	kill_all(true, true);
}

/* The first start of all, killed. */
static void check_fresh(bool packed)
{
	plan = (struct plan){.packed = packed,
			     .size = packed ? 13 : 8,
			     .n = 5,
			     .base = packed ? base_at(11, true) : 65530};
	all_is_well = true;
	open_plan(&plan);
	vq_teardown(&ring.vq);
	memset(sr, 0, region_size);
	setup_next();
	record(&first_kill, begin);
	CHECK_OK(begin_err);
	vq_teardown(&ring.vq);
	CHECK(first_kill.n > 3);
	for (unsigned i = 0; i < first_kill.n; i++)
		check_next_process(&first_kill.p[i], "in its first start", i);
	ring_close();
}

static void killed_in_its_first_start(void)
{
	check_fresh(false);
	check_fresh(true);
}

static const struct tap_case place_cases[] = {
	{"region_of_the_other_kind", region_of_the_other_kind},
	{"region_has_no_place", region_has_no_place},
	{"split_base_means_nothing_with_requests_in_flight",
	 split_base_means_nothing_with_requests_in_flight},
	{"split_base_means_nothing_with_none_in_flight",
	 split_base_means_nothing_with_none_in_flight},
	{"packed_base_means_nothing", packed_base_means_nothing},
	{"split_killed_before_the_used_index", split_killed_before_the_used_index},
	{"split_killed_after_the_used_index", split_killed_after_the_used_index},
	{"packed_killed_in_a_take", packed_killed_in_a_take},
	{"packed_killed_before_the_flags", packed_killed_before_the_flags},
	{"packed_killed_after_the_flags", packed_killed_after_the_flags},
	{"packed_hostile_descriptors", packed_hostile_descriptors},
	{0},
};

/* What somebody left in a region that says it is not initialised is not ours. */
static void fresh_region_has_no_features(void)
{
	make_tracked(16, 16, 0, 0);
	sr->features = 1;
	REQUIRE_OK(start());
	vq_teardown(&ring.vq);
	CHECK_OK(start());
	ring_close();
	make_tracked(16, 16, RING_PACKED, FE_PACKED_FRESH);
	pr->features = 1;
	REQUIRE_OK(start());
	vq_teardown(&ring.vq);
	CHECK_OK(start());
}

static const struct tap_case own_cases[] = {
	{"queue_keeps_its_region", queue_keeps_its_region},
	{"each_queue_has_its_own", each_queue_has_its_own},
	{"split_fresh_region", split_fresh_region},
	{"packed_fresh_region", packed_fresh_region},
	{"fresh_region_has_no_features", fresh_region_has_no_features},
	{"base_without_tracking", base_without_tracking},
	{"split_killed_in_a_take", split_killed_in_a_take},
	{"split_killed_when_only_the_index_was_left", split_killed_when_only_the_index_was_left},
	{"split_index_that_wraps", split_index_that_wraps},
	{"split_counters_are_counted_anew", split_counters_are_counted_anew},
	{"split_corrupt_regions", split_corrupt_regions},
	{"split_strange_regions", split_strange_regions},
	{"packed_at_nothing", packed_at_nothing},
	{"packed_counters_are_counted_anew", packed_counters_are_counted_anew},
	{"packed_descriptors_come_from_the_region", packed_descriptors_come_from_the_region},
	{"packed_whole_ring_in_flight", packed_whole_ring_in_flight},
	{"packed_corrupt_regions", packed_corrupt_regions},
	{"region_is_not_read_again", region_is_not_read_again},
	{"recovered_request_that_waits", recovered_request_that_waits},
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

static const struct tap_case kill_cases[] = {
	{"split_killed_anywhere", split_killed_anywhere},
	{"packed_killed_anywhere", packed_killed_anywhere},
	{"split_killed_twice", split_killed_twice},
	{"packed_killed_twice", packed_killed_twice},
	{"killed_in_its_first_start", killed_in_its_first_start},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "track places", .cases = place_cases},
	{.name = "track", .teardown = ring_close, .cases = own_cases},
	{.name = "track split", .setup = setup_split, .teardown = ring_close, .cases = split_cases},
	{.name = "track packed",
	 .setup = setup_packed,
	 .teardown = ring_close,
	 .cases = packed_cases},
	{.name = "track kill", .seconds = 120, .cases = kill_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
