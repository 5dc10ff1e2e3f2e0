/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vq/split.c: pop, push and publish, indices that wrap, and notifications both ways. */
#include "tests/unit/support/ring.h"

static void setup(void)
{
	ring_run(16, 0);
}

static void setup_event_idx(void)
{
	ring_run(16, RING_EVENT_IDX);
}

/* Makes one readable descriptor, by itself, of every entry of the ring. */
static void fill_descs(void)
{
	for (unsigned i = 0; i < ring.driver.num; i++)
		ring_desc(i, RING_DATA + i, 1, 0, 0);
}

static void pop_and_push(unsigned head, uint32_t written)
{
	REQUIRE_EQ(ring_offer(head), 1);
	CHECK_EQ(ring.chain.id, head);
	vublk_queue_push(&ring.vq, &ring.chain, written);
}

static uint16_t used_idx(void)
{
	return ring.driver.ring.used->idx;
}

static bool called(void)
{
	return fd_take_events(ring.driver.call_fd);
}

/* ---- entries ---- */

static void nothing_available(void)
{
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
	CHECK(!vublk_queue_broken(&ring.vq));
}

static void entries_come_in_the_order_of_the_ring(void)
{
	struct vublk_chain chain[3];
	struct iovec iov[3];

	fill_descs();
	for (unsigned i = 0; i < 3; i++) {
		vublk_chain_init(&chain[i], &iov[i], 1);
		fe_vq_raw_push(&ring.driver, (uint16_t)(7 - i));
	}
	for (unsigned i = 0; i < 3; i++) {
		REQUIRE_EQ(vublk_queue_pop(&ring.vq, &chain[i]), 1);
		CHECK_EQ(chain[i].id, 7 - i);
	}
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
	for (unsigned i = 0; i < 3; i++)
		vublk_queue_push(&ring.vq, &chain[i], 0);
}

static void push_is_seen_after_publish_only(void)
{
	fill_descs();
	pop_and_push(5, 1234);
	CHECK_EQ(used_idx(), 0);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(used_idx(), 1);
	CHECK_EQ(ring.driver.ring.used->ring[0].id, 5);
	CHECK_EQ(ring.driver.ring.used->ring[0].len, 1234);
}

static void batch_is_published_at_once(void)
{
	fill_descs();
	for (unsigned i = 0; i < 5; i++)
		pop_and_push(10 + i, 100 + i);
	CHECK_EQ(used_idx(), 0);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(used_idx(), 5);
	for (unsigned i = 0; i < 5; i++) {
		CHECK_EQ(ring.driver.ring.used->ring[i].id, 10 + i);
		CHECK_EQ(ring.driver.ring.used->ring[i].len, 100 + i);
	}
	CHECK_EQ(fd_take_events(ring.driver.call_fd), 1);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(used_idx(), 5);
	CHECK(!called());
}

static void length_of_4_gib(void)
{
	fill_descs();
	pop_and_push(0, UINT32_MAX);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(ring.driver.ring.used->ring[0].len, UINT32_MAX);
}

/* Three rounds through a ring of any size, by the driver that the other tests use. */
static void go_round(unsigned size, uint16_t base)
{
	const struct fe_seg seg = {.addr = RING_DATA, .len = 1};
	struct fe_used used;

	ring_run_at(size, 0, base);
	for (unsigned i = 0; i < 3 * size; i++) {
		int head = fe_vq_add(&ring.driver, &seg, 1, NULL);

		REQUIRE(head >= 0);
		fe_vq_publish(&ring.driver);
		REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
		REQUIRE_EQ(ring.chain.id, head);
		vublk_queue_push(&ring.vq, &ring.chain, i);
		vublk_queue_publish(&ring.vq);
		REQUIRE_EQ(fe_vq_reap(&ring.driver, &used), 1);
		REQUIRE(used.head == head && used.len == i);
	}
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0);
}

static void smallest_ring(void)
{
	go_round(2, 0);
}

static void largest_ring(void)
{
	go_round(32768, 0);
}

