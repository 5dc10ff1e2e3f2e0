/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu/session.c: what the session says after each kind of message. What is compared is all of
 * it, byte for byte.
 */
#include "lib/shared/inflight.h"
#include "lib/vhu/dev.h"
#include "tests/unit/support/session.h"

#define BIT(n) (1ull << (n))

static struct vhu_session expected;

/* Has nothing but `expected` been written down? */
#define CHECK_SESSION(actual) CHECK(!memcmp(actual, &expected, sizeof(expected)))

/* ---- messages ---- */

#define CHECK_AGREED() CHECK_SESSION(session.dev->session)

/* From here on it is compared with what it is now. */
static void look(void)
{
	memcpy(&expected, session.dev->session, sizeof(expected));
}

/* A region for two queues of 128, which is expected if it is taken. */
static int tell_inflight(uint32_t payload, bool packed)
{
	struct vhu_inflight_desc desc = {
		.num_queues = 2, .queue_size = 128, .padding = payload == 24 ? 0xdeadbeef : 0};
	int fd, ret;

	REQUIRE_OK(vhu_inflight_create(2, 128, packed, &fd, &desc.mmap_size));
	ret = session_tell(VHU_SET_INFLIGHT_FD, &desc, payload, &fd, 1);
	close(fd);
	if (ret)
		return ret;
	expected.has_inflight = 1;
	expected.inflight_packed = packed;
	expected.inflight = (struct vhu_inflight_desc){
		.mmap_size = desc.mmap_size, .num_queues = 2, .queue_size = 128};
	return 0;
}

static int tell_region(uint32_t request, uint64_t guest_addr)
{
	const struct vhu_mem_reg reg = {
		.region = {guest_addr, 0x1000, guest_addr + 0x10000000, 0x2000}};

	return session_tell(request, &reg, sizeof(reg), &session.mem.region[0].fd, 1);
}

static int tell_addr(unsigned index, uint64_t desc, uint64_t avail, uint64_t used)
{
	const struct vhu_vring_addr addr = {
		.index = index, .desc = desc, .avail = avail, .used = used};

	return session_tell(VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static void connection_begins_with_nothing(void)
{
	session_open_raw();
	memset(&expected, 0, sizeof(expected));
	expected.version = 4;
	CHECK_AGREED();
	session_close();
}

static void features_are_those_of_both(void)
{
	look();
	CHECK_EQ(expected.version, 4);
	CHECK_EQ(expected.features, SESSION_FEATURES);
	CHECK_EQ(expected.protocol_features, SESSION_PROTOCOL);
	/* Bit 3 was not offered, and is nobody's business. */
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | 0x40 | BIT(3)), 0);
	expected.features = SESSION_FEATURES | 0x40;
	CHECK_AGREED();
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, BIT(VHU_PROTOCOL_F_REPLY_ACK)), 0);
	expected.protocol_features = BIT(VHU_PROTOCOL_F_REPLY_ACK);
	CHECK_AGREED();
}

/* Then "the ring starts directly in the enabled state", of those that there are. */
static void features_without_protocol_features(void)
{
	look();
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, BIT(VIRTIO_F_VERSION_1)), 0);
	expected.features = BIT(VIRTIO_F_VERSION_1);
	for (unsigned i = 0; i < SESSION_QUEUES; i++)
		expected.ring[i].enabled = 1;
	CHECK_AGREED();
}

static void status_is_noted(void)
{
	look();
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 0x8f), 0);
	expected.status = 0x8f;
	CHECK_AGREED();
}

static void memory_comes_and_goes(void)
{
	look();
	session_make_memory();
	CHECK_EQ(session_tell_table(), 0);
	expected.has_memory = 1;
	expected.n_regions = 1;
	expected.region[0] = session.mem.region[0].wire;
	CHECK_AGREED();
	CHECK_EQ(tell_region(VHU_ADD_MEM_REG, 0x800000), 0);
	CHECK_EQ(tell_region(VHU_ADD_MEM_REG, 0x700000), 0);
	expected.n_regions = 3;
	expected.region[1] = (struct vhu_region){0x700000, 0x1000, 0x10700000, 0x2000};
	expected.region[2] = (struct vhu_region){0x800000, 0x1000, 0x10800000, 0x2000};
	CHECK_AGREED();
	CHECK_EQ(tell_region(VHU_REM_MEM_REG, 0x700000), 0);
	expected.n_regions = 2;
	expected.region[1] = expected.region[2];
	memset(&expected.region[2], 0, sizeof(expected.region[2]));
	CHECK_AGREED();
	CHECK_EQ(session_tell_table(), 0);
	expected.n_regions = 1;
	memset(&expected.region[1], 0, sizeof(expected.region[1]));
	CHECK_AGREED();
	session.mem.n_regions = 0;
	CHECK_EQ(session_tell_table(), 0);
	session.mem.n_regions = 1;
	expected.n_regions = 0;
	memset(&expected.region[0], 0, sizeof(expected.region[0]));
	CHECK_AGREED();
}

