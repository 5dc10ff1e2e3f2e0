/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu/transfer.c: the device's state comes out whole and goes in whole or not at all, and no
 * channel, whatever is in it, makes the device wait or keeps it busy.
 */
#define _GNU_SOURCE
#include "lib/vhu/state.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/support/session.h"

#define SAVE    VHU_TRANSFER_SAVE
#define LOAD    VHU_TRANSFER_LOAD
#define ACCEPTS VHU_TRANSFER_NOFD /* the replies to SET_DEVICE_STATE_FD */
#define REFUSES (VHU_TRANSFER_NOFD | 1)

/* As a device that has 0x600d to tell saves it. */
static const struct vhu_state good = {
	.magic = VHU_STATE_MAGIC,
	.version = VHU_STATE_VERSION,
	.device = 0x600d,
};

/* ---- the front-end ---- */

static uint64_t tell_params(uint32_t direction, uint32_t phase, int fd)
{
	const struct vhu_transfer_params params = {direction, phase};
	struct fe_msg reply;

	REQUIRE_EQ(session_send(VHU_SET_DEVICE_STATE_FD, 0, &params, sizeof(params), &fd, 1), 0);
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, VHU_SET_DEVICE_STATE_FD);
	CHECK_EQ(reply.header.size, 8);
	CHECK_EQ(reply.n_fds, 0);
	return reply.payload.u64;
}

/* Gives one end of a pipe away; the other one, or -1 when it was refused. */
static int begin(uint32_t direction)
{
	int pair[2], ours = direction == SAVE ? 0 : 1;
	uint64_t answer;

	REQUIRE_OK(pipe2(pair, O_CLOEXEC | O_NONBLOCK));
	answer = tell_params(direction, VHU_TRANSFER_STOPPED, pair[!ours]);
	close(pair[!ours]);
	if (answer == ACCEPTS)
		return pair[ours];
	CHECK_EQ(answer, REFUSES);
	close(pair[ours]);
	return -1;
}

/* CHECK_DEVICE_STATE: has the transfer succeeded? */
static bool succeeded(void)
{
	const uint64_t answer = session_ask_u64(VHU_CHECK_DEVICE_STATE);

	CHECK(answer <= 1);
	CHECK_EQ(session.watched, -1); /* and it is over */
	return !answer;
}

static bool loads(const void *state, size_t size)
{
	int fd = begin(LOAD);

	REQUIRE(fd >= 0);
	REQUIRE_EQ(write(fd, state, size), (ssize_t)size);
	close(fd);
	return succeeded();
}

/* The device is as it was, and takes a state that is one. */
static void check_unharmed(void)
{
	CHECK_EQ(session.state, 7);
	session_check("");
	CHECK(loads(&good, sizeof(good)));
	session_check("load:600d ");
}

/* ---- saving ---- */

static void saves(void)
{
	const unsigned before = fds_open();
	char bytes[2 * sizeof(good)];
	int fd;

	session.state = 0x600d;
	for (int i = 0; i < 3; i++) {
		fd = begin(SAVE);
		REQUIRE(fd >= 0);
		REQUIRE_EQ(read(fd, bytes, sizeof(bytes)), (ssize_t)sizeof(good));
		CHECK(memcmp(bytes, &good, sizeof(good)) == 0);
		CHECK_EQ(read(fd, bytes, sizeof(bytes)), 0); /* the device has closed its end */
		close(fd);
		CHECK(succeeded());
		CHECK(succeeded()); /* asked again, it is no other */
	}
	CHECK_EQ(fds_open(), before);
}

static void saves_to_a_socket(void)
{
	struct vhu_state state;
	int pair[2];

	session.state = 0x600d;
	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	CHECK_EQ(tell_params(SAVE, VHU_TRANSFER_STOPPED, pair[1]), ACCEPTS);
	close(pair[1]);
	REQUIRE_EQ(read(pair[0], &state, sizeof(state)), (ssize_t)sizeof(state));
	CHECK(memcmp(&state, &good, sizeof(state)) == 0);
	close(pair[0]);
	CHECK(succeeded());
}

/* A pipe that has no room, and that would wait: it is not waited for. */
static void no_room(void)
{
	static const char zeros[4096];
	int pair[2];

	REQUIRE_OK(pipe2(pair, O_CLOEXEC | O_NONBLOCK));
	while (write(pair[1], zeros, sizeof(zeros)) > 0)
		;
	REQUIRE_OK(fcntl(pair[1], F_SETFL, 0));
	CHECK_EQ(tell_params(SAVE, VHU_TRANSFER_STOPPED, pair[1]), REFUSES);
	CHECK(!succeeded());
	close(pair[0]);
	CHECK_EQ(tell_params(SAVE, VHU_TRANSFER_STOPPED, pair[1]), REFUSES); /* no reader */
	CHECK(!succeeded());
	close(pair[1]);
}

