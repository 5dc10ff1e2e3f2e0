/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vhu/vring.c: what a ring must be told, the states it goes through, and its descriptors. */
#include <errno.h>
#include <sys/socket.h>

#include "tests/unit/support/session.h"

static int tell_kick(unsigned index)
{
	return session_tell_fd(VHU_SET_VRING_KICK, index, session.ring.kick_fd);
}

static int tell_enable(unsigned index, uint32_t on)
{
	return session_tell_state(VHU_SET_VRING_ENABLE, index, on);
}

/* Has queue 0's worker take a request, answered at once. */
static void serve_one(void)
{
	const struct fe_seg seg = {.addr = 0x1000, .len = 8};
	struct vublk_chain chain;
	struct iovec iov[2];

	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) >= 0);
	fe_vq_publish(&session.ring);
	vublk_chain_init(&chain, iov, 2);
	REQUIRE_EQ(vublk_queue_pop(session.queue[0], &chain), 1);
	vublk_queue_push(session.queue[0], &chain, 0);
	vublk_queue_publish(session.queue[0]);
}

/* ---- values ---- */

static void size_is_a_power_of_two(void)
{
	static const uint32_t bad[] = {0, 1, 3, 6, 100, 32767, 32769, 65536, 1u << 31, UINT32_MAX};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, bad[i]), 1);
	for (uint32_t size = 2; size <= 32768; size *= 2)
		CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, size), 0);
}

static void base_is_an_index(void)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 65536), 1);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, UINT32_MAX), 1);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 65535), 0);
	CHECK_EQ(session_ask_base(0), 65535);
}

static void enable_is_0_or_1(void)
{
	CHECK_EQ(tell_enable(0, 2), 1);
	CHECK_EQ(tell_enable(0, UINT32_MAX), 1);
	CHECK_EQ(tell_enable(0, 1), 0);
	CHECK_EQ(tell_enable(0, 0), 0);
}

static void ring_that_there_is_not(void)
{
	static const uint32_t indices[] = {SESSION_QUEUES, 255, 256, 0x80000000, UINT32_MAX};

	for (unsigned i = 0; i < sizeof(indices) / sizeof(*indices); i++) {
		const struct vhu_vring_addr addr = {.index = indices[i]};

		CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, indices[i], 16), 1);
		CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, indices[i], 0), 1);
		CHECK_EQ(session_tell(VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 1);
		CHECK_EQ(tell_enable(indices[i], 1), 1);
	}
	CHECK_EQ(tell_kick(SESSION_QUEUES), 1);
	CHECK_EQ(tell_kick(255), 1);
	session_check("");
}

static void addresses_are_checked_when_they_come(void)
{
	CHECK_EQ(session_tell_addr(0), 0);
	CHECK_EQ(session_tell_addr_off(0, 1), 1);
	CHECK_EQ(session_tell_addr_off(0, SESSION_MEMORY), 1);
	CHECK_EQ(session_tell_addr_off(0, 1ull << 63), 1);
	/* What was refused has changed nothing. */
	CHECK_EQ(tell_enable(0, 1), 0);
	CHECK_EQ(tell_kick(0), 0);
	session_check("start0 ");
}

/* Nothing can be checked before size and memory are known; then it is when the ring starts. */
static void addresses_may_come_first(void)
{
	CHECK_EQ(session_tell_addr_off(1, 1), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 1, SESSION_RING_SIZE), 0);
	CHECK_EQ(tell_enable(1, 1), 0);
	CHECK_EQ(tell_kick(1), 1);
	session_check("");
	CHECK_EQ(session_tell_addr(1), 0);
	CHECK_EQ(tell_kick(1), 0);
	session_check("start1 ");
}

/* The ring grows beyond what was checked when its addresses came. */
static void size_after_addresses_is_checked_at_start(void)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, 32768), 0);
	CHECK_EQ(tell_enable(0, 1), 0);
	CHECK_EQ(tell_kick(0), 1);
	session_check("");
	CHECK_EQ(fd_take_events(session.ring.err_fd), 1);
}

static void running_ring_keeps_its_values(void)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, 8), 1);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 0), 1);
	CHECK_EQ(session_tell_addr_off(0, 16), 1);
	CHECK_EQ(session_tell_addr(0), 0); /* the same */
	session_check("");
	serve_one();
}

