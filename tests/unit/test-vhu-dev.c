/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vhu/dev.c: features, memory, configuration, reset, and the end of a session at any point. */
#include "lib/shared/inflight.h"
#include "tests/unit/session.h"

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
	CHECK_EQ(vublk_dev_connect(session.dev, -1), -EBADF);
	vublk_dev_destroy(session.dev);
}

/* ---- features ---- */

static void features_offered(void)
{
	CHECK_EQ(session_ask_u64(VHU_GET_FEATURES),
		 SESSION_OFFERED | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |
			 BIT(VHU_F_PROTOCOL_FEATURES) | BIT(VIRTIO_F_VERSION_1) |
			 BIT(VIRTIO_F_RING_PACKED));
	CHECK_EQ(session_ask_u64(VHU_GET_PROTOCOL_FEATURES), SESSION_PROTOCOL);
	CHECK_EQ(session_ask_u64(VHU_GET_QUEUE_NUM), SESSION_QUEUES);
	CHECK_EQ(session_ask_u64(VHU_GET_MAX_MEM_SLOTS), 512);
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
	static const unsigned bits[] = {14 /* of SESSION_KNOWN */,
					VHU_F_LOG_ALL,
					VIRTIO_F_ACCESS_PLATFORM,
					VIRTIO_F_IN_ORDER,
					36,
					37,
					38,
					39,
					40,
					41,
					43};

	for (unsigned i = 0; i < sizeof(bits) / sizeof(*bits); i++)
		CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(bits[i])), 1);
	session_check("");
}

static void protocol_features_that_were_not_offered_are_refused(void)
{
	const uint64_t more = BIT(VHU_PROTOCOL_F_REPLY_ACK) | BIT(INFLIGHT) | BIT(BASE_INFLIGHT);

	for (unsigned bit = 0; bit < 64; bit++)
		CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, more | BIT(bit)),
			 !(SESSION_PROTOCOL & BIT(bit)));
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

/* ---- memory ---- */

/* SET_MEM_TABLE that claims `count` regions, in so many bytes and with so many descriptors. */
static int tell_table(uint32_t count, uint32_t regions, unsigned n_fds)
{
	struct vhu_mem_table table = {.count = count};
	int fds[VHU_MAX_FDS];

	for (unsigned i = 0; i < VHU_MAX_TABLE; i++)
		table.region[i] = (struct vhu_region){
			.guest_addr = i * 0x10000, .size = 0x1000, .user_addr = i * 0x10000};
	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = session.mem.region[0].fd;
	return session_tell(VHU_SET_MEM_TABLE, &table,
			    8 + regions * (uint32_t)sizeof(table.region[0]), fds, n_fds);
}

static void memory_table_has_what_it_says(void)
{
	const unsigned before = fds_open();

	CHECK_EQ(tell_table(2, 2, 2), 0);
	CHECK_EQ(tell_table(32, 32, 32), 0);
	CHECK_EQ(tell_table(0, 0, 0), 0);
	CHECK_EQ(tell_table(2, 32, 2), 0); /* padded, as some send it */
	CHECK_EQ(tell_table(2, 1, 2), 1);
	CHECK_EQ(tell_table(2, 2, 1), 1);
	CHECK_EQ(tell_table(1, 1, 2), 1);
	CHECK_EQ(tell_table(33, 32, 32), 1);
	CHECK_EQ(tell_table(UINT32_MAX, 32, 32), 1);
	CHECK_EQ(fds_open(), before);
}

/* A mapping more or less of the same memory. */
static int tell_region(uint32_t request, uint64_t guest_addr)
{
	const struct vhu_mem_reg reg = {
		.region = {.guest_addr = guest_addr, .size = 0x1000, .user_addr = guest_addr}};

	return session_tell(request, &reg, sizeof(reg), &session.mem.region[0].fd, 1);
}

