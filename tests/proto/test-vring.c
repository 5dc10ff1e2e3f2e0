/* SPDX-License-Identifier: BSD-3-Clause */
/* Rings: sizes, starts and stops, positions, notifications both ways. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define ID_LEN 20

/* `count` cheap requests (GET_ID) in batches of as many as slots and ring hold. */
static void check_many(struct fe_blk *b, unsigned int count)
{
	struct fe_blk_slot *slot;
	unsigned int sent = 0;

	while (sent < count) {
		while ((slot = fe_blk_get(b)) &&
		       !fe_blk_submit(b, slot, VIRTIO_BLK_T_GET_ID, 0, ID_LEN))
			sent++;
		if (slot) /* the ring is full before the slots are out */
			fe_blk_put(b, slot);
		REQUIRE(b->in_flight > 0);
		REQUIRE_EQ(fe_blk_drain(b), 0);
	}
}

static void ring_of(unsigned int size, uint64_t features_off)
{
	attach(.queue_size = size, .features_off = features_off);
	check_round_trip(&blk, 16, 64 * KIB);
	check_many(&blk, size < 4096 ? 2 * size + 3 : 64);
	detach();
}

static void every_size(uint64_t features_off)
{
	serve(MIB);
	for (unsigned int size = 2; size <= 1024; size *= 2)
		/* two descriptors hold no direct request with data */
		if (size > 2 || !(features_off & FE_BIT(VIRTIO_RING_F_INDIRECT_DESC)))
			ring_of(size, features_off);
	if (!fe_daemon_is_qsd())
		for (unsigned int size = 2048; size <= 32768; size *= 2)
			ring_of(size, features_off);
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

/* The 16-bit indices wrap; a ring of two has its entries used 35000 times. */
static void indices_wrap(void)
{
	serve(MIB);
	attach(.queue_size = 64);
	check_many(&blk, 70000);
	if (!proto_packed)
		CHECK(blk.vq->avail_idx >= 70000 - 65536);
	check_round_trip(&blk, 0, 4096);
}

static void ring_stays_full(void)
{
	struct fe_blk full;
	struct fe_blk_slot *slot;

	serve(MIB);
	attach(.queue_size = 256);
	REQUIRE_OK(fe_blk_init(&full, &dev, 0, 256, 512));
	check_many(&full, 256 * 20);
	/* all in one publication, the whole ring */
	while ((slot = fe_blk_get(&full)))
		REQUIRE_OK(fe_blk_submit(&full, slot, VIRTIO_BLK_T_IN, 0, 512));
	CHECK_EQ(full.vq->n_free, 0);
	CHECK_EQ(fe_blk_drain(&full), 0);
	fe_blk_free(&full);
}

static void legacy_without_version_1(void)
{
	needs_vublkd(); /* qemu-storage-daemon 7.2 does not do it */
	serve(MIB);
	attach(.features_off = FE_BIT(VIRTIO_F_VERSION_1));
	check_round_trip(&blk, 0, 4096);
	detach();
	attach(.features_off = FE_BIT(VIRTIO_F_VERSION_1) | FE_BIT(VIRTIO_RING_F_EVENT_IDX) |
			       FE_BIT(VIRTIO_RING_F_INDIRECT_DESC));
	check_round_trip(&blk, 0, 4096);
}

static void enabled_from_the_start_without_protocol_features(void)
{
	serve(MIB);
	attach(.features_off = FE_BIT(VHU_F_PROTOCOL_FEATURES));
	check_round_trip(&blk, 0, 4096);
}

/* Puts a read of one sector on queue 0; fe_blk_drain() or nothing_done() sees what becomes of it.*/
static void add_read(void)
{
	struct fe_blk_slot *slot = fe_blk_get(&blk);

	REQUIRE(slot != NULL);
	REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_IN, 0, 512));
}

/*
 * That a ring which must not run does not: a kick and a round trip on the socket gave the back-end
 * its chance, and a second queue, kicked later, has already been served.
 */
static bool nothing_done(struct fe_blk *witness)
{
	fe_vq_raw_kick(blk.vq);
	check_many(witness, 16);
	CHECK_OK(fe_sync(&dev.conn));
	check_many(witness, 16);
	return !fe_vq_n_used(blk.vq);
}

