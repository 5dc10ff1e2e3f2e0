/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What packed rings have and split ones have not: any size, wrap counters, lists whose completions
 * skip slots, two positions in a base. What both have is tested with both, see PROTO_SUITES().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>

#include "tests/proto/proto.h"

#define ID_LEN 20

static const unsigned int sizes[] = {1,   2,   3,   5,   7,    10,    63,    100,
				     127, 129, 255, 257, 1000, 21845, 32767, 32768};
#define N_SIZES (sizeof(sizes) / sizeof(*sizes))

/* `count` requests, as many at once as slots and ring hold, some of 2 descriptors and some of 3. */
static void check_mixed(unsigned int count)
{
	struct fe_blk_slot *slot;
	unsigned int sent = 0;
	int err = 0;

	while (sent < count) {
		while (!err && (slot = fe_blk_get(&blk))) {
			if (sent % 3)
				err = fe_blk_submit(&blk, slot, VIRTIO_BLK_T_GET_ID, 0, ID_LEN);
			else
				err = fe_blk_submit(&blk, slot, VIRTIO_BLK_T_FLUSH, 0, 0);
			if (err) /* the ring is full before the slots are out */
				fe_blk_put(&blk, slot);
			else
				sent++;
		}
		REQUIRE(blk.in_flight > 0);
		REQUIRE_EQ(fe_blk_drain(&blk), 0);
		err = 0;
	}
}

static void every_size(uint64_t features_off)
{
	const bool direct = features_off & FE_BIT(VIRTIO_RING_F_INDIRECT_DESC);

	serve(MIB);
	for (unsigned int i = 0; i < N_SIZES; i++) {
		if (direct && sizes[i] < 3)
			continue;
		attach(.queue_size = sizes[i], .features_off = features_off);
		check_round_trip(&blk, 16, 64 * KIB);
		check_mixed(sizes[i] < 2000 ? 2 * sizes[i] + 5 : 64);
		detach();
	}
}

static void sizes_with_event_idx(void)
{
	every_size(0);
}

static void sizes_without_event_idx(void)
{
	every_size(FE_BIT(VIRTIO_RING_F_EVENT_IDX));
}

static void sizes_with_direct_chains(void)
{
	every_size(FE_BIT(VIRTIO_RING_F_INDIRECT_DESC));
}

static void sizes_with_direct_chains_and_flags(void)
{
	every_size(FE_BIT(VIRTIO_RING_F_INDIRECT_DESC) | FE_BIT(VIRTIO_RING_F_EVENT_IDX));
}

/* The largest ring, full in one publication, twice round. */
static void largest_ring_full(void)
{
	static struct fe_blk full;
	struct fe_blk_slot *slot;

	serve(MIB);
	attach(.queue_size = 32768, .mem_size = 512 * MIB);
	REQUIRE_OK(fe_blk_init(&full, &dev, 0, 32768, 512));
	for (unsigned int round = 0; round < 2; round++) {
		while ((slot = fe_blk_get(&full)))
			REQUIRE_OK(fe_blk_submit(&full, slot, VIRTIO_BLK_T_GET_ID, 0, ID_LEN));
		CHECK_EQ(full.vq->n_free, 0);
		REQUIRE_EQ(fe_blk_drain(&full), 0);
	}
	fe_blk_free(&full);
}

/*
 * Small requests overtake large ones that were made available before: completions out of order, of
 * lists of other lengths than those whose slots they take.
 */
static void out_of_order(uint64_t features_off)
{
	static const uint32_t pieces[] = {64 * KIB};
	struct fe_seg segs[16];
	struct fe_blk_slot *slot, *order[4];
	unsigned int n, overtaken = 0;

	serve(16 * MIB);
	attach(.queue_size = 41, .features_off = features_off);
	for (unsigned int round = 0; round < 200; round++) {
		slot = order[0] = fe_blk_get(&blk);
		n = fe_cut(segs, 16, slot->data_gpa, MIB, false, pieces, 1);
		REQUIRE_OK(fe_blk_submit_segs(&blk, slot, VIRTIO_BLK_T_OUT, 0, segs, n));
		for (unsigned int i = 1; i < 4; i++) {
			slot = order[i] = fe_blk_get(&blk);
			REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_GET_ID, 0, ID_LEN));
		}
		fe_vq_kick(blk.vq);
		for (unsigned int i = 0; i < 4; i++) {
			REQUIRE_OK(fe_blk_await(&blk, &slot));
			CHECK_EQ(*slot->status, VIRTIO_BLK_S_OK);
			overtaken += i == 0 && slot != order[0];
			fe_blk_put(&blk, slot);
		}
	}
	CHECK_EQ(blk.vq->n_free, 41);
	tap_diag("%u of 200 were overtaken", overtaken);
}