static void regions_come_and_go(void)
{
	const unsigned before = fds_open();

	CHECK_EQ(tell_region(VHU_ADD_MEM_REG, 0x10000000), 0);
	CHECK_EQ(tell_region(VHU_ADD_MEM_REG, 0x10000000), 1);
	CHECK_EQ(tell_region(VHU_ADD_MEM_REG, 0x10001000), 0);
	CHECK_EQ(tell_region(VHU_REM_MEM_REG, 0x10002000), 1);
	CHECK_EQ(tell_region(VHU_REM_MEM_REG, 0x10000000), 0);
	CHECK_EQ(tell_region(VHU_REM_MEM_REG, 0x10000000), 1);
	CHECK_EQ(tell_region(VHU_ADD_MEM_REG, 0x10000000), 0);
	CHECK_EQ(fds_open(), before);
}

/* Takes the next chain of queue 0, one readable descriptor at this address. */
static int pop_at(struct vublk_chain *chain, uint64_t gpa)
{
	const struct fe_seg seg = {.addr = gpa, .len = 8};

	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) >= 0);
	fe_vq_publish(&session.ring);
	return vublk_queue_pop(session.queue[0], chain);
}

static void ring_that_runs_sees_a_new_region(void)
{
	struct vublk_chain chain;
	struct iovec iov[2];

	vublk_chain_init(&chain, iov, 2);
	REQUIRE_EQ(pop_at(&chain, 0x1000), 1);
	CHECK_EQ(tell_region(VHU_ADD_MEM_REG, 0x10000000), 0);
	session_check("update0 ");
	vublk_queue_push(session.queue[0], &chain, 0);
	REQUIRE_EQ(pop_at(&chain, 0x10000000), 1);
	vublk_queue_push(session.queue[0], &chain, 0);
	CHECK_EQ(tell_region(VHU_REM_MEM_REG, 0x10000000), 0);
	session_check("update0 ");
	CHECK_EQ(pop_at(&chain, 0x10000000), -EPROTO);
}

static void ring_that_runs_moves_with_the_table(void)
{
	struct vublk_chain chain;
	struct iovec iov[2];

	vublk_chain_init(&chain, iov, 2);
	CHECK_EQ(session_tell_table(), 0);
	session_check("update0 ");
	REQUIRE_EQ(pop_at(&chain, 0x1000), 1);
	vublk_queue_push(session.queue[0], &chain, 0);
}

/* The message is answered only when the ring has moved. */
static void new_table_waits_for_the_ring(void)
{
	const struct vhu_mem_reg reg = {.region = {.guest_addr = 1 << 28, .size = 0x1000}};

	session.later = true;
	CHECK_EQ(session_send(VHU_ADD_MEM_REG, VHU_FLAG_NEED_REPLY, &reg, sizeof(reg),
			      &session.mem.region[0].fd, 1),
		 1);
	CHECK(session_is_quiet());
	session_answer(0);
	CHECK_EQ(session_take_ack(VHU_ADD_MEM_REG), 0);
	session_check("update0 resume:1 ");
}

static int tell_memory(uint32_t request, unsigned region)
{
	const struct vhu_mem_reg reg = {.region = session.mem.region[region].wire};
	const bool adds = request == VHU_ADD_MEM_REG;

	return session_tell(request, &reg, sizeof(reg), &session.mem.region[region].fd, adds);
}

static void pop_and_push(void)
{
	struct vublk_chain chain;
	struct iovec iov[2];

	vublk_chain_init(&chain, iov, 2);
	REQUIRE_EQ(pop_at(&chain, 0x1000), 1);
	vublk_queue_push(session.queue[0], &chain, 0);
}

/* Front-ends that change the layout take regions away before they add others. */
static void ring_without_memory_stands_still_until_it_is_back(void)
{
	pop_and_push();
	CHECK_EQ(tell_memory(VHU_REM_MEM_REG, 0), 0);
	session_check("stop0 ");
	/* No more than that starts it. */
	CHECK_EQ(tell_region(VHU_ADD_MEM_REG, 0x10000000), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 0), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	session_check("");
	CHECK_EQ(tell_memory(VHU_ADD_MEM_REG, 0), 0);
	session_check("start0 ");
	pop_and_push();
	CHECK_EQ(session_ask_base(0), 2);
}

