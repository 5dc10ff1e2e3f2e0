/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vq/chain.c: chains of any framing become lists of ranges, and hostile ones break the ring. */
#include <time.h>

#include "tests/unit/support/ring.h"

#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

#define TABLE 0x200000u /* a place for indirect tables, in the first region */

static void setup(void)
{
	ring_run(16, RING_INDIRECT);
}

static void push(void)
{
	vublk_queue_push(&ring.vq, &ring.chain, 0);
}

/* The chain has these sums and as many elements. */
static void check_sizes(unsigned n_out, uint64_t out_size, unsigned n_in, uint64_t in_size)
{
	CHECK_EQ(ring.chain.n_out, n_out);
	CHECK_EQ(ring.chain.out_size, out_size);
	CHECK_EQ(ring.chain.n_in, n_in);
	CHECK_EQ(ring.chain.in_size, in_size);
}

/* A single descriptor that breaks the ring. */
static void check_bad_buffer(uint64_t addr, uint32_t len)
{
	ring_desc(0, addr, len, 0, 0);
	ring_check_broken(ring_offer(0));
}

/* Entry `i` of the indirect table. */
static void table_desc(unsigned i, uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
	const struct vring_desc desc = {addr, len, (uint16_t)flags, (uint16_t)next};

	REQUIRE_OK(fe_mem_write(&ring.mem, TABLE + i * sizeof(desc), &desc, sizeof(desc)));
}

/* An indirect table of `n` entries at `gpa` is descriptor 0, and is offered. */
static int offer_table(uint64_t gpa, unsigned n)
{
	ring_desc(0, gpa, (uint32_t)(n * sizeof(struct vring_desc)), INDIRECT, 0);
	return ring_offer(0);
}

/* ---- direct chains ---- */

static void one_readable_descriptor(void)
{
	ring_desc(3, RING_DATA + 5, 100, 0, 0);
	REQUIRE_EQ(ring_offer(3), 1);
	CHECK_EQ(ring.chain.id, 3);
	check_sizes(1, 100, 0, 0);
	CHECK(ring_is_at(ring.chain.out, RING_DATA + 5, 100));
	push();
}

static void one_writable_descriptor(void)
{
	ring_desc(15, RING_DATA, 512, WRITE, 0);
	REQUIRE_EQ(ring_offer(15), 1);
	CHECK_EQ(ring.chain.id, 15);
	check_sizes(0, 0, 1, 512);
	CHECK(ring_is_at(ring.chain.in, RING_DATA, 512));
	push();
}

static void descriptors_are_followed_in_any_order(void)
{
	ring_desc(9, RING_DATA, 1, NEXT, 2);
	ring_desc(2, RING_DATA + 10, 2, NEXT, 15);
	ring_desc(15, RING_DATA + 20, 3, NEXT | WRITE, 0);
	ring_desc(0, RING_DATA + 30, 4, WRITE, 7 /* no NEXT: means nothing */);
	REQUIRE_EQ(ring_offer(9), 1);
	check_sizes(2, 3, 2, 7);
	CHECK(ring_is_at(&ring.chain.out[0], RING_DATA, 1));
	CHECK(ring_is_at(&ring.chain.out[1], RING_DATA + 10, 2));
	CHECK(ring_is_at(&ring.chain.in[0], RING_DATA + 20, 3));
	CHECK(ring_is_at(&ring.chain.in[1], RING_DATA + 30, 4));
	push();
}

static void chain_as_long_as_the_ring(void)
{
	for (unsigned i = 0; i < 16; i++)
		ring_desc(i, RING_DATA + i, 1, i < 15 ? NEXT : 0, i + 1);
	REQUIRE_EQ(ring_offer(0), 1);
	check_sizes(16, 16, 0, 0);
	for (unsigned i = 0; i < 16; i++)
		CHECK(ring_is_at(&ring.chain.out[i], RING_DATA + i, 1));
	push();
}

