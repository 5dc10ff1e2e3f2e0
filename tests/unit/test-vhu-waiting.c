/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu/vring.c: a ring that was started and cannot begin yet, since the user waits for something
 * (vublk_queue_wait()). The session goes on, and the ring may be anything but begun.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/shared/inflight.h"
#include "tests/unit/support/session.h"

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
	session_check("cancel0 ");
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
	session_check("cancel0 ");
	CHECK_EQ(tell_enable(1), 0);
	session_check("start0 ");
	check_runs(session.ring.call_fd);
}

static void reset_it_does_not_begin(void)
{
	CHECK_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	session_check("cancel0 features:0 ");
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
	session_check("cancel0 start0 ");
	check_runs(session.ring.call_fd);
}

/* Without its memory it is nothing; with it, it is started again. */
static void memory_goes_and_comes(void)
{
	const struct vhu_mem_reg region = {.region = session.mem.region[0].wire};

	CHECK_EQ(session_tell(VHU_REM_MEM_REG, &region, sizeof(region), NULL, 0), 0);
	session_check("cancel0 ");
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

/* ---- an earlier process has left its in-flight region ---- */

static struct vhu_inflight_desc region_desc;
static int region_fd;

/* Makes one, and maps it for the test to write in. */
static void *make_region(bool packed)
{
	void *region;

	region_desc = (struct vhu_inflight_desc){.num_queues = 1, .queue_size = SESSION_RING_SIZE};
	REQUIRE_OK(vhu_inflight_create(1, SESSION_RING_SIZE, packed, &region_fd,
				       &region_desc.mmap_size));
	region =
		mmap(NULL, region_desc.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, region_fd, 0);
	REQUIRE(region != MAP_FAILED);
	return region;
}

/* Hands it over; queue 0 waits. */
static void wait_with_region(void *region)
{
	munmap(region, region_desc.mmap_size);
	REQUIRE_EQ(
		session_tell(VHU_SET_INFLIGHT_FD, &region_desc, sizeof(region_desc), &region_fd, 1),
		0);
	close(region_fd);
	session.wait = true;
	REQUIRE_EQ(tell_kick(), 0);
	REQUIRE_EQ(tell_enable(1), 0);
	session_check("start0 ");
	session.wait = false;
}

/* A request is in flight. */
static void setup_left(void)
{
	const struct fe_seg seg = {.addr = 0x1000, .len = 8};
	struct inflight_split *region;

	session_open_prepared();
	region = make_region(false);
	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) == 0);
	fe_vq_publish(&session.ring);
	region->version = 1;
	region->desc_num = SESSION_RING_SIZE;
	region->desc[0].inflight = 1;
	wait_with_region(region);
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
	session_check("cancel0 features:0 disconnected ");
	close(session.peer.fd);
	session_connect();
}

/* With it the session ends, too; see session_close(). */
static void end_of_the_session(void)
{
	vublk_dev_disconnect(session.dev);
	session_check("cancel0 features:0 disconnected ");
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

/* ---- it has left nothing in flight, but a position that the front-end does not know ---- */

/* What is answered to who asks where a ring is that waits? Told `told`, which is wrong. */
static void check_base(void *region, uint32_t told, uint32_t expected)
{
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, told), 0);
	wait_with_region(region);
	CHECK_EQ(session_ask_base(0), expected);
	session_check("cancel0 ");
}

static void base_of_split_is_the_used_index(void)
{
	struct inflight_split *region;

	session_open_prepared();
	region = make_region(false);
	session.ring.ring.used->idx = 5;
	region->version = 1;
	region->desc_num = SESSION_RING_SIZE;
	region->used_idx = 4; /* the last store was not made */
	check_base(region, 3, 5);
}

static void base_is_as_told_with_a_new_region(void)
{
	session_open_prepared();
	session.ring.ring.used->idx = 5;
	check_base(make_region(false), 3, 3);
}

static void open_packed(void)
{
	const uint64_t features = SESSION_FEATURES | 1ull << VIRTIO_F_RING_PACKED;

	session_open();
	REQUIRE_EQ(session_send(VHU_SET_FEATURES, 0, &features, sizeof(features), NULL, 0), 0);
	session_make_memory();
	REQUIRE_EQ(session_tell_table(), 0);
	session_prepare(0);
	session.events[0] = '\0';
}

/* Told the used index alone, as QEMU does; `flags` are those of slot `old_idx`. */
static void check_packed_base(union inflight_used_packed used, uint16_t flags, uint32_t expected)
{
	struct inflight_packed *region;
	struct vring_packed_desc *desc;

	open_packed();
	region = make_region(true);
	region->version = 1;
	region->desc_num = SESSION_RING_SIZE;
	region->used = used;
	desc = fe_ptr(&session.mem, session.ring.desc_gpa, SESSION_RING_SIZE * sizeof(*desc));
	desc[used.old_idx % SESSION_RING_SIZE].flags = flags;
	check_base(region, 0x00030003, expected);
}

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

static void base_of_packed_is_in_the_region(void)
{
	const union inflight_used_packed used = {.idx = 7, .old_idx = 7, .wrap = 1, .old_wrap = 1};

	check_packed_base(used, AVAIL, 0x80078007);
}

static void base_of_packed_with_a_batch_published(void)
{
	const union inflight_used_packed used = {.idx = 1, .old_idx = 7, .old_wrap = 1};

	check_packed_base(used, AVAIL | USED, 0x00010001);
}

static void base_of_packed_with_a_batch_not_published(void)
{
	const union inflight_used_packed used = {.idx = 1, .old_idx = 7, .old_wrap = 1};

	check_packed_base(used, AVAIL, 0x80078007);
}

static void base_of_packed_is_as_told_if_the_region_cannot_be(void)
{
	const union inflight_used_packed used = {.idx = 16, .old_idx = 7, .old_wrap = 1};

	check_packed_base(used, AVAIL, 0x00030003);
}

/* Nor is it another one after a start that failed. */
static void base_after_it_could_not_begin(void)
{
	struct inflight_split *region;

	session_open_prepared();
	region = make_region(false);
	session.ring.ring.used->idx = 5;
	region->version = 1;
	region->desc_num = SESSION_RING_SIZE;
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 3), 0);
	wait_with_region(region);
	session_wait_over(0, -ENFILE);
	session_check("resume:1 ");
	CHECK_EQ(session_ask_base(0), 5);
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

static const struct tap_case base_cases[] = {
	{"base_of_split_is_the_used_index", base_of_split_is_the_used_index},
	{"base_is_as_told_with_a_new_region", base_is_as_told_with_a_new_region},
	{"base_of_packed_is_in_the_region", base_of_packed_is_in_the_region},
	{"base_of_packed_with_a_batch_published", base_of_packed_with_a_batch_published},
	{"base_of_packed_with_a_batch_not_published", base_of_packed_with_a_batch_not_published},
	{"base_of_packed_is_as_told_if_the_region_cannot_be",
	 base_of_packed_is_as_told_if_the_region_cannot_be},
	{"base_after_it_could_not_begin", base_after_it_could_not_begin},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "waiting", .setup = setup, .teardown = session_close, .cases = cases},
	{.name = "waiting, something left",
	 .setup = setup_left,
	 .teardown = session_close,
	 .cases = left_cases},
	{.name = "waiting, the base", .teardown = session_close, .cases = base_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
