/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vq/packed.c: when the driver is called, and when it is to kick. */
#include "tests/unit/support/packed.h"

#define ENABLE  VRING_PACKED_EVENT_FLAG_ENABLE
#define DISABLE VRING_PACKED_EVENT_FLAG_DISABLE
#define DESC    VRING_PACKED_EVENT_FLAG_DESC

static void setup(void)
{
	ring_run(16, RING_PACKED);
}

static void setup_event_idx(void)
{
	ring_run(16, RING_PACKED | RING_EVENT_IDX);
}

/* ---- calls ---- */

/* Publishes lists of so many slots in all, in one batch; was the driver called? */
static bool publish_slots(unsigned n)
{
	while (n) {
		const unsigned slots = n > 2 ? 2 : n;

		packed_offer_list(slots, 0);
		ring_pop_and_push(0);
		n -= slots;
	}
	ring_publish();
	return ring_called();
}

static void call_unless_the_flags_say_no(void)
{
	packed_driver_flags(ENABLE);
	CHECK(publish_slots(1));
	packed_driver_flags(DISABLE);
	CHECK(!publish_slots(1));
	/* Reserved bits mean nothing. */
	packed_driver_flags(0xfffc | DISABLE);
	CHECK(!publish_slots(1));
	packed_driver_flags(0xfffc | ENABLE);
	CHECK(publish_slots(1));
	/* Not negotiated: better once too often. */
	packed_driver_flags(DESC);
	CHECK(publish_slots(1));
	packed_driver_flags(3);
	CHECK(publish_slots(1));
}

static void flags_count_with_event_idx_too(void)
{
	packed_driver_flags(ENABLE);
	for (unsigned i = 0; i < 40; i++)
		CHECK(publish_slots(3));
	packed_driver_flags(DISABLE);
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
	packed_driver_flags(DESC);
}

/* From each place, batches of any size, and events anywhere up to a lap before or behind. */
static void check_events(unsigned size)
{
	for (unsigned idx = 0; idx < size; idx++)
		for (unsigned wrap = 0; wrap < 2; wrap++)
			for (unsigned n = 1; n <= size; n++) {
				const unsigned start = (idx + size - 1) % size;

				/* One slot before, for the first batch always calls. */
				ring_run_at(size, RING_PACKED | RING_EVENT_IDX,
					    packed_base(start, idx ? wrap : !wrap));
				publish_slots(1);
				for (int ahead = -(int)size; ahead < (int)size; ahead++) {
					const unsigned at = ring.vq.used_idx;

					set_event(size, at, ring.vq.used_wrap, ahead);
					CHECK_EQ(publish_slots(n), ahead >= 0 && ahead < (int)n);
				}
				ring_free();
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

	ring_run_at(7, RING_PACKED | RING_EVENT_IDX, packed_base(4, true));
	for (unsigned i = 0; i < 100; i++) {
		const unsigned n = 1 + i % 7, after = i / 7 % 7;

		for (unsigned k = 0; k < n; k++)
			REQUIRE(fe_vq_add(&ring.driver, &seg, 1, NULL) >= 0);
		fe_vq_publish(&ring.driver);
		fe_vq_call_after(&ring.driver, after);
		for (unsigned k = 0; k < n; k++) {
			ring_pop_and_push(0);
			ring_publish();
			CHECK_EQ(ring_called(), !i || k == after); /* the first one always */
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
	CHECK_EQ(packed_slot(0)->flags, AVAIL | USED);
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
	ring_run_at(5, RING_PACKED | RING_EVENT_IDX, packed_base(3, true));
	for (unsigned i = 0; i < 12; i++) {
		const unsigned at = (3 + i) % 5, lap = (3 + i) / 5;

		CHECK(!vublk_queue_want_kicks(&ring.vq, true));
		CHECK_EQ(device_flags(), DESC);
		CHECK_EQ(ring.driver.packed.device->off_wrap, at | (lap % 2 ? 0 : 0x8000));
		CHECK(!vublk_queue_want_kicks(&ring.vq, false));
		CHECK_EQ(device_flags(), DISABLE);
		packed_offer(RING_DATA, 1, 0, 0);
		ring_pop_and_push(0);
		ring_publish();
	}
}

static void look_after_asking(void)
{
	for (unsigned i = 0; i < 40; i++) {
		vublk_queue_want_kicks(&ring.vq, false);
		packed_offer(RING_DATA, 1, 0, 0);
		CHECK(!vublk_queue_want_kicks(&ring.vq, false));
		CHECK(vublk_queue_want_kicks(&ring.vq, true));
		ring_pop_and_push(0);
		CHECK(!vublk_queue_want_kicks(&ring.vq, true));
		ring_publish();
		CHECK(!vublk_queue_want_kicks(&ring.vq, true));
	}
}

/* As the driver of the other tests decides it, over many laps. */
static void check_kicks(unsigned size, uint64_t features)
{
	const struct fe_seg seg = {.addr = RING_DATA, .len = 1};

	ring_run_at(size, RING_PACKED | features, packed_base(size - 1, true));
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
			ring_pop_and_push(0);
		ring_publish();
		vublk_queue_want_kicks(&ring.vq, false);
		while (fe_vq_reap(&ring.driver, &used))
			;
		REQUIRE(fe_vq_add(&ring.driver, &seg, 1, NULL) >= 0);
		REQUIRE(!fe_vq_kick(&ring.driver));
		ring_pop_and_push(0);
		ring_publish();
		REQUIRE_EQ(fe_vq_reap(&ring.driver, &used), 1);
	}
	ring_free();
}

static void driver_kicks_as_it_should(void)
{
	for (unsigned size = 2; size < 12; size++) {
		check_kicks(size, 0);
		check_kicks(size, RING_EVENT_IDX);
	}
}

static const struct tap_case entry_cases[] = {
	{"call_unless_the_flags_say_no", call_unless_the_flags_say_no},
	{"no_call_descriptor", no_call_descriptor},
	{"flags_tell_not_to_kick", flags_tell_not_to_kick},
	{"look_after_asking", look_after_asking},
	{0},
};

/* These set up the ring in their own way ... */
static const struct tap_case size_cases[] = {
	{"calls_as_the_driver_asks", calls_as_the_driver_asks},
	{"flags_are_cleared_at_start", flags_are_cleared_at_start},
	{"event_is_the_next_slot", event_is_the_next_slot},
	{0},
};

/* ... and these several, one after the other. */
static const struct tap_case many_cases[] = {
	{"call_when_the_event_is_in_the_batch", call_when_the_event_is_in_the_batch},
	{"driver_kicks_as_it_should", driver_kicks_as_it_should},
	{0},
};

static const struct tap_case event_cases[] = {
	{"flags_count_with_event_idx_too", flags_count_with_event_idx_too},
	{"first_batch_always_calls", first_batch_always_calls},
	{"look_after_asking_with_an_event", look_after_asking},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "packed", .setup = setup, .teardown = ring_free, .cases = entry_cases},
	{.name = "packed ring", .teardown = ring_free, .cases = size_cases},
	{.name = "packed rings", .cases = many_cases},
	{.name = "packed event_idx",
	 .setup = setup_event_idx,
	 .teardown = ring_free,
	 .cases = event_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
