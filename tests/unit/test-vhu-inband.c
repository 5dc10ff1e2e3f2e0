/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu/inband.c, and VRING_KICK: rings that are kicked, and call, by messages. Nothing waits for
 * the front-end's channel, nothing that was to be said there is lost, and nothing is said twice.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/vhu/dev.h"
#include "tests/unit/support/session.h"

#define PF(name)    FE_BIT(VHU_PROTOCOL_F_##name)
#define PROTOCOL    (SESSION_PROTOCOL | PF(INBAND_NOTIFICATIONS))
#define SMALL_QUEUE 4608 /* bytes of a socket's buffer, about the least there is */

static int ours = -1; /* the front-end's end of the channel */

static void give_channel(void)
{
	int pair[2], size = SMALL_QUEUE;

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	REQUIRE_OK(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	REQUIRE_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	if (ours >= 0)
		close(ours);
	ours = pair[0];
}

/* What is there to be read: the messages, the ring that each is about, with each a blank. */
static const char *said(void)
{
	static char text[4096];
	struct {
		struct vhu_header header;
		struct vhu_vring_state state;
	} msg;
	size_t used = 0;

	text[0] = '\0';
	while (recv(ours, &msg, sizeof(msg), MSG_DONTWAIT) == (ssize_t)sizeof(msg)) {
		CHECK_EQ(msg.header.flags, VHU_VERSION); /* no acknowledgement is asked for */
		CHECK_EQ(msg.header.size, sizeof(msg.state));
		CHECK_EQ(msg.state.num, 0);
		REQUIRE(used < sizeof(text) - 16);
		used += (size_t)sprintf(text + used, "%s%u ",
					msg.header.request == VHU_BACKEND_VRING_CALL  ? "call"
					: msg.header.request == VHU_BACKEND_VRING_ERR ? "err"
										      : "?",
					msg.state.index);
	}
	return text;
}

static void check_said_at(const char *expected, unsigned line)
{
	const char *text = said();

	tap_check(!strcmp(text, expected), false, "said", line, "'%s', not '%s'", text, expected);
}

#define check_said(expected) check_said_at(expected, __LINE__)

/* As User-mode Linux prepares a ring: without SET_VRING_KICK, _CALL and _ERR. */
static void prepare(unsigned index)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, index, SESSION_RING_SIZE), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, index, 0), 0);
	CHECK_EQ(session_tell_addr(index), 0);
}

static int kick(unsigned index)
{
	return session_tell_state(VHU_VRING_KICK, index, 0);
}

static void start(unsigned index)
{
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_ENABLE, index, 1), 0);
	REQUIRE_EQ(kick(index), 0);
}

/* A request is made, taken, done, and announced: what the driver calls for each time. */
static void complete(unsigned index)
{
	const struct fe_seg seg = {.addr = 0x8000, .len = 16};
	struct vublk_queue *queue = session.queue[index];
	struct vublk_chain chain;
	struct iovec iov[4];
	struct fe_used used;

	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) >= 0);
	fe_vq_publish(&session.ring);
	vublk_chain_init(&chain, iov, 4);
	REQUIRE_EQ(vublk_queue_pop(queue, &chain), 1);
	vublk_queue_push(queue, &chain, 0);
	vublk_queue_publish(queue);
	REQUIRE_EQ(fe_vq_reap(&session.ring, &used), 1);
}

static void open_prepared(void)
{
	session_open_raw();
	session_negotiate(PROTOCOL);
	session_make_memory();
	REQUIRE_EQ(session_tell_table(), 0);
	prepare(0);
}

static void close_all(void)
{
	session_close();
	if (ours >= 0)
		close(ours);
	ours = -1;
}

/* Queue 0 runs, and has called, as at each start. */
static void open_running(void)
{
	open_prepared();
	give_channel();
	start(0);
	session_check("start0 ");
	check_said("call0 ");
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
}

/* ---- what it needs ---- */

static void open_raw(void)
{
	session_open_raw();
}

