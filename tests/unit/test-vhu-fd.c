/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/shared/fd.c: descriptors of a front-end that may be anything and must not make us wait. */
#include "lib/shared/fd.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/timerfd.h>

#include "tests/tap.h"
#include "tests/unit/support/fds.h"

/* An eventfd that waits, as a front-end can make of any. */
static int blocking_event(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	REQUIRE(fd >= 0);
	return fd;
}

static void make_pipe(int pair[2], int flags)
{
	REQUIRE_OK(pipe2(pair, O_CLOEXEC | flags));
}

/* Fills a non-blocking pipe to its last byte. */
static void fill(int fd)
{
	static const char zeros[4096];
	size_t size = sizeof(zeros);

	while (size)
		if (write(fd, zeros, size) < 0)
			size /= 2;
}

/* ---- what may be one ---- */

static bool can_notify(int fd)
{
	bool can;

	REQUIRE(fd >= 0);
	can = vhu_fd_can_notify(fd);
	close(fd);
	return can;
}

static void eventfds_and_pipes_notify(void)
{
	int pair[2];

	CHECK(can_notify(fd_event()));
	CHECK(can_notify(blocking_event()));
	make_pipe(pair, 0);
	CHECK(can_notify(pair[0]));
	CHECK(can_notify(pair[1]));
}

static void files_do_not(void)
{
	CHECK(!can_notify(fd_memory(1)));
	CHECK(!can_notify(open("/", O_RDONLY | O_DIRECTORY)));
	CHECK(!can_notify(open("/dev/null", O_RDWR)));
}

/* Its other end may be this very connection. */
/* User-mode Linux's pipes are such. */
static void socket_pairs_do(void)
{
	int pair[2];

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	CHECK(can_notify(pair[0]));
	CHECK(can_notify(pair[1]));
}

/* A front-end's end of its connection, say: to us it would look as if it never hung up. */
static void other_sockets_do_not(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	int client = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", getenv("TMPDIR"));
	REQUIRE_OK(bind(listener, (struct sockaddr *)&addr, sizeof(addr)));
	REQUIRE_OK(listen(listener, 1));
	REQUIRE_OK(connect(client, (struct sockaddr *)&addr, sizeof(addr)));
	CHECK(!can_notify(client));
	CHECK(!can_notify(listener));
	CHECK(!can_notify(socket(AF_UNIX, SOCK_STREAM, 0)));
	CHECK(!can_notify(socket(AF_INET, SOCK_STREAM, 0)));
}

/* These have no file type either. A signalfd would give its reader our signals. */
static void other_anonymous_descriptors_do_not(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(!can_notify(signalfd(-1, &set, 0)));
	CHECK(!can_notify(timerfd_create(CLOCK_MONOTONIC, 0)));
	CHECK(!can_notify(epoll_create1(0)));
}

static void what_is_not_open_does_not(void)
{
	CHECK(!vhu_fd_can_notify(-1));
	CHECK(!vhu_fd_can_notify(1000));
}

/* ---- using them ---- */

static void close_closes(void)
{
	int pair[2];

	vhu_fd_close(-1);
	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	vhu_fd_close(pair[0]);
	CHECK(!fd_is_open(pair[0]));
	make_pipe(pair, 0);
	vhu_fd_close(pair[1]);
	CHECK(!fd_is_open(pair[1]));
}

static void drain_empties_an_eventfd(void)
{
	int fd = fd_event();

	eventfd_write(fd, 3);
	CHECK_OK(vhu_fd_drain(fd));
	CHECK_EQ(fd_take_events(fd), 0);
	CHECK_OK(vhu_fd_drain(fd));
	close(fd);
}

static void drain_does_not_wait(void)
{
	int fd = blocking_event(), pair[2];

	CHECK_OK(vhu_fd_drain(fd));
	eventfd_write(fd, 1);
	CHECK_OK(vhu_fd_drain(fd));
	make_pipe(pair, 0);
	CHECK_OK(vhu_fd_drain(pair[0]));
	close(fd);
	close(pair[0]);
	close(pair[1]);
}