static void zero_length_descriptors_are_nothing(void)
{
	ring_desc(0, RING_DATA, 0, NEXT, 1);
	ring_desc(1, 0xdead000000000000, 0, NEXT, 2); /* not even looked up */
	ring_desc(2, RING_DATA, 8, NEXT, 3);
	ring_desc(3, RING_DATA, 0, NEXT | WRITE, 4);
	ring_desc(4, RING_DATA, 1, WRITE, 0);
	REQUIRE_EQ(ring_offer(0), 1);
	check_sizes(1, 8, 1, 1);
	push();
}

static void chain_of_nothing(void)
{
	ring_desc(0, RING_DATA, 0, 0, 0);
	REQUIRE_EQ(ring_offer(0), 1);
	check_sizes(0, 0, 0, 0);
	push();
}

static void buffer_across_regions_is_in_pieces(void)
{
	ring_desc(0, RING_MORE - 10, 30, WRITE, 0);
	REQUIRE_EQ(ring_offer(0), 1);
	check_sizes(0, 0, 2, 30);
	CHECK(ring_is_at(&ring.chain.in[0], RING_MORE - 10, 10));
	CHECK(ring_is_at(&ring.chain.in[1], RING_MORE, 20));
	push();
}

static void buffer_up_to_the_last_byte(void)
{
	ring_desc(0, RING_END - 1, 1, 0, 0);
	REQUIRE_EQ(ring_offer(0), 1);
	CHECK(ring_is_at(ring.chain.out, RING_END - 1, 1));
	push();
}

static void buffer_beyond_the_last_byte(void)
{
	check_bad_buffer(RING_END - 1, 2);
}

static void buffer_before_the_first_byte(void)
{
	check_bad_buffer(RING_DATA - 1, 2);
}

static void buffer_across_a_gap(void)
{
	check_bad_buffer(RING_ROOM - 1, RING_DATA - RING_ROOM + 2);
}

static void buffer_of_4_gib_in_less_memory(void)
{
	check_bad_buffer(RING_DATA, UINT32_MAX);
}

static void buffer_that_wraps_around(void)
{
	check_bad_buffer(UINT64_MAX - 10, 100);
}

static void buffer_that_wraps_around_into_memory(void)
{
	check_bad_buffer(-(uint64_t)16, 32); /* guest address 0 is memory */
}

static void buffer_that_ends_with_the_address_space(void)
{
	check_bad_buffer(-(uint64_t)16, 16);
}

/* Two of the largest descriptors there are: more than 32 bits can count. */
static void buffers_of_4_gib(void)
{
	const uint64_t size = 5ull << 30, gpa = 1ull << 40;
	const struct vhu_region region = {.guest_addr = gpa, .size = size};
	struct vhu_mem *map;
	int fd = fd_memory(size);

	REQUIRE_OK(vhu_mem_add(&map, "test", ring.map, &region, fd));
	close(fd);
	vhu_mem_put(ring.vq.lease->mem);
	ring.vq.lease->mem = map;
	ring_desc(0, gpa, UINT32_MAX, NEXT, 1);
	ring_desc(1, gpa, UINT32_MAX, 0, 0);
	REQUIRE_EQ(ring_offer(0), 1);
	check_sizes(2, 2ull * UINT32_MAX, 0, 0);
	push();
}

static void readable_after_writable(void)
{
	ring_desc(0, RING_DATA, 1, NEXT | WRITE, 1);
	ring_desc(1, RING_DATA, 1, 0, 0);
	ring_check_broken(ring_offer(0));
}

static void next_out_of_range(void)
{
	ring_desc(0, RING_DATA, 1, NEXT, 16);
	ring_check_broken(ring_offer(0));
}

static void descriptor_that_follows_itself(void)
{
	ring_desc(0, RING_DATA, 1, NEXT, 0);
	ring_check_broken(ring_offer(0));
}

static void loop_of_two(void)
{
	ring_desc(0, RING_DATA, 1, NEXT, 1);
	ring_desc(1, RING_DATA, 1, NEXT, 0);
	ring_check_broken(ring_offer(0));
}

static void loop_of_nothing(void)
{
	ring_desc(0, RING_DATA, 0, NEXT, 1);
	ring_desc(1, RING_DATA, 0, NEXT, 0);
	ring_check_broken(ring_offer(0));
}