static void table_without_the_ring_stops_it(void)
{
	CHECK_EQ(tell_table(1, 1, 1), 0);
	session_check("stop0 ");
	CHECK_EQ(session_tell_table(), 0);
	session_check("start0 ");
	pop_and_push();
}

static void loss_of_memory_waits_for_the_ring(void)
{
	const struct vhu_mem_reg reg = {.region = session.mem.region[0].wire};

	session.later = true;
	CHECK_EQ(session_send(VHU_REM_MEM_REG, VHU_FLAG_NEED_REPLY, &reg, sizeof(reg), NULL, 0), 1);
	CHECK(session_is_quiet());
	session_answer(0);
	session_check("stop0 resume:1 ");
	CHECK_EQ(session_take_ack(VHU_REM_MEM_REG), 0);
}

static void ring_without_memory_says_its_base(void)
{
	pop_and_push();
	CHECK_EQ(tell_memory(VHU_REM_MEM_REG, 0), 0);
	session_check("stop0 ");
	CHECK_EQ(session_ask_base(0), 1);
	CHECK_EQ(tell_memory(VHU_ADD_MEM_REG, 0), 0);
	session_check("");
}

/* A front-end that never asks for the base (User-mode Linux) makes the ring anew elsewhere. */
static void ring_without_memory_gets_new_addresses(void)
{
	REQUIRE_EQ(fe_mem_add(&session.mem, 1 << 28, SESSION_MEMORY, 0), 1);
	CHECK_EQ(tell_memory(VHU_REM_MEM_REG, 0), 0);
	CHECK_EQ(tell_memory(VHU_ADD_MEM_REG, 1), 0);
	session_check("stop0 ");
	session.mem.region[0].allocated = SESSION_MEMORY;
	fe_vq_free(&session.ring);
	REQUIRE_OK(fe_vq_init(&session.ring, &session.mem, SESSION_RING_SIZE, false));
	session_prepare(0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	session_check("start0 ");
}

/* Of two rings only the one moves that can. */
static void rings_move_each_by_itself(void)
{
	struct fe_vq first = session.ring;

	REQUIRE_EQ(fe_mem_add(&session.mem, 1 << 28, 0x10000, 0), 1);
	CHECK_EQ(tell_memory(VHU_ADD_MEM_REG, 1), 0);
	session.mem.region[0].allocated = SESSION_MEMORY;
	REQUIRE_OK(fe_vq_init(&session.ring, &session.mem, SESSION_RING_SIZE, false));
	session_prepare(1);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 1, session.ring.kick_fd), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 1, 1), 0);
	session_check("update0 start1 ");
	CHECK_EQ(tell_memory(VHU_REM_MEM_REG, 1), 0);
	session_check("update0 stop1 ");
	CHECK_EQ(tell_memory(VHU_ADD_MEM_REG, 1), 0);
	session_check("update0 start1 ");
	fe_vq_free(&first);
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

/* ---- in-flight tracking ---- */

/* GET_INFLIGHT_FD in a payload of so many bytes; *fd is the caller's, or -1. */
static struct vhu_inflight_desc get_inflight(unsigned queues, unsigned queue_size, uint32_t payload,
					     int *fd)
{
	const struct vhu_inflight_desc desc = {.mmap_size = 0xdead,
					       .mmap_offset = 0xdead,
					       .num_queues = (uint16_t)queues,
					       .queue_size = (uint16_t)queue_size};
	struct fe_msg reply;

	REQUIRE_EQ(session_send(VHU_GET_INFLIGHT_FD, 0, &desc, payload, NULL, 0), 0);
	REQUIRE(!session_is_quiet());
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, VHU_GET_INFLIGHT_FD);
	CHECK_EQ(reply.header.size, payload);
	CHECK_EQ(reply.payload.inflight.num_queues, queues);
	CHECK_EQ(reply.payload.inflight.queue_size, queue_size);
	CHECK_EQ(reply.payload.inflight.mmap_offset, 0);
	*fd = reply.n_fds ? reply.fds[0] : -1;
	CHECK_EQ(reply.n_fds, reply.payload.inflight.mmap_size ? 1 : 0);
	return reply.payload.inflight;
}

