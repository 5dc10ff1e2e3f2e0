/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a hostile guest can put into packed rings. Each case ends with the daemon alive, a second
 * queue of the same device still served, and a fresh connection served. What is wrong within a
 * chain of either kind is test-hostile-ring's.
 */
#define _GNU_SOURCE
#include "tests/proto/hostile.h"

#define FUZZ_ROUNDS 60
#define SIZE        128u

#define N     VRING_DESC_F_NEXT
#define W     VRING_DESC_F_WRITE
#define I     VRING_DESC_F_INDIRECT
#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

#define ID 0xbeef /* of what is raw */

/* A read of one sector, direct, for a case to spoil; then what it made of it goes into the ring. */
static struct vring_packed_desc chain[SIZE + 1];
static struct vring_packed_desc *table; /* the same request, indirect */

static struct vring_packed_desc desc_of(uint64_t addr, uint32_t len, unsigned int flags)
{
	return (struct vring_packed_desc){
		.addr = addr, .len = len, .id = ID, .flags = (uint16_t)flags};
}

static void prepare(const struct fe_dev_options *options)
{
	hostile_prepare(options);
	table = fe_ptr(&dev.mem, table_gpa, TABLE_SIZE);
	chain[0] = desc_of(header_gpa, HEADER, AVAIL | N);
	chain[1] = desc_of(data_gpa, 512, AVAIL | N | W);
	chain[2] = desc_of(status_gpa, 1, AVAIL | W);
	table[0] = desc_of(header_gpa, HEADER, 0);
	table[1] = desc_of(data_gpa, 512, W);
	table[2] = desc_of(status_gpa, 1, W);
}

/* The first n descriptors of `chain` become available. */
static void expect_of(unsigned int n, int wanted)
{
	fe_vq_raw_descs(vq, chain, n);
	CHECK_EQ(outcome(), wanted);
	check_world();
}

/* One descriptor refers to the indirect table. */
static void expect_of_table(uint64_t addr, uint32_t len, int wanted)
{
	chain[0] = desc_of(addr, len, AVAIL | I);
	expect_of(1, wanted);
}

/* The used descriptor where the next one is: does it give `id` back? */
static void check_used_id(uint16_t id)
{
	REQUIRE(fe_vq_has_used(vq));
	CHECK_EQ(vq->packed.desc[vq->packed.used.idx].id, id);
}

/* As the driver who knows what it has put there: over a completion of so many slots. */
static void skip_used(unsigned int slots)
{
	struct fe_pos *used = &vq->packed.used;
	unsigned int idx = used->idx + slots;

	used->wrap ^= idx >= vq->num;
	used->idx = (uint16_t)(idx % vq->num);
	fe_vq_silence(vq, false); /* asks for the next call */
}

#define CASE(name) \
	static void name##_body(void); \
	static void name(void) \
	{ \
		prepare(&(struct fe_dev_options){.queue_size = SIZE}); \
		name##_body(); \
	} \
	static void name##_body(void)

CASE(nothing_wrong)
{
	expect_of(3, VIRTIO_BLK_S_OK);
}

CASE(nothing_wrong_indirect)
{
	expect_of_table(table_gpa, 3 * 16, VIRTIO_BLK_S_OK);
}

/* ---- ids ---- */

/* "Buffer ID is included in the last descriptor in the list": it is the guest's, whatever it is. */
CASE(any_id)
{
	static const uint16_t ids[] = {0, 1, SIZE - 1, SIZE, 0x7fff, 0x8000, 0xffff};

	for (unsigned int i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		chain[0].id = (uint16_t)(ids[i] + 1);
		chain[1].id = (uint16_t)(ids[i] + 2);
		chain[2].id = ids[i];
		fe_vq_raw_descs(vq, chain, 3);
		CHECK_EQ(outcome(), VIRTIO_BLK_S_OK);
		check_used_id(ids[i]);
		skip_used(3);
	}
	check_world();
}

/* The guest's own muddle: both are given back. */
CASE(same_id_twice)
{
	fe_vq_raw_descs(vq, chain, 3);
	fe_vq_raw_descs(vq, chain, 3);
	for (unsigned int i = 0; i < 2; i++) {
		CHECK_EQ(outcome(), VIRTIO_BLK_S_OK);
		check_used_id(ID);
		skip_used(3);
	}
	CHECK(!fe_vq_has_used(vq));
	check_world();
}