static void out_of_order_direct(void)
{
	out_of_order(FE_BIT(VIRTIO_RING_F_INDIRECT_DESC));
}

static void out_of_order_indirect(void)
{
	out_of_order(0);
}

/* Stopped and started at every place of the ring, on laps of both counters. */
static void base_names_the_place_and_the_lap(void)
{
	bool laps[2] = {false};
	char buf[512];

	serve(MIB);
	attach(.queue_size = 7, .features_off = FE_BIT(VIRTIO_RING_F_INDIRECT_DESC));
	for (unsigned int descs = 0; descs < 7 * 7 * 2; descs += 3) {
		uint32_t place = descs % 7 | (descs / 7 % 2 ? 0 : 0x8000);

		REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
		CHECK_EQ(dev.vq[0].base, place * 0x10001);
		CHECK_EQ(dev.vq[0].base, fe_vq_used_base(&dev.vq[0]));
		laps[place >> 15] = true;
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
		REQUIRE_EQ(fe_blk_read(&blk, 0, buf, 512), 0);
	}
	CHECK(laps[0] && laps[1]);
}

/* DPDK's virtio-user, and SPDK's, which descends from it, say 0x8000 for a fresh ring. */
static void base_without_a_used_position(void)
{
	static const uint32_t bases[] = {0x80008000, 0x80058005, 0x00050005};

	serve(MIB);
	attach(.queue_size = 7);
	for (unsigned int i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
		fe_vq_reset(&dev.vq[0], bases[i]);
		dev.vq[0].base &= 0xffff;
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
		check_mixed(20);
		check_round_trip(&blk, 0, 4096);
		REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
		CHECK_EQ(dev.vq[0].base, fe_vq_used_base(&dev.vq[0]));
	}
}

/* A driver that disables notifications altogether may do so with EVENT_IDX too. */
static void each_way_to_ask_for_calls(void)
{
	struct vring_packed_desc_event *event;

	serve(MIB);
	attach(.queue_size = 10);
	event = dev.vq[0].packed.driver;
	check_mixed(100);
	CHECK_EQ(event->flags, VRING_PACKED_EVENT_FLAG_DESC);
	fe_vq_silence(blk.vq, true);
	CHECK_EQ(event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	check_mixed(100);
	fe_vq_silence(blk.vq, false);
	check_mixed(100);
	detach();
	attach(.queue_size = 10, .features_off = FE_BIT(VIRTIO_RING_F_EVENT_IDX));
	event = dev.vq[0].packed.driver;
	check_mixed(100);
	CHECK_EQ(event->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
}

/* The event may lie on the next lap, before or behind the end of a batch that runs over the end. */
static void event_on_the_next_lap(void)
{
	uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	struct fe_blk_slot *slot;

	serve(MIB);
	attach(.queue_size = 7);
	for (unsigned int round = 0; round < 7 * 4 * 4; round++) {
		unsigned int after = round % 4;

		proto_settle_calls();
		while ((slot = fe_blk_get(&blk)))
			REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_GET_ID, 0, ID_LEN));
		fe_vq_call_after(blk.vq, after);
		fe_vq_kick(blk.vq);
		REQUIRE_OK(fe_wait_fd(blk.vq->call_fd, POLLIN, deadline));
		CHECK(fe_vq_n_used(blk.vq) > after);
		REQUIRE_EQ(fe_blk_drain(&blk), 0);
	}
}

/* ---- the driver itself: what its tests rest on ---- */

/* A ring without a device, and a request in it. */
static int lonely_ring(struct fe_vq *vq, struct fe_mem *mem)
{
	const uint64_t features = FE_BIT(VIRTIO_F_RING_PACKED) | FE_BIT(VIRTIO_RING_F_EVENT_IDX);
	const struct fe_seg segs[2] = {{.addr = 0, .len = 1}, {.addr = 1, .len = 1, .write = true}};
	int id;

	REQUIRE(fe_mem_add(mem, 0, MIB, 0) >= 0);
	REQUIRE_OK(fe_vq_init(vq, mem, 5, features));
	id = fe_vq_add(vq, segs, 2, NULL);
	REQUIRE(id >= 0);
	return id;
}

static struct fe_mem lonely_mem;