static int set_inflight(const struct vhu_inflight_desc *desc, uint32_t payload, int fd)
{
	return session_tell(VHU_SET_INFLIGHT_FD, desc, payload, &fd, 1);
}

static void region_is_made_and_handed_in(void)
{
	for (uint32_t payload = 20; payload <= 24; payload += 4) {
		const unsigned before = fds_open();
		int fd;
		const struct vhu_inflight_desc desc = get_inflight(2, 128, payload, &fd);

		/* Rings may be longer than what is asked for: 1024, as QEMU 10 makes them. */
		CHECK_EQ(desc.mmap_size, 2 * 16448);
		CHECK_EQ(lseek(fd, 0, SEEK_END), 2 * 16448);
		CHECK_EQ(set_inflight(&desc, payload, fd), 0);
		CHECK_EQ(set_inflight(&desc, payload, fd), 0); /* replaces it */
		close(fd);
		/* The library keeps a duplicate of the last one, by which the session is known. */
		CHECK_EQ(fds_open(), before + (payload == 20));
		CHECK_EQ(lseek(vublk_dev_files(session.dev).inflight, 0, SEEK_END), 2 * 16448);
		CHECK_EQ(vublk_dev_files(session.dev).inflight_offset, 0);
	}
	session_check("");
}

static void packed_region_is_larger(void)
{
	struct vhu_inflight_desc desc;
	int fd;

	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(VIRTIO_F_RING_PACKED)),
		 0);
	desc = get_inflight(1, 128, 24, &fd);
	CHECK_EQ(desc.mmap_size, 32832);
	CHECK_EQ(set_inflight(&desc, 24, fd), 0);
	close(fd);
	/* One for split rings is too small. */
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES), 0);
	desc = get_inflight(1, 128, 24, &fd);
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(VIRTIO_F_RING_PACKED)),
		 0);
	desc.queue_size = 1024;
	CHECK_EQ(set_inflight(&desc, 24, fd), 1);
	close(fd);
}

/* "no buffer" is a size of 0 and no descriptor. */
static void no_region_for_what_cannot_be(void)
{
	static const struct {
		unsigned queues, size;
	} wrong[] = {{0, 128}, {1, 0}, {SESSION_QUEUES + 1, 128}, {UINT16_MAX, 128}, {1, 32769}};
	const unsigned before = fds_open();
	int fd;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		CHECK_EQ(get_inflight(wrong[i].queues, wrong[i].size, 24, &fd).mmap_size, 0);
		CHECK_EQ(fd, -1);
	}
	CHECK(get_inflight(SESSION_QUEUES, 32768, 24, &fd).mmap_size > 0);
	close(fd);
	CHECK_EQ(fds_open(), before);
}

static void wrong_region_is_refused(void)
{
	int fd;
	const struct vhu_inflight_desc good = get_inflight(2, 128, 24, &fd);
	struct vhu_inflight_desc wrong = good;

	wrong.num_queues = SESSION_QUEUES + 1;
	CHECK_EQ(set_inflight(&wrong, 24, fd), 1);
	wrong = good;
	wrong.queue_size = 1028;
	CHECK_EQ(set_inflight(&wrong, 24, fd), 1);
	wrong = good;
	wrong.mmap_size = 2 * 2112 - 1;
	CHECK_EQ(set_inflight(&wrong, 24, fd), 1);
	wrong = good;
	wrong.mmap_offset = 2 * 16448 - 2 * 2112 + 8;
	CHECK_EQ(set_inflight(&wrong, 24, fd), 1);
	CHECK_EQ(set_inflight(&good, 24, session.peer.fd), 1);
	CHECK_EQ(set_inflight(&good, 24, fd), 0);
	close(fd);
}