/* ---- lists ---- */

CASE(list_longer_than_the_ring)
{
	for (unsigned int i = 0; i < SIZE; i++)
		chain[i] = desc_of(data_gpa, 1, AVAIL | N);
	expect_of(SIZE, BROKEN);
}

/* The same from the middle, so that it runs over the end. */
CASE(list_longer_than_the_ring_over_its_end)
{
	fe_vq_raw_descs(vq, chain, 3);
	CHECK_EQ(outcome(), VIRTIO_BLK_S_OK);
	skip_used(3);
	for (unsigned int i = 0; i < SIZE; i++)
		chain[i] = desc_of(data_gpa, 1, AVAIL | N);
	expect_of(SIZE, BROKEN);
}

/* As long as the ring: that is allowed. */
CASE(list_as_long_as_the_ring)
{
	chain[0] = desc_of(header_gpa, HEADER, AVAIL | N);
	for (unsigned int i = 1; i < SIZE - 1; i++)
		chain[i] =
			desc_of(data_gpa + 4 * i, i == 1 ? 512 - 4 * (SIZE - 3) : 4, AVAIL | N | W);
	chain[SIZE - 1] = desc_of(status_gpa, 1, AVAIL | W);
	expect_of(SIZE, VIRTIO_BLK_S_OK);
}

/* Its end is not there yet: slots of the lap before follow, without NEXT. */
CASE(list_without_its_end)
{
	fe_vq_raw_descs(vq, chain, 2);
	CHECK_EQ(outcome(), BROKEN); /* what follows is zeros, so nothing can be the status */
	check_world();
}

CASE(indirect_after_direct)
{
	chain[1] = desc_of(table_gpa + 16, 2 * 16, AVAIL | I);
	expect_of(2, BROKEN);
}

CASE(direct_after_indirect)
{
	chain[0] = desc_of(table_gpa, 2 * 16, AVAIL | I | N);
	chain[1] = desc_of(status_gpa, 1, AVAIL | W);
	expect_of(2, BROKEN);
}

CASE(two_indirect_ones)
{
	chain[0] = desc_of(table_gpa, 16, AVAIL | I | N);
	chain[1] = desc_of(table_gpa + 16, 2 * 16, AVAIL | I);
	expect_of(2, BROKEN);
}

CASE(readable_after_writable)
{
	/* 2.8.17: writable ones come "after any device-readable descriptor elements" */
	chain[1].flags = AVAIL | N | W;
	chain[2] = desc_of(data_gpa, 512, AVAIL | N);
	chain[3] = desc_of(status_gpa, 1, AVAIL | W);
	fe_vq_raw_descs(vq, chain, 4);
	expect_refusal();
}

/* ---- flags ---- */

/* With AVAIL and USED alike it is no available descriptor, whatever else is set. */
CASE(every_flag_at_once)
{
	chain[0] = desc_of(table_gpa, 3 * 16, 0xffff);
	fe_vq_raw_descs(vq, chain, 1);
	/* for us too it looks like a used one */
	skip_used(1);
	check_nothing_happens();
	check_world();
}

CASE(every_flag_but_used)
{
	chain[0] = desc_of(table_gpa, 3 * 16, 0xffff & ~USED);
	expect_of(1, BROKEN); /* INDIRECT with NEXT */
}

CASE(reserved_flags)
{
	for (unsigned int i = 0; i < 3; i++)
		chain[i].flags |= (uint16_t) ~(AVAIL | USED | N | W | I);
	expect_of(3, VIRTIO_BLK_S_OK);
}

/* Only the first one's decide; a list is "available" with it. */
CASE(wrong_lap_behind_the_first)
{
	chain[1].flags ^= AVAIL | USED;
	chain[2].flags ^= AVAIL;
	expect_of(3, VIRTIO_BLK_S_OK);
}

/* 2.8.7: all but WRITE "are reserved and are ignored by the device"; there is no nesting. */
CASE(flags_in_an_indirect_table)
{
	for (unsigned int i = 0; i < 3; i++)
		table[i].flags |= (uint16_t)~W;
	expect_of_table(table_gpa, 3 * 16, VIRTIO_BLK_S_OK);
}

CASE(indirect_flagged_as_writable)
{
	chain[0] = desc_of(table_gpa, 3 * 16, AVAIL | I | W);
	expect_of(1, VIRTIO_BLK_S_OK);
}

