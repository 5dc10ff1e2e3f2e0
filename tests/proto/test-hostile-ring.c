/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a hostile guest can put into its split rings, and into chains as such. Each case ends with
 * the daemon alive, a second queue of the same device still served, and a fresh connection served.
 */
#define _GNU_SOURCE
#include "tests/proto/hostile.h"

#define FUZZ_ROUNDS 60

static void set_desc(struct vring_desc *table, unsigned int i, uint64_t addr, uint32_t len,
		     uint16_t flags, uint16_t next)
{
	table[i] = (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

#define RING vq->ring.desc
#define N    VRING_DESC_F_NEXT
#define W    VRING_DESC_F_WRITE
#define I    VRING_DESC_F_INDIRECT

/* A read of one sector in descriptors 0 to 2 of `table`, for a case to spoil. */
static void good_chain(struct vring_desc *table)
{
	set_desc(table, 0, header_gpa, HEADER, N, 1);
	set_desc(table, 1, data_gpa, 512, N | W, 2);
	set_desc(table, 2, status_gpa, 1, W, 0);
}

static struct vring_desc *table(void)
{
	return fe_ptr(&dev.mem, table_gpa, TABLE_SIZE);
}

static void expect(int wanted)
{
	CHECK_EQ(outcome(), wanted);
	check_world();
}

/* A chain that starts at descriptor 0 of the ring. */
static void expect_of_chain(int wanted)
{
	fe_vq_raw_push(vq, 0);
	expect(wanted);
}

/* Descriptor 0 refers to the indirect table of `len` bytes. */
static void expect_of_table(uint32_t len, int wanted)
{
	set_desc(RING, 0, table_gpa, len, I, 0);
	expect_of_chain(wanted);
}

#define CASE(name) \
	static void name##_body(void); \
	static void name(void) \
	{ \
		hostile_prepare(&(struct fe_dev_options){.queue_size = 128}); \
		good_chain(RING); \
		good_chain(table()); \
		name##_body(); \
	} \
	static void name##_body(void)

CASE(nothing_wrong)
{
	expect_of_chain(VIRTIO_BLK_S_OK);
}

CASE(head_out_of_range)
{
	fe_vq_raw_push(vq, 128);
	expect(BROKEN);
}

CASE(head_far_out_of_range)
{
	fe_vq_raw_push(vq, 0xffff);
	expect(BROKEN);
}

CASE(available_index_too_far_ahead)
{
	fe_vq_raw_avail_idx(vq, 129);
	expect(BROKEN);
}

CASE(available_index_backwards)
{
	fe_vq_raw_avail_idx(vq, 0xffff);
	expect(BROKEN);
}

CASE(next_out_of_range)
{
	RING[1].next = 128;
	expect_of_chain(BROKEN);
}

CASE(next_far_out_of_range)
{
	RING[0].next = 0xffff;
	expect_of_chain(BROKEN);
}

CASE(descriptor_that_follows_itself)
{
	RING[0].next = 0;
	expect_of_chain(BROKEN);
}

CASE(loop_of_two)
{
	set_desc(RING, 1, data_gpa, 512, N, 0);
	expect_of_chain(BROKEN);
}

CASE(loop_of_writable_descriptors)
{
	set_desc(RING, 2, data_gpa, 512, N | W, 1);
	expect_of_chain(BROKEN);
}

CASE(loop_in_an_indirect_table)
{
	set_desc(table(), 2, status_gpa, 1, N | W, 1);
	expect_of_table(3 * 16, BROKEN);
}

CASE(next_out_of_the_indirect_table)
{
	table()[1].next = 3;
	set_desc(table(), 3, status_gpa, 1, W, 0); /* who follows it finds all it needs */
	expect_of_table(3 * 16, BROKEN);
}

CASE(indirect_table_in_an_indirect_table)
{
	set_desc(table(), 1, table_gpa + 4096, 3 * 16, I, 0);
	good_chain(table() + 256);
	expect_of_table(2 * 16, BROKEN);
}

/* Taken for a plain buffer it would make a good request. */
CASE(indirect_flag_on_a_buffer_in_an_indirect_table)
{
	table()[1].flags |= I;
	expect_of_table(3 * 16, BROKEN);
}

CASE(indirect_table_that_contains_itself)
{
	set_desc(table(), 0, table_gpa, 16, I, 0);
	expect_of_table(16, BROKEN);
}

CASE(indirect_table_that_is_empty)
{
	expect_of_table(0, BROKEN);
}

CASE(indirect_table_that_is_no_multiple_of_16)
{
	expect_of_table(3 * 16 + 8, BROKEN);
}

CASE(indirect_table_outside_memory)
{
	set_desc(RING, 0, FE_BIT(40), 3 * 16, I, 0);
	expect_of_chain(BROKEN);
}

CASE(indirect_table_across_the_end_of_memory)
{
	set_desc(RING, 0, dev.mem.region[0].size - 16, 3 * 16, I, 0);
	expect_of_chain(BROKEN);
}

CASE(indirect_table_across_the_end_of_addresses)
{
	set_desc(RING, 0, UINT64_MAX - 15, 3 * 16, I, 0);
	expect_of_chain(BROKEN);
}

/* Of a table that says to be longer than memory only what is used need be there. */
CASE(indirect_table_of_4_gib)
{
	set_desc(RING, 0, table_gpa, 0xfffffff0, I, 0);
	fe_vq_raw_push(vq, 0);
	CHECK(outcome() >= 0);
	check_world();
}

CASE(indirect_descriptor_with_next)
{
	set_desc(RING, 0, table_gpa, 3 * 16, I | N, 1);
	expect_of_chain(BROKEN);
}

/* The longest chain there can be, of descriptors without end: it must not take for ever. */
CASE(indirect_table_of_65536_descriptors)
{
	for (unsigned int i = 0; i < 65536; i++)
		set_desc(table(), i, data_gpa, 1, i ? W | N : N, (uint16_t)(i + 1));
	set_desc(RING, 0, table_gpa, 65536 * 16, I, 0);
	fe_vq_raw_push(vq, 0);
	CHECK(outcome() >= 0);
	check_world();
}

static int all_used(void *n)
{
	return fe_vq_n_used(vq) == *(unsigned int *)n;
}

/* More long chains at once than there may be memory for: the others wait, and have their turn. */
static void many_long_chains(void)
{
	const unsigned int size = 63 * 512;
	unsigned int n = 64;

	/* All begun together, and nobody looks but who has a reason to. */
	hostile_prepare_with(&(struct fe_dev_options){.queue_size = 128},
			     (const char *const[]){"--cache=writeback", "--poll=off", NULL});
	good_chain(table());
	for (unsigned int i = 1; i <= size; i++)
		set_desc(table(), i, data_gpa, 1, N | W, (uint16_t)(i + 1));
	set_desc(table(), size + 1, status_gpa, 1, W, 0);
	for (unsigned int i = 0; i < n; i++) {
		set_desc(RING, i, table_gpa, (size + 2) * 16, I, 0);
		fe_vq_raw_push(vq, (uint16_t)i);
	}
	fe_vq_raw_kick(vq);
	CHECK_EQ(fe_wait_for(all_used, &n, fe_deadline(FE_TIMEOUT_MS)), 1);
	CHECK_EQ(*status, VIRTIO_BLK_S_OK);
	check_world();
}

CASE(descriptor_outside_memory)
{
	RING[1].addr = FE_BIT(40);
	expect_of_chain(BROKEN);
}

CASE(descriptor_across_the_end_of_memory)
{
	RING[1].addr = dev.mem.region[0].size - 511;
	expect_of_chain(BROKEN);
}

CASE(descriptor_across_the_end_of_addresses)
{
	RING[1].addr = UINT64_MAX - 255;
	expect_of_chain(BROKEN);
}

CASE(descriptor_of_4_gib)
{
	RING[1].len = UINT32_MAX;
	expect_of_chain(BROKEN);
}

CASE(header_of_4_gib)
{
	RING[0].len = UINT32_MAX;
	expect_of_chain(BROKEN);
}

/* 1000 times 16 MiB of the same memory are more bytes than 32 bits count. */
CASE(data_of_many_gib)
{
	uint32_t len = 16 * MIB;

	set_desc(table(), 0, header_gpa, HEADER, N, 1);
	for (uint16_t i = 1; i <= 1000; i++)
		set_desc(table(), i, 0, len, N | W, (uint16_t)(i + 1));
	set_desc(table(), 1001, status_gpa, 1, W, 0);
	/* as if every byte of this had been read, nothing of it may be written */
	set_desc(RING, 0, table_gpa, 1002 * 16, I, 0);
	fe_vq_raw_push(vq, 0);
	expect_refusal();
}

/* Legal or not is not settled; answered or broken, but never stuck. */
CASE(descriptors_of_length_zero)
{
	set_desc(RING, 0, header_gpa, HEADER, N, 3);
	set_desc(RING, 3, data_gpa, 0, N, 4);
	set_desc(RING, 4, data_gpa, 0, N | W, 1);
	fe_vq_raw_push(vq, 0);
	int ret = outcome();

	CHECK(ret == BROKEN || ret == VIRTIO_BLK_S_OK || ret == VIRTIO_BLK_S_IOERR);
	check_world();
}

CASE(descriptor_of_length_zero_outside_memory)
{
	set_desc(RING, 1, UINT64_MAX, 0, N | W, 2);
	fe_vq_raw_push(vq, 0);
	CHECK(outcome() >= 0);
	check_world();
}

CASE(chain_of_nothing)
{
	set_desc(RING, 0, header_gpa, 0, 0, 0);
	expect_of_chain(BROKEN);
}

CASE(header_alone)
{
	RING[0].flags = 0;
	expect_of_chain(BROKEN); /* no byte to say so */
}

CASE(header_write_only)
{
	RING[0].flags = W | N;
	fe_vq_raw_push(vq, 0);
	expect_refusal();
}

CASE(header_too_short)
{
	RING[0].len = 15;
	fe_vq_raw_push(vq, 0);
	expect_refusal();
}

CASE(no_status_byte)
{
	header->type = VIRTIO_BLK_T_OUT;
	set_desc(RING, 1, data_gpa, 512, 0, 0);
	expect_of_chain(BROKEN);
}

CASE(read_without_room)
{
	/* one writable byte: it is the status */
	set_desc(RING, 0, header_gpa, HEADER, N, 2);
	fe_vq_raw_push(vq, 0);
	CHECK(outcome() <= VIRTIO_BLK_S_IOERR);
	check_world();
}

CASE(readable_after_writable)
{
	/* 2.7.4.2: "device-readable ... before any device-writable" */
	set_desc(RING, 0, header_gpa, HEADER, N, 1);
	set_desc(RING, 1, data_gpa, 512, N | W, 3);
	set_desc(RING, 3, data_gpa, 512, N, 2);
	fe_vq_raw_push(vq, 0);
	expect_refusal();
}

static void indirect_without_being_negotiated(void)
{
	hostile_prepare(
		&(struct fe_dev_options){.features_off = FE_BIT(VIRTIO_RING_F_INDIRECT_DESC)});
	good_chain(table());
	expect_of_table(3 * 16, BROKEN);
}

/* The same head twice: two requests for the device, no loop, but the driver must not. */
CASE(head_twice)
{
	fe_vq_raw_push(vq, 0);
	fe_vq_raw_push(vq, 0);
	CHECK(outcome() >= 0);
	check_world();
}

CASE(broken_ring_stays_broken_and_restarts)
{
	fe_vq_raw_push(vq, 999);
	CHECK_EQ(outcome(), BROKEN);
	/* no more service on it, however it is kicked */
	fe_vq_raw_push(vq, 0);
	check_nothing_happens();
	/* until it is stopped and set up anew */
	restart_hostile();
	check_round_trip(&blk, 0, 4096);
	check_world();
}

/* Changes one descriptor of the table, or the header, and back. */
static void flip(uint64_t *rng)
{
	struct vring_desc *d = table() + fe_random(rng) % 3;
	struct vring_desc was = *d;

	switch (fe_random(rng) % 5) {
	case 0:
		d->addr = fe_random(rng);
		break;
	case 1:
		d->len = (uint32_t)fe_random(rng);
		break;
	case 2:
		d->flags ^= I;
		break;
	case 3:
		d->next = (uint16_t)fe_random(rng);
		break;
	case 4:
		header->type = (uint32_t)fe_random(rng);
		header->sector = fe_random(rng);
		break;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*d = was;
	*header = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_IN};
}

CASE(descriptors_that_change_under_the_device)
{
	struct flipper f = {.flip = flip};
	uint64_t end = fe_deadline(2000);
	unsigned int answered = 0;

	flipper_start(&f);
	while (fe_left_ms(end)) {
		set_desc(RING, 0, table_gpa, 3 * 16, I, 0);
		fe_vq_raw_push(vq, 0);
		if (outcome() == BROKEN) {
			restart_hostile();
		} else {
			vq->used_idx++;
			fe_vq_silence(vq, false); /* asks for the next call */
			answered++;
		}
	}
	flipper_stop(&f);
	CHECK(answered > 0);
	check_world();
}

/* Noise with a little sense in it, so that it gets further than the first check. */
static void random_desc(uint64_t *rng, struct vring_desc *d, unsigned int n)
{
	uint64_t dice = fe_random(rng);

	d->addr = dice % 8 ? dice >> 8 & (dev.mem.region[0].size - 1) : fe_random(rng);
	d->addr = elsewhere(d->addr);
	d->len = dice % 7 ? dice >> 16 & 0xfff : (uint32_t)fe_random(rng);
	d->flags = dice % 5 ? (uint16_t)(dice >> 32 & 3) : (uint16_t)(dice >> 32 & 7);
	d->next = (uint16_t)(dice % 9 ? (dice >> 48) % n : dice >> 48);
}

CASE(noise)
{
	uint64_t rng = seed_from("FE_STRESS_SEED");

	for (unsigned int round = 0; round < FUZZ_ROUNDS; round++) {
		for (unsigned int i = 0; i < 128; i++) {
			random_desc(&rng, &RING[i], 128);
			random_desc(&rng, &table()[i], 64);
			if (RING[i].flags & I)
				RING[i].addr = table_gpa, RING[i].len &= 0x7f0;
		}
		for (unsigned int i = 0; i < 64; i++)
			fe_vq_raw_push(vq, (uint16_t)(fe_random(&rng) % (round % 8 ? 128 : 200)));
		fe_vq_raw_kick(vq);
		check_round_trip(&other, 64, 4096);
		restart_hostile();
	}
	check_world();
}

#define ROW(name) \
	{ \
#name, name \
	}
static const struct tap_case cases[] = {
	ROW(nothing_wrong),
	ROW(head_out_of_range),
	ROW(head_far_out_of_range),
	ROW(available_index_too_far_ahead),
	ROW(available_index_backwards),
	ROW(next_out_of_range),
	ROW(next_far_out_of_range),
	ROW(descriptor_that_follows_itself),
	ROW(loop_of_two),
	ROW(loop_of_writable_descriptors),
	ROW(loop_in_an_indirect_table),
	ROW(next_out_of_the_indirect_table),
	ROW(indirect_table_in_an_indirect_table),
	ROW(indirect_flag_on_a_buffer_in_an_indirect_table),
	ROW(indirect_table_that_contains_itself),
	ROW(indirect_table_that_is_empty),
	ROW(indirect_table_that_is_no_multiple_of_16),
	ROW(indirect_table_outside_memory),
	ROW(indirect_table_across_the_end_of_memory),
	ROW(indirect_table_across_the_end_of_addresses),
	ROW(indirect_table_of_4_gib),
	ROW(indirect_descriptor_with_next),
	ROW(indirect_table_of_65536_descriptors),
	ROW(indirect_without_being_negotiated),
	ROW(many_long_chains),
	ROW(descriptor_outside_memory),
	ROW(descriptor_across_the_end_of_memory),
	ROW(descriptor_across_the_end_of_addresses),
	ROW(descriptor_of_4_gib),
	ROW(header_of_4_gib),
	ROW(data_of_many_gib),
	ROW(descriptors_of_length_zero),
	ROW(descriptor_of_length_zero_outside_memory),
	ROW(chain_of_nothing),
	ROW(header_alone),
	ROW(header_write_only),
	ROW(header_too_short),
	ROW(no_status_byte),
	ROW(read_without_room),
	ROW(readable_after_writable),
	ROW(head_twice),
	ROW(broken_ring_stays_broken_and_restarts),
	ROW(descriptors_that_change_under_the_device),
	ROW(noise),
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "hostile-ring", .setup = proto_setup, .teardown = proto_teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
