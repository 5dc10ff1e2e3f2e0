/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu/session.c: each setter by itself. What is compared is all of the session, byte for byte.
 */
#include <string.h>

#include "lib/vhu/session.h"
#include "tests/tap.h"
#include "tests/unit/support/session.h"

static struct vhu_session expected;

/* Has nothing but `expected` been written down? */
#define CHECK_SESSION(actual) CHECK(!memcmp(actual, &expected, sizeof(expected)))

static struct vhu_session_store *store;
static const struct vhu_session *stored;

static void make_store(void)
{
	store = vhu_session_store_new();
	REQUIRE(store);
	stored = vhu_session_of(store);
	memset(&expected, 0, sizeof(expected));
	CHECK_SESSION(stored);
	vhu_session_begin(store);
	expected.version = VHU_SESSION_VERSION;
}

static void free_store(void)
{
	CHECK_SESSION(stored);
	vhu_session_store_free(store);
	vhu_session_store_free(NULL);
}

static void device_setters(void)
{
	vhu_session_set_features(store, 0x123456789abcdef0);
	expected.features = 0x123456789abcdef0;
	CHECK_SESSION(stored);
	vhu_session_set_protocol_features(store, 0xfedcba987654321);
	expected.protocol_features = 0xfedcba987654321;
	CHECK_SESSION(stored);
	vhu_session_set_status(store, 0xff);
	expected.status = 0xff;
}

static void inflight_setter(void)
{
	struct vhu_inflight_desc desc = {1ull << 40, 4096, 7, 128, 0xdeadbeef};

	vhu_session_set_inflight(store, &desc, true, false);
	expected.has_inflight = expected.inflight_packed = 1;
	desc.padding = 0;
	expected.inflight = desc;
	CHECK_SESSION(stored);
	vhu_session_set_inflight(store, &desc, false, false);
	expected.inflight_packed = 0;
}

static void log_setter(void)
{
	const struct vhu_log log = {1ull << 40, 4096};

	vhu_session_set_log(store, &log);
	expected.has_log = 1;
	expected.log = log;
}

/* Of the first ring and the last one, of which each has fields of its own. */
static void ring_setters(void)
{
	for (unsigned i = 0; i < VHU_MAX_QUEUES; i += VHU_MAX_QUEUES - 1) {
		struct vhu_session_ring *ring = &expected.ring[i];

		vhu_session_set_ring_size(store, i, 32768);
		ring->size = 32768;
		CHECK_SESSION(stored);
		vhu_session_set_ring_base(store, i, 0x80018002);
		ring->base = 0x80018002;
		CHECK_SESSION(stored);
		vhu_session_set_ring_addr(store, i, 1ull << 63, 1ull << 62, 1ull << 61);
		ring->desc = 1ull << 63;
		ring->avail = 1ull << 62;
		ring->used = 1ull << 61;
		ring->addr_set = 1;
		CHECK_SESSION(stored);
		vhu_session_set_ring_started(store, i, true);
		ring->started = 1;
		CHECK_SESSION(stored);
		vhu_session_set_ring_enabled(store, i, true);
		ring->enabled = 1;
		CHECK_SESSION(stored);
		vhu_session_set_ring_told(store, i);
		ring->told = 1;
		CHECK_SESSION(stored);
		vhu_session_set_ring_inband(store, i, true);
		ring->inband = 1;
		CHECK_SESSION(stored);
		vhu_session_set_ring_no_calls(store, i, true);
		ring->no_calls = 1;
		CHECK_SESSION(stored);
		vhu_session_set_ring_logged(store, i, true);
		ring->logged = 1;
		CHECK_SESSION(stored);
		vhu_session_set_ring_started(store, i, false);
		ring->started = ring->inband = 0;
		CHECK_SESSION(stored);
		vhu_session_set_ring_enabled(store, i, false);
		ring->enabled = 0;
		CHECK_SESSION(stored);
	}
}

/* A region that is like no other one. */
static struct vhu_region region_at(uint64_t guest_addr)
{
	return (struct vhu_region){guest_addr, 0x1000, guest_addr + 1, guest_addr + 2};
}

/* Its descriptor's ticket, too. */
static uint32_t ticket_at(uint64_t guest_addr)
{
	return (uint32_t)(guest_addr >> 12) + 100;
}

static void add_region(uint64_t guest_addr)
{
	const struct vhu_region region = region_at(guest_addr);

	vhu_session_add_region(store, &region, ticket_at(guest_addr));
}

/* Are these all regions? Up to the first address that is 0. */
static void check_regions(uint64_t a, uint64_t b, uint64_t c)
{
	const uint64_t addrs[] = {a, b, c};

	expected.n_regions = 0;
	memset(expected.region, 0, sizeof(expected.region));
	memset(expected.region_ticket, 0, sizeof(expected.region_ticket));
	for (unsigned i = 0; i < 3 && addrs[i]; i++) {
		expected.region_ticket[expected.n_regions] = ticket_at(addrs[i]);
		expected.region[expected.n_regions++] = region_at(addrs[i]);
	}
	CHECK_SESSION(stored);
}