/* ---- loading ---- */

static void loads_it(void)
{
	const unsigned before = fds_open();

	CHECK(loads(&good, sizeof(good)));
	session_check("load:600d ");
	CHECK_EQ(session.state, 0x600d);
	CHECK(succeeded());
	CHECK_EQ(fds_open(), before);
}

/* It comes in pieces of every size, and is taken when its end has come. */
static void loads_as_it_comes(void)
{
	for (size_t piece = 1; piece <= sizeof(good); piece++) {
		int fd = begin(LOAD);

		REQUIRE(fd >= 0);
		for (size_t at = 0; at < sizeof(good); at += piece) {
			const size_t left = sizeof(good) - at, n = left < piece ? left : piece;

			CHECK(session.watched >= 0);
			REQUIRE_EQ(write(fd, (const char *)&good + at, n), (ssize_t)n);
			vublk_dev_state_input(session.dev);
			vublk_dev_state_input(session.dev); /* for nothing */
		}
		session_check("");
		close(fd);
		vublk_dev_state_input(session.dev);
		CHECK_EQ(session.watched, -1);
		session_check("load:600d ");
		vublk_dev_state_input(session.dev); /* one that came late */
		CHECK(succeeded());
		session_check("");
	}
}

/* What one device saves another one loads. */
static void carries_over(void)
{
	struct vhu_state state;
	int fd;

	session.state = 0xfeedf00d;
	fd = begin(SAVE);
	REQUIRE_EQ(read(fd, &state, sizeof(state)), (ssize_t)sizeof(state));
	close(fd);
	session.state = 7;
	CHECK(loads(&state, sizeof(state)));
	CHECK_EQ(session.state, 0xfeedf00d);
}

static void begins_at_7(void)
{
	session.state = 7;
}

static void not_a_state(void)
{
	struct vhu_state bad;
	char more[sizeof(good) + 1] = {0};

	begins_at_7();
	for (size_t i = 0; i < sizeof(good.magic); i++) {
		bad = good;
		bad.magic[i] ^= 0x20;
		CHECK(!loads(&bad, sizeof(bad)));
	}
	for (unsigned version = 0; version < 4; version++) {
		bad = good;
		bad.version = version ? VHU_STATE_VERSION + version : 0;
		CHECK(!loads(&bad, sizeof(bad)));
	}
	bad.version = VHU_STATE_VERSION << 24; /* of the other byte order */
	CHECK(!loads(&bad, sizeof(bad)));
	for (size_t size = 0; size < sizeof(good); size++)
		CHECK(!loads(&good, size));
	memcpy(more, &good, sizeof(good));
	CHECK(!loads(more, sizeof(more)));
	check_unharmed();
}