static void indices_wrap_around(void)
{
	go_round(16, 65530);
	CHECK_EQ(used_idx(), (uint16_t)(65530 + 48));
}

static void largest_ring_wraps_around(void)
{
	go_round(32768, 65535);
}

static void whole_ring_at_once_across_the_wrap(void)
{
	struct vublk_chain chain[16];
	struct iovec iov[16];

	ring_run_at(16, 0, 65530);
	fill_descs();
	for (unsigned i = 0; i < 16; i++)
		fe_vq_raw_push(&ring.driver, (uint16_t)i);
	for (unsigned i = 0; i < 16; i++) {
		vublk_chain_init(&chain[i], &iov[i], 1);
		REQUIRE_EQ(vublk_queue_pop(&ring.vq, &chain[i]), 1);
	}
	for (unsigned i = 0; i < 16; i++)
		vublk_queue_push(&ring.vq, &chain[i], i);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(used_idx(), 10);
	for (unsigned i = 0; i < 16; i++)
		CHECK_EQ(ring.driver.ring.used->ring[(65530 + i) % 16].id, i);
}

/* Base and used index differ when requests were in flight as an earlier back-end died. */
static void used_index_comes_from_the_ring(void)
{
	ring_make(16, 0);
	ring.driver.ring.used->idx = 100;
	ring.layout.base = 65535;
	ring.driver.ring.avail->idx = 65535;
	ring.driver.avail_idx = 65535;
	REQUIRE_OK(ring_setup());
	REQUIRE_OK(vublk_queue_begin(&ring.vq));
	fill_descs();
	pop_and_push(1, 0);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(used_idx(), 101);
	CHECK_EQ(ring.driver.ring.used->ring[100 % 16].id, 1);
}

/* ---- hostile rings ---- */

static void index_too_far_ahead(void)
{
	fe_vq_raw_avail_idx(&ring.driver, 17);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
}

static void index_as_far_as_the_ring_is_long(void)
{
	fill_descs();
	fe_vq_raw_avail_idx(&ring.driver, 16);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	vublk_queue_push(&ring.vq, &ring.chain, 0);
}

