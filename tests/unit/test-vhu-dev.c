/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu/dev.c: making a device, features, configuration, status and reset. (The rest of it:
 * test-vhu-dev-memory.c, test-vhu-dev-inflight.c and test-vhu-dev-end.c.)
 */
#include "tests/unit/support/session.h"

#define BIT(n) (1ull << (n))

#define INFLIGHT      VHU_PROTOCOL_F_INFLIGHT_SHMFD
#define BASE_INFLIGHT VHU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT
#define SKIP_DRAIN    VHU_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN

/* ---- making one ---- */

static int create(unsigned num_queues)
{
	const struct vublk_params params = {
		.name = "test", .num_queues = num_queues, .ops = &session_ops, .opaque = &session};
	int err = vublk_dev_create(&session.dev, &params);

	CHECK_EQ(!session.dev, err != 0);
	vublk_dev_destroy(session.dev);
	return err;
}

static void number_of_queues_is_bounded(void)
{
	CHECK_EQ(create(0), -EINVAL);
	CHECK_EQ(create(1), 0);
	CHECK_EQ(create(VUBLK_MAX_QUEUES), 0);
	CHECK_EQ(create(VUBLK_MAX_QUEUES + 1), -EINVAL);
	vublk_dev_destroy(NULL);
}

static void connect_closes_what_is_no_use(void)
{
	const struct vublk_params params = {
		.name = "test", .num_queues = 1, .ops = &session_ops, .opaque = &session};

	REQUIRE_OK(vublk_dev_create(&session.dev, &params));
	CHECK_EQ(vublk_dev_connect(session.dev, -1, NULL), -EBADF);
	vublk_dev_destroy(session.dev);
}

/* ---- features ---- */

static void features_offered(void)
{
	CHECK_EQ(session_ask_u64(VHU_GET_FEATURES),
		 SESSION_OFFERED | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |
			 BIT(VHU_F_PROTOCOL_FEATURES) | BIT(VHU_F_LOG_ALL) |
			 BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) |
			 BIT(VIRTIO_F_ACCESS_PLATFORM));
	CHECK_EQ(session_ask_u64(VHU_GET_PROTOCOL_FEATURES),
		 SESSION_PROTOCOL | BIT(VHU_PROTOCOL_F_GPA_ADDRESSES) |
			 BIT(VHU_PROTOCOL_F_INBAND_NOTIFICATIONS) | BIT(VHU_PROTOCOL_F_PAGEFAULT));
	CHECK_EQ(session_ask_u64(VHU_GET_QUEUE_NUM), SESSION_QUEUES);
	CHECK_EQ(session_ask_u64(VHU_GET_MAX_MEM_SLOTS), 512);
}

/* User-mode Linux takes what it is offered when nothing was agreed upon yet. */
static void access_platform_is_offered_with_a_channel(void)
{
	session_negotiate(BIT(VHU_PROTOCOL_F_REPLY_ACK));
	CHECK(!(session_ask_u64(VHU_GET_FEATURES) & BIT(VIRTIO_F_ACCESS_PLATFORM)));
	session_negotiate(BIT(VHU_PROTOCOL_F_REPLY_ACK) | BIT(VHU_PROTOCOL_F_BACKEND_REQ));
	CHECK(session_ask_u64(VHU_GET_FEATURES) & BIT(VIRTIO_F_ACCESS_PLATFORM));
}

static void features_are_told_to_the_user(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | 0x40), 0);
	session_check("features:140000040 ");
	/* The same again is no news. */
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | 0x40), 0);
	session_check("");
}

/* QEMU passes the driver's acknowledgement whole. */
static void features_of_the_front_end_s_own_are_ignored(void)
{
	const uint64_t any_layout = BIT(27), notify_on_empty = BIT(24), unknown = BIT(63) | BIT(3);

	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES,
				  SESSION_FEATURES | any_layout | notify_on_empty | unknown),
		 0);
	session_check("");
}

static void known_features_that_were_not_offered_are_refused(void)
{
	static const unsigned bits[] = {
		14 /* of SESSION_KNOWN */, VIRTIO_F_IN_ORDER, 36, 37, 38, 39, 40, 41, 43};

	for (unsigned i = 0; i < sizeof(bits) / sizeof(*bits); i++)
		CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(bits[i])), 1);
	session_check("");
}

static void protocol_features_that_were_not_offered_are_refused(void)
{
	const uint64_t offered = SESSION_PROTOCOL | BIT(VHU_PROTOCOL_F_GPA_ADDRESSES) |
				 BIT(VHU_PROTOCOL_F_INBAND_NOTIFICATIONS) |
				 BIT(VHU_PROTOCOL_F_PAGEFAULT);
	const uint64_t more = BIT(VHU_PROTOCOL_F_REPLY_ACK) | BIT(VHU_PROTOCOL_F_BACKEND_REQ) |
			      BIT(INFLIGHT) | BIT(BASE_INFLIGHT);

	for (unsigned bit = 0; bit < 64; bit++)
		CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, more | BIT(bit)),
			 !(offered & BIT(bit)));
}