/* Its user hears of it once each start. */
static void running_ring_breaks(void)
{
	struct vublk_chain chain;
	struct iovec iov[2];

	for (unsigned i = 0; i < 2; i++) {
		vublk_chain_init(&chain, iov, 2);
		fe_vq_raw_push(&session.ring, 255);
		CHECK_EQ(vublk_queue_pop(session.queue[0], &chain), -EPROTO);
		session_check("broken0:descriptor 255 made available in a ring of 16 ");
		vublk_queue_break(session.queue[0], "again");
		CHECK_EQ(vublk_queue_pop(session.queue[0], &chain), -EPROTO);
		session_check("");
		session_ask_base(0);
		session_check("stop0 ");
		fe_vq_reset(&session.ring, 0);
		CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 0), 0);
		CHECK_EQ(tell_kick(0), 0);
		session_check("start0 ");
	}
}

/* ---- states ---- */

static void kick_then_enable_starts(void)
{
	CHECK_EQ(tell_kick(0), 0);
	session_check("");
	CHECK_EQ(tell_enable(0, 1), 0);
	session_check("start0 ");
}

static void enable_then_kick_starts(void)
{
	CHECK_EQ(tell_enable(0, 1), 0);
	session_check("");
	CHECK_EQ(tell_kick(0), 0);
	session_check("start0 ");
}

static void kick_without_a_descriptor_starts_too(void)
{
	CHECK_EQ(tell_enable(0, 1), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, -1), 0);
	session_check("start0 ");
	CHECK_EQ(vublk_queue_kick_fd(session.queue[0]), -1);
}

static void started_ring_is_called_once(void)
{
	CHECK_EQ(tell_enable(0, 1), 0);
	CHECK(!fd_take_events(session.ring.call_fd));
	CHECK_EQ(tell_kick(0), 0);
	CHECK(fd_take_events(session.ring.call_fd));
}

static void enable_again_changes_nothing(void)
{
	CHECK_EQ(tell_enable(0, 1), 0);
	session_check("");
	serve_one();
}

static void disable_stops_and_enable_goes_on_from_there(void)
{
	serve_one();
	CHECK_EQ(tell_enable(0, 0), 0);
	session_check("stop0 ");
	CHECK_EQ(tell_enable(0, 0), 0);
	session_check("");
	CHECK_EQ(tell_enable(0, 1), 0);
	session_check("start0 ");
	serve_one();
	CHECK_EQ(session_ask_base(0), 2);
}

/* User-mode Linux frees the ring once this is acknowledged. */
static void disable_waits_for_the_ring(void)
{
	const struct vhu_vring_state state = {0, 0};

	session.later = true;
	CHECK_EQ(session_send(VHU_SET_VRING_ENABLE, VHU_FLAG_NEED_REPLY, &state, sizeof(state),
			      NULL, 0),
		 1);
	CHECK(session_is_quiet());
	session_answer(0);
	session_check("stop0 resume:1 ");
	CHECK_EQ(session_take_ack(VHU_SET_VRING_ENABLE), 0);
}

static void get_base_stops_and_says_how_far(void)
{
	serve_one();
	serve_one();
	CHECK_EQ(session_ask_base(0), 2);
	session_check("stop0 ");
	CHECK_EQ(session_ask_base(0), 2);
	session_check("");
}

static void get_base_waits_for_the_ring(void)
{
	const struct vhu_vring_state state = {0, 0};
	struct fe_msg reply;

	serve_one();
	session.later = true;
	CHECK_EQ(session_send(VHU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0), 1);
	session_check("stop0 ");
	CHECK(session_is_quiet());
	session_answer(0);
	session_check("resume:1 ");
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, VHU_GET_VRING_BASE);
	CHECK_EQ(reply.payload.state.num, 1);
}

static void get_base_closes_the_kick_descriptor(void)
{
	const unsigned before = fds_open();

	session_ask_base(0);
	CHECK_EQ(fds_open(), before - 1);
	/* Started again only by a new one. */
	CHECK_EQ(tell_enable(0, 1), 0);
	session_check("stop0 ");
	CHECK_EQ(tell_kick(0), 0);
	session_check("start0 ");
}

