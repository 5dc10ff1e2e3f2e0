/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vq/packed.c: requests whose descriptors stand in an indirect table. */
#include "tests/unit/support/packed.h"

#define TABLE 0x200000u /* where the table is, in the first region */

static void setup_indirect(void)
{
	ring_run(16, RING_PACKED | RING_INDIRECT);
}

/* Entry `i` of the indirect table. */
static void table_desc(unsigned i, uint64_t addr, uint32_t len, unsigned flags)
{
	const struct vring_packed_desc desc = {addr, len, 0xbad, (uint16_t)flags};

	REQUIRE_OK(fe_mem_write(&ring.mem, TABLE + i * sizeof(desc), &desc, sizeof(desc)));
}

static void offer_table(uint32_t len, unsigned flags)
{
	packed_offer(TABLE, len, INDIRECT | flags, 9);
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
	ring_publish();
	packed_check_used(0, 9, 9, true);
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
	packed_offer_list(3, 4);
	offer_table(16, 0);
	for (unsigned i = 0; i < 3; i++)
		vublk_queue_push(&ring.vq, ring_pop(i), 0);
	ring_publish();
	packed_check_used(0, 9, 0, true);
	packed_check_used(1, 4, 0, true);
	packed_check_used(4, 9, 0, true);
}

static void check_table(uint32_t len, unsigned flags)
{
	ring_run(16, RING_PACKED | RING_INDIRECT);
	table_desc(0, RING_DATA, 1, 0);
	offer_table(len, flags);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
	ring_free();
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
	packed_offer(RING_END - 16, 32, INDIRECT, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
}

static void table_that_wraps_around(void)
{
	packed_offer(-(uint64_t)16, 32, INDIRECT, 0);
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
}

static void indirect_not_negotiated(void)
{
	ring_run(16, RING_PACKED);
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
		ring_pop(i);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EAGAIN);
		CHECK_EQ(ring.vq.in_use, 4);
		CHECK_EQ(ring.vq.next_avail, 4);
	}
	CHECK(!vublk_queue_broken(&ring.vq));
	vublk_queue_push(&ring.vq, &ring.chains[2], 0);
	ring_pop(2);
	for (unsigned i = 0; i < 4; i++)
		vublk_queue_push(&ring.vq, &ring.chains[i], 0);
	ring_publish();
	CHECK_EQ(ring.vq.in_use, 0);
	CHECK_EQ(ring.vq.allocated, 0);
}

/* These set up the ring in their own way ... */
static const struct tap_case size_cases[] = {
	{"indirect_not_negotiated", indirect_not_negotiated},
	{0},
};

/* ... and these several, one after the other. */
static const struct tap_case many_cases[] = {
	{"tables_of_wrong_sizes", tables_of_wrong_sizes},
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

static const struct tap_suite suites[] = {
	{.name = "packed ring", .teardown = ring_free, .cases = size_cases},
	{.name = "packed rings", .cases = many_cases},
	{.name = "packed indirect",
	 .setup = setup_indirect,
	 .teardown = ring_free,
	 .cases = indirect_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