/* ---- indirect tables ---- */

static void indirect_table(void)
{
	table_desc(0, RING_DATA, 16, NEXT, 2);
	table_desc(2, RING_DATA + 100, 32, NEXT | WRITE, 1);
	table_desc(1, RING_DATA + 200, 1, WRITE, 0);
	REQUIRE_EQ(offer_table(TABLE, 3), 1);
	CHECK_EQ(ring.chain.id, 0);
	check_sizes(1, 16, 2, 33);
	CHECK(ring_is_at(&ring.chain.in[0], RING_DATA + 100, 32));
	CHECK(ring_is_at(&ring.chain.in[1], RING_DATA + 200, 1));
	push();
}

/* virtio 2.7.5.3.2: "The device MUST handle the case of zero or more normal chained descriptors
 * followed by a single descriptor with flags&VIRTQ_DESC_F_INDIRECT" */
static void indirect_table_after_direct_descriptors(void)
{
	ring_desc(4, RING_DATA, 16, NEXT, 5);
	ring_desc(5, TABLE, 16, INDIRECT, 0);
	table_desc(0, RING_DATA + 50, 8, WRITE, 0);
	REQUIRE_EQ(ring_offer(4), 1);
	CHECK_EQ(ring.chain.id, 4);
	check_sizes(1, 16, 1, 8);
	push();
}

/* "The device MUST ignore the write-only flag in the descriptor that refers to [the] table." */
static void write_flag_of_the_table_is_ignored(void)
{
	ring_desc(0, TABLE, 16, INDIRECT | WRITE, 0);
	table_desc(0, RING_DATA, 8, 0, 0);
	REQUIRE_EQ(ring_offer(0), 1);
	check_sizes(1, 8, 0, 0);
	push();
}

/* As Windows' drivers have them: more than the ring, and more than the chain's own array. */
static void indirect_table_longer_than_the_ring(void)
{
	for (unsigned i = 0; i < 515; i++)
		table_desc(i, RING_DATA + i, 1, (i < 514 ? NEXT : 0) | (i < 300 ? 0 : WRITE),
			   i + 1);
	REQUIRE_EQ(offer_table(TABLE, 515), 1);
	check_sizes(300, 300, 215, 215);
	for (unsigned i = 0; i < 300; i++)
		CHECK(ring_is_at(&ring.chain.out[i], RING_DATA + i, 1));
	for (unsigned i = 300; i < 515; i++)
		CHECK(ring_is_at(&ring.chain.in[i - 300], RING_DATA + i, 1));
	CHECK(ring.chain.iov != ring.iov);
	push();
	CHECK(ring.chain.iov == ring.iov);
	CHECK_EQ(ring.chain.capacity, RING_IOVS);
}

static void table_across_regions(void)
{
	const uint64_t gpa = RING_MORE - 8; /* the first entry lies in both */
	const struct vring_desc table[2] = {{RING_DATA, 16, NEXT, 1}, {RING_DATA + 32, 4, 0, 0}};

	REQUIRE_OK(fe_mem_write(&ring.mem, gpa, table, sizeof(table)));
	REQUIRE_EQ(offer_table(gpa, 2), 1);
	check_sizes(2, 20, 0, 0);
	CHECK(ring_is_at(&ring.chain.out[1], RING_DATA + 32, 4));
	push();
}

static void unaligned_table(void)
{
	const struct vring_desc table[2] = {{RING_DATA, 16, NEXT, 1}, {RING_DATA + 32, 4, 0, 0}};

	REQUIRE_OK(fe_mem_write(&ring.mem, TABLE + 3, table, sizeof(table)));
	REQUIRE_EQ(offer_table(TABLE + 3, 2), 1);
	check_sizes(2, 20, 0, 0);
	push();
}

static void indirect_not_negotiated(void)
{
	ring.vq.indirect = false;
	table_desc(0, RING_DATA, 8, 0, 0);
	ring_check_broken(offer_table(TABLE, 1));
}