/* With or without the field that only QEMU's description has; and for which kind of rings. */
static void inflight_region_is_described(void)
{
	look();
	CHECK_EQ(tell_inflight(24, false), 0);
	CHECK_AGREED();
	CHECK_EQ(tell_inflight(20, false), 0);
	CHECK_AGREED();
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(VIRTIO_F_RING_PACKED)),
		 0);
	expected.features |= BIT(VIRTIO_F_RING_PACKED);
	CHECK_AGREED();
	CHECK_EQ(tell_inflight(24, true), 0);
	CHECK_AGREED();
}

static void ring_is_described(void)
{
	struct vhu_session_ring *ring = &expected.ring[3];

	look();
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 3, 256), 0);
	ring->size = 256;
	CHECK_AGREED();
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 3, 65535), 0);
	ring->base = 65535;
	CHECK_AGREED();
	/* Without memory nobody can tell what is wrong with them. */
	CHECK_EQ(tell_addr(3, 1, 2, 3), 0);
	ring->desc = 1;
	ring->avail = 2;
	ring->used = 3;
	ring->addr_set = 1;
	CHECK_AGREED();
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 3, 1), 0);
	ring->enabled = 1;
	CHECK_AGREED();
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 3, 0), 0);
	ring->enabled = 0;
	CHECK_AGREED();
}

/* User-mode Linux says 0 of a fresh packed ring; who was told a position means it. */
static void packed_base_of_0(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(VIRTIO_F_RING_PACKED)),
		 0);
	look();
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 0), 0);
	expected.ring[0].base = 0x80008000;
	CHECK_AGREED();
	CHECK_EQ(session_ask_base(0), 0x80008000);
	expected.ring[0].told = 1;
	CHECK_AGREED();
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 0), 0);
	expected.ring[0].base = 0;
	CHECK_AGREED();
}

static void ring_starts_and_stops(void)
{
	look();
	CHECK_EQ(expected.ring[0].size, SESSION_RING_SIZE);
	CHECK_EQ(expected.ring[0].desc, fe_user_addr(&session.mem, session.ring.desc_gpa));
	CHECK_EQ(expected.ring[0].avail, fe_user_addr(&session.mem, session.ring.avail_gpa));
	CHECK_EQ(expected.ring[0].used, fe_user_addr(&session.mem, session.ring.used_gpa));
	CHECK_EQ(expected.ring[0].addr_set, 1);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 5), 0);
	expected.ring[0].base = 5;
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	expected.ring[0].started = 1;
	CHECK_AGREED();
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	expected.ring[0].enabled = 1;
	CHECK_AGREED();
	session_check("start0 ");
	CHECK_EQ(session_ask_base(0), 5);
	expected.ring[0].started = 0;
	expected.ring[0].told = 1;
	CHECK_AGREED();
}

/* Where it has stopped is known when it has; before that, only that it is to. */
static void base_is_that_of_the_stop(void)
{
	const struct vhu_vring_state state = {0, 0};
	const struct fe_seg seg = {.addr = 0x1000, .len = 8};
	struct vublk_chain chain;
	struct fe_msg reply;
	struct iovec iov[4];

	vublk_chain_init(&chain, iov, 4);
	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) >= 0);
	fe_vq_publish(&session.ring);
	REQUIRE_EQ(vublk_queue_pop(session.queue[0], &chain), 1);
	vublk_queue_push(session.queue[0], &chain, 0);
	vublk_queue_publish(session.queue[0]);
	session.later = true;
	look();
	CHECK_EQ(expected.ring[0].started, 1);
	CHECK_EQ(expected.ring[0].base, 0);
	CHECK_EQ(session_send(VHU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0), 1);
	expected.ring[0].started = 0;
	CHECK_AGREED();
	session_answer(0);
	expected.ring[0].base = 1;
	expected.ring[0].told = 1;
	CHECK_AGREED();
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.payload.state.num, 1);
}

/* It is told so, but that it was started was said. */
static void ring_that_cannot_run_is_started_all_the_same(void)
{
	look();
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 1, 1), 0);
	expected.ring[1].enabled = 1;
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 1, session.ring.kick_fd), 1);
	expected.ring[1].started = 1;
	CHECK_AGREED();
}