/* Hands in a region for queue 0's ring, before it runs. Answers with a mapping of it. */
static struct inflight_split *track_queue_0(void)
{
	struct inflight_split *region;
	int fd;
	const struct vhu_inflight_desc desc = get_inflight(1, SESSION_RING_SIZE, 24, &fd);

	CHECK_EQ(set_inflight(&desc, 24, fd), 0);
	region = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(region != MAP_FAILED);
	close(fd);
	return region;
}

static void run_queue_0(void)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	session_check("start0 ");
}

static struct vublk_chain taken;
static struct iovec taken_iov[2];

static void take_one(void)
{
	const struct fe_seg seg = {.addr = 0x1000, .len = 8};

	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) >= 0);
	fe_vq_publish(&session.ring);
	vublk_chain_init(&taken, taken_iov, 2);
	REQUIRE_EQ(vublk_queue_pop(session.queue[0], &taken), 1);
}

static void queue_with_a_region_is_tracked(void)
{
	struct inflight_split *region = track_queue_0();

	run_queue_0();
	CHECK(vublk_queue_tracked(session.queue[0]));
	CHECK_EQ(region->version, 1);
	/* The region does not change under it. */
	take_one();
	CHECK_EQ(region->desc[taken.id].inflight, 1);
	vublk_queue_push(session.queue[0], &taken, 0);
	vublk_queue_publish(session.queue[0]);
	munmap(region, 4096);
}

static void region_does_not_change_while_rings_run(void)
{
	int fd;
	const struct vhu_inflight_desc desc = get_inflight(1, SESSION_RING_SIZE, 24, &fd);

	CHECK_EQ(set_inflight(&desc, 24, fd), 1);
	session_ask_base(0);
	CHECK_EQ(set_inflight(&desc, 24, fd), 0);
	close(fd);
}

/* It says so, and the front-end is free to try another one. */
static void ring_with_a_corrupt_region_does_not_start(void)
{
	struct inflight_split *region = track_queue_0();

	region->version = 7;
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 1);
	session_check("start0 ");
	CHECK_EQ(fd_take_events(session.ring.err_fd), 1);
	CHECK_EQ(fd_take_events(session.ring.call_fd), 0);
	CHECK_EQ(session_ask_base(0), 0);
	region->version = 0;
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	session_check("start0 ");
	munmap(region, 4096);
}

/* Too few entries: another back-end gave what it was asked for. It runs, without being tracked. */
static void ring_without_a_place_in_the_region(void)
{
	const struct vhu_inflight_desc desc = {
		.mmap_size = 192, .num_queues = 1, .queue_size = SESSION_RING_SIZE / 2};
	const int fd = fd_memory(desc.mmap_size);

	CHECK_EQ(set_inflight(&desc, 24, fd), 0);
	close(fd);
	run_queue_0();
	CHECK(!vublk_queue_tracked(session.queue[0]));
	CHECK_EQ(fd_take_events(session.ring.err_fd), 0);
}

/* Reset forgets the region: what was in flight is nobody's any more. */
static void reset_forgets_the_region(void)
{
	struct inflight_split *region = track_queue_0();

	run_queue_0();
	CHECK_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	session_check("stop0 features:0 ");
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES), 0);
	session.events[0] = '\0';
	session_prepare(0);
	run_queue_0();
	CHECK(!vublk_queue_tracked(session.queue[0]));
	munmap(region, 4096);
}

