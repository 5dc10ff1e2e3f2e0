/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu: rings with VHOST_USER_PROTOCOL_F_GPA_ADDRESSES, whose addresses are guest-physical. The
 * session's memory has its user addresses elsewhere.
 */
#include "tests/unit/support/session.h"

#define SESSION_GPA (1ull << VHU_PROTOCOL_F_GPA_ADDRESSES)
#define BASE        0x40000000ull /* of the session's memory here */

static uint64_t gpa_of(uint64_t offset)
{
	return BASE + offset;
}

/* SET_VRING_ADDR of the session's ring as if it were so much further, parts by themselves. */
static int tell_parts(uint64_t desc, uint64_t avail, uint64_t used)
{
	const struct vhu_vring_addr addr = {.index = 0, .desc = desc, .avail = avail, .used = used};

	return session_tell(VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static int tell_gpa(void)
{
	return tell_parts(session.ring.desc_gpa, session.ring.avail_gpa, session.ring.used_gpa);
}

static void open_gpa(void)
{
	session_open_raw();
	session_negotiate(SESSION_PROTOCOL | SESSION_GPA);
	REQUIRE_EQ(fe_mem_add(&session.mem, BASE, SESSION_MEMORY, 0), 0);
	REQUIRE_OK(fe_vq_init(&session.ring, &session.mem, SESSION_RING_SIZE, 0));
	REQUIRE_EQ(session_tell_table(), 0);
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, SESSION_RING_SIZE), 0);
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, session.ring.call_fd), 0);
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_ERR, 0, session.ring.err_fd), 0);
}

static void start(void)
{
	REQUIRE_EQ(tell_gpa(), 0);
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	session_check("start0 ");
}

static void serve_one(void)
{
	const struct fe_seg seg = {.addr = gpa_of(0x1000), .len = 8};
	struct vublk_chain chain;
	struct iovec iov[2];
	struct fe_used used;

	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) >= 0);
	fe_vq_publish(&session.ring);
	vublk_chain_init(&chain, iov, 2);
	REQUIRE_EQ(vublk_queue_pop(session.queue[0], &chain), 1);
	vublk_queue_push(session.queue[0], &chain, 3);
	vublk_queue_publish(session.queue[0]);
	REQUIRE_EQ(fe_vq_reap(&session.ring, &used), 1);
	CHECK_EQ(used.len, 3);
}

static void ring_is_found_by_guest_addresses(void)
{
	start();
	serve_one();
}

/* What regions say of user addresses means nothing, but to REM_MEM_REG. */
static void user_addresses_of_regions_do_not_matter(void)
{
	struct vhu_region *wire = &session.mem.region[0].wire;

	wire->user_addr = wire->guest_addr;
	REQUIRE_EQ(session_tell_table(), 0);
	start();
	serve_one();
	/* Even where another region's are those of the ring. */
	wire->user_addr = 0;
	REQUIRE_EQ(session_tell_table(), 0);
	session_check("update0 ");
	serve_one();
}

static void user_addresses_are_refused(void)
{
	CHECK_EQ(session_tell_addr(0), 1);
	start();
}

/* A part may end with its region, and not behind it, nor begin before it. */
static void parts_lie_in_their_region(void)
{
	const uint64_t end = gpa_of(SESSION_MEMORY), desc = session.ring.desc_gpa,
		       avail = session.ring.avail_gpa, used = session.ring.used_gpa;

	CHECK_EQ(tell_parts(end - 16 * SESSION_RING_SIZE, avail, used), 0);
	CHECK_EQ(tell_parts(end - 16 * SESSION_RING_SIZE + 16, avail, used), 1);
	CHECK_EQ(tell_parts(desc, end - 4 - 2 * SESSION_RING_SIZE, used), 0);
	CHECK_EQ(tell_parts(desc, end - 2 - 2 * SESSION_RING_SIZE, used), 1);
	CHECK_EQ(tell_parts(desc, avail, end - 4 - 8 * SESSION_RING_SIZE), 0);
	CHECK_EQ(tell_parts(desc, avail, end - 8 * SESSION_RING_SIZE), 1);
	CHECK_EQ(tell_parts(BASE - 16, avail, used), 1);
	CHECK_EQ(tell_parts(desc, avail, end), 1);
	CHECK_EQ(tell_parts(desc, UINT64_MAX - 1, used), 1);
	CHECK_EQ(tell_parts(desc, desc, used), 1); /* on top of each other */
	CHECK_EQ(tell_parts(desc + 8, avail, used), 1);
	start();
}