/* ---- addresses and lengths ---- */

CASE(descriptor_outside_memory)
{
	chain[1].addr = FE_BIT(40);
	expect_of(3, BROKEN);
}

CASE(descriptor_across_the_end_of_memory)
{
	chain[1].addr = dev.mem.region[0].size - 511;
	expect_of(3, BROKEN);
}

CASE(descriptor_across_the_end_of_addresses)
{
	chain[1].addr = UINT64_MAX - 255;
	expect_of(3, BROKEN);
}

CASE(descriptor_of_4_gib)
{
	chain[1].len = UINT32_MAX;
	expect_of(3, BROKEN);
}

CASE(descriptor_outside_memory_in_an_indirect_table)
{
	table[1].addr = FE_BIT(40);
	expect_of_table(table_gpa, 3 * 16, BROKEN);
}

CASE(indirect_table_that_is_empty)
{
	expect_of_table(table_gpa, 0, BROKEN);
}

CASE(indirect_table_that_is_no_multiple_of_16)
{
	expect_of_table(table_gpa, 3 * 16 + 8, BROKEN);
}

CASE(indirect_table_outside_memory)
{
	expect_of_table(FE_BIT(40), 3 * 16, BROKEN);
}

CASE(indirect_table_across_the_end_of_memory)
{
	expect_of_table(dev.mem.region[0].size - 16, 3 * 16, BROKEN);
}

CASE(indirect_table_across_the_end_of_addresses)
{
	expect_of_table(UINT64_MAX - 15, 3 * 16, BROKEN);
}

/* All of a packed table is the list, so all of it has to be there. */
CASE(indirect_table_of_4_gib)
{
	expect_of_table(table_gpa, 0xfffffff0, BROKEN);
}

CASE(indirect_table_of_65536_descriptors)
{
	for (unsigned int i = 0; i < TABLE_MAX; i++)
		table[i] = desc_of(data_gpa, 1, i ? W : 0);
	chain[0] = desc_of(table_gpa, TABLE_MAX * 16, AVAIL | I);
	fe_vq_raw_descs(vq, chain, 1);
	CHECK(outcome() >= 0);
	check_world();
}

static void indirect_without_being_negotiated(void)
{
	prepare(&(struct fe_dev_options){.features_off = FE_BIT(VIRTIO_RING_F_INDIRECT_DESC)});
	expect_of_table(table_gpa, 3 * 16, BROKEN);
}

/* ---- the ring as a whole ---- */

/* The whole ring available, and at once again for the next lap, though nothing has been used. */
CASE(slots_made_available_while_in_flight)
{
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < SIZE; i++)
			chain[i] = desc_of(table_gpa, 3 * 16, AVAIL | I);
		fe_vq_raw_descs(vq, chain, SIZE);
		fe_vq_raw_kick(vq);
		fe_vq_raw_descs(vq, chain, SIZE);
		fe_vq_raw_kick(vq);
		check_round_trip(&other, 64, 4096);
		restart_hostile();
	}
	check_world();
}

/* What has been used is the guest's, but for the bits that tell so: the device never looks back. */
CASE(used_descriptors_overwritten)
{
	uint64_t rng = 1;

	for (unsigned int round = 0; round < 3 * SIZE; round++) {
		const uint16_t at = vq->packed.used.idx;

		fe_vq_raw_descs(vq, chain, 3);
		REQUIRE_EQ(outcome(), VIRTIO_BLK_S_OK);
		check_used_id(ID);
		skip_used(3);
		for (unsigned int i = 0; i < 3; i++) {
			struct vring_packed_desc *desc = &vq->packed.desc[(at + i) % SIZE];
			const unsigned int lap = desc->flags & (AVAIL | USED);
			const unsigned int noise = fe_random(&rng) & 0xffff & ~(AVAIL | USED);

			*desc = desc_of(UINT64_MAX, UINT32_MAX, lap | noise);
		}
	}
	check_world();
}