/* Somebody else's state may be larger than a pipe: who writes it is told, and does not wait. */
static void far_too_much(void)
{
	static const char zeros[4096];
	int fd;

	begins_at_7();
	signal(SIGPIPE, SIG_IGN);
	fd = begin(LOAD);
	REQUIRE(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	CHECK_EQ(errno, EAGAIN);
	vublk_dev_state_input(session.dev);
	CHECK_EQ(session.watched, -1);
	CHECK(write(fd, zeros, 1) < 0 && errno == EPIPE);
	close(fd);
	CHECK(!succeeded());
	check_unharmed();
}

/* The device type does not take it. */
static void device_refuses(void)
{
	session.state_err = -EINVAL;
	CHECK(!loads(&good, sizeof(good)));
	session_check("load:600d ");
	session.state_err = 0;
	CHECK(loads(&good, sizeof(good)));
}

/* The front-end asks while the channel is open: there is no state, now or later. */
static void not_closed(void)
{
	int fd = begin(LOAD);

	begins_at_7();
	signal(SIGPIPE, SIG_IGN);
	REQUIRE_EQ(write(fd, &good, sizeof(good)), (ssize_t)sizeof(good));
	CHECK(!succeeded());
	CHECK(write(fd, &good, 1) < 0 && errno == EPIPE);
	close(fd);
	CHECK(!succeeded());
	check_unharmed();
}

/* ---- what ends it ---- */

static void another_begins(void)
{
	const unsigned before = fds_open();
	int first = begin(LOAD), second = begin(LOAD), third;

	signal(SIGPIPE, SIG_IGN);
	CHECK(write(first, &good, sizeof(good)) < 0 && errno == EPIPE);
	third = begin(SAVE);
	CHECK(write(second, &good, sizeof(good)) < 0 && errno == EPIPE);
	CHECK(succeeded());
	session_check("");
	close(first);
	close(second);
	close(third);
	CHECK_EQ(fds_open(), before);
}

/* One that is refused leaves no success of an earlier one behind. */
static void refused_after_success(void)
{
	CHECK(loads(&good, sizeof(good)));
	CHECK_EQ(tell_params(SAVE, VHU_TRANSFER_STOPPED + 1, session.ring.kick_fd), REFUSES);
	CHECK(!succeeded());
}

static void reset_ends_it(void)
{
	int fd = begin(LOAD);

	signal(SIGPIPE, SIG_IGN);
	REQUIRE_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	CHECK_EQ(session.watched, -1);
	CHECK(write(fd, &good, sizeof(good)) < 0 && errno == EPIPE);
	close(fd);
	CHECK(!succeeded());
}

static void hanging_up_ends_it(void)
{
	int fd = begin(LOAD);

	REQUIRE_EQ(write(fd, &good, sizeof(good)), (ssize_t)sizeof(good));
	close(session.peer.fd);
	vublk_dev_disconnect(session.dev);
	CHECK_EQ(session.watched, -1);
	close(fd);
	session_check("features:0 disconnected ");
	session_connect();
	session_negotiate(SESSION_PROTOCOL);
	CHECK(!succeeded());
}

/* ---- what is refused ---- */

static void nothing_yet(void)
{
	CHECK(!succeeded());
}

static void wrong_parameters(void)
{
	static const uint32_t wrong[][2] = {
		{2, 0}, {0, 1}, {1, 1}, {0xffffffff, 0}, {0, 0xffffffff}};
	int pair[2];

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		CHECK_EQ(tell_params(wrong[i][0], wrong[i][1], pair[0]), REFUSES);
	close(pair[0]);
	close(pair[1]);
}

static void wrong_descriptors(void)
{
	int fd, pair[2];

	REQUIRE_OK(pipe2(pair, O_CLOEXEC));
	CHECK_EQ(tell_params(SAVE, VHU_TRANSFER_STOPPED, pair[0]), REFUSES);
	CHECK_EQ(tell_params(LOAD, VHU_TRANSFER_STOPPED, pair[1]), REFUSES);
	close(pair[0]);
	close(pair[1]);
	for (uint32_t direction = SAVE; direction <= LOAD; direction++) {
		fd = fd_memory(4096);
		CHECK_EQ(tell_params(direction, VHU_TRANSFER_STOPPED, fd), REFUSES);
		close(fd);
		fd = fd_event();
		CHECK_EQ(tell_params(direction, VHU_TRANSFER_STOPPED, fd), REFUSES);
		close(fd);
	}
	CHECK_EQ(session.watched, -1);
}

static void cannot_be_watched(void)
{
	const unsigned before = fds_open();

	session.watch_err = -ENOMEM;
	CHECK_EQ(begin(LOAD), -1);
	session.watch_err = 0;
	CHECK(!succeeded());
	CHECK_EQ(fds_open(), before);
}

static void while_rings_run(void)
{
	CHECK_EQ(begin(SAVE), -1);
	CHECK_EQ(begin(LOAD), -1);
	session_check("");
	session_ask_base(0);
	session_check("stop0 ");
	CHECK(loads(&good, sizeof(good)));
}

/* Rings that were started before the state was there have run without it. */
static void rings_were_faster(void)
{
	int fd;

	session_ask_base(0);
	fd = begin(LOAD);
	REQUIRE(fd >= 0);
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	session_check("stop0 start0 ");
	REQUIRE_EQ(write(fd, &good, sizeof(good)), (ssize_t)sizeof(good));
	close(fd);
	CHECK(!succeeded());
	session_check("");
}

static const struct tap_case prepared[] = {
	{"saves", saves},
	{"saves_to_a_socket", saves_to_a_socket},
	{"no_room", no_room},
	{"loads_it", loads_it},
	{"loads_as_it_comes", loads_as_it_comes},
	{"carries_over", carries_over},
	{"not_a_state", not_a_state},
	{"far_too_much", far_too_much},
	{"device_refuses", device_refuses},
	{"not_closed", not_closed},
	{"another_begins", another_begins},
	{"refused_after_success", refused_after_success},
	{"reset_ends_it", reset_ends_it},
	{"hanging_up_ends_it", hanging_up_ends_it},
	{"nothing_yet", nothing_yet},
	{"wrong_parameters", wrong_parameters},
	{"wrong_descriptors", wrong_descriptors},
	{"cannot_be_watched", cannot_be_watched},
	{0},
};

static const struct tap_case running[] = {
	{"while_rings_run", while_rings_run},
	{"rings_were_faster", rings_were_faster},
	{0},
};

static const struct tap_suite suites[] = {
	SESSION_DEV_PREPARED(prepared),
	SESSION_DEV_RUNNING(running),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