/* What 20 and 23 say about who waits, and what is answered. */
static void check_get_base(uint64_t protocol, uint32_t request, bool leaves)
{
	struct inflight_split *region;

	session_open();
	session_make_memory();
	session_negotiate(protocol);
	REQUIRE_EQ(session_tell_table(), 0);
	session_prepare(0);
	region = track_queue_0();
	run_queue_0();
	take_one();
	/* With "drain" its user has given it back before it answers; without, it is let go. */
	if (leaves) {
		vublk_queue_abandon(session.queue[0], &taken);
	} else {
		vublk_queue_push(session.queue[0], &taken, 0);
		vublk_queue_publish(session.queue[0]);
	}
	CHECK_EQ(session_ask_base_by(request, 0), !leaves);
	session_check(leaves ? "leave0 " : "stop0 ");
	CHECK_EQ(region->desc[taken.id].inflight, leaves);
	munmap(region, 4096);
	session_close();
}

static void get_base_leaves_or_drains(void)
{
	const uint64_t without_23 = SESSION_PROTOCOL & ~BIT(SKIP_DRAIN);

	check_get_base(SESSION_PROTOCOL, VHU_GET_VRING_BASE, false);
	check_get_base(SESSION_PROTOCOL, VHU_GET_VRING_BASE_SKIP_DRAIN, true);
	check_get_base(without_23, VHU_GET_VRING_BASE, true);
	check_get_base(without_23 & ~BIT(BASE_INFLIGHT), VHU_GET_VRING_BASE, false);
}

static void skip_drain_waits_for_the_ring(void)
{
	const struct vhu_vring_state state = {0, 0xdead};
	struct fe_msg reply;

	session.later = true;
	CHECK_EQ(session_send(VHU_GET_VRING_BASE_SKIP_DRAIN, 0, &state, sizeof(state), NULL, 0), 1);
	session_check("leave0 ");
	CHECK(session_is_quiet());
	session_answer(0);
	session_check("resume:1 ");
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, VHU_GET_VRING_BASE_SKIP_DRAIN);
	CHECK_EQ(reply.payload.state.index, 0);
	CHECK_EQ(reply.payload.state.num, 0);
	/* Stopped: as after GET_VRING_BASE. */
	CHECK_EQ(session_ask_base(0), 0);
	session_check("");
}

static void skip_drain_of_a_queue_that_there_is_not(void)
{
	const struct vhu_vring_state state = {SESSION_QUEUES, 0};

	CHECK(session_send(VHU_GET_VRING_BASE_SKIP_DRAIN, 0, &state, sizeof(state), NULL, 0) < 0);
	CHECK(session_is_quiet());
}

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

/* ---- the end ---- */

static void end_of_file_is_said(void)
{
	shutdown(session.peer.fd, SHUT_WR);
	CHECK_EQ(vublk_dev_input(session.dev), -ECONNRESET);
}

static void end_of_an_idle_session(void)
{
	vublk_dev_disconnect(session.dev);
	session_check("features:0 disconnected ");
	session_connect();
}

static void end_while_a_ring_runs(void)
{
	vublk_dev_disconnect(session.dev);
	session_check("leave0 features:0 disconnected ");
	session_connect();
}

static void end_waits_for_the_ring(void)
{
	session.later = true;
	vublk_dev_disconnect(session.dev);
	session_check("leave0 ");
	CHECK(session_is_quiet()); /* the socket is still open */
	session_answer(0);
	session_check("features:0 disconnected ");
	session_connect();
}

/* Sends a message that has to wait, then ends the session. */
static void end_during(uint32_t request, const void *payload, uint32_t size, const int *fds,
		       unsigned n_fds)
{
	session.later = true;
	REQUIRE_EQ(session_send(request, VHU_FLAG_NEED_REPLY, payload, size, fds, n_fds), 1);
	session.events[0] = '\0';
	vublk_dev_disconnect(session.dev);
	session_check("");
}

static void end_during_a_stop(void)
{
	const struct vhu_vring_state state = {0, 0};

	end_during(VHU_GET_VRING_BASE, &state, sizeof(state), NULL, 0);
	session_answer(0);
	session_check("features:0 disconnected ");
	session_connect();
}

static void end_during_an_update(void)
{
	const uint64_t u64 = 0;

	end_during(VHU_SET_VRING_CALL, &u64, sizeof(u64), &session.ring.call_fd, 1);
	session_answer(0);
	session_check("leave0 ");
	session_answer(0);
	session_check("features:0 disconnected ");
	session_connect();
}

