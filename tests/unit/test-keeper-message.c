/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vublkd-keeper: messages that are right, wrong or a stranger's: src/keeper/message.c by itself,
 * then a real keeper.
 */
#include "keeper/message.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fe_time.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"
#include "tests/unit/support/keeper.h"

/* ---- the parser ---- */

static struct message message;
static char text[MESSAGE_MAX + 16];

static const char *parse_bytes(const void *bytes, size_t size)
{
	memcpy(text, bytes, size);
	return message_parse(&message, text, size);
}

static const char *parse(const char *what)
{
	return parse_bytes(what, strlen(what));
}

static void assignments_are_found(void)
{
	CHECK(!parse("READY=1\nSTATUS=a = b\nX_OTHER=1\nFDPOLL=1\n"));
	CHECK(message.ready && !message.stopping && !message.reloading && !message.keep &&
	      !message.remove && !message.barrier && message.poll && !message.name);
	CHECK(!strcmp(message.status, "a = b"));
	CHECK(!parse("FDPOLL=0\nFDNAME=v.a\n\nFDSTORE=1"));
	CHECK(message.keep && !message.poll && !strcmp(message.name, "v.a") && !message.status);
	CHECK(!parse("FDSTOREREMOVE=1\nFDNAME=v.a"));
	CHECK(message.remove && !message.keep);
	CHECK(!parse("RELOADING=1\nMONOTONIC_USEC=5\nEXTEND_TIMEOUT_USEC=6"));
	CHECK(message.reloading && !strcmp(message.monotonic_usec, "5") &&
	      !strcmp(message.extend_timeout_usec, "6"));
	CHECK(!parse("STOPPING=1") && message.stopping);
	CHECK(!parse("BARRIER=1\n") && message.barrier);
	CHECK(!parse("READY=0") && !message.ready);
	CHECK(!parse("READY=10") && !message.ready);
	CHECK(!parse("READY") && !message.ready);
	CHECK(!parse_bytes("READY=1", 8) && message.ready); /* with its NUL */
	CHECK(!parse("\n\n"));
}

static void wrong_messages_are_refused(void)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "empty"},
		{"FDSTORE=1", "no FDNAME"},
		{"FDSTOREREMOVE=1\nREADY=1", "no FDNAME"},
		{"FDSTORE=1\nFDNAME=", "empty FDNAME"},
		{"FDSTORE=1\nFDNAME=a:b", "character"},
		{"FDSTORE=1\nFDNAME=a\tb", "character"},
		{"FDSTORE=1\nFDNAME=a\177", "character"},
		{"FDSTORE=1\nFDNAME=\303\244", "character"},
		{"FDSTORE=1\nFDNAME=a\nFDNAME=b", "twice"},
		{"STATUS=a\nSTATUS=b", "twice"},
		{"FDSTORE=1\nFDSTOREREMOVE=1\nFDNAME=a", "both"},
		{"BARRIER=1\nREADY=1", "BARRIER"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *why = parse(cases[i].text);

		tap_check(why && strstr(why, cases[i].why), false, __FILE__, __LINE__, "'%s': %s",
			  cases[i].text, why ? why : "nothing is wrong");
	}
	CHECK(strstr(parse_bytes("READY=1\0STATUS=a", 16), "NUL"));
	CHECK(strstr(parse_bytes("\0", 1), "empty"));
	CHECK(strstr(parse_bytes("\0\0", 2), "NUL"));
}

static void lengths(void)
{
	char line[MESSAGE_MAX + 2] = "FDSTORE=1\nFDNAME=";
	const size_t start = strlen(line);

	memset(line + start, 'n', sizeof(line) - start);
	CHECK(!parse_bytes(line, start + MESSAGE_NAME_MAX));
	CHECK_EQ(strlen(message.name), MESSAGE_NAME_MAX);
	CHECK(strstr(parse_bytes(line, start + MESSAGE_NAME_MAX + 1), "longer than 255"));
	memset(line, 'x', sizeof(line));
	CHECK(!parse_bytes(line, MESSAGE_MAX));
	CHECK(strstr(parse_bytes(line, MESSAGE_MAX + 1), "longer than 4096"));
}

/* ---- the keeper ---- */

static void begin(void)
{
	keeper_setup();
	keeper_start();
	child_await();
}

static bool hangs_up(int fd)
{
	struct pollfd look = {fd, POLLIN, 0};

	return poll(&look, 1, 0) == 1 && look.revents & POLLHUP;
}

/* The child sends that with n descriptors: all are closed, and the log says why. */
static void check_ignored(const char *what, size_t size, unsigned n, const char *why)
{
	const unsigned before = keeper_log_count(why);
	int pipe_fds[2], fds[253];

	REQUIRE_OK(pipe2(pipe_fds, O_CLOEXEC));
	for (unsigned i = 0; i < n; i++)
		fds[i] = pipe_fds[1];
	REQUIRE_OK(child_send(what, size, fds, n));
	close(pipe_fds[1]);
	child_sync();
	tap_check(keeper_log_count(why) == before + 1, false, __FILE__, __LINE__,
		  "the log says once more '%s'", why);
	CHECK(hangs_up(pipe_fds[0]));
	close(pipe_fds[0]);
}