static void disabled_ring_does_not_run(void)
{
	struct fe_blk witness;

	needs_vublkd();
	serve(MIB);
	attach(.n_queues = 2);
	REQUIRE_OK(fe_blk_init(&witness, &dev, 1, 4, 512));
	check_round_trip(&blk, 0, 4096);
	for (unsigned int i = 0; i < 3; i++) {
		CHECK_OK(fe_dev_enable_vq(&dev, 0, false));
		add_read();
		fe_vq_publish(blk.vq);
		CHECK(nothing_done(&witness));
		/* ENABLE alone starts it again; nobody kicks */
		CHECK_OK(fe_dev_enable_vq(&dev, 0, true));
		CHECK_OK(fe_vq_wait(blk.vq, fe_deadline(FE_TIMEOUT_MS)));
		CHECK_EQ(fe_blk_drain(&blk), 0);
	}
	check_round_trip(&blk, 0, 4096);
	fe_blk_free(&witness);
}

/* User-mode Linux frees a ring when ENABLE 0 is acknowledged. */
static void disabling_drains(void)
{
	needs_vublkd();
	serve(16 * MIB);
	attach();
	for (unsigned int round = 0; round < 20; round++) {
		write_all_slots(round);
		/* popped or not: what is not done when ENABLE 0 is acknowledged stays undone */
		CHECK_OK(fe_dev_enable_vq(&dev, 0, false));
		unsigned int at_ack = fe_vq_n_used(blk.vq);

		CHECK_OK(fe_sync(&dev.conn));
		CHECK_EQ(fe_vq_n_used(blk.vq), at_ack);
		CHECK_OK(fe_dev_enable_vq(&dev, 0, true));
		CHECK_EQ(fe_blk_drain(&blk), 0);
		CHECK_EQ(fe_vq_n_used(blk.vq), 0);
	}
}

static void get_vring_base_drains(void)
{
	needs_vublkd(); /* qemu-storage-daemon 7.2 does not do it */
	serve(16 * MIB);
	attach();
	for (unsigned int round = 0; round < 20; round++) {
		write_all_slots(round);
		REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
		/* what was taken is done, and the base counts exactly that */
		CHECK_EQ(dev.vq[0].base, fe_vq_used_base(blk.vq));
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
		CHECK_EQ(fe_blk_drain(&blk), 0);
	}
}

static void stopped_ring_does_not_run(void)
{
	struct fe_blk witness;

	needs_vublkd();
	serve(MIB);
	attach(.n_queues = 2);
	REQUIRE_OK(fe_blk_init(&witness, &dev, 1, 4, 512));
	check_round_trip(&blk, 0, 4096);
	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
	uint32_t two = fe_vq_is_packed(blk.vq) ? 0x80028002u : 2; /* requests of one descriptor */

	CHECK_EQ(dev.vq[0].base, two);
	add_read();
	fe_vq_publish(blk.vq);
	CHECK(nothing_done(&witness));
	/* a second GET_VRING_BASE has the same answer */
	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
	CHECK_EQ(dev.vq[0].base, two);
	/* and what waits when it starts is done without another kick */
	fe_vq_take_event(blk.vq->kick_fd);
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	CHECK_OK(fe_vq_wait(blk.vq, fe_deadline(FE_TIMEOUT_MS)));
	CHECK_EQ(fe_blk_drain(&blk), 0);
	fe_blk_free(&witness);
}

static void requests_wait_for_the_start(void)
{
	needs_vublkd(); /* qemu-storage-daemon 7.2 does not do it */
	serve(MIB);
	greet();
	make_rings(16 * MIB);
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 4, MIB));
	add_read();
	add_read();
	fe_vq_publish(blk.vq); /* and no kick, ever */
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	CHECK_OK(fe_vq_wait(blk.vq, fe_deadline(FE_TIMEOUT_MS)));
	CHECK_EQ(fe_blk_drain(&blk), 0);
}

/* Firmware, then kernel: the second driver makes rings elsewhere, of another size, from 0. */
static void new_rings_at_new_addresses(void)
{
	serve(MIB);
	attach(.queue_size = 256);
	check_many(&blk, 100);
	for (unsigned int size = 128; size >= 16; size /= 2) {
		struct fe_vq *vq = &dev.vq[0];
		uint64_t features = dev.features & ~FE_BIT(VIRTIO_RING_F_EVENT_IDX);

		REQUIRE_OK(fe_dev_stop(&dev));
		fe_blk_free(&blk);
		fe_vq_free(vq);
		REQUIRE_OK(fe_vq_init(vq, &dev.mem, size, features));
		REQUIRE_OK(fe_tell_u64(&dev.conn, VHU_SET_FEATURES, features));
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
		REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 4, 128 * KIB));
		check_round_trip(&blk, 0, 4096);
		check_many(&blk, 3 * size + 1);
	}
}