static void end_during_a_new_table(void)
{
	const struct vhu_mem_reg reg = {.region = {.guest_addr = 1 << 28, .size = 0x1000}};

	end_during(VHU_ADD_MEM_REG, &reg, sizeof(reg), &session.mem.region[0].fd, 1);
	session_answer(0);
	session_check("leave0 ");
	session_answer(0);
	session_check("features:0 disconnected ");
	session_connect();
}

static void end_during_a_reset(void)
{
	end_during(VHU_RESET_DEVICE, NULL, 0, NULL, 0);
	session_answer(0);
	session_check("features:0 disconnected ");
	session_connect();
}

static void prepare_end_during_a_start(void)
{
	const uint64_t u64 = 0;

	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	end_during(VHU_SET_VRING_KICK, &u64, sizeof(u64), &session.ring.kick_fd, 1);
}

static void end_during_a_start(void)
{
	prepare_end_during_a_start();
	session_answer(0);
	session_check("leave0 ");
	session_answer(0);
	session_check("features:0 disconnected ");
	session_connect();
}

static void end_during_a_start_that_fails(void)
{
	prepare_end_during_a_start();
	session_answer(-ECANCELED);
	session_check("features:0 disconnected ");
	session_connect();
}

static void end_called_twice(void)
{
	session.later = true;
	vublk_dev_disconnect(session.dev);
	vublk_dev_disconnect(session.dev);
	session_check("leave0 ");
	session_answer(0);
	session_check("features:0 disconnected ");
	session_connect();
}

static void end_leaves_nothing_open(void)
{
	const unsigned before = fds_open();

	session_open_running();
	CHECK_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &session.peer.fd, 1), 0);
	/* A message that never became complete, and its descriptor. */
	REQUIRE_OK(fe_send_raw(&session.peer, "x", 1, &session.peer.fd, 1));
	CHECK_EQ(vublk_dev_input(session.dev), 0);
	session_close();
	CHECK_EQ(fds_open(), before);
}

static void next_session_knows_nothing_of_the_last(void)
{
	const uint64_t u64 = 0;

	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	/* A message that never became complete is not continued by the next front-end. */
	REQUIRE_OK(fe_send_raw(&session.peer, "x", 1, NULL, 0));
	CHECK_EQ(vublk_dev_input(session.dev), 0);
	close(session.peer.fd);
	CHECK_EQ(vublk_dev_input(session.dev), -ECONNRESET);
	vublk_dev_disconnect(session.dev);
	session_connect();
	session.events[0] = '\0';
	/* No protocol features: no ack. */
	CHECK_EQ(session_send(VHU_SET_OWNER, VHU_FLAG_NEED_REPLY, NULL, 0, NULL, 0), 0);
	CHECK(session_is_quiet());
	session_negotiate(SESSION_PROTOCOL);
	CHECK_EQ(session_ask_u64(VHU_GET_STATUS), 0);
	/* No size, no addresses, no memory. */
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	CHECK_EQ(session_tell(VHU_SET_VRING_KICK, &u64, sizeof(u64), &session.ring.kick_fd, 1), 1);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, SESSION_RING_SIZE), 0);
	CHECK_EQ(session_tell_addr(0), 0);
	CHECK_EQ(session_tell(VHU_SET_VRING_KICK, &u64, sizeof(u64), &session.ring.kick_fd, 1), 1);
	session_check("");
}

static const struct tap_case create_cases[] = {
	{"number_of_queues_is_bounded", number_of_queues_is_bounded},
	{"connect_closes_what_is_no_use", connect_closes_what_is_no_use},
	{"end_leaves_nothing_open", end_leaves_nothing_open},
	{"get_base_leaves_or_drains", get_base_leaves_or_drains},
	{0},
};