static void check_ends(uint64_t protocol)
{
	CHECK_EQ(
		session_send(VHU_SET_PROTOCOL_FEATURES, VHU_FLAG_NEED_REPLY, &protocol, 8, NULL, 0),
		-ECONNABORTED);
	CHECK(session_is_quiet());
	session_close();
	session_open_raw();
}

/* "the back-end should close the connection" */
static void without_companions_the_connection_ends(void)
{
	check_ends(PF(INBAND_NOTIFICATIONS));
	check_ends(PF(INBAND_NOTIFICATIONS) | PF(REPLY_ACK));
	check_ends(PF(INBAND_NOTIFICATIONS) | PF(BACKEND_REQ));
	/* Also where it could be told so. */
	session_negotiate(PF(REPLY_ACK));
	check_ends(PF(INBAND_NOTIFICATIONS) | PF(REPLY_ACK));
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES,
				  PF(INBAND_NOTIFICATIONS) | PF(REPLY_ACK) | PF(BACKEND_REQ)),
		 0);
}

static void does_not_change_while_rings_run(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, SESSION_PROTOCOL), 1);
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, PROTOCOL), 0);
	CHECK_EQ(kick(0), 0);
	session_ask_base(0);
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, SESSION_PROTOCOL), 0);
	CHECK_EQ(kick(0), 1);
}

/* ---- kicks ---- */

static void kick_starts(void)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	session_check("");
	CHECK_EQ(kick(0), 0);
	session_check("start0 ");
	CHECK(!vublk_queue_polled(session.queue[0]));
	CHECK_EQ(vublk_queue_kick_fd(session.queue[0]), -1);
}

static void kick_before_it_is_enabled(void)
{
	CHECK_EQ(kick(0), 0);
	session_check("");
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	session_check("start0 ");
	CHECK(!vublk_queue_polled(session.queue[0]));
}

/* It promises that the worker knows. */
static void kick_is_acknowledged_when_the_worker_has_it(void)
{
	const struct vhu_vring_state state = {0, 0};

	session.later = true;
	REQUIRE_EQ(
		session_send(VHU_VRING_KICK, VHU_FLAG_NEED_REPLY, &state, sizeof(state), NULL, 0),
		1);
	session_check("update0 ");
	CHECK(session_is_quiet());
	CHECK(vublk_update_is_kick(session.asked[session.n_asked - 1].update));
	session_answer(0);
	CHECK_EQ(session_take_ack(VHU_VRING_KICK), 0);
	session.later = false;
}

static void kick_without_ack(void)
{
	const struct vhu_vring_state state = {0, 0};

	CHECK_EQ(session_send(VHU_VRING_KICK, 0, &state, sizeof(state), NULL, 0), 0);
	session_check("update0 ");
	CHECK(session_is_quiet());
}

static void wrong_kicks_are_refused(void)
{
	CHECK_EQ(kick(SESSION_QUEUES), 1);
	CHECK_EQ(kick(UINT32_MAX), 1);
	CHECK_EQ(session_tell_state(VHU_VRING_KICK, 0, 1), 1);
	session_check("");
	CHECK_EQ(session.dev->session->ring[0].started, 0);
}

/* One that lacks what it needs cannot be started; when it has that, it can. */
static void kick_of_a_ring_that_cannot_run(void)
{
	give_channel();
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 1, 1), 0);
	CHECK_EQ(kick(1), 1);
	check_said("err1 ");
	CHECK_EQ(kick(1), 1);
	check_said("err1 ");
	prepare(1);
	CHECK_EQ(kick(1), 0);
	session_check("start1 ");
	check_said("call1 ");
}

static void kick_of_a_ring_that_waits(void)
{
	session.wait = true;
	start(0);
	session_check("start0 ");
	CHECK_EQ(kick(0), 0);
	session_check("");
	session_wait_over(0, 0);
	CHECK_EQ(kick(0), 0);
	session_check("resume:1 update0 ");
}

