/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu_vring.c: a ring that was started and cannot begin yet, since the user waits for something
 * (vublk_queue_wait()). The session goes on, and the ring may be anything but begun.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/vhu_inflight.h"
#include "tests/unit/session.h"

static int tell_kick(void)
{
	return session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd);
}

static int tell_enable(uint32_t on)
{
	return session_tell_state(VHU_SET_VRING_ENABLE, 0, on);
}

/* Queue 0 waits. */
static void setup(void)
{
	session_open_prepared();
	session.wait = true;
	/* Both are acknowledged at once: it will begin, or the connection ends. */
	REQUIRE_EQ(tell_kick(), 0);
	REQUIRE_EQ(tell_enable(1), 0);
	session_check("start0 ");
	session.wait = false;
}

/* Is the ring served by now, and calls whom it should? */
static void check_runs(int call_fd)
{
	const struct fe_seg seg = {.addr = 0x1000, .len = 8};
	struct vublk_chain chain;
	struct iovec iov[2];

	fd_take_events(call_fd);
	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) >= 0);
	fe_vq_publish(&session.ring);
	vublk_chain_init(&chain, iov, 2);
	REQUIRE_EQ(vublk_queue_pop(session.queue[0], &chain), 1);
	vublk_queue_push(session.queue[0], &chain, 0);
	vublk_queue_publish(session.queue[0]);
	CHECK_EQ(fd_take_events(call_fd), 1);
	CHECK_EQ(session_ask_base(0), 1);
	session_check("stop0 ");
}

static void messages_are_answered(void)
{
	CHECK(session_ask_u64(VHU_GET_FEATURES) != 0);
	CHECK_EQ(session_ask_u64(VHU_GET_QUEUE_NUM), SESSION_QUEUES);
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 4), 0);
	session_check("");
	session_wait_over(0, 0);
	session_check("resume:1 ");
	check_runs(session.ring.call_fd);
}

/* What is asked again is not done again. */
static void starting_it_again_changes_nothing(void)
{
	CHECK_EQ(tell_enable(1), 0);
	CHECK_EQ(tell_kick(), 0);
	CHECK_EQ(session_tell_addr(0), 0);
	session_check("");
	session_wait_over(0, 0);
	session_check("resume:1 ");
	check_runs(session.ring.call_fd);
}

static void base_is_told_and_it_does_not_begin(void)
{
	CHECK_EQ(session_ask_base(0), 0);
	session_check("withdraw0 ");
	CHECK_EQ(session_ask_base(0), 0);
	session_check("");
	/* Nor is it anything but stopped. */
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, SESSION_RING_SIZE), 0);
	CHECK_EQ(tell_kick(), 0);
	session_check("start0 ");
	check_runs(session.ring.call_fd);
}

static void disabled_it_does_not_begin(void)
{
	CHECK_EQ(tell_enable(0), 0);
	session_check("withdraw0 ");
	CHECK_EQ(tell_enable(1), 0);
	session_check("start0 ");
	check_runs(session.ring.call_fd);
}

static void reset_it_does_not_begin(void)
{
	CHECK_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	session_check("withdraw0 features:0 ");
}

static void its_values_stay(void)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, 8), 1);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 1), 1);
	CHECK_EQ(session_tell_addr_off(0, 0x1000), 1);
	session_check("");
	session_wait_over(0, 0);
	session_check("resume:1 ");
	CHECK_EQ(vublk_queue_size(session.queue[0]), SESSION_RING_SIZE);
	check_runs(session.ring.call_fd);
}

static void new_memory_is_what_it_begins_with(void)
{
	CHECK_EQ(session_tell_table(), 0);
	session_check("withdraw0 start0 ");
	check_runs(session.ring.call_fd);
}

/* Without its memory it is nothing; with it, it is started again. */
static void memory_goes_and_comes(void)
{
	const struct vhu_mem_reg region = {.region = session.mem.region[0].wire};

	CHECK_EQ(session_tell(VHU_REM_MEM_REG, &region, sizeof(region), NULL, 0), 0);
	session_check("withdraw0 ");
	CHECK_EQ(session_tell(VHU_ADD_MEM_REG, &region, sizeof(region), &session.mem.region[0].fd,
			      1),
		 0);
	session_check("start0 ");
	check_runs(session.ring.call_fd);
}

static void descriptors_are_replaced(void)
{
	const int call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, call), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, -1), 0);
	session_check("");
	session_wait_over(0, 0);
	CHECK_EQ(vublk_queue_kick_fd(session.queue[0]), -1);
	session_check("resume:1 ");
	check_runs(call);
	close(call);
}

/* While it begins, nothing is read. */
static void beginning_is_waited_for(void)
{
	const struct vhu_header next = {VHU_GET_QUEUE_NUM, VHU_VERSION, 0};
	struct fe_msg reply;

	session.later = true;
	session_wait_over(0, 0);
	REQUIRE_OK(fe_send_raw(&session.peer, &next, sizeof(next), NULL, 0));
	CHECK_EQ(vublk_dev_input(session.dev), 1);
	CHECK(session_is_quiet());
	session_answer(0);
	session_check("resume:1 ");
	CHECK_EQ(vublk_dev_input(session.dev), 0);
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, VHU_GET_QUEUE_NUM);
	session.later = false;
	check_runs(session.ring.call_fd);
}

/* As for one that is started at once: it is told by the error descriptor. */
static void it_may_fail(void)
{
	fd_take_events(session.ring.err_fd);
	session_wait_over(0, -ENODEV);
	session_check("resume:1 ");
	CHECK_EQ(fd_take_events(session.ring.err_fd), 1);
	CHECK_EQ(tell_enable(1), 0);
	session_check("");
	CHECK_EQ(session_ask_base(0), 0);
	CHECK_EQ(tell_kick(), 0);
	session_check("start0 ");
	check_runs(session.ring.call_fd);
}