/* The same memory moves in the guest's addresses: the ring is where it was said to be. */
static void ring_goes_by_the_guest_s_addresses(void)
{
	struct vhu_region *wire = &session.mem.region[0].wire;

	start();
	wire->guest_addr += SESSION_MEMORY;
	REQUIRE_EQ(session_tell_table(), 0);
	session_check("stop0 ");
	wire->guest_addr -= SESSION_MEMORY;
	REQUIRE_EQ(session_tell_table(), 0);
	session_check("start0 ");
	serve_one();
}

/* One region is given up, by the address that it was announced with. */
static void region_is_removed_as_it_was_announced(void)
{
	struct vhu_mem_reg reg = {.region = session.mem.region[0].wire};

	reg.region.user_addr++;
	CHECK_EQ(session_tell(VHU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0), 1);
	reg.region.user_addr--;
	start();
	CHECK_EQ(session_tell(VHU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0), 0);
	session_check("stop0 ");
	reg.region.user_addr = reg.region.guest_addr;
	CHECK_EQ(session_tell(VHU_ADD_MEM_REG, &reg, sizeof(reg), &session.mem.region[0].fd, 1), 0);
	session_check("start0 ");
	serve_one();
}

/* The bit says what addresses are, so it stays while a ring is where they say. */
static void bit_does_not_change_while_a_ring_runs(void)
{
	start();
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, SESSION_PROTOCOL), 1);
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, SESSION_PROTOCOL | SESSION_GPA), 0);
	/* What does not change that may still change. */
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES,
				  SESSION_GPA | 1ull << VHU_PROTOCOL_F_REPLY_ACK),
		 0);
	REQUIRE_EQ(session_tell_table(), 0);
	session_check("update0 ");
	serve_one();
}

static void bit_does_not_come_while_a_ring_runs(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, SESSION_PROTOCOL | SESSION_GPA), 1);
	REQUIRE_EQ(session_tell_table(), 0);
	session_check("update0 ");
}

/* At rest it may: then the addresses that were told mean something else, mostly nothing. */
static void addresses_are_read_anew_when_the_bit_changes(void)
{
	REQUIRE_EQ(tell_gpa(), 0);
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, SESSION_PROTOCOL), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 1);
	session_check("");
	CHECK_EQ(fd_take_events(session.ring.err_fd), 1);
	CHECK_EQ(session_tell_addr(0), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	session_check("start0 ");
	serve_one();
}

/* A reset leaves protocol features, and with them what addresses are. */
static void reset_keeps_the_bit(void)
{
	start();
	CHECK_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	session_check("stop0 features:0 ");
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES), 0);
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, SESSION_RING_SIZE), 0);
	CHECK_EQ(session_tell_addr(0), 1);
	session.events[0] = '\0';
	start();
}

static const struct tap_case gpa_cases[] = {
	{"ring_is_found_by_guest_addresses", ring_is_found_by_guest_addresses},
	{"user_addresses_of_regions_do_not_matter", user_addresses_of_regions_do_not_matter},
	{"user_addresses_are_refused", user_addresses_are_refused},
	{"parts_lie_in_their_region", parts_lie_in_their_region},
	{"ring_goes_by_the_guest_s_addresses", ring_goes_by_the_guest_s_addresses},
	{"region_is_removed_as_it_was_announced", region_is_removed_as_it_was_announced},
	{"bit_does_not_change_while_a_ring_runs", bit_does_not_change_while_a_ring_runs},
	{"addresses_are_read_anew_when_the_bit_changes",
	 addresses_are_read_anew_when_the_bit_changes},
	{"reset_keeps_the_bit", reset_keeps_the_bit},
	{0},
};

static const struct tap_case running_cases[] = {
	{"bit_does_not_come_while_a_ring_runs", bit_does_not_come_while_a_ring_runs},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "gpa", .setup = open_gpa, .teardown = session_close, .cases = gpa_cases},
	SESSION_DEV_RUNNING(running_cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
