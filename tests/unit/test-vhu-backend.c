/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu/backend.c, and what lib/vhu/dev.c makes of it: what a back-end says of its own accord is
 * said once, when rings run, and never waits.
 */
#define _GNU_SOURCE
#include "lib/vhu/backend.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/support/session.h"

static int ours = -1; /* the front-end's end */

static void make_pair(int pair[2])
{
	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
}

/* The front-end gives a channel. */
static void give_channel(void)
{
	int pair[2];

	make_pair(pair);
	REQUIRE_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	ours = pair[0];
}

/* How many messages, all of them of a changed configuration space, are there to be read? */
static unsigned n_said(int fd)
{
	struct vhu_header header;
	unsigned n = 0;

	REQUIRE_OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	while (read(fd, &header, sizeof(header)) == (ssize_t)sizeof(header)) {
		CHECK_EQ(header.request, VHU_BACKEND_CONFIG_CHANGE_MSG);
		CHECK_EQ(header.flags, VHU_VERSION); /* no acknowledgement is asked for */
		CHECK_EQ(header.size, 0);
		n++;
	}
	return n;
}

/* Until no byte goes in any more. */
static void fill(int fd)
{
	static const char zeros[4096];
	size_t size = sizeof(zeros);

	while (size)
		if (send(fd, zeros, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			size /= 2;
}

static void drain(int fd)
{
	char bytes[4096];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

static void start_ring(void)
{
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
}

/* ---- while no ring runs ---- */

static void held_until_rings_run(void)
{
	give_channel();
	for (int i = 0; i < 3; i++)
		CHECK_OK(vublk_dev_config_changed(session.dev));
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	CHECK_EQ(n_said(ours), 0);
	start_ring();
	CHECK_EQ(n_said(ours), 1); /* however often it has changed */
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	CHECK_EQ(n_said(ours), 0);
}

/* A channel that comes after the change is as good. */
static void channel_comes_later(void)
{
	CHECK_OK(vublk_dev_config_changed(session.dev));
	give_channel();
	CHECK_EQ(n_said(ours), 0);
	start_ring();
	CHECK_EQ(n_said(ours), 1);
}

/* A front-end that awaits an answer gets that first. */
static void not_while_a_message_is_outstanding(void)
{
	const struct vhu_vring_state enable = {0, 1};

	give_channel();
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	session.later = true;
	REQUIRE_EQ(session_send(VHU_SET_VRING_ENABLE, VHU_FLAG_NEED_REPLY, &enable, sizeof(enable),
				NULL, 0),
		   1);
	CHECK_OK(vublk_dev_config_changed(session.dev));
	CHECK_EQ(n_said(ours), 0);
	CHECK(session_is_quiet());
	session_answer(0);
	CHECK_EQ(session_take_ack(VHU_SET_VRING_ENABLE), 0);
	CHECK_EQ(n_said(ours), 1);
	session.later = false;
}

static void ring_that_waited(void)
{
	give_channel();
	session.wait = true;
	start_ring();
	CHECK_OK(vublk_dev_config_changed(session.dev));
	CHECK_EQ(n_said(ours), 0);
	session_wait_over(0, 0);
	CHECK_EQ(n_said(ours), 1);
}

/* The next session gets nothing of what was held back for this one. */
static void end_forgets_it(void)
{
	give_channel();
	CHECK_OK(vublk_dev_config_changed(session.dev));
	close(session.peer.fd);
	vublk_dev_disconnect(session.dev);
	CHECK_EQ(n_said(ours), 0);
	CHECK_EQ(vublk_dev_config_changed(session.dev), -ENOTCONN);
	session_connect();
	session_negotiate(SESSION_PROTOCOL);
	give_channel();
	fe_vq_reset(&session.ring, 0);
	REQUIRE_EQ(session_tell_table(), 0);
	session_prepare(0);
	start_ring();
	CHECK_EQ(n_said(ours), 0);
	CHECK_OK(vublk_dev_config_changed(session.dev));
	CHECK_EQ(n_said(ours), 1);
}

/* ---- while one runs ---- */

static void said_at_once(void)
{
	give_channel();
	for (unsigned i = 0; i < 3; i++) {
		CHECK_OK(vublk_dev_config_changed(session.dev));
		CHECK_EQ(n_said(ours), 1);
	}
}

static void not_before_an_answer_that_is_awaited(void)
{
	const uint64_t u64 = 0;

	give_channel();
	session.later = true;
	REQUIRE_EQ(session_send(VHU_SET_VRING_CALL, VHU_FLAG_NEED_REPLY, &u64, sizeof(u64),
				&session.ring.call_fd, 1),
		   1);
	CHECK_OK(vublk_dev_config_changed(session.dev));
	CHECK_EQ(n_said(ours), 0);
	session_answer(0);
	CHECK_EQ(session_take_ack(VHU_SET_VRING_CALL), 0);
	CHECK_EQ(n_said(ours), 1);
}

static void held_while_rings_are_stopped(void)
{
	give_channel();
	session_ask_base(0);
	CHECK_OK(vublk_dev_config_changed(session.dev));
	CHECK_EQ(n_said(ours), 0);
	start_ring();
	CHECK_EQ(n_said(ours), 1);
}

static void no_channel(void)
{
	CHECK_EQ(vublk_dev_config_changed(session.dev), -EOPNOTSUPP);
	/* It is not remembered for one that comes later. */
	give_channel();
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	CHECK_EQ(n_said(ours), 0);
}

static void closed_channel(void)
{
	const unsigned before = fds_open();

	give_channel();
	close(ours);
	CHECK_EQ(vublk_dev_config_changed(session.dev), -EOPNOTSUPP);
	CHECK_EQ(fds_open(), before);
	CHECK_EQ(vublk_dev_config_changed(session.dev), -EOPNOTSUPP);
	give_channel();
	CHECK_OK(vublk_dev_config_changed(session.dev));
	CHECK_EQ(n_said(ours), 1);
}

/* Nothing waits, and nothing of the frame goes in. */
static void full_channel(void)
{
	int pair[2];

	make_pair(pair);
	REQUIRE_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	fill(pair[1]);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(vublk_dev_config_changed(session.dev), -EAGAIN);
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	drain(pair[0]);
	/* With the next message that was served, once. */
	CHECK_EQ(n_said(pair[0]), 0);
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	CHECK_EQ(n_said(pair[0]), 1);
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	CHECK_EQ(n_said(pair[0]), 0);
	close(pair[0]);
	close(pair[1]);
}

static void full_channel_is_asked_again(void)
{
	int pair[2];

	make_pair(pair);
	REQUIRE_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	fill(pair[1]);
	CHECK_EQ(vublk_dev_config_changed(session.dev), -EAGAIN);
	drain(pair[0]);
	CHECK_OK(vublk_dev_config_changed(session.dev));
	CHECK_EQ(n_said(pair[0]), 1);
	close(pair[0]);
	close(pair[1]);
}

/* What the front-end calls a pipe may be one, and wait, and be full. */
static void pipe_that_waits(void)
{
	static const char zeros[4096];
	int pair[2];

	REQUIRE_OK(pipe2(pair, O_CLOEXEC));
	REQUIRE_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	CHECK_OK(vublk_dev_config_changed(session.dev));
	CHECK_EQ(n_said(pair[0]), 1);
	REQUIRE_OK(fcntl(pair[1], F_SETFL, O_NONBLOCK));
	while (write(pair[1], zeros, sizeof(zeros)) > 0)
		;
	REQUIRE_OK(fcntl(pair[1], F_SETFL, 0));
	CHECK_EQ(vublk_dev_config_changed(session.dev), -EAGAIN);
	close(pair[0]);
	close(pair[1]);
}

static void channel_that_could_make_us_wait(void)
{
	int fd = fd_memory(4096);

	CHECK_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &fd, 1), 1);
	close(fd);
	fd = fd_event();
	CHECK_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &fd, 1), 1);
	close(fd);
	CHECK_EQ(vublk_dev_config_changed(session.dev), -EOPNOTSUPP);
}