static void drain_empties_a_pipe_and_sees_its_end(void)
{
	int pair[2];
	char byte;

	make_pipe(pair, O_NONBLOCK);
	REQUIRE_EQ(write(pair[1], "12345678123456781", 17), 17);
	CHECK_OK(vhu_fd_drain(pair[0]));
	CHECK_EQ(read(pair[0], &byte, 1), -1);
	close(pair[1]);
	CHECK_EQ(vhu_fd_drain(pair[0]), -EPIPE);
	close(pair[0]);
}

/* There may be more coming all the time. */
static void drain_of_a_full_pipe_ends(void)
{
	unsigned calls = 0;
	int pair[2];
	char byte;

	make_pipe(pair, O_NONBLOCK);
	fill(pair[1]);
	CHECK_OK(vhu_fd_drain(pair[0]));
	while (read(pair[0], &byte, 1) == 1 && calls++ < 100000)
		CHECK_OK(vhu_fd_drain(pair[0]));
	CHECK(calls > 1 && calls < 100000);
	close(pair[0]);
	close(pair[1]);
}

static void drain_of_what_cannot_be_read(void)
{
	int pair[2];

	make_pipe(pair, O_NONBLOCK);
	CHECK_EQ(vhu_fd_drain(pair[1]), -EBADF);
	CHECK_EQ(vhu_fd_drain(1000), -EBADF);
	close(pair[0]);
	close(pair[1]);
}

static void signal_to_nobody(void)
{
	vhu_fd_signal(-1);
	vhu_fd_signal(1000);
}

static void signals_are_counted(void)
{
	int fd = fd_event();

	vhu_fd_signal(fd);
	vhu_fd_signal(fd);
	CHECK_EQ(fd_take_events(fd), 2);
	close(fd);
}

/* Full is as good as signalled. */
static void signal_to_what_is_full_does_not_wait(void)
{
	int fd = blocking_event(), pair[2];

	REQUIRE_OK(eventfd_write(fd, UINT64_MAX - 1));
	vhu_fd_signal(fd);
	CHECK(fd_take_events(fd));
	make_pipe(pair, O_NONBLOCK);
	fill(pair[1]);
	fcntl(pair[1], F_SETFL, 0);
	vhu_fd_signal(pair[1]);
	close(fd);
	close(pair[0]);
	close(pair[1]);
}

static void signal_to_a_pipe(void)
{
	uint64_t got = 0;
	int pair[2];

	make_pipe(pair, 0);
	vhu_fd_signal(pair[1]);
	CHECK_EQ(read(pair[0], &got, sizeof(got)), sizeof(got));
	CHECK_EQ(got, 1);
	close(pair[0]);
	vhu_fd_signal(pair[1]); /* nobody there; programs with pipes ignore SIGPIPE */
	close(pair[1]);
}

static const struct tap_case kind_cases[] = {
	{"eventfds_and_pipes_notify", eventfds_and_pipes_notify},
	{"files_do_not", files_do_not},
	{"socket_pairs_do", socket_pairs_do},
	{"other_sockets_do_not", other_sockets_do_not},
	{"other_anonymous_descriptors_do_not", other_anonymous_descriptors_do_not},
	{"what_is_not_open_does_not", what_is_not_open_does_not},
	{0},
};

static const struct tap_case use_cases[] = {
	{"close_closes", close_closes},
	{"drain_empties_an_eventfd", drain_empties_an_eventfd},
	{"drain_does_not_wait", drain_does_not_wait},
	{"drain_empties_a_pipe_and_sees_its_end", drain_empties_a_pipe_and_sees_its_end},
	{"drain_of_a_full_pipe_ends", drain_of_a_full_pipe_ends},
	{"drain_of_what_cannot_be_read", drain_of_what_cannot_be_read},
	{"signal_to_nobody", signal_to_nobody},
	{"signals_are_counted", signals_are_counted},
	{"signal_to_what_is_full_does_not_wait", signal_to_what_is_full_does_not_wait},
	{"signal_to_a_pipe", signal_to_a_pipe},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "fd kind", .seconds = 5, .cases = kind_cases},
	{.name = "fd", .seconds = 5, .cases = use_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