/* Windows drivers from before VERSION_1 use tables without having negotiated them. */
static void indirect_of_a_legacy_driver(void)
{
	vq_teardown(&ring.vq);
	ring.features &= ~(1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_F_VERSION_1);
	REQUIRE_OK(ring_setup());
	CHECK(ring.vq.indirect);
	vq_teardown(&ring.vq);
	ring.features |= 1ull << VIRTIO_F_VERSION_1;
	REQUIRE_OK(ring_setup());
	CHECK(!ring.vq.indirect);
}

static void indirect_with_next(void)
{
	ring_desc(0, TABLE, 16, INDIRECT | NEXT, 1);
	ring_desc(1, RING_DATA, 8, 0, 0);
	table_desc(0, RING_DATA, 8, 0, 0);
	ring_check_broken(ring_offer(0));
}

static void nested_table(void)
{
	table_desc(0, TABLE + 16, 16, INDIRECT, 0);
	table_desc(1, RING_DATA, 8, 0, 0);
	ring_check_broken(offer_table(TABLE, 1));
}

static void empty_table(void)
{
	ring_check_broken(offer_table(TABLE, 0));
}

static void table_of_a_fraction(void)
{
	table_desc(0, RING_DATA, 8, 0, 0);
	ring_desc(0, TABLE, 24, INDIRECT, 0);
	ring_check_broken(ring_offer(0));
}

static void table_outside_memory(void)
{
	ring_check_broken(offer_table(RING_END, 1));
}

static void table_that_leaves_memory(void)
{
	const struct vring_desc desc = {RING_DATA, 8, NEXT, 1};

	REQUIRE_OK(fe_mem_write(&ring.mem, RING_END - 16, &desc, sizeof(desc)));
	ring_check_broken(offer_table(RING_END - 16, 2));
}

static void table_that_wraps_around(void)
{
	ring_check_broken(offer_table(-(uint64_t)16, 2));
}

static void next_out_of_the_table(void)
{
	table_desc(0, RING_DATA, 8, NEXT, 2);
	table_desc(2, RING_DATA, 8, 0, 0);
	ring_check_broken(offer_table(TABLE, 2));
}

static void loop_in_a_table(void)
{
	table_desc(0, RING_DATA, 8, NEXT, 1);
	table_desc(1, RING_DATA, 8, NEXT, 0);
	ring_check_broken(offer_table(TABLE, 2));
	CHECK(ring.chain.iov == ring.iov); /* nothing is kept of it */
}

/*
 * A table may claim to be 4 GiB large. If it lies in more than one piece only what is used of it
 * must exist, and a loop in it of descriptors without length adds nothing to what is counted.
 */
static void huge_table_is_refused_at_once(void)
{
	const clock_t begin = clock();

	table_desc(0, 0, 0, NEXT, 0);
	ring_desc(0, TABLE, UINT32_MAX & ~15u, INDIRECT, 0);
	ring_check_broken(ring_offer(0));
	CHECK((clock() - begin) / (CLOCKS_PER_SEC / 1000) < tap_stretch(100 /* ms */));
}

#define MAX_TABLE 32768u

/* A table of `n` descriptors, each in as many pieces: with a byte in either of two regions. */
static void fill_table(unsigned n, unsigned pieces)
{
	for (unsigned i = 0; i < n; i++)
		table_desc(i, RING_MORE - 1, pieces, i + 1 < n ? NEXT : 0, i + 1);
}

static void as_many_pieces_as_there_may_be(void)
{
	fill_table(MAX_TABLE, 2);
	REQUIRE_EQ(offer_table(TABLE, MAX_TABLE), 1);
	check_sizes(2 * MAX_TABLE, 2 * MAX_TABLE, 0, 0);
	push();
	CHECK(ring.chain.iov == ring.iov);
}

static void one_piece_too_many(void)
{
	fill_table(MAX_TABLE, 2);
	ring_desc(1, RING_DATA, 1, NEXT, 0);
	ring_desc(0, TABLE, MAX_TABLE * 16, INDIRECT, 0);
	ring_check_broken(ring_offer(1));
	CHECK(ring.chain.iov == ring.iov);
}