static void base_tells_where_the_ring_starts(void)
{
	fe_vq_reset(&session.ring, 65535);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 65535), 0);
	CHECK_EQ(tell_enable(0, 1), 0);
	CHECK_EQ(tell_kick(0), 0);
	serve_one();
	serve_one();
	CHECK_EQ(session_ask_base(0), 1);
}

static void rings_are_independent(void)
{
	session_prepare(3);
	CHECK_EQ(tell_kick(0), 0);
	CHECK_EQ(tell_kick(3), 0);
	CHECK_EQ(tell_enable(3, 1), 0);
	session_check("start3 ");
	CHECK_EQ(tell_enable(0, 1), 0);
	session_check("start0 ");
	session_ask_base(3);
	session_check("stop3 ");
	CHECK_EQ(vublk_queue_index(session.queue[0]), 0);
	CHECK_EQ(vublk_queue_index(session.queue[3]), 3);
}

/* While an answer is awaited nothing more is read. */
static void next_message_waits_for_the_answer(void)
{
	const struct vhu_vring_state state = {0, 0};
	const struct vhu_header next = {VHU_GET_QUEUE_NUM, VHU_VERSION, 0};
	struct fe_msg reply;

	session.later = true;
	REQUIRE_OK(fe_send(&session.peer, VHU_GET_VRING_BASE, VHU_VERSION, &state, sizeof(state),
			   NULL, 0));
	REQUIRE_OK(fe_send_raw(&session.peer, &next, sizeof(next), NULL, 0));
	CHECK_EQ(vublk_dev_input(session.dev), 1);
	CHECK(session_is_quiet());
	session_answer(0);
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, VHU_GET_VRING_BASE);
	CHECK(session_is_quiet());
	CHECK_EQ(vublk_dev_input(session.dev), 0);
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, VHU_GET_QUEUE_NUM);
}

/* ---- rings that cannot start ---- */

/* Nothing of it is right yet; says what is missing first. */
static void ring_without(bool size, bool addresses, bool memory)
{
	session_make_memory();
	if (memory)
		CHECK_EQ(session_tell_table(), 0);
	if (size)
		CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, SESSION_RING_SIZE), 0);
	if (addresses)
		CHECK_EQ(session_tell_addr(0), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_ERR, 0, session.ring.err_fd), 0);
	CHECK_EQ(tell_enable(0, 1), 0);
	CHECK_EQ(tell_kick(0), 1);
	session_check("");
	CHECK_EQ(fd_take_events(session.ring.err_fd), 1);
}

static void ring_without_size(void)
{
	ring_without(false, true, true);
}

static void ring_without_addresses(void)
{
	ring_without(true, false, true);
}

static void ring_without_memory(void)
{
	ring_without(true, true, false);
}

static void ring_that_the_user_refuses(void)
{
	session.start_err = -EAGAIN;
	CHECK_EQ(tell_enable(0, 1), 0);
	CHECK_EQ(tell_kick(0), 1);
	session_check("start0 ");
	CHECK_EQ(fd_take_events(session.ring.err_fd), 1);
	/* Not tried again before something changes ... */
	session.start_err = 0;
	CHECK_EQ(tell_enable(0, 1), 0);
	session_check("");
	CHECK_EQ(session_ask_base(0), 0);
	/* ... as here. */
	CHECK_EQ(tell_kick(0), 0);
	session_check("start0 ");
	serve_one();
}

static void ring_that_the_user_refuses_later(void)
{
	const uint64_t u64 = 0;

	CHECK_EQ(tell_enable(0, 1), 0);
	session.later = true;
	CHECK_EQ(session_send(VHU_SET_VRING_KICK, VHU_FLAG_NEED_REPLY, &u64, sizeof(u64),
			      &session.ring.kick_fd, 1),
		 1);
	CHECK(session_is_quiet());
	session_answer(-ENOMEM);
	session_check("start0 resume:1 ");
	CHECK_EQ(session_take_ack(VHU_SET_VRING_KICK), 1);
	CHECK_EQ(fd_take_events(session.ring.err_fd), 1);
	CHECK_EQ(fd_take_events(session.ring.call_fd), 0);
}