/* As many as the second driver has processors. */
static void other_number_of_queues_at_the_next_start(void)
{
	static const unsigned int counts[] = {1, 8, 3, 2, 8};

	serve(MIB, "--num-workers=2");
	attach(.n_queues = 8, .queue_size = 32);
	for (size_t k = 0; k < sizeof(counts) / sizeof(*counts); k++) {
		REQUIRE_OK(fe_dev_stop(&dev));
		for (unsigned int i = 0; i < counts[k]; i++)
			REQUIRE_OK(fe_dev_start_vq(&dev, i));
		for (unsigned int i = 0; i < counts[k]; i++) {
			struct fe_blk other;

			REQUIRE_OK(fe_blk_init(&other, &dev, i, 2, 4096));
			check_round_trip(&other, 8 * i, 4096);
			fe_blk_free(&other);
		}
	}
}

static void starts_from_any_base(void)
{
	static const uint32_t split[] = {1, 63, 0x7fff, 0x8000, 0xfff0, 0xffff};
	static const uint32_t packed[] = {0x80008000, 0x80018001, 0x803f803f,
					  0,          0x00010001, 0x003f003f};
	const uint32_t *bases = proto_packed ? packed : split;

	needs_vublkd(); /* qemu-storage-daemon 7.2 does not do it */
	serve(MIB);
	attach(.queue_size = 64);
	for (unsigned int i = 0; i < 6; i++) {
		REQUIRE_OK(fe_dev_stop(&dev));
		fe_vq_reset(&dev.vq[0], bases[i]);
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
		check_round_trip(&blk, 0, 4096);
		check_many(&blk, 100);
	}
}

static void set_features_again_while_running(void)
{
	serve(MIB);
	attach();
	for (unsigned int i = 0; i < 3; i++) {
		CHECK_OK(fe_tell_u64(&dev.conn, VHU_SET_FEATURES, dev.features));
		check_round_trip(&blk, 0, 4096);
	}
}

static void new_kick_and_call_while_running(void)
{
	struct fe_vq *vq = &dev.vq[0];

	needs_vublkd();
	serve(MIB);
	attach();
	for (unsigned int i = 0; i < 3; i++) {
		close(vq->call_fd);
		vq->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		CHECK_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, vq->call_fd));
		/* whatever was signalled on the old one may be lost: one call comes by itself */
		CHECK_OK(fe_wait_fd(vq->call_fd, POLLIN, fe_deadline(FE_TIMEOUT_MS)));
		check_round_trip(&blk, 0, 4096);
	}
}

/* The no-fd bit: the back-end must look for itself, the driver never kicks. */
static void kick_without_fd(void)
{
	needs_vublkd();
	serve(MIB);
	greet();
	make_rings(16 * MIB);
	close(dev.vq[0].kick_fd);
	dev.vq[0].kick_fd = -1;
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 4, MIB));
	check_round_trip(&blk, 0, 4096);
	check_many(&blk, 100);
}

static void call_without_fd(void)
{
	needs_vublkd(); /* qemu-storage-daemon 7.2 does not do it */
	serve(MIB);
	attach();
	CHECK_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, -1));
	fe_vq_silence(blk.vq, true);
	check_round_trip(&blk, 0, 4096);
	check_many(&blk, 100);
}

/* "Some front-ends never enable interrupts: write no call then." */
static void silent_driver_gets_no_calls(uint64_t features_off)
{
	serve(MIB);
	attach(.features_off = features_off);
	check_round_trip(&blk, 0, 4096);
	proto_settle_calls();
	check_many(&blk, 200);
	REQUIRE_OK(fe_sync(&dev.conn));
	CHECK(!fe_vq_take_event(blk.vq->call_fd));
	fe_vq_silence(blk.vq, false);
	check_round_trip(&blk, 0, 4096);
}

static void silent_driver_with_event_idx(void)
{
	silent_driver_gets_no_calls(0);
}

static void silent_driver_with_flags(void)
{
	silent_driver_gets_no_calls(FE_BIT(VIRTIO_RING_F_EVENT_IDX));
}