static void one_descriptor_too_many(void)
{
	fill_table(MAX_TABLE + 1, 1);
	ring_check_broken(offer_table(TABLE, MAX_TABLE + 1));
}

/* A guest cannot have us allocate without bound: one more of the longest chains has to wait. */
static void long_chains_wait_for_each_other(void)
{
	struct vublk_chain first, second;
	struct iovec iov[2];

	vublk_chain_init(&first, &iov[0], 1);
	vublk_chain_init(&second, &iov[1], 1);
	fill_table(MAX_TABLE, 2);
	ring_desc(0, TABLE, MAX_TABLE * 16, INDIRECT, 0);
	ring_desc(1, RING_DATA, 1, 0, 0);
	for (unsigned i = 0; i < 3; i++)
		fe_vq_raw_push(&ring.driver, 0);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &first), 1);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &second), 1);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EAGAIN);
		CHECK(ring.chain.iov == ring.iov);
	}
	CHECK(!vublk_queue_broken(&ring.vq));
	vublk_queue_push(&ring.vq, &first, 0);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	check_sizes(2 * MAX_TABLE, 2 * MAX_TABLE, 0, 0);
	/* A short one needs nothing. */
	fe_vq_raw_push(&ring.driver, 1);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &first), 1);
	push();
	vublk_queue_push(&ring.vq, &first, 0);
	vublk_queue_push(&ring.vq, &second, 0);
	CHECK_EQ(ring.vq.allocated, 0);
}

/* ---- addresses that are not known yet ---- */

/* Pages become known one by one: each when it has been asked for, and answered. */
static struct {
	uint64_t known[16], asked;
	unsigned n;
} pages;

static int translate_later(struct vq_lease *lease, uint64_t addr, bool write,
			   struct vhu_mem_piece *piece)
{
	const uint64_t page = addr & ~UINT64_C(4095);

	(void)write;
	for (unsigned i = 0; i < pages.n; i++) {
		if (pages.known[i] != page)
			continue;
		*piece = vhu_mem_piece(lease->mem, page);
		if (!piece->size)
			return -EFAULT;
		piece->host += page - piece->gpa;
		piece->gpa = page;
		piece->size = 4096;
		return 0;
	}
	pages.asked = page;
	return -EAGAIN;
}

/* How often does the next chain have to wait for a page? */
static unsigned answer_until_popped(void)
{
	unsigned n = 0;
	int got;

	while ((got = vublk_queue_pop(&ring.vq, &ring.chain)) == -EAGAIN) {
		CHECK(!vublk_queue_broken(&ring.vq));
		CHECK(ring.chain.iov == ring.iov); /* nothing is kept of it */
		CHECK_EQ(ring.vq.n_taken, 0);
		/* Asked once more without an answer it is no further. */
		REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EAGAIN);
		REQUIRE(pages.n < 16);
		pages.known[pages.n++] = pages.asked;
		n++;
	}
	REQUIRE_EQ(got, 1);
	return n;
}

static void know_nothing(void)
{
	pages.n = 0;
	ring.vq.lease->translate = translate_later;
	ring.vq.lease->last = (struct vhu_mem_piece){0};
}

static void buffers_wait_to_be_known(void)
{
	know_nothing();
	ring_desc(0, RING_DATA + 100, 8192, NEXT, 1); /* three pages */
	ring_desc(1, RING_DATA + 0x8000, 1, WRITE, 0);
	fe_vq_raw_push(&ring.driver, 0);
	CHECK_EQ(answer_until_popped(), 4);
	check_sizes(3, 8192, 1, 1);
	CHECK(ring_is_at(&ring.chain.out[2], RING_DATA + 8192, 100));
	push();
}

static void tables_wait_to_be_known(void)
{
	know_nothing();
	for (unsigned i = 0; i < 300; i++) /* two pages of descriptors, all of one */
		table_desc(i, RING_DATA, 1, i < 299 ? NEXT : 0, i + 1);
	ring_desc(0, TABLE, 300 * 16, INDIRECT, 0);
	fe_vq_raw_push(&ring.driver, 0);
	CHECK_EQ(answer_until_popped(), 3);
	check_sizes(300, 300, 0, 0);
	push();
}