static void new_values_are_a_change(void)
{
	session.start_err = -EAGAIN;
	CHECK_EQ(tell_enable(0, 1), 0);
	CHECK_EQ(tell_kick(0), 1);
	session.start_err = 0;
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, 8), 0);
	CHECK_EQ(session_tell_addr(0), 0);
	CHECK_EQ(tell_enable(0, 1), 0);
	session_check("start0 start0 ");
	CHECK_EQ(vublk_queue_size(session.queue[0]), 8);
}

static void broken_ring_starts_anew(void)
{
	vublk_queue_break(session.queue[0], "because");
	CHECK_EQ(fd_take_events(session.ring.err_fd), 1);
	CHECK_EQ(session_ask_base(0), 0);
	CHECK_EQ(tell_kick(0), 0);
	CHECK(!vublk_queue_broken(session.queue[0]));
	serve_one();
}

/* ---- descriptors ---- */

/* SET_VRING_KICK, CALL or ERR with this u64 and so many descriptors. */
static int tell_raw(uint32_t request, uint64_t u64, unsigned n_fds)
{
	const int fds[2] = {session.ring.kick_fd, session.ring.call_fd};

	return session_tell(request, &u64, sizeof(u64), fds, n_fds);
}

static void descriptor_is_there_or_said_not_to_be(void)
{
	static const uint32_t requests[] = {VHU_SET_VRING_KICK, VHU_SET_VRING_CALL,
					    VHU_SET_VRING_ERR};

	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(tell_raw(requests[i], 0, 0), 1);
		CHECK_EQ(tell_raw(requests[i], VHU_VRING_NOFD, 1), 1);
		CHECK_EQ(tell_raw(requests[i], 0x200, 1), 1);
		CHECK_EQ(tell_raw(requests[i], 1ull << 63, 1), 1);
		CHECK_EQ(tell_raw(requests[i], 0, 1), 0);
		CHECK_EQ(tell_raw(requests[i], VHU_VRING_NOFD, 0), 0);
	}
}

static void descriptor_is_replaced(void)
{
	const unsigned before = fds_open();

	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(tell_kick(0), 0);
		CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, session.ring.call_fd), 0);
		CHECK_EQ(session_tell_fd(VHU_SET_VRING_ERR, 0, session.ring.err_fd), 0);
		CHECK_EQ(fds_open(), before + 1); /* call and err were there before */
	}
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, -1), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_ERR, 0, -1), 0);
	CHECK_EQ(fds_open(), before - 1);
}

static void descriptor_is_made_non_blocking(void)
{
	int fd = eventfd(0, 0);

	CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, fd), 0);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
}

static int tell_call_and_close(int fd)
{
	const int ack = session_tell_fd(VHU_SET_VRING_CALL, 0, fd);

	close(fd);
	return ack;
}

/* Which ones may, is for test-vhu-fd. */
static void descriptor_that_carries_no_notifications_is_refused(void)
{
	const unsigned before = fds_open();

	CHECK_EQ(tell_call_and_close(open("/", O_PATH)), 1);
	CHECK_EQ(tell_call_and_close(fd_memory(1)), 1);
	CHECK_EQ(fds_open(), before);
}

/* User-mode Linux has pipes. */
static void descriptor_may_be_a_pipe(void)
{
	int pair[2];

	REQUIRE_OK(pipe(pair));
	CHECK_EQ(tell_call_and_close(pair[0]), 0);
	CHECK_EQ(tell_call_and_close(pair[1]), 0);
}

static void running_ring_gets_its_descriptors_by_update(void)
{
	const int old = vublk_queue_kick_fd(session.queue[0]);

	CHECK_EQ(tell_kick(0), 0);
	session_check("update0 ");
	CHECK(vublk_queue_kick_fd(session.queue[0]) != old);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, session.ring.call_fd), 0);
	session_check("update0 ");
	CHECK_EQ(fd_take_events(session.ring.call_fd), 1);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_ERR, 0, session.ring.err_fd), 0);
	session_check("update0 ");
	serve_one();
	CHECK_EQ(fd_take_events(session.ring.call_fd), 1);
}