/* Reserved flags, offsets beyond the ring, and noise in what only the device should write. */
CASE(nonsense_in_the_event_suppression)
{
	uint64_t rng = 1;

	for (unsigned int round = 0; round < 2000; round++) {
		struct vring_packed_desc_event *driver = vq->packed.driver;

		driver->off_wrap = (uint16_t)fe_random(&rng);
		driver->flags = (uint16_t)(round % 2 ? fe_random(&rng) : 2);
		vq->packed.device->off_wrap = (uint16_t)fe_random(&rng);
		vq->packed.device->flags = (uint16_t)fe_random(&rng);
		fe_vq_raw_descs(vq, chain, 3);
		fe_vq_raw_kick(vq); /* the device's wish is noise */
		/* its calls too, so look for it */
		for (uint64_t end = fe_deadline(FE_TIMEOUT_MS);
		     !fe_vq_has_used(vq) && fe_left_ms(end);)
			;
		REQUIRE(fe_vq_has_used(vq));
		skip_used(3);
	}
	fe_vq_silence(vq, false);
	check_world();
}

CASE(broken_ring_stays_broken_and_restarts)
{
	chain[1].addr = FE_BIT(40);
	fe_vq_raw_descs(vq, chain, 3);
	CHECK_EQ(outcome(), BROKEN);
	/* no more service on it, however it is kicked */
	chain[1].addr = data_gpa;
	fe_vq_raw_descs(vq, chain, 3);
	check_nothing_happens();
	/* until it is stopped and set up anew */
	restart_hostile();
	check_round_trip(&blk, 0, 4096);
	check_world();
}

/* ---- set-up ---- */

/* No places in the ring, or such as cannot be: it does not start, and can be started later. */
CASE(base_out_of_range)
{
	static const uint32_t bases[] = {
		0x80008080, /* both are 128 */
		0x80008000 | 127 << 16 | 128,
		0x80008000 | 128u << 16 | 127,
		0xffffffff,
		0x7fff7fff,
		0x8000ffff,
		0xffff8000,
		0x80058003, /* used 5, available 3 on the same lap */
		0x00058006, /* used 5, available 6 a lap later: more taken than there is room for */
		0x80000005,
	};

	for (unsigned int i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
		CHECK(!fe_vq_take_event(vq->err_fd));
		fe_vq_reset(vq, FE_PACKED_FRESH);
		vq->base = bases[i];
		CHECK_EQ(fe_dev_start_vq(&dev, 0), FE_REFUSED);
		CHECK_OK(fe_vq_wait_error(vq));
		check_round_trip(&other, 64, 4096);
		restart_hostile();
		check_round_trip(&blk, 0, 4096);
	}
	check_world();
}

CASE(sizes_and_addresses_that_cannot_be)
{
	uint64_t *gpa[] = {&vq->desc_gpa, &vq->avail_gpa, &vq->used_gpa};

	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_SET_VRING_NUM, 0, 0), FE_REFUSED);
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_SET_VRING_NUM, 0, 32769), FE_REFUSED);
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_SET_VRING_NUM, 0, UINT32_MAX), FE_REFUSED);
	CHECK_OK(fe_tell_state(&dev.conn, VHU_SET_VRING_NUM, 0, SIZE));
	for (unsigned int i = 0; i < 3; i++) {
		const uint64_t truth = *gpa[i];
		const uint64_t wrong[] = {
			truth + 2,                             /* not aligned */
			dev.mem.region[0].size - (i ? 2 : 16), /* not all of it in memory */
			vq->desc_gpa + (i ? 0 : 16),
		};

		for (unsigned int w = 0; w < (i ? 3 : 2); w++) {
			*gpa[i] = wrong[w];
			CHECK_EQ(fe_dev_set_addr(&dev, 0), FE_REFUSED);
		}
		*gpa[i] = truth;
	}
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	check_round_trip(&blk, 0, 4096);
	check_world();
}

/* ---- what changes under the device ---- */