static void regions_are_in_order(void)
{
	expected.has_memory = 1;
	add_region(0x3000);
	check_regions(0x3000, 0, 0);
	add_region(0x1000);
	add_region(0x2000);
	check_regions(0x1000, 0x2000, 0x3000);
	vhu_session_remove_region(store, 0x2000);
	check_regions(0x1000, 0x3000, 0);
	vhu_session_remove_region(store, 0x2000);
	check_regions(0x1000, 0x3000, 0);
	vhu_session_remove_region(store, 0x1000);
	check_regions(0x3000, 0, 0);
	vhu_session_remove_region(store, 0x3000);
	check_regions(0, 0, 0);
}

static void regions_are_replaced(void)
{
	const struct vhu_region table[] = {region_at(0x5000), region_at(0x4000)};
	const uint32_t ticket[] = {ticket_at(0x5000), ticket_at(0x4000)};

	vhu_session_set_regions(store, NULL, NULL, 0);
	expected.has_memory = 1;
	CHECK_SESSION(stored);
	add_region(0x1000);
	add_region(0x2000);
	add_region(0x3000);
	vhu_session_set_regions(store, table, ticket, 2);
	check_regions(0x4000, 0x5000, 0);
	vhu_session_set_regions(store, NULL, NULL, 0);
	check_regions(0, 0, 0);
}

static void regions_as_many_as_a_map_has(void)
{
	expected.has_memory = 1;
	for (unsigned i = VHU_MEM_MAX_SLOTS; i-- > 0;)
		add_region(i * 0x1000ull);
	for (unsigned i = 0; i < VHU_MEM_MAX_SLOTS; i++) {
		expected.region[i] = region_at(i * 0x1000ull);
		expected.region_ticket[i] = ticket_at(i * 0x1000ull);
	}
	expected.n_regions = VHU_MEM_MAX_SLOTS;
	CHECK_SESSION(stored);
	vhu_session_remove_region(store, (VHU_MEM_MAX_SLOTS - 1) * 0x1000ull);
	memset(&expected.region[--expected.n_regions], 0, sizeof(expected.region[0]));
	expected.region_ticket[expected.n_regions] = 0;
}

static void check_tickets(unsigned n, uint32_t first, uint32_t last)
{
	static uint32_t ticket[VHU_SESSION_TICKETS];

	REQUIRE_EQ(vhu_session_tickets(stored, ticket), n);
	if (n)
		CHECK(ticket[0] == first && ticket[n - 1] == last);
}

static void tickets_are_listed(void)
{
	check_tickets(0, 0, 0);
	CHECK(!vhu_session_tickets_changed(store));
	vhu_session_set_ticket(store, VHU_FD_CONNECTION, 1);
	CHECK(vhu_session_tickets_changed(store));
	CHECK(!vhu_session_tickets_changed(store));
	vhu_session_set_ticket(store, VHU_FD_CONNECTION, 1);
	CHECK(!vhu_session_tickets_changed(store));
	add_region(0x1000);
	vhu_session_set_ticket(store, VHU_FD_INFLIGHT, 3);
	vhu_session_set_ring_ticket(store, VHU_MAX_QUEUES - 1, VHU_RING_ERR_FD, 4);
	check_tickets(4, 1, 4);
	/* A reset forgets the driver's. */
	vhu_session_tickets_changed(store);
	vhu_session_reset(store);
	CHECK(vhu_session_tickets_changed(store));
	check_tickets(2, 1, ticket_at(0x1000));
	memcpy(&expected, stored, sizeof(expected));
}

static void fill_store(void)
{
	device_setters();
	inflight_setter();
	log_setter();
	ring_setters();
	add_region(0x1000);
	expected.has_memory = 1;
	check_regions(0x1000, 0, 0);
}

static void reset_keeps_memory_and_protocol_features(void)
{
	fill_store();
	vhu_session_set_inflight(store, &expected.inflight, true, false);
	vhu_session_reset(store);
	session_forget_driver(&expected);
	CHECK_EQ(stored->n_regions, 1);
	CHECK(stored->protocol_features);
}

static void begin_and_end_keep_nothing(void)
{
	fill_store();
	vhu_session_end(store);
	memset(&expected, 0, sizeof(expected));
	CHECK_SESSION(stored);
	vhu_session_begin(store);
	expected.version = VHU_SESSION_VERSION;
	CHECK_SESSION(stored);
	fill_store();
	vhu_session_begin(store);
	memset(&expected, 0, sizeof(expected));
	expected.version = VHU_SESSION_VERSION;
}

static const struct tap_case setter_cases[] = {
	{"device_setters", device_setters},
	{"inflight_setter", inflight_setter},
	{"log_setter", log_setter},
	{"ring_setters", ring_setters},
	{"regions_are_in_order", regions_are_in_order},
	{"regions_are_replaced", regions_are_replaced},
	{"regions_as_many_as_a_map_has", regions_as_many_as_a_map_has},
	{"tickets_are_listed", tickets_are_listed},
	{"reset_keeps_memory_and_protocol_features", reset_keeps_memory_and_protocol_features},
	{"begin_and_end_keep_nothing", begin_and_end_keep_nothing},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "session setters",
	 .setup = make_store,
	 .teardown = free_store,
	 .cases = setter_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