/* 23 needs 20, and that needs 12. */
static void protocol_features_need_others(void)
{
	for (unsigned i = 0; i < 8; i++) {
		const bool inflight = i & 1, base = i & 2, skip = i & 4;
		const uint64_t features =
			BIT(VHU_PROTOCOL_F_REPLY_ACK) | (inflight ? BIT(INFLIGHT) : 0) |
			(base ? BIT(BASE_INFLIGHT) : 0) | (skip ? BIT(SKIP_DRAIN) : 0);

		CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, features),
			 (base && !inflight) || (skip && !base));
	}
	/* What is refused changes nothing: the last one that was not has all. */
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES,
				  BIT(VHU_PROTOCOL_F_REPLY_ACK) | BIT(SKIP_DRAIN)),
		 1);
	session_ask_base_by(VHU_GET_VRING_BASE_SKIP_DRAIN, 0);
}

static void features_may_be_repeated_while_rings_run(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES), 0);
	session_check("");
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(24)), 0);
	session_check("");
}

static void features_do_not_change_while_rings_run(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | 0x40), 1);
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, 0), 1);
	session_check("");
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 0), 0);
	session_check("stop0 ");
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | 0x40), 0);
	session_check("features:140000040 ");
}

/* "If VHOST_USER_F_PROTOCOL_FEATURES has not been negotiated ... rings are enabled" */
static void without_protocol_features_rings_are_enabled(void)
{
	session_prepare(2);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 2, session.ring.kick_fd), 0);
	session_check("");
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, BIT(VIRTIO_F_VERSION_1)), 0);
	session_check("features:100000000 start2 ");
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	session_check("start0 ");
}

/* ---- configuration space, status, channel ---- */

/* GET_CONFIG that claims `size` bytes, in a payload with room for `room`. */
static struct fe_msg ask_config(uint32_t offset, uint32_t size, uint32_t room)
{
	const struct vhu_config config = {.offset = offset, .size = size};

	return session_ask(VHU_GET_CONFIG, &config, VHU_CONFIG_HEADER + room);
}

static void check_config(uint32_t offset, uint32_t size)
{
	const struct fe_msg reply = ask_config(offset, size, size);

	CHECK_EQ(reply.header.size, VHU_CONFIG_HEADER + size);
	CHECK_EQ(reply.payload.config.offset, offset);
	CHECK_EQ(reply.payload.config.size, size);
	for (uint32_t i = 0; i < size; i++)
		CHECK_EQ(reply.payload.config.data[i], (uint8_t)(offset + i + 1));
}

static void config_is_read_in_any_part(void)
{
	check_config(0, 60);
	check_config(0, 256);
	check_config(32, 1);
	check_config(255, 1);
	check_config(256, 0);
	check_config(0, 0);
}

/* A reply without payload means error. */
static void config_beyond_its_end_is_refused(void)
{
	CHECK_EQ(ask_config(256, 1, 1).header.size, 0);
	CHECK_EQ(ask_config(1, 256, 256).header.size, 0);
	CHECK_EQ(ask_config(UINT32_MAX, 1, 1).header.size, 0);
	CHECK_EQ(ask_config(257, 0, 0).header.size, 0);
	CHECK_EQ(ask_config(0, UINT32_MAX, 0).header.size, 0);
}

static void config_size_is_that_of_the_payload(void)
{
	CHECK_EQ(ask_config(0, 60, 59).header.size, 0);
	CHECK_EQ(ask_config(0, 60, 61).header.size, 0);
}

static int tell_config(uint32_t offset, uint32_t size, uint32_t flags)
{
	const struct vhu_config config = {
		.offset = offset, .size = size, .flags = flags, .data = {42}};

	return session_tell(VHU_SET_CONFIG, &config, VHU_CONFIG_HEADER + size, NULL, 0);
}

static void config_is_written_by_the_user(void)
{
	CHECK_EQ(tell_config(32, 1, VHU_CONFIG_FLAG_WRITABLE), 0);
	session_check("config:32+1,42,0 ");
	CHECK_EQ(tell_config(0, 60, VHU_CONFIG_FLAG_MIGRATION), 0);
	session_check("config:0+60,42,1 ");
	session.config_err = -EPERM;
	CHECK_EQ(tell_config(0, 1, VHU_CONFIG_FLAG_WRITABLE), 1);
	session_check("config:0+1,42,0 ");
	session.config_err = 0;
	CHECK_EQ(tell_config(0, 1, 2), 1);
	CHECK_EQ(tell_config(256, 1, 0), 1);
	session_check("");
}

static void status_is_what_was_set(void)
{
	CHECK_EQ(session_ask_u64(VHU_GET_STATUS), 0);
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 0x8f), 0);
	CHECK_EQ(session_ask_u64(VHU_GET_STATUS), 0x8f);
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 0x100), 1);
	CHECK_EQ(session_ask_u64(VHU_GET_STATUS), 0x8f);
}

/* QEMU 7.2 sends it before it stops the rings. */
static void status_0_stops_nothing(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 0), 0);
	session_check("");
	CHECK_EQ(session_ask_base(0), 0);
	session_check("stop0 ");
}