static const struct tap_case session_cases[] = {
	{"features_offered", features_offered},
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
	{"region_is_made_and_handed_in", region_is_made_and_handed_in},
	{"packed_region_is_larger", packed_region_is_larger},
	{"no_region_for_what_cannot_be", no_region_for_what_cannot_be},
	{"wrong_region_is_refused", wrong_region_is_refused},
	{"skip_drain_of_a_queue_that_there_is_not", skip_drain_of_a_queue_that_there_is_not},
	{"packed_base", packed_base},
	{"packed_sizes_are_any", packed_sizes_are_any},
	{"end_of_file_is_said", end_of_file_is_said},
	{"end_of_an_idle_session", end_of_an_idle_session},
	{0},
};

static const struct tap_case prepared_cases[] = {
	{"without_protocol_features_rings_are_enabled",
	 without_protocol_features_rings_are_enabled},
	{"memory_table_has_what_it_says", memory_table_has_what_it_says},
	{"regions_come_and_go", regions_come_and_go},
	{"queue_with_a_region_is_tracked", queue_with_a_region_is_tracked},
	{"ring_with_a_corrupt_region_does_not_start", ring_with_a_corrupt_region_does_not_start},
	{"ring_without_a_place_in_the_region", ring_without_a_place_in_the_region},
	{"reset_forgets_the_region", reset_forgets_the_region},
	{"end_during_a_start", end_during_a_start},
	{"end_during_a_start_that_fails", end_during_a_start_that_fails},
	{0},
};

static const struct tap_case running_cases[] = {
	{"features_may_be_repeated_while_rings_run", features_may_be_repeated_while_rings_run},
	{"features_do_not_change_while_rings_run", features_do_not_change_while_rings_run},
	{"ring_that_runs_sees_a_new_region", ring_that_runs_sees_a_new_region},
	{"ring_that_runs_moves_with_the_table", ring_that_runs_moves_with_the_table},
	{"new_table_waits_for_the_ring", new_table_waits_for_the_ring},
	{"ring_without_memory_stands_still_until_it_is_back",
	 ring_without_memory_stands_still_until_it_is_back},
	{"table_without_the_ring_stops_it", table_without_the_ring_stops_it},
	{"loss_of_memory_waits_for_the_ring", loss_of_memory_waits_for_the_ring},
	{"ring_without_memory_says_its_base", ring_without_memory_says_its_base},
	{"ring_without_memory_gets_new_addresses", ring_without_memory_gets_new_addresses},
	{"rings_move_each_by_itself", rings_move_each_by_itself},
	{"status_0_stops_nothing", status_0_stops_nothing},
	{"reset_stops_the_rings_and_forgets_them", reset_stops_the_rings_and_forgets_them},
	{"reset_closes_the_rings_descriptors", reset_closes_the_rings_descriptors},
	{"reset_keeps_memory_and_the_session", reset_keeps_memory_and_the_session},
	{"reset_waits_for_the_rings", reset_waits_for_the_rings},
	{"region_does_not_change_while_rings_run", region_does_not_change_while_rings_run},
	{"skip_drain_waits_for_the_ring", skip_drain_waits_for_the_ring},
	{"end_while_a_ring_runs", end_while_a_ring_runs},
	{"end_waits_for_the_ring", end_waits_for_the_ring},
	{"end_during_a_stop", end_during_a_stop},
	{"end_during_an_update", end_during_an_update},
	{"end_during_a_new_table", end_during_a_new_table},
	{"end_during_a_reset", end_during_a_reset},
	{"end_called_twice", end_called_twice},
	{"next_session_knows_nothing_of_the_last", next_session_knows_nothing_of_the_last},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "dev create", .cases = create_cases},
	{.name = "dev", .setup = session_open, .teardown = session_close, .cases = session_cases},
	{.name = "dev prepared",
	 .setup = session_open_prepared,
	 .teardown = session_close,
	 .cases = prepared_cases},
	{.name = "dev running",
	 .setup = session_open_running,
	 .teardown = session_close,
	 .cases = running_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