/* The message is no way to stop polling, nor to do without a descriptor. */
static void set_vring_kick_is_preferred(void)
{
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, -1), 0);
	CHECK(vublk_queue_polled(session.queue[0]));
	CHECK_EQ(kick(0), 0);
	CHECK(vublk_queue_polled(session.queue[0]));
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	CHECK(vublk_queue_kick_fd(session.queue[0]) >= 0);
	CHECK_EQ(kick(0), 0);
	CHECK(vublk_queue_kick_fd(session.queue[0]) >= 0);
}

static void kick_starts_again_after_get_vring_base(void)
{
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	session_ask_base(0);
	CHECK_EQ(session.dev->session->ring[0].inband, 0);
	session.events[0] = '\0';
	check_said("");
	CHECK_EQ(kick(0), 0);
	session_check("start0 ");
	CHECK_EQ(session.dev->session->ring[0].inband, 1);
	CHECK(!vublk_queue_polled(session.queue[0]));
	check_said("call0 ");
}

/* ---- calls ---- */

static void one_message_for_each_call(void)
{
	for (unsigned i = 0; i < 3; i++) {
		complete(0);
		check_said("call0 ");
	}
	fe_vq_silence(&session.ring, true);
	complete(0);
	check_said("");
}

static void descriptors_are_preferred(void)
{
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, session.ring.call_fd), 0);
	fd_take_events(session.ring.call_fd);
	complete(0);
	check_said("");
	CHECK_EQ(fd_take_events(session.ring.call_fd), 1);
}

/* "to enable polling": a front-end that does reads no calls. */
static void set_vring_call_without_fd(void)
{
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, -1), 0);
	CHECK_EQ(session.dev->session->ring[0].no_calls, 1);
	complete(0);
	give_channel();
	check_said("");
	/* As a descriptor would, that outlives a stop. */
	session_ask_base(0);
	CHECK_EQ(kick(0), 0);
	complete(0);
	check_said("");
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, session.ring.call_fd), 0);
	CHECK_EQ(session.dev->session->ring[0].no_calls, 0);
	fd_take_events(session.ring.call_fd);
	complete(0);
	CHECK_EQ(fd_take_events(session.ring.call_fd), 1);
	/* All is as it was in the beginning. */
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, -1), 0);
	REQUIRE_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	CHECK_EQ(session.dev->session->ring[0].no_calls, 0);
	check_said("");
}

/* Of errors the text knows no polling. */
static void set_vring_err_without_fd(void)
{
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_ERR, 0, session.ring.err_fd), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_ERR, 0, -1), 0);
	vublk_queue_break(session.queue[0], "test");
	check_said("err0 ");
}

/* What was not agreed upon is not said, though there is a channel. */
static void not_agreed_upon(void)
{
	session_negotiate(SESSION_PROTOCOL);
	give_channel();
	session_tell_fd(VHU_SET_VRING_CALL, 0, -1);
	session_tell_fd(VHU_SET_VRING_ERR, 0, -1);
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	CHECK_EQ(kick(0), 1);
	session_check("");
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, -1), 0);
	session_check("start0 ");
	CHECK(vublk_queue_polled(session.queue[0]));
	CHECK_EQ(kick(0), 1);
	complete(0);
	vublk_queue_break(session.queue[0], "test");
	check_said("");
	CHECK_EQ(session.n_announced, 0);
}

static void broken_ring(void)
{
	vublk_queue_break(session.queue[0], "test");
	check_said("err0 ");
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_ERR, 0, session.ring.err_fd), 0);
	check_said("");
	CHECK_EQ(fd_take_events(session.ring.err_fd), 1);
}

/* What is asked for while it is on its way is not asked for again. */
static void asked_for_once(void)
{
	unsigned n = session.n_announced;

	session.later_announced = true;
	for (unsigned i = 0; i < 5; i++)
		complete(0);
	CHECK_EQ(session.n_announced - n, 1);
	check_said("");
	vublk_dev_announce(session.dev);
	check_said("call0 ");
	vublk_dev_announce(session.dev);
	check_said("");
	complete(0);
	CHECK_EQ(session.n_announced - n, 2);
	session.later_announced = false;
	vublk_dev_announce(session.dev);
	check_said("call0 ");
}