static void index_that_goes_back(void)
{
	fill_descs();
	pop_and_push(0, 0);
	fe_vq_raw_avail_idx(&ring.driver, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
}

static void head_out_of_range(void)
{
	ring_check_broken(ring_offer(16));
}

static void head_far_out_of_range(void)
{
	ring_check_broken(ring_offer(65535));
}

/* A driver that rewrites the used index misleads nobody but itself. */
static void used_index_is_our_own(void)
{
	fill_descs();
	ring.driver.ring.used->idx = 999;
	pop_and_push(2, 0);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(used_idx(), 1);
	CHECK_EQ(ring.driver.ring.used->ring[0].id, 2);
}

static void broken_ring_gives_nothing_more(void)
{
	fill_descs();
	vublk_queue_break(&ring.vq, "because");
	ring_check_broken(ring_offer(0));
}

/* What was popped before is still answered. */
static void push_after_broken(void)
{
	fill_descs();
	REQUIRE_EQ(ring_offer(6), 1);
	vublk_queue_break(&ring.vq, "because");
	vublk_queue_push(&ring.vq, &ring.chain, 77);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(used_idx(), 1);
	CHECK_EQ(ring.driver.ring.used->ring[0].id, 6);
	CHECK(called());
}

static void entry_that_broke_the_ring_is_not_taken(void)
{
	fill_descs();
	pop_and_push(0, 0);
	CHECK_EQ(ring_offer(99), -EPROTO);
	CHECK_EQ(ring.vq.next_avail, 1);
}

/* ---- calls ---- */

static void call_unless_the_flag_says_no(void)
{
	fill_descs();
	pop_and_push(0, 0);
	vublk_queue_publish(&ring.vq);
	CHECK(called());
	ring.driver.ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	pop_and_push(0, 0);
	vublk_queue_publish(&ring.vq);
	CHECK(!called());
	ring.driver.ring.avail->flags = 0;
	pop_and_push(0, 0);
	vublk_queue_publish(&ring.vq);
	CHECK(called());
}

static void no_call_descriptor(void)
{
	close(ring.vq.call_fd);
	ring.vq.call_fd = -1;
	fill_descs();
	pop_and_push(0, 0);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(used_idx(), 1);
	CHECK(!called());
}

static void set_used_event(uint16_t event)
{
	ring.driver.ring.avail->ring[ring.driver.num] = event;
}

/* Publishes `n` in one batch; was the driver called? */
static bool publish_batch(unsigned n)
{
	while (n--)
		pop_and_push(n % ring.driver.num, 0);
	vublk_queue_publish(&ring.vq);
	return called();
}

/* At `base`, with a batch published, so that the wish for calls has been looked at. */
static void open_event_idx_at(uint16_t base)
{
	ring_run_at(16, RING_EVENT_IDX, base);
	fill_descs();
	publish_batch(1);
}

/* Where the driver's event stands relative to a batch (used index 1 to 1 + n). */
static void check_event(uint16_t base, unsigned n, int event, bool expected)
{
	open_event_idx_at(base);
	set_used_event((uint16_t)(base + event));
	CHECK_EQ(publish_batch(n), expected);
	ring_free();
}

static void check_events(uint16_t base)
{
	check_event(base, 1, 0, false); /* passed by the batch before */
	check_event(base, 1, 1, true);
	check_event(base, 1, 2, false); /* the next one */
	/* The whole batch counts, not only its last element. */
	for (int event = 1; event <= 5; event++)
		check_event(base, 5, event, true);
	check_event(base, 5, 0, false);
	check_event(base, 5, 6, false);
	check_event(base, 16, 16, true);
	check_event(base, 16, 17, false);
	check_event(base, 5, 0x8000, false);
}

static void call_when_the_event_is_in_the_batch(void)
{
	check_events(0);
}

static void call_across_the_wrap(void)
{
	for (uint16_t base = 65519; base > 1000; base++)
		check_events(base);
}

static void no_interrupt_flag_means_nothing_with_event_idx(void)
{
	open_event_idx_at(0);
	ring.driver.ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	set_used_event(1);
	CHECK(publish_batch(1));
}

/* Nobody knows what an earlier session looked at. */
static void first_batch_always_calls(void)
{
	ring_run_at(16, RING_EVENT_IDX, 100);
	fill_descs();
	set_used_event(200); /* in no batch from 0 to here */
	CHECK(publish_batch(1));
	CHECK(!publish_batch(1));
}

/*
 * A front-end that polled (no call descriptor) and then does not: all that was used meanwhile has
 * been seen by it, however often the index went round.
 */
static void call_descriptor_that_comes_late(void)
{
	struct vublk_update update = {.call = true, .call_fd = -1};

	open_event_idx_at(0);
	vublk_queue_apply(&ring.vq, &update);
	for (unsigned i = 1; i < 65530; i++) {
		pop_and_push(0, 0);
		vublk_queue_publish(&ring.vq);
	}
	REQUIRE_EQ(used_idx(), 65530);
	update = (struct vublk_update){.call = true, .call_fd = dup(ring.driver.call_fd)};
	vublk_queue_apply(&ring.vq, &update);
	CHECK(called());
	set_used_event(65530);
	CHECK(publish_batch(10));
}

/* ---- kicks ---- */

static uint16_t avail_event(void)
{
	uint16_t event;

	/* It follows the ring, smaller than an element. */
	memcpy(&event, &ring.driver.ring.used->ring[ring.driver.num], sizeof(event));
	return event;
}

static void flag_tells_not_to_kick(void)
{
	CHECK_EQ(ring.driver.ring.used->flags, 0);
	CHECK(!vublk_queue_want_kicks(&ring.vq, false));
	CHECK_EQ(ring.driver.ring.used->flags, VRING_USED_F_NO_NOTIFY);
	CHECK(!vublk_queue_want_kicks(&ring.vq, false));
	CHECK_EQ(ring.driver.ring.used->flags, VRING_USED_F_NO_NOTIFY);
	CHECK(!vublk_queue_want_kicks(&ring.vq, true));
	CHECK_EQ(ring.driver.ring.used->flags, 0);
}

static void flag_is_cleared_at_start(void)
{
	ring_make(16, 0);
	ring.driver.ring.used->flags = VRING_USED_F_NO_NOTIFY;
	REQUIRE_OK(ring_setup());
	CHECK_EQ(ring.driver.ring.used->flags, VRING_USED_F_NO_NOTIFY);
	REQUIRE_OK(vublk_queue_begin(&ring.vq));
	CHECK_EQ(ring.driver.ring.used->flags, 0);
}

static void look_after_asking_for_kicks(void)
{
	fill_descs();
	vublk_queue_want_kicks(&ring.vq, false);
	fe_vq_raw_push(&ring.driver, 0);
	CHECK(!vublk_queue_want_kicks(&ring.vq, false));
	CHECK(vublk_queue_want_kicks(&ring.vq, true));
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	CHECK(!vublk_queue_want_kicks(&ring.vq, true));
	vublk_queue_push(&ring.vq, &ring.chain, 0);
}

static void look_after_asking_with_event_idx(void)
{
	ring_run_at(16, RING_EVENT_IDX, 65535);
	look_after_asking_for_kicks();
	CHECK_EQ(avail_event(), 0); /* after the wrap */
}

static void event_is_the_next_entry(void)
{
	fill_descs();
	for (unsigned i = 0; i < 3; i++)
		pop_and_push(i, 0);
	CHECK(!vublk_queue_want_kicks(&ring.vq, true));
	CHECK_EQ(avail_event(), 3);
	CHECK_EQ(ring.driver.ring.used->flags, 0);
	/* Without a wish it stays where it is, behind us. */
	CHECK(!vublk_queue_want_kicks(&ring.vq, false));
	pop_and_push(3, 0);
	CHECK_EQ(avail_event(), 3);
	CHECK_EQ(ring.driver.ring.used->flags, 0);
	CHECK(!vublk_queue_want_kicks(&ring.vq, true));
	CHECK_EQ(avail_event(), 4);
}

/* As the driver of the other tests decides it, across the wrap of the index. */
static void check_kicks(uint64_t features)
{
	const struct fe_seg seg = {.addr = RING_DATA, .len = 1};

	ring_run_at(16, features, 65500);
	for (unsigned i = 0; i < 100; i++) {
		struct fe_used used;

		REQUIRE(!vublk_queue_want_kicks(&ring.vq, true));
		REQUIRE(fe_vq_add(&ring.driver, &seg, 1, NULL) >= 0);
		REQUIRE(fe_vq_kick(&ring.driver));
		REQUIRE(fe_vq_add(&ring.driver, &seg, 1, NULL) >= 0);
		vublk_queue_want_kicks(&ring.vq, false);
		REQUIRE(!fe_vq_kick(&ring.driver));
		for (unsigned n = 0; n < 2; n++) {
			REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
			vublk_queue_push(&ring.vq, &ring.chain, 0);
		}
		vublk_queue_publish(&ring.vq);
		while (fe_vq_reap(&ring.driver, &used))
			;
	}
}

static void driver_kicks_when_the_flag_allows(void)
{
	check_kicks(0);
}

static void driver_kicks_when_the_event_is_reached(void)
{
	check_kicks(RING_EVENT_IDX);
}

static void broken_ring_wants_no_kicks(void)
{
	vublk_queue_want_kicks(&ring.vq, false);
	vublk_queue_break(&ring.vq, "because");
	fe_vq_raw_push(&ring.driver, 0);
	CHECK(!vublk_queue_want_kicks(&ring.vq, true));
	CHECK_EQ(ring.driver.ring.used->flags, VRING_USED_F_NO_NOTIFY);
}

/* A driver that uses its descriptors again while they are in flight: no more than there are. */
static void more_in_flight_than_entries(void)
{
	static struct vublk_chain chains[16u];
	static struct iovec iov[16u][RING_IOVS];

	ring_desc(0, RING_DATA, 8, 0, 0);
	for (unsigned i = 0; i < 16u; i++) {
		fe_vq_raw_push(&ring.driver, 0);
		vublk_chain_init(&chains[i], iov[i], RING_IOVS);
		REQUIRE_EQ(vublk_queue_pop(&ring.vq, &chains[i]), 1);
	}
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 0); /* a full ring is none */
	fe_vq_raw_push(&ring.driver, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	for (unsigned i = 0; i < 16u; i++)
		vublk_queue_push(&ring.vq, &chains[i], 0);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(ring.driver.ring.used->idx, 16u);
}

static const struct tap_case entry_cases[] = {
	{"nothing_available", nothing_available},
	{"entries_come_in_the_order_of_the_ring", entries_come_in_the_order_of_the_ring},
	{"push_is_seen_after_publish_only", push_is_seen_after_publish_only},
	{"batch_is_published_at_once", batch_is_published_at_once},
	{"length_of_4_gib", length_of_4_gib},
	{"index_too_far_ahead", index_too_far_ahead},
	{"index_as_far_as_the_ring_is_long", index_as_far_as_the_ring_is_long},
	{"index_that_goes_back", index_that_goes_back},
	{"head_out_of_range", head_out_of_range},
	{"head_far_out_of_range", head_far_out_of_range},
	{"used_index_is_our_own", used_index_is_our_own},
	{"broken_ring_gives_nothing_more", broken_ring_gives_nothing_more},
	{"push_after_broken", push_after_broken},
	{"entry_that_broke_the_ring_is_not_taken", entry_that_broke_the_ring_is_not_taken},
	{"call_unless_the_flag_says_no", call_unless_the_flag_says_no},
	{"no_call_descriptor", no_call_descriptor},
	{"flag_tells_not_to_kick", flag_tells_not_to_kick},
	{"look_after_asking_for_kicks", look_after_asking_for_kicks},
	{"broken_ring_wants_no_kicks", broken_ring_wants_no_kicks},
	{"more_in_flight_than_entries", more_in_flight_than_entries},
	{0},
};

/* These set up the ring in their own way. */
static const struct tap_case size_cases[] = {
	{"smallest_ring", smallest_ring},
	{"largest_ring", largest_ring},
	{"indices_wrap_around", indices_wrap_around},
	{"largest_ring_wraps_around", largest_ring_wraps_around},
	{"whole_ring_at_once_across_the_wrap", whole_ring_at_once_across_the_wrap},
	{"used_index_comes_from_the_ring", used_index_comes_from_the_ring},
	{"flag_is_cleared_at_start", flag_is_cleared_at_start},
	{"no_interrupt_flag_means_nothing_with_event_idx",
	 no_interrupt_flag_means_nothing_with_event_idx},
	{"first_batch_always_calls", first_batch_always_calls},
	{"call_descriptor_that_comes_late", call_descriptor_that_comes_late},
	{"look_after_asking_with_event_idx", look_after_asking_with_event_idx},
	{"driver_kicks_when_the_flag_allows", driver_kicks_when_the_flag_allows},
	{"driver_kicks_when_the_event_is_reached", driver_kicks_when_the_event_is_reached},
	{0},
};

static const struct tap_case need_event_cases[] = {
	{"call_when_the_event_is_in_the_batch", call_when_the_event_is_in_the_batch},
	{"call_across_the_wrap", call_across_the_wrap},
	{0},
};

static const struct tap_case event_cases[] = {
	{"event_is_the_next_entry", event_is_the_next_entry},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "split", .setup = setup, .teardown = ring_free, .cases = entry_cases},
	{.name = "split ring", .teardown = ring_free, .cases = size_cases},
	{.name = "split need_event", .cases = need_event_cases},
	{.name = "split event_idx",
	 .setup = setup_event_idx,
	 .teardown = ring_free,
	 .cases = event_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