/* ---- what was not negotiated ---- */

static void open_without(unsigned feature)
{
	session_open_raw();
	session_negotiate(SESSION_PROTOCOL);
	give_channel();
	session_negotiate(SESSION_PROTOCOL & ~FE_BIT(feature));
	session_make_memory();
	REQUIRE_EQ(session_tell_table(), 0);
	session_prepare(0);
	start_ring();
}

static void not_negotiated(void)
{
	static const unsigned features[] = {VHU_PROTOCOL_F_BACKEND_REQ, VHU_PROTOCOL_F_CONFIG};

	for (unsigned i = 0; i < 2; i++) {
		open_without(features[i]);
		CHECK_EQ(vublk_dev_config_changed(session.dev), -EOPNOTSUPP);
		CHECK_EQ(n_said(ours), 0);
		session_close();
	}
}

/* ---- the channel by itself ---- */

static void frames(void)
{
	const uint64_t payload = 0x0123456789abcdef;
	struct vhu_backend backend;
	struct vhu_header header;
	uint64_t u64 = 0;
	int pair[2];

	vhu_backend_init(&backend, NULL, NULL);
	CHECK_EQ(vhu_backend_send(&backend, VHU_BACKEND_VRING_CALL, NULL, 0), -ENOTCONN);
	make_pair(pair);
	vhu_backend_set(&backend, pair[1]);
	CHECK_OK(vhu_backend_send(&backend, VHU_BACKEND_VRING_CALL, &payload, sizeof(payload)));
	REQUIRE_EQ(read(pair[0], &header, sizeof(header)), (ssize_t)sizeof(header));
	CHECK_EQ(header.request, VHU_BACKEND_VRING_CALL);
	CHECK_EQ(header.flags, VHU_VERSION);
	CHECK_EQ(header.size, sizeof(payload));
	REQUIRE_EQ(read(pair[0], &u64, sizeof(u64)), (ssize_t)sizeof(u64));
	CHECK(u64 == payload);
	close(pair[0]);
	CHECK_EQ(vhu_backend_send(&backend, VHU_BACKEND_VRING_CALL, NULL, 0), -EPIPE);
	CHECK_EQ(backend.fd, -1);
	vhu_backend_close(&backend);
}

static const struct tap_case prepared[] = {
	{"held_until_rings_run", held_until_rings_run},
	{"channel_comes_later", channel_comes_later},
	{"not_while_a_message_is_outstanding", not_while_a_message_is_outstanding},
	{"ring_that_waited", ring_that_waited},
	{"end_forgets_it", end_forgets_it},
	{0},
};

static const struct tap_case running[] = {
	{"said_at_once", said_at_once},
	{"not_before_an_answer_that_is_awaited", not_before_an_answer_that_is_awaited},
	{"held_while_rings_are_stopped", held_while_rings_are_stopped},
	{"no_channel", no_channel},
	{"closed_channel", closed_channel},
	{"full_channel", full_channel},
	{"full_channel_is_asked_again", full_channel_is_asked_again},
	{"pipe_that_waits", pipe_that_waits},
	{"channel_that_could_make_us_wait", channel_that_could_make_us_wait},
	{0},
};

static const struct tap_case alone[] = {
	{"not_negotiated", not_negotiated},
	{"frames", frames},
	{0},
};

static const struct tap_suite suites[] = {
	SESSION_DEV_PREPARED(prepared),
	SESSION_DEV_RUNNING(running),
	{.name = "backend", .cases = alone},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