/* ---- the channel ---- */

static void said_when_a_channel_comes(void)
{
	start(0);
	complete(0);
	complete(0);
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	give_channel();
	check_said("call0 ");
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	check_said("");
}

/* What was said on the old one may never have been read. */
static void said_again_on_another_channel(void)
{
	complete(0);
	give_channel();
	check_said("call0 ");
	fe_vq_silence(&session.ring, true);
	give_channel();
	check_said("");
}

static unsigned fill(void)
{
	unsigned n = 0;

	session.events[0] = '\0';
	for (; !strstr(session.events, "room"); n++) {
		REQUIRE(n < 1000);
		complete(0);
	}
	session_check("room ");
	return n;
}

static void full_channel(void)
{
	const unsigned n = fill();
	unsigned said_before = 0;

	for (unsigned i = 0; i < 1000; i++)
		complete(0);
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	session_check(""); /* nor is there anything more to be awaited */
	for (const char *at = said(); (at = strstr(at, "call0 ")); at++)
		said_before++;
	CHECK_EQ(said_before, n - 1);
	vublk_dev_announce(session.dev);
	check_said("call0 ");
	session_check("room:no ");
	complete(0);
	check_said("call0 ");
	session_check("");
}

/* With room for little at a time, no ring waits for ever. */
static void each_ring_has_its_turn(void)
{
	prepare(1);
	start(1);
	fill();
	atomic_fetch_or(&session.dev->vring[1].inband.due, VHU_INBAND_CALL);
	atomic_fetch_or(&session.dev->vring[3].inband.due, VHU_INBAND_ERR);
	said();
	vublk_dev_announce(session.dev);
	check_said("call0 call1 err3 ");
	fill();
	atomic_fetch_or(&session.dev->vring[1].inband.due, VHU_INBAND_CALL);
	session.dev->next_said = 1;
	said();
	vublk_dev_announce(session.dev);
	check_said("call1 call0 ");
}

static void closed_channel(void)
{
	const unsigned before = fds_open();

	close(ours);
	ours = -1;
	for (unsigned i = 0; i < 3; i++)
		complete(0);
	CHECK_EQ(session.dev->backend.fd, -1);
	CHECK_EQ(fds_open(), before - 2);
	give_channel();
	check_said("call0 ");
}

static void full_channel_that_is_closed(void)
{
	fill();
	close(ours);
	ours = -1;
	vublk_dev_announce(session.dev);
	session_check("room:no ");
	give_channel();
	check_said("call0 ");
	session_check("update0 ");
}

static void full_channel_that_is_replaced(void)
{
	fill();
	give_channel();
	session_check("room:no update0 ");
	check_said("call0 ");
}

/* ---- ends ---- */

/* What is not negotiated any more awaits no room, and is not said. */
static void given_up_while_the_channel_is_full(void)
{
	fill();
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 0), 0);
	session_check("stop0 room:no ");
	REQUIRE_EQ(kick(1), 0);
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 1, 1), 1);
	session_check("room ");
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, SESSION_PROTOCOL), 0);
	session_check("room:no ");
	said();
	vublk_dev_announce(session.dev);
	check_said("");
}

/* Whoever else has asked for an announcement that is still on its way. */
static void ring_has_called_when_it_rests(void)
{
	session.later_announced = true;
	complete(0);
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 0), 0);
	check_said("call0 ");
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	check_said("call0 ");
	session.later_announced = false;
	vublk_dev_announce(session.dev);
	check_said("");
}

/* What is due of a ring that was stopped for good is not said afterwards. */
static void broken_ring_and_get_vring_base(void)
{
	fill();
	vublk_queue_break(session.queue[0], "test");
	session_ask_base(0);
	session_check("broken0:test stop0 room:no ");
	said();
	vublk_dev_announce(session.dev);
	check_said("");
}