static void wrong_messages_leave_nothing(void)
{
	static char large[5000];
	static const char with_nul[] = "FDSTORE=1\nFDNAME=v.a\0x";

	memset(large, 'x', sizeof(large));
	memcpy(large, "FDSTORE=1\nFDNAME=v.a\nX_LONG=", 28);
	check_ignored("FDSTORE=1", 9, 1, "no FDNAME");
	check_ignored("FDSTORE=1\nFDNAME=a:b", 20, 253, "character");
	check_ignored(with_nul, sizeof(with_nul) - 1, 1, "a NUL in it");
	check_ignored(large, sizeof(large), 2, "longer than 4096");
	check_ignored(large, 4097, 2, "longer than 4096");
	large[4096] = '\0'; /* where it is cut */
	check_ignored(large, sizeof(large), 2, "longer than 4096");
	check_ignored("FDSTOREREMOVE=1", 15, 1, "no FDNAME");
	check_ignored("FDSTOREREMOVE=1\nFDNAME=v.a", 26, 1, "for nothing");
	check_ignored("READY=1", 7, 253, "for nothing");
	/* More than ten lines at once would be held back. */
	child_ready();
	child_kill();
	child_await();
	CHECK_EQ(child_n_fds(), 0);
}

static void barriers_that_are_wrong(void)
{
	check_ignored("BARRIER=1\nREADY=1", 17, 1, "more than its BARRIER=1");
	check_ignored("BARRIER=1", 9, 2, "not one descriptor");
	check_ignored("BARRIER=1", 9, 0, "not one descriptor");
	check_ignored("FDSTORE=1\nFDNAME=v.a", 20, 0, "no descriptor");
	check_ignored("", 0, 0, "it is empty");
}

static struct sockaddr_un keeper_address;

static int connect_to_keeper(void)
{
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const char *name = child_variable("NOTIFY_SOCKET");
	const socklen_t size = (socklen_t)(sizeof(sa_family_t) + strlen(name));

	keeper_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(keeper_address.sun_path, name, strlen(name));
	keeper_address.sun_path[0] = '\0';
	REQUIRE_OK(connect(fd, (struct sockaddr *)&keeper_address, size));
	return fd;
}

/* Ours, and not the child's; with the same user. */
static void send_as_stranger(int to, const char *what, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(fd))];
		struct cmsghdr aligned;
	} room = {{0}};
	struct iovec iov = {(void *)what, strlen(what)};
	struct msghdr header = {.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = &room,
				.msg_controllen = sizeof(room)};
	struct cmsghdr *control = CMSG_FIRSTHDR(&header);

	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(control), &fd, sizeof(fd));
	REQUIRE(sendmsg(to, &header, MSG_NOSIGNAL) >= 0);
}

static void strangers_are_ignored(void)
{
	int pipe_fds[2], to = connect_to_keeper();
	char line[64];

	child_keep("v.a", fd_memory(1));
	REQUIRE_OK(pipe2(pipe_fds, O_CLOEXEC));
	send_as_stranger(to, "FDSTORE=1\nFDNAME=v.b", pipe_fds[1]);
	send_as_stranger(to, "FDSTOREREMOVE=1\nFDNAME=v.a", pipe_fds[1]);
	send_as_stranger(to, "BARRIER=1", pipe_fds[1]);
	close(pipe_fds[1]);
	child_sync();
	CHECK(hangs_up(pipe_fds[0]));
	snprintf(line, sizeof(line), "a message of process %d is ignored: only %d", getpid(),
		 child_pid);
	CHECK_EQ(keeper_log_count(line), 3);
	child_kill();
	child_await();
	CHECK_EQ(child_n_fds(), 1);
}

/* Whoever floods it neither fills the log nor keeps the child from being heard. */
static void floods(void)
{
	const int to = connect_to_keeper(), fd = fd_memory(1);

	for (unsigned i = 0; i < 3000; i++)
		send_as_stranger(to, "FDSTORE=1\nFDNAME=v.b", fd);
	child_keep("v.a", fd);
	child_sync();
	CHECK(keeper_log_count("only") < 100);
	for (unsigned i = 0; i < 1000; i++)
		child_say("FDSTORE=1", -1);
	child_sync();
	CHECK(keeper_log_count("no FDNAME") < 100);
	child_ready();
	child_kill();
	child_await();
	CHECK_EQ(child_n_fds(), 1);
}

/* With a descriptor limit that leaves no room to receive: some come, and none is kept. */
static void descriptors_that_cannot_be_had(void)
{
	const struct rlimit limit = {12, 12};
	int fds[20];
	static const char what[] = "FDSTORE=1\nFDNAME=v.many";

	for (unsigned i = 0; i < 20; i++)
		fds[i] = fd_memory(i);
	REQUIRE_OK(prlimit(keeper_pid, RLIMIT_NOFILE, &limit, NULL));
	REQUIRE_OK(child_send(what, strlen(what), fds, 20));
	child_sync();
	CHECK_EQ(keeper_log_count("descriptors that we cannot have"), 1);
	child_keep("v.one", fds[0]);
	child_ready();
	child_kill();
	child_await();
	CHECK_EQ(child_n_fds(), 1);
}

static const struct tap_case parser_cases[] = {
	{"assignments_are_found", assignments_are_found},
	{"wrong_messages_are_refused", wrong_messages_are_refused},
	{"lengths", lengths},
	{0},
};

static const struct tap_case keeper_cases[] = {
	{"wrong_messages_leave_nothing", wrong_messages_leave_nothing},
	{"barriers_that_are_wrong", barriers_that_are_wrong},
	{"strangers_are_ignored", strangers_are_ignored},
	{"floods", floods},
	{"descriptors_that_cannot_be_had", descriptors_that_cannot_be_had},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "keeper parser", .cases = parser_cases},
	{.name = "keeper message",
	 .setup = begin,
	 .teardown = keeper_teardown,
	 .cases = keeper_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