static void questions_change_nothing(void)
{
	const struct vhu_config config = {.size = 8};
	const struct vhu_inflight_desc desc = {.num_queues = 2, .queue_size = 128};

	look();
	session_ask_u64(VHU_GET_FEATURES);
	session_ask_u64(VHU_GET_PROTOCOL_FEATURES);
	session_ask_u64(VHU_GET_QUEUE_NUM);
	session_ask_u64(VHU_GET_MAX_MEM_SLOTS);
	session_ask_u64(VHU_GET_STATUS);
	session_ask(VHU_GET_CONFIG, &config, VHU_CONFIG_HEADER + config.size);
	session_ask(VHU_GET_INFLIGHT_FD, &desc, sizeof(desc));
	CHECK_EQ(session_tell(VHU_SET_CONFIG, &config, VHU_CONFIG_HEADER + config.size, NULL, 0),
		 0);
	CHECK_EQ(session_tell(VHU_SET_OWNER, NULL, 0, NULL, 0), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, session.ring.call_fd), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_ERR, 0, session.ring.err_fd), 0);
	CHECK_AGREED();
}

/* Refused, and not a byte is another one. */
#define CHECK_REFUSED(call) \
	do { \
		CHECK_EQ(call, 1); \
		CHECK_AGREED(); \
	} while (0)

/* Queue 0 is at rest, and has all but a kick descriptor. */
static void refused_messages_change_nothing(void)
{
	const struct vhu_inflight_desc small = {
		.mmap_size = 64, .num_queues = 1, .queue_size = 128};
	const struct vhu_mem_table table = {.count = 1, .region = {{.size = 1ull << 40}}};
	const int fd = session.mem.region[0].fd;
	const uint64_t uva = session.mem.region[0].wire.user_addr;

	look();
	CHECK_REFUSED(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(14)));
	CHECK_REFUSED(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, SESSION_PROTOCOL | BIT(4)));
	CHECK_REFUSED(session_tell_u64(VHU_SET_PROTOCOL_FEATURES,
				       BIT(VHU_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN)));
	CHECK_REFUSED(session_tell_u64(VHU_SET_STATUS, 0x10f));
	CHECK_REFUSED(session_tell(VHU_SET_MEM_TABLE, &table, 40, NULL, 0));
	CHECK_REFUSED(session_tell(VHU_SET_MEM_TABLE, &table, 40, &fd, 1)); /* beyond its file */
	CHECK_REFUSED(tell_region(VHU_ADD_MEM_REG, 0x1000));
	CHECK_REFUSED(tell_region(VHU_REM_MEM_REG, 0x1000));
	CHECK_REFUSED(session_tell(VHU_SET_INFLIGHT_FD, &small, sizeof(small), &fd, 1));
	CHECK_REFUSED(session_tell_state(VHU_SET_VRING_NUM, 0, 3));
	CHECK_REFUSED(session_tell_state(VHU_SET_VRING_NUM, SESSION_QUEUES, 16));
	CHECK_REFUSED(session_tell_state(VHU_SET_VRING_BASE, 0, 65536));
	CHECK_REFUSED(session_tell_state(VHU_SET_VRING_BASE, SESSION_QUEUES, 1));
	CHECK_REFUSED(session_tell_addr_off(0, 1));
	CHECK_REFUSED(tell_addr(0, uva - 4096, uva + 1024, uva + 2048));
	CHECK_REFUSED(tell_addr(SESSION_QUEUES, uva, uva + 1024, uva + 2048));
	CHECK_REFUSED(session_tell_state(VHU_SET_VRING_ENABLE, 0, 2));
	CHECK_REFUSED(session_tell_state(VHU_SET_VRING_ENABLE, SESSION_QUEUES, 1));
	CHECK_REFUSED(session_tell_fd(VHU_SET_VRING_KICK, 0, fd));
	CHECK_REFUSED(session_tell_fd(VHU_SET_VRING_KICK, SESSION_QUEUES, -1));
	CHECK_REFUSED(session_tell(VHU_SET_STATUS, NULL, 0, NULL, 0));
	CHECK_REFUSED(session_tell(VHU_RESET_DEVICE, NULL, 0, &fd, 1));
}

/* What may not happen while a ring runs. */
static void refused_while_it_runs_changes_nothing(void)
{
	look();
	CHECK_REFUSED(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | 0x40));
	CHECK_REFUSED(session_tell_u64(VHU_SET_FEATURES, 0));
	CHECK_REFUSED(session_tell_state(VHU_SET_VRING_NUM, 0, 8));
	CHECK_REFUSED(session_tell_state(VHU_SET_VRING_BASE, 0, 8));
	CHECK_REFUSED(session_tell_addr_off(0, 4096));
	CHECK_REFUSED(tell_inflight(24, false));
}