/* Changes one descriptor of the ring or of the table, and back. */
static void flip(uint64_t *rng)
{
	struct vring_packed_desc *d = fe_random(rng) % 2 ? table + fe_random(rng) % 3
							 : vq->packed.desc + fe_random(rng) % SIZE;
	const struct vring_packed_desc was = *d;

	switch (fe_random(rng) % 4) {
	case 0:
		d->addr = fe_random(rng);
		break;
	case 1:
		d->len = (uint32_t)fe_random(rng);
		break;
	case 2:
		d->flags ^= (uint16_t)(fe_random(rng) & ~(AVAIL | USED));
		break;
	case 3:
		d->id = (uint16_t)fe_random(rng);
		break;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	d->addr = was.addr;
	d->len = was.len;
	d->id = was.id;
	d->flags = (uint16_t)((d->flags & (AVAIL | USED)) | (was.flags & ~(AVAIL | USED)));
}

CASE(descriptors_that_change_under_the_device)
{
	struct flipper f = {.flip = flip};
	uint64_t end = fe_deadline(2000);
	unsigned int answered = 0;

	flipper_start(&f);
	for (unsigned int round = 0; fe_left_ms(end); round++) {
		unsigned int slots = round % 2 ? 3 : 1;
		int ret;

		if (slots == 1)
			chain[0] = desc_of(table_gpa, 3 * 16, AVAIL | I);
		else
			chain[0] = desc_of(header_gpa, HEADER, AVAIL | N);
		fe_vq_raw_descs(vq, chain, slots);
		ret = outcome_within(100); /* a list without an end is waited for */
		if (ret == VIRTIO_BLK_S_OK)
			answered++;
		/* How many slots the device took is anybody's guess, with NEXT flipped. */
		restart_hostile();
		fe_vq_take_event(vq->err_fd);
		*status = FE_NO_STATUS;
	}
	flipper_stop(&f);
	CHECK(answered > 0);
	check_world();
}

/* Noise with a little sense in it, so that it gets further than the first check. */
static struct vring_packed_desc random_desc(uint64_t *rng)
{
	uint64_t dice = fe_random(rng);
	struct vring_packed_desc d = {
		.addr = dice % 8 ? dice >> 8 & (dev.mem.region[0].size - 1) : fe_random(rng),
		.len = dice % 7 ? dice >> 16 & 0xfff : (uint32_t)fe_random(rng),
		.id = (uint16_t)(dice >> 48),
		.flags = (uint16_t)(AVAIL | (dice >> 32 & (dice % 5 ? 3 : 7))),
	};

	d.addr = elsewhere(d.addr);
	if (dice % 97 == 0)
		d.flags = (uint16_t)fe_random(rng);
	if (d.flags & I)
		d.addr = table_gpa, d.len &= 0x7f0;
	return d;
}

CASE(noise)
{
	uint64_t rng = seed_from("FE_STRESS_SEED");

	for (unsigned int round = 0; round < FUZZ_ROUNDS; round++) {
		for (unsigned int i = 0; i < SIZE; i++) {
			table[i] = random_desc(&rng);
			chain[i] = random_desc(&rng);
		}
		fe_vq_raw_descs(vq, chain, 1 + (unsigned int)(fe_random(&rng) % SIZE));
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
	ROW(nothing_wrong_indirect),
	ROW(any_id),
	ROW(same_id_twice),
	ROW(list_longer_than_the_ring),
	ROW(list_longer_than_the_ring_over_its_end),
	ROW(list_as_long_as_the_ring),
	ROW(list_without_its_end),
	ROW(indirect_after_direct),
	ROW(direct_after_indirect),
	ROW(two_indirect_ones),
	ROW(readable_after_writable),
	ROW(every_flag_at_once),
	ROW(every_flag_but_used),
	ROW(reserved_flags),
	ROW(wrong_lap_behind_the_first),
	ROW(flags_in_an_indirect_table),
	ROW(indirect_flagged_as_writable),
	ROW(descriptor_outside_memory),
	ROW(descriptor_across_the_end_of_memory),
	ROW(descriptor_across_the_end_of_addresses),
	ROW(descriptor_of_4_gib),
	ROW(descriptor_outside_memory_in_an_indirect_table),
	ROW(indirect_table_that_is_empty),
	ROW(indirect_table_that_is_no_multiple_of_16),
	ROW(indirect_table_outside_memory),
	ROW(indirect_table_across_the_end_of_memory),
	ROW(indirect_table_across_the_end_of_addresses),
	ROW(indirect_table_of_4_gib),
	ROW(indirect_table_of_65536_descriptors),
	ROW(indirect_without_being_negotiated),
	ROW(slots_made_available_while_in_flight),
	ROW(used_descriptors_overwritten),
	ROW(nonsense_in_the_event_suppression),
	ROW(broken_ring_stays_broken_and_restarts),
	ROW(base_out_of_range),
	ROW(sizes_and_addresses_that_cannot_be),
	ROW(descriptors_that_change_under_the_device),
	ROW(noise),
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "hostile-packed",
	 .setup = proto_setup_packed,
	 .teardown = proto_teardown,
	 .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
