/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vhu/dev.c: memory that comes and goes, and the rings in it. */
#include "tests/unit/support/session.h"

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

static const struct tap_case prepared_cases[] = {
	{"memory_table_has_what_it_says", memory_table_has_what_it_says},
	{"regions_come_and_go", regions_come_and_go},
	{0},
};

static const struct tap_case running_cases[] = {
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
	{0},
};

static const struct tap_suite suites[] = {
	SESSION_DEV_PREPARED(prepared_cases),
	SESSION_DEV_RUNNING(running_cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
