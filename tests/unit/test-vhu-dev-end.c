/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vhu/dev.c: a session that ends, at any point, and the next one. */
#include <sys/socket.h>

#include "tests/unit/support/session.h"

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
	{"end_leaves_nothing_open", end_leaves_nothing_open},
	{0},
};

static const struct tap_case session_cases[] = {
	{"end_of_file_is_said", end_of_file_is_said},
	{"end_of_an_idle_session", end_of_an_idle_session},
	{0},
};

static const struct tap_case prepared_cases[] = {
	{"end_during_a_start", end_during_a_start},
	{"end_during_a_start_that_fails", end_during_a_start_that_fails},
	{0},
};

static const struct tap_case running_cases[] = {
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
	SESSION_DEV_SUITES(create_cases, session_cases, prepared_cases, running_cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