/* The answer may be that there is nothing. */
static void known_not_to_be_there(void)
{
	know_nothing();
	ring_desc(0, RING_END, 1, 0, 0);
	fe_vq_raw_push(&ring.driver, 0);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EAGAIN);
	pages.known[pages.n++] = pages.asked;
	ring_check_broken(vublk_queue_pop(&ring.vq, &ring.chain));
}

static const struct tap_case later_cases[] = {
	{"buffers_wait_to_be_known", buffers_wait_to_be_known},
	{"tables_wait_to_be_known", tables_wait_to_be_known},
	{"known_not_to_be_there", known_not_to_be_there},
	{0},
};

static const struct tap_case direct_cases[] = {
	{"one_readable_descriptor", one_readable_descriptor},
	{"one_writable_descriptor", one_writable_descriptor},
	{"descriptors_are_followed_in_any_order", descriptors_are_followed_in_any_order},
	{"chain_as_long_as_the_ring", chain_as_long_as_the_ring},
	{"zero_length_descriptors_are_nothing", zero_length_descriptors_are_nothing},
	{"chain_of_nothing", chain_of_nothing},
	{"buffer_across_regions_is_in_pieces", buffer_across_regions_is_in_pieces},
	{"buffer_up_to_the_last_byte", buffer_up_to_the_last_byte},
	{"buffer_beyond_the_last_byte", buffer_beyond_the_last_byte},
	{"buffer_before_the_first_byte", buffer_before_the_first_byte},
	{"buffer_across_a_gap", buffer_across_a_gap},
	{"buffer_of_4_gib_in_less_memory", buffer_of_4_gib_in_less_memory},
	{"buffer_that_wraps_around", buffer_that_wraps_around},
	{"buffer_that_wraps_around_into_memory", buffer_that_wraps_around_into_memory},
	{"buffer_that_ends_with_the_address_space", buffer_that_ends_with_the_address_space},
	{"buffers_of_4_gib", buffers_of_4_gib},
	{"readable_after_writable", readable_after_writable},
	{"next_out_of_range", next_out_of_range},
	{"descriptor_that_follows_itself", descriptor_that_follows_itself},
	{"loop_of_two", loop_of_two},
	{"loop_of_nothing", loop_of_nothing},
	{0},
};

static const struct tap_case indirect_cases[] = {
	{"indirect_table", indirect_table},
	{"indirect_table_after_direct_descriptors", indirect_table_after_direct_descriptors},
	{"write_flag_of_the_table_is_ignored", write_flag_of_the_table_is_ignored},
	{"indirect_table_longer_than_the_ring", indirect_table_longer_than_the_ring},
	{"table_across_regions", table_across_regions},
	{"unaligned_table", unaligned_table},
	{"indirect_not_negotiated", indirect_not_negotiated},
	{"indirect_of_a_legacy_driver", indirect_of_a_legacy_driver},
	{"indirect_with_next", indirect_with_next},
	{"nested_table", nested_table},
	{"empty_table", empty_table},
	{"table_of_a_fraction", table_of_a_fraction},
	{"table_outside_memory", table_outside_memory},
	{"table_that_leaves_memory", table_that_leaves_memory},
	{"table_that_wraps_around", table_that_wraps_around},
	{"next_out_of_the_table", next_out_of_the_table},
	{"loop_in_a_table", loop_in_a_table},
	{"huge_table_is_refused_at_once", huge_table_is_refused_at_once},
	{"as_many_pieces_as_there_may_be", as_many_pieces_as_there_may_be},
	{"one_piece_too_many", one_piece_too_many},
	{"one_descriptor_too_many", one_descriptor_too_many},
	{"long_chains_wait_for_each_other", long_chains_wait_for_each_other},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "chain", .setup = setup, .teardown = ring_free, .cases = direct_cases},
	{.name = "chain indirect", .setup = setup, .teardown = ring_free, .cases = indirect_cases},
	{.name = "chain later", .setup = setup, .teardown = ring_free, .cases = later_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