static void driver_publishes_all_at_once(void)
{
	const struct fe_seg seg = {.addr = 0, .len = 1};
	struct vring_packed_desc *desc;
	struct fe_vq vq;

	lonely_ring(&vq, &lonely_mem);
	desc = vq.packed.desc;
	REQUIRE(fe_vq_add(&vq, &seg, 1, NULL) >= 0);
	CHECK_EQ(desc[0].flags, 0);
	fe_vq_publish(&vq);
	CHECK_EQ(desc[0].flags, 0x80 | VRING_DESC_F_NEXT);
	CHECK_EQ(desc[1].flags, 0x80 | VRING_DESC_F_WRITE);
	CHECK_EQ(desc[2].flags, 0x80);
	CHECK(desc[1].id != desc[2].id);
	CHECK_EQ(fe_vq_reap(&vq, &(struct fe_used){0}), 0);
	fe_vq_free(&vq);
	fe_mem_free(&lonely_mem);
}

static void driver_finds_out_wrong_ids(void)
{
	struct vring_packed_desc *desc;
	struct fe_used used;
	struct fe_vq vq;
	int head = lonely_ring(&vq, &lonely_mem);
	uint16_t id;

	fe_vq_publish(&vq);
	desc = vq.packed.desc;
	id = desc[1].id;
	/* a slot, a neighbour, and noise in place of the id */
	for (uint16_t wrong = 0; wrong < 5; wrong++) {
		desc[0].id = wrong == 4 ? 0x7777 : wrong == 3 ? (uint16_t)(id + 1) : wrong;
		desc[0].flags = 0x8080;
		CHECK_EQ(fe_vq_reap(&vq, &used), -EPROTO);
	}
	desc[0].id = id;
	desc[0].len = 1;
	desc[0].flags = 0x8080 | VRING_DESC_F_WRITE;
	CHECK_EQ(fe_vq_reap(&vq, &used), 1);
	CHECK_EQ(used.head, head);
	CHECK_EQ(used.len, 1);
	CHECK_EQ(fe_vq_used_base(&vq), 0x80028002);
	/* given back once more: nobody waits for it */
	desc[2].id = id;
	desc[2].flags = 0x8080;
	CHECK_EQ(fe_vq_reap(&vq, &used), -EPROTO);
	fe_vq_free(&vq);
	fe_mem_free(&lonely_mem);
}

/* The kick is due when the descriptor that the device waits for is among those published. */
static void driver_kicks_for_the_event_only(void)
{
	const struct fe_seg seg = {.addr = 0, .len = 1};
	struct fe_vq vq;

	for (unsigned int event = 0; event < 10; event++) {
		lonely_ring(&vq, &lonely_mem); /* descriptors 0 and 1 */
		vq.packed.device->off_wrap = (uint16_t)(event % 5 | (event < 5 ? 0x8000 : 0));
		vq.packed.device->flags = VRING_PACKED_EVENT_FLAG_DESC;
		CHECK_EQ(fe_vq_kick(&vq), event == 0 || event == 1);
		REQUIRE(fe_vq_add(&vq, &seg, 1, NULL) >= 0);
		CHECK_EQ(fe_vq_kick(&vq), event == 2);
		REQUIRE(fe_vq_add(&vq, &seg, 1, NULL) >= 0);
		REQUIRE(fe_vq_add(&vq, &seg, 1, NULL) >= 0);
		CHECK_EQ(fe_vq_kick(&vq), event == 3 || event == 4);
		CHECK_EQ(fe_vq_add(&vq, &seg, 1, NULL), -ENOSPC);
		vq.packed.device->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
		CHECK(!fe_vq_kick(&vq));
		vq.packed.device->flags = VRING_PACKED_EVENT_FLAG_ENABLE;
		CHECK(fe_vq_kick(&vq));
		fe_vq_free(&vq);
		fe_mem_free(&lonely_mem);
	}
}

#define ROW(name) \
	{ \
#name, name \
	}
static const struct tap_case cases[] = {
	ROW(sizes_with_event_idx),
	ROW(sizes_without_event_idx),
	ROW(sizes_with_direct_chains),
	ROW(sizes_with_direct_chains_and_flags),
	ROW(largest_ring_full),
	ROW(out_of_order_direct),
	ROW(out_of_order_indirect),
	ROW(base_names_the_place_and_the_lap),
	ROW(base_without_a_used_position),
	ROW(each_way_to_ask_for_calls),
	ROW(event_on_the_next_lap),
	{0},
};

static const struct tap_case driver_cases[] = {
	ROW(driver_publishes_all_at_once),
	ROW(driver_finds_out_wrong_ids),
	ROW(driver_kicks_for_the_event_only),
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "packed", .setup = proto_setup_packed, .teardown = proto_teardown, .cases = cases},
	{.name = "packed driver", .cases = driver_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