static void backend_channel_is_replaced(void)
{
	const unsigned before = fds_open();

	CHECK_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &session.peer.fd, 1), 0);
	CHECK_EQ(fds_open(), before + 1);
	CHECK_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &session.peer.fd, 1), 0);
	CHECK_EQ(fds_open(), before + 1);
}

/* ---- reset ---- */

static void reset_stops_the_rings_and_forgets_them(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	CHECK_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	session_check("stop0 features:0 ");
	CHECK_EQ(session_ask_u64(VHU_GET_STATUS), 0);
	CHECK_EQ(session_ask_base(0), 0);
	/* Its size and addresses are gone: it cannot be started. */
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 1);
	session_check("");
}

static void reset_closes_the_rings_descriptors(void)
{
	const unsigned before = fds_open();

	CHECK_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	CHECK_EQ(fds_open(), before - 3);
}

/* With memory slots, QEMU does not send the regions again. */
static void reset_keeps_memory_and_the_session(void)
{
	const unsigned before = fds_open();

	CHECK_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &session.peer.fd, 1), 0);
	CHECK_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0); /* acknowledged: REPLY_ACK */
	CHECK_EQ(fds_open(), before + 1 - 3);
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES), 0);
	session.events[0] = '\0';
	fe_vq_reset(&session.ring, 0);
	session_prepare(0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	session_check("start0 ");
}

static void reset_waits_for_the_rings(void)
{
	session.later = true;
	CHECK_EQ(session_send(VHU_RESET_DEVICE, VHU_FLAG_NEED_REPLY, NULL, 0, NULL, 0), 1);
	CHECK(session_is_quiet());
	session_check("stop0 ");
	session_answer(0);
	session_check("features:0 resume:1 ");
	CHECK_EQ(session_take_ack(VHU_RESET_DEVICE), 0);
}

static void owner_changes_nothing(void)
{
	CHECK_EQ(session_tell(VHU_SET_OWNER, NULL, 0, NULL, 0), 0);
	CHECK_EQ(session_tell(VHU_RESET_OWNER, NULL, 0, NULL, 0), 0);
	session_check("");
}

/* ---- packed rings ---- */

/* A base of 32 bits is for packed rings. */
static void packed_base(void)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 0x80008000), 1);
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(VIRTIO_F_RING_PACKED)),
		 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 0x80008000), 0);
	CHECK_EQ(session_ask_base(0), 0x80008000);
}

static void packed_sizes_are_any(void)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, 7), 1);
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(VIRTIO_F_RING_PACKED)),
		 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, 7), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, 1), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, 0), 1);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, 32769), 1);
}

static const struct tap_case create_cases[] = {
	{"number_of_queues_is_bounded", number_of_queues_is_bounded},
	{"connect_closes_what_is_no_use", connect_closes_what_is_no_use},
	{0},
};

static const struct tap_case session_cases[] = {
	{"features_offered", features_offered},
	{"access_platform_is_offered_with_a_channel", access_platform_is_offered_with_a_channel},
	{"features_are_told_to_the_user", features_are_told_to_the_user},
	{"features_of_the_front_end_s_own_are_ignored",
	 features_of_the_front_end_s_own_are_ignored},
	{"known_features_that_were_not_offered_are_refused",
	 known_features_that_were_not_offered_are_refused},
	{"protocol_features_that_were_not_offered_are_refused",
	 protocol_features_that_were_not_offered_are_refused},
	{"protocol_features_need_others", protocol_features_need_others},
	{"config_is_read_in_any_part", config_is_read_in_any_part},
	{"config_beyond_its_end_is_refused", config_beyond_its_end_is_refused},
	{"config_size_is_that_of_the_payload", config_size_is_that_of_the_payload},
	{"config_is_written_by_the_user", config_is_written_by_the_user},
	{"status_is_what_was_set", status_is_what_was_set},
	{"backend_channel_is_replaced", backend_channel_is_replaced},
	{"owner_changes_nothing", owner_changes_nothing},
	{"packed_base", packed_base},
	{"packed_sizes_are_any", packed_sizes_are_any},
	{0},
};

static const struct tap_case prepared_cases[] = {
	{"without_protocol_features_rings_are_enabled",
	 without_protocol_features_rings_are_enabled},
	{0},
};

static const struct tap_case running_cases[] = {
	{"features_may_be_repeated_while_rings_run", features_may_be_repeated_while_rings_run},
	{"features_do_not_change_while_rings_run", features_do_not_change_while_rings_run},
	{"status_0_stops_nothing", status_0_stops_nothing},
	{"reset_stops_the_rings_and_forgets_them", reset_stops_the_rings_and_forgets_them},
	{"reset_closes_the_rings_descriptors", reset_closes_the_rings_descriptors},
	{"reset_keeps_memory_and_the_session", reset_keeps_memory_and_the_session},
	{"reset_waits_for_the_rings", reset_waits_for_the_rings},
	{0},
};

static const struct tap_suite suites[] = {
	SESSION_DEV_SUITES(create_cases, session_cases, prepared_cases, running_cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