/* While all rings are stopped a back-end says nothing; it says it when they run again. */
static void stopped_ring_says_nothing(void)
{
	fill();
	session_ask_base(0);
	said();
	vublk_dev_announce(session.dev);
	check_said("");
	start(0);
	check_said("call0 ");
}

static void reset_forgets_it(void)
{
	fill();
	vublk_queue_break(session.queue[0], "test");
	REQUIRE_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	said();
	vublk_dev_announce(session.dev);
	check_said("");
	CHECK_EQ(kick(0), 0);
}

/* Nobody is there any more whom it could be said to, and nobody warns of that. */
static void end_says_nothing(void)
{
	session.later_announced = true;
	complete(0);
	close(session.peer.fd);
	vublk_dev_disconnect(session.dev);
	check_said("");
	session.later_announced = false;
	session_connect();
}

static void end_forgets_it(void)
{
	fill();
	close(session.peer.fd);
	vublk_dev_disconnect(session.dev);
	session_check("leave0 room:no features:0 disconnected ");
	said();
	vublk_dev_announce(session.dev);
	session_connect();
	session_negotiate(PROTOCOL);
	give_channel();
	check_said("");
}

static const struct tap_case alone[] = {
	{"without_companions_the_connection_ends", without_companions_the_connection_ends},
	{0},
};

static const struct tap_case prepared[] = {
	{"kick_starts", kick_starts},
	{"kick_before_it_is_enabled", kick_before_it_is_enabled},
	{"wrong_kicks_are_refused", wrong_kicks_are_refused},
	{"not_agreed_upon", not_agreed_upon},
	{"kick_of_a_ring_that_cannot_run", kick_of_a_ring_that_cannot_run},
	{"kick_of_a_ring_that_waits", kick_of_a_ring_that_waits},
	{"said_when_a_channel_comes", said_when_a_channel_comes},
	{0},
};

static const struct tap_case running[] = {
	{"does_not_change_while_rings_run", does_not_change_while_rings_run},
	{"kick_is_acknowledged_when_the_worker_has_it",
	 kick_is_acknowledged_when_the_worker_has_it},
	{"kick_without_ack", kick_without_ack},
	{"set_vring_kick_is_preferred", set_vring_kick_is_preferred},
	{"kick_starts_again_after_get_vring_base", kick_starts_again_after_get_vring_base},
	{"one_message_for_each_call", one_message_for_each_call},
	{"descriptors_are_preferred", descriptors_are_preferred},
	{"set_vring_call_without_fd", set_vring_call_without_fd},
	{"set_vring_err_without_fd", set_vring_err_without_fd},
	{"broken_ring", broken_ring},
	{"asked_for_once", asked_for_once},
	{"said_again_on_another_channel", said_again_on_another_channel},
	{"full_channel", full_channel},
	{"each_ring_has_its_turn", each_ring_has_its_turn},
	{"closed_channel", closed_channel},
	{"full_channel_that_is_closed", full_channel_that_is_closed},
	{"full_channel_that_is_replaced", full_channel_that_is_replaced},
	{"given_up_while_the_channel_is_full", given_up_while_the_channel_is_full},
	{"ring_has_called_when_it_rests", ring_has_called_when_it_rests},
	{"broken_ring_and_get_vring_base", broken_ring_and_get_vring_base},
	{"stopped_ring_says_nothing", stopped_ring_says_nothing},
	{"reset_forgets_it", reset_forgets_it},
	{"end_says_nothing", end_says_nothing},
	{"end_forgets_it", end_forgets_it},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "inband", .setup = open_raw, .teardown = session_close, .cases = alone},
	{.name = "inband prepared",
	 .setup = open_prepared,
	 .teardown = close_all,
	 .cases = prepared},
	{.name = "inband running", .setup = open_running, .teardown = close_all, .cases = running},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