/* used_event asks for the call after the third completion of four: it must come, once. */
static void event_idx_is_about_the_batch(void)
{
	uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	const unsigned int rounds = 200;

	needs_vublkd();
	serve(MIB);
	attach();
	struct fe_vq *vq = blk.vq;

	/* The first completion of a session is always told: that call is over before the rounds. */
	check_round_trip(&blk, 0, 4096);
	for (unsigned int round = 0; round < rounds; round++) {
		proto_settle_calls();
		for (unsigned int i = 0; i < 4; i++)
			add_read();
		fe_vq_call_after(vq, 2);
		fe_vq_kick(vq);
		REQUIRE_OK(fe_wait_fd(vq->call_fd, POLLIN, deadline));
		CHECK(fe_vq_n_used(vq) >= 3);
		CHECK_EQ(fe_blk_drain(&blk), 0);
	}
}

static void as_many_queues_as_offered(void)
{
	static struct fe_blk all[VHU_MAX_QUEUES];

	needs_vublkd();
	serve(4 * MIB);
	attach(.n_queues = VHU_MAX_QUEUES, .queue_size = 16, .mem_size = 64 * MIB);
	for (unsigned int i = 0; i < VHU_MAX_QUEUES; i++) {
		REQUIRE_OK(fe_blk_init(&all[i], &dev, i, 2, 16 * KIB));
		check_round_trip(&all[i], 8 * i, 4 * KIB);
	}
	/* all at once */
	for (unsigned int i = 0; i < VHU_MAX_QUEUES; i++) {
		REQUIRE_OK(fe_blk_submit(&all[i], fe_blk_get(&all[i]), VIRTIO_BLK_T_IN, 0, 4096));
		fe_vq_kick(all[i].vq);
	}
	for (unsigned int i = 0; i < VHU_MAX_QUEUES; i++) {
		CHECK_EQ(fe_blk_drain(&all[i]), 0);
		fe_blk_free(&all[i]);
	}
}

static void queues_beyond_the_limit_are_refused(void)
{
	needs_vublkd();
	serve(MIB, "--num-queues=2");
	attach(.n_queues = 2);
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_SET_VRING_NUM, 2, 128), FE_REFUSED);
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_SET_VRING_BASE, 2, 0), FE_REFUSED);
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_SET_VRING_ENABLE, 2, 1), FE_REFUSED);
	CHECK_EQ(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, 2, dev.vq[0].kick_fd), FE_REFUSED);
	CHECK_EQ(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 2, dev.vq[0].call_fd), FE_REFUSED);
	CHECK_EQ(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_ERR, 2, dev.vq[0].err_fd), FE_REFUSED);
	check_round_trip(&blk, 0, 4096);
}

/* Only the second of two queues is started: the first is not missed. */
static void any_queue_may_be_the_only_one(void)
{
	serve(MIB, "--num-queues=4");
	greet(.n_queues = 4);
	make_rings(16 * MIB);
	REQUIRE_OK(fe_dev_start_vq(&dev, 2));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 2, 4, MIB));
	check_round_trip(&blk, 0, 4096);
}

static const struct tap_case cases[] = {
	{"sizes_with_event_idx", sizes_with_event_idx},
	{"sizes_without_event_idx", sizes_without_event_idx},
	{"sizes_with_direct_chains", sizes_with_direct_chains},
	{"indices_wrap", indices_wrap},
	{"ring_stays_full", ring_stays_full},
	{"legacy_without_version_1", legacy_without_version_1},
	{"enabled_from_the_start_without_protocol_features",
	 enabled_from_the_start_without_protocol_features},
	{"disabled_ring_does_not_run", disabled_ring_does_not_run},
	{"disabling_drains", disabling_drains},
	{"get_vring_base_drains", get_vring_base_drains},
	{"stopped_ring_does_not_run", stopped_ring_does_not_run},
	{"requests_wait_for_the_start", requests_wait_for_the_start},
	{"new_rings_at_new_addresses", new_rings_at_new_addresses},
	{"other_number_of_queues_at_the_next_start", other_number_of_queues_at_the_next_start},
	{"starts_from_any_base", starts_from_any_base},
	{"set_features_again_while_running", set_features_again_while_running},
	{"new_kick_and_call_while_running", new_kick_and_call_while_running},
	{"kick_without_fd", kick_without_fd},
	{"call_without_fd", call_without_fd},
	{"silent_driver_with_event_idx", silent_driver_with_event_idx},
	{"silent_driver_with_flags", silent_driver_with_flags},
	{"event_idx_is_about_the_batch", event_idx_is_about_the_batch},
	{"as_many_queues_as_offered", as_many_queues_as_offered},
	{"queues_beyond_the_limit_are_refused", queues_beyond_the_limit_are_refused},
	{"any_queue_may_be_the_only_one", any_queue_may_be_the_only_one},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("vring", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