static void device_reset(void)
{
	session.later = true;
	CHECK_EQ(session_send(VHU_SET_STATUS, 0, &(uint64_t){15}, 8, NULL, 0), 0);
	look();
	CHECK_EQ(expected.status, 15);
	CHECK_EQ(expected.n_regions, 1);
	CHECK_EQ(session_send(VHU_RESET_DEVICE, VHU_FLAG_NEED_REPLY, NULL, 0, NULL, 0), 1);
	/* The ring still runs, with the features that it was started with. */
	expected.ring[0].started = 0;
	CHECK_AGREED();
	session_answer(0);
	CHECK_EQ(session_take_ack(VHU_RESET_DEVICE), 0);
	session_forget_driver(&expected);
	CHECK_AGREED();
}

static void device_reset_with_a_region(void)
{
	CHECK_EQ(tell_inflight(24, false), 0);
	look();
	CHECK_EQ(expected.has_inflight, 1);
	CHECK_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	session_forget_driver(&expected);
	CHECK_AGREED();
}

static void end_of_the_connection(void)
{
	memset(&expected, 0, sizeof(expected));
	session.later = true;
	close(session.peer.fd);
	vublk_dev_disconnect(session.dev);
	/* Its ring still runs. */
	CHECK_EQ(session.dev->session->version, 4);
	session_answer(0);
	CHECK_AGREED();
	session_connect();
	expected.version = 4;
	CHECK_AGREED();
}

/* ---- two devices ---- */

/* A session as it may be. */
static void agree(void)
{
	session_negotiate(SESSION_PROTOCOL);
	CHECK_EQ(session_tell_table(), 0);
	CHECK_EQ(tell_region(VHU_ADD_MEM_REG, 0x800000), 0);
	CHECK_EQ(tell_inflight(24, false), 0);
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 7), 0);
	session_prepare(1);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 1, session.ring.kick_fd), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 1, 1), 0);
}

/*
 * The same messages make the same bytes in another device, whose maps lie elsewhere, and a copy of
 * them is as good: nothing in it is of the process.
 */
static void same_messages_make_the_same_bytes(void)
{
	struct vublk_dev *first;
	int peer;

	session_open_raw();
	session_make_memory();
	agree();
	look();
	CHECK_EQ(expected.n_regions, 2);
	CHECK_EQ(expected.ring[1].started, 1);
	first = session.dev;
	peer = session.peer.fd;
	session_open_raw();
	CHECK(session.dev->session != first->session);
	agree();
	CHECK_AGREED();
	CHECK(!memcmp(session.dev->session, first->session, sizeof(expected)));
	vublk_dev_disconnect(first);
	vublk_dev_destroy(first);
	close(peer);
	CHECK_AGREED();
	session_close();
}

static const struct tap_case alone_cases[] = {
	{"connection_begins_with_nothing", connection_begins_with_nothing},
	{"same_messages_make_the_same_bytes", same_messages_make_the_same_bytes},
	{0},
};

static const struct tap_case session_cases[] = {
	{"features_are_those_of_both", features_are_those_of_both},
	{"features_without_protocol_features", features_without_protocol_features},
	{"status_is_noted", status_is_noted},
	{"memory_comes_and_goes", memory_comes_and_goes},
	{"inflight_region_is_described", inflight_region_is_described},
	{"ring_is_described", ring_is_described},
	{"packed_base_of_0", packed_base_of_0},
	{0},
};

static const struct tap_case prepared_cases[] = {
	{"ring_starts_and_stops", ring_starts_and_stops},
	{"ring_that_cannot_run_is_started_all_the_same",
	 ring_that_cannot_run_is_started_all_the_same},
	{"refused_messages_change_nothing", refused_messages_change_nothing},
	{"device_reset_with_a_region", device_reset_with_a_region},
	{0},
};

static const struct tap_case running_cases[] = {
	{"base_is_that_of_the_stop", base_is_that_of_the_stop},
	{"questions_change_nothing", questions_change_nothing},
	{"refused_while_it_runs_changes_nothing", refused_while_it_runs_changes_nothing},
	{"device_reset", device_reset},
	{"end_of_the_connection", end_of_the_connection},
	{0},
};

static const struct tap_suite suites[] = {
	SESSION_DEV_SUITES(alone_cases, session_cases, prepared_cases, running_cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