static void one_waits_and_another_stops(void)
{
	const struct vhu_vring_state state = {1, 0};
	struct fe_msg reply;

	session_prepare(1);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 1, session.ring.kick_fd), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 1, 1), 0);
	session_check("start1 ");
	session.later = true;
	CHECK_EQ(session_send(VHU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0), 1);
	session_check("stop1 ");
	/* The wait is over while a message is in hand: both have to be answered. */
	session_wait_over(0, 0);
	session_answer(0);
	CHECK(session_is_quiet());
	session_answer(0);
	session_check("resume:1 ");
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, VHU_GET_VRING_BASE);
	session.later = false;
	session_ask_base(0);
	session_check("stop0 ");
}

/* ---- an earlier process has left something in flight ---- */

/* The same, with a region that says so of queue 0. */
static void setup_left(void)
{
	const struct fe_seg seg = {.addr = 0x1000, .len = 8};
	struct vhu_inflight_desc desc = {.num_queues = 1, .queue_size = SESSION_RING_SIZE};
	struct inflight_split *region;
	int fd;

	session_open_prepared();
	REQUIRE_OK(vhu_inflight_create(1, SESSION_RING_SIZE, false, &fd, &desc.mmap_size));
	region = mmap(NULL, desc.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(region != MAP_FAILED);
	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) == 0);
	fe_vq_publish(&session.ring);
	region->version = 1;
	region->desc_num = SESSION_RING_SIZE;
	region->desc[0].inflight = 1;
	munmap(region, desc.mmap_size);
	REQUIRE_EQ(session_tell(VHU_SET_INFLIGHT_FD, &desc, sizeof(desc), &fd, 1), 0);
	close(fd);
	session.wait = true;
	REQUIRE_EQ(tell_kick(), 0);
	REQUIRE_EQ(tell_enable(1), 0);
	session_check("start0 ");
	session.wait = false;
}

/* A stop that is acknowledged has done it. */
static void stop_waits_for_what_was_left(uint32_t request, uint32_t num)
{
	const struct vhu_vring_state state = {0, num};

	CHECK_EQ(session_send(request, VHU_FLAG_NEED_REPLY, &state, sizeof(state), NULL, 0), 1);
	CHECK(session_is_quiet());
	session_check("");
	session_wait_over(0, 0);
	session_check("stop0 resume:1 ");
	CHECK(!session_is_quiet());
}

static void base_waits_for_what_was_left(void)
{
	stop_waits_for_what_was_left(VHU_GET_VRING_BASE, 0);
}

static void disable_waits_for_what_was_left(void)
{
	stop_waits_for_what_was_left(VHU_SET_VRING_ENABLE, 0);
}

static void stop_is_refused_if_it_fails(void)
{
	const struct vhu_vring_state state = {0, 0};

	CHECK_EQ(session_send(VHU_SET_VRING_ENABLE, VHU_FLAG_NEED_REPLY, &state, sizeof(state),
			      NULL, 0),
		 1);
	session_wait_over(0, -EBUSY);
	session_check("resume:1 ");
	CHECK_EQ(session_take_ack(VHU_SET_VRING_ENABLE), 1);
}

/* It stays in the region, for who comes next. */
static void end_of_the_session_while_it_is_held(void)
{
	const struct vhu_vring_state state = {0, 0};

	CHECK_EQ(session_send(VHU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0), 1);
	vublk_dev_disconnect(session.dev);
	session_check("withdraw0 features:0 disconnected ");
	close(session.peer.fd);
	session_connect();
}

/* With it the session ends, too; see session_close(). */
static void end_of_the_session(void)
{
	vublk_dev_disconnect(session.dev);
	session_check("withdraw0 features:0 disconnected ");
	close(session.peer.fd);
	session_connect();
}

static void end_of_the_session_while_it_begins(void)
{
	session.later = true;
	session_wait_over(0, 0);
	vublk_dev_disconnect(session.dev);
	session_check("");
	session_answer(0);
	session_check("leave0 ");
	session_answer(0);
	session_check("features:0 disconnected ");
	close(session.peer.fd);
	session_connect();
}

static const struct tap_case cases[] = {
	{"messages_are_answered", messages_are_answered},
	{"starting_it_again_changes_nothing", starting_it_again_changes_nothing},
	{"base_is_told_and_it_does_not_begin", base_is_told_and_it_does_not_begin},
	{"disabled_it_does_not_begin", disabled_it_does_not_begin},
	{"reset_it_does_not_begin", reset_it_does_not_begin},
	{"its_values_stay", its_values_stay},
	{"new_memory_is_what_it_begins_with", new_memory_is_what_it_begins_with},
	{"memory_goes_and_comes", memory_goes_and_comes},
	{"descriptors_are_replaced", descriptors_are_replaced},
	{"beginning_is_waited_for", beginning_is_waited_for},
	{"it_may_fail", it_may_fail},
	{"one_waits_and_another_stops", one_waits_and_another_stops},
	{"end_of_the_session", end_of_the_session},
	{"end_of_the_session_while_it_begins", end_of_the_session_while_it_begins},
	{0},
};

static const struct tap_case left_cases[] = {
	{"base_waits_for_what_was_left", base_waits_for_what_was_left},
	{"disable_waits_for_what_was_left", disable_waits_for_what_was_left},
	{"stop_is_refused_if_it_fails", stop_is_refused_if_it_fails},
	{"end_of_the_session_while_it_is_held", end_of_the_session_while_it_is_held},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "waiting", .setup = setup, .teardown = session_close, .cases = cases},
	{.name = "waiting, something left",
	 .setup = setup_left,
	 .teardown = session_close,
	 .cases = left_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