static void stopped_ring_gets_its_descriptors_at_once(void)
{
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, session.ring.call_fd), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_ERR, 0, session.ring.err_fd), 0);
	session_check("");
	CHECK(!fd_take_events(session.ring.call_fd));
}

static void update_that_fails_is_told(void)
{
	const uint64_t u64 = 0;

	session.later = true;
	CHECK_EQ(session_send(VHU_SET_VRING_KICK, VHU_FLAG_NEED_REPLY, &u64, sizeof(u64),
			      &session.ring.kick_fd, 1),
		 1);
	session_answer(-EPERM);
	CHECK_EQ(session_take_ack(VHU_SET_VRING_KICK), 1);
	session.later = false;
	session_check("update0 resume:1 ");
	session_ask_base(0);
	session_check("stop0 ");
}

static const struct tap_case value_cases[] = {
	{"size_is_a_power_of_two", size_is_a_power_of_two},
	{"base_is_an_index", base_is_an_index},
	{"enable_is_0_or_1", enable_is_0_or_1},
	{"ring_that_there_is_not", ring_that_there_is_not},
	{"ring_without_size", ring_without_size},
	{"ring_without_addresses", ring_without_addresses},
	{"ring_without_memory", ring_without_memory},
	{0},
};

static const struct tap_case prepared_cases[] = {
	{"addresses_are_checked_when_they_come", addresses_are_checked_when_they_come},
	{"addresses_may_come_first", addresses_may_come_first},
	{"size_after_addresses_is_checked_at_start", size_after_addresses_is_checked_at_start},
	{"kick_then_enable_starts", kick_then_enable_starts},
	{"enable_then_kick_starts", enable_then_kick_starts},
	{"kick_without_a_descriptor_starts_too", kick_without_a_descriptor_starts_too},
	{"started_ring_is_called_once", started_ring_is_called_once},
	{"base_tells_where_the_ring_starts", base_tells_where_the_ring_starts},
	{"rings_are_independent", rings_are_independent},
	{"ring_that_the_user_refuses", ring_that_the_user_refuses},
	{"ring_that_the_user_refuses_later", ring_that_the_user_refuses_later},
	{"new_values_are_a_change", new_values_are_a_change},
	{"descriptor_is_there_or_said_not_to_be", descriptor_is_there_or_said_not_to_be},
	{"descriptor_is_replaced", descriptor_is_replaced},
	{"descriptor_is_made_non_blocking", descriptor_is_made_non_blocking},
	{"descriptor_that_carries_no_notifications_is_refused",
	 descriptor_that_carries_no_notifications_is_refused},
	{"descriptor_may_be_a_pipe", descriptor_may_be_a_pipe},
	{"stopped_ring_gets_its_descriptors_at_once", stopped_ring_gets_its_descriptors_at_once},
	{0},
};

static const struct tap_case running_cases[] = {
	{"running_ring_keeps_its_values", running_ring_keeps_its_values},
	{"running_ring_breaks", running_ring_breaks},
	{"enable_again_changes_nothing", enable_again_changes_nothing},
	{"disable_stops_and_enable_goes_on_from_there",
	 disable_stops_and_enable_goes_on_from_there},
	{"disable_waits_for_the_ring", disable_waits_for_the_ring},
	{"get_base_stops_and_says_how_far", get_base_stops_and_says_how_far},
	{"get_base_waits_for_the_ring", get_base_waits_for_the_ring},
	{"get_base_closes_the_kick_descriptor", get_base_closes_the_kick_descriptor},
	{"next_message_waits_for_the_answer", next_message_waits_for_the_answer},
	{"broken_ring_starts_anew", broken_ring_starts_anew},
	{"running_ring_gets_its_descriptors_by_update",
	 running_ring_gets_its_descriptors_by_update},
	{"update_that_fails_is_told", update_that_fails_is_told},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "vring", .setup = session_open, .teardown = session_close, .cases = value_cases},
	{.name = "vring prepared",
	 .setup = session_open_prepared,
	 .teardown = session_close,
	 .cases = prepared_cases},
	{.name = "vring running",
	 .setup = session_open_running,
	 .teardown = session_close,
	 .cases = running_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
