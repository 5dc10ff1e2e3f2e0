/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vublkd-keeper: what is kept, and how it comes to the next child; how a child ends, and what
 * then. By a real keeper with a child that does as it is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fe_time.h"
#include "keeper/restarts.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"
#include "tests/unit/support/keeper.h"

static void check_name(unsigned i, const char *expected)
{
	char name[512];

	close(child_fd(i, name));
	tap_check(!strcmp(name, expected), false, __FILE__, __LINE__, "%u is '%s', not '%s'", i,
		  name, expected);
}

/* Does the child have this file as its i-th, by that name? */
static void check_fd(unsigned i, const char *expected, int fd)
{
	char name[512];
	const int came = child_fd(i, name);
	struct stat is, wanted;

	REQUIRE_OK(fstat(came, &is));
	REQUIRE_OK(fstat(fd, &wanted));
	tap_check(!strcmp(name, expected) && is.st_ino == wanted.st_ino, false, __FILE__, __LINE__,
		  "%u is '%s' (inode %ld), not '%s' (%ld)", i, name, (long)is.st_ino, expected,
		  (long)wanted.st_ino);
	close(came);
}

static void begin(void)
{
	keeper_start();
	child_await();
}

static void crash(void)
{
	child_kill();
	child_await();
}

/* Who has the other end of a pipe; nobody: it hangs up. */
static int pipe_with(int *end)
{
	int fds[2];

	REQUIRE_OK(pipe2(fds, O_CLOEXEC));
	*end = fds[1];
	return fds[0];
}

static bool hangs_up(int fd)
{
	struct pollfd look = {fd, POLLIN, 0};

	return poll(&look, 1, 0) == 1 && look.revents & POLLHUP;
}

/* ---- starting ---- */

static void first_child_is_told_of_the_keeper(void)
{
	const char *number;
	unsigned n_open;

	setenv("LISTEN_FDS", "1", 1);
	setenv("LISTEN_PID", "1", 1); /* somebody else's */
	setenv("AS_IT_WAS", "a value", 1);
	begin();
	CHECK(!strcmp(child_argument(0), "the-daemon"));
	CHECK(!strcmp(child_argument(1), "1000"));
	CHECK(!strcmp(child_argument(2), "--an-option"));
	CHECK(!strcmp(child_argument(3), "-"));
	CHECK(!strcmp(child_variable("AS_IT_WAS"), "a value"));
	CHECK_EQ(*child_variable("NOTIFY_SOCKET"), '@');
	number = child_variable("FDSTORE");
	CHECK(number && atoi(number) >= 2000);
	CHECK(!child_variable("LISTEN_FDS"));
	CHECK(!child_variable("LISTEN_PID"));
	n_open = child_n_open();
	CHECK_EQ(n_open, 3 + 2); /* the standard ones, and its own two */
	CHECK_EQ(child_n_blocked(), 0);
}

static void executable_that_there_is_not(void)
{
	keeper_start(); /* a first one, which goes on without its path */
	child_await();
	REQUIRE_OK(unlink("daemon"));
	crash();
	CHECK(child_inode() > 0);
}

static void executable_that_is_none(void)
{
	keeper_install_other("/dev/null");
	keeper_start();
	CHECK_EQ(keeper_wait(), 127);
	CHECK_EQ(keeper_log_count("cannot start"), RESTARTS_NEVER_READY);
	CHECK_EQ(keeper_log_count("Exec format error"), RESTARTS_NEVER_READY);
	CHECK_EQ(keeper_log_count("giving up"), 1);
}

/* ---- what is kept ---- */

static void descriptors_outlive_a_crash(void)
{
	const int a = fd_memory(1), b = fd_memory(2), c = fd_event();

	begin();
	child_ready();
	child_keep("v.a", a);
	child_keep("v.b", b);
	child_keep("v.c", c);
	crash();
	REQUIRE_EQ(child_n_fds(), 3);
	check_fd(0, "v.a", a);
	check_fd(1, "v.b", b);
	check_fd(2, "v.c", c);
	CHECK_EQ(child_n_open(), 3 + 2 + 3);
	/* Once more, without having been told again. */
	crash();
	REQUIRE_EQ(child_n_fds(), 3);
	check_fd(0, "v.a", a);
	check_fd(2, "v.c", c);
	CHECK_EQ(keeper_log_count("was killed by signal 9"), 2);
}

static void several_under_one_name(void)
{
	const int fds[] = {fd_memory(1), fd_memory(2), fd_memory(3)};
	static const char text[] = "STATUS=busy\nFDSTORE=1\nREADY=1\nFDNAME=v.many\nX_OTHER=1\n";

	begin();
	REQUIRE_OK(child_send(text, strlen(text), fds, 3));
	crash();
	REQUIRE_EQ(child_n_fds(), 3);
	for (unsigned i = 0; i < 3; i++)
		check_fd(i, "v.many", fds[i]);
}

static void name_is_forgotten(void)
{
	int ends[3], fds[3];

	begin();
	for (unsigned i = 0; i < 3; i++) {
		fds[i] = pipe_with(&ends[i]);
		child_keep(i == 1 ? "v.b" : "v.a", ends[i]);
		close(ends[i]);
	}
	child_sync();
	CHECK(!hangs_up(fds[0]) && !hangs_up(fds[1]) && !hangs_up(fds[2]));
	child_say("FDSTOREREMOVE=1\nFDNAME=v.a", -1);
	child_say("FDSTOREREMOVE=1\nFDNAME=v.unknown", -1);
	child_sync();
	CHECK(hangs_up(fds[0]) && !hangs_up(fds[1]) && hangs_up(fds[2]));
	child_ready();
	crash();
	REQUIRE_EQ(child_n_fds(), 1);
	check_name(0, "v.b");
}

static void open_file_is_kept_once(void)
{
	const int a = fd_memory(1), same = dup(a), event = fd_event();
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", a);
	again = open(path, O_RDWR | O_CLOEXEC);
	begin();
	child_ready();
	child_keep("v.a", a);
	child_keep("v.b", same);
	child_keep("v.a", a);
	child_keep("v.c", again); /* the same file, opened another time */
	child_keep("v.d", event);
	child_keep("v.e", fd_event()); /* all eventfds have one inode */
	crash();
	REQUIRE_EQ(child_n_fds(), 4);
	check_fd(0, "v.a", a);
	check_fd(1, "v.c", again);
	check_name(2, "v.d");
	check_name(3, "v.e");
}

/* It is by the same name only that a file is known then. */
static void file_is_kept_once_without_kcmp(void)
{
	const int a = fd_memory(1);

	keeper_options.no_kcmp = true;
	begin();
	child_ready();
	child_keep("v.a", a);
	child_keep("v.a", dup(a));
	child_keep("v.a", fd_memory(1));
	child_keep("v.b", a);
	child_keep("v.c", fd_event());
	child_keep("v.c", fd_event());
	crash();
	REQUIRE_EQ(child_n_fds(), 5);
	check_name(1, "v.a");
	check_fd(2, "v.b", a);
	check_name(4, "v.c");
	child_say("FDSTOREREMOVE=1\nFDNAME=v.a", -1);
	crash();
	CHECK_EQ(child_n_fds(), 3);
}

/* Found again among many, when others have come and gone. */
static void open_files_are_found_among_many(void)
{
	char name[64];
	int fd[300];

	begin();
	child_ready();
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 300; i++) {
			fd[i] = round ? fd[i] : fd_event();
			snprintf(name, sizeof(name), "v.%u", i % 10);
			child_keep(name, fd[i]);
		}
		child_say("FDSTOREREMOVE=1\nFDNAME=v.3", -1);
	}
	child_keep("v.3", fd[3]);
	child_keep("v.4", fd[13]);
	crash();
	REQUIRE_EQ(child_n_fds(), 272);
	check_name(270, "v.3");
	check_name(271, "v.4");
}

static void what_hangs_up_is_dropped(void)
{
	int pair[2], other[2], pipe_end;
	const int pipe_fd = pipe_with(&pipe_end);

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other));
	begin();
	child_ready();
	child_say("FDSTORE=1\nFDNAME=v.socket", pair[0]);
	child_say("FDSTORE=1\nFDNAME=v.file", fd_memory(1)); /* which epoll(7) cannot watch */
	child_say("FDSTORE=1\nFDNAME=v.pipe", pipe_end);
	child_keep("v.stays", other[0]);
	child_sync();
	close(pair[1]);
	close(other[1]);
	close(pipe_fd);
	child_sync();
	child_sync(); /* after what the keeper noticed before the first one */
	crash();
	/* Our own copies of what was dropped are open: that must not be noticed for ever. */
	child_sync();
	REQUIRE_EQ(child_n_fds(), 2);
	check_name(0, "v.file");
	check_name(1, "v.stays");
	close(pair[0]);
	close(pipe_end);
}

/* What it said before its end is heard, however soon that came. */
static void last_words_are_heard(void)
{
	char text[64];

	begin();
	for (unsigned i = 0; i < 4; i++) {
		child_ready();
		snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=v.%u", i);
		/* It finds both when it looks. */
		child_sync();
		kill(keeper_pid, SIGSTOP);
		child_say_last(text, fd_memory(i));
		kill(keeper_pid, SIGCONT);
		child_await();
		REQUIRE_EQ(child_n_fds(), i + 1);
	}
}

static void two_thousand_descriptors(void)
{
	char name[64];
	int fd[2000];

	begin();
	child_ready();
	for (unsigned i = 0; i < 2000; i++) {
		fd[i] = i % 2 ? fd_event() : fd_memory(i);
		snprintf(name, sizeof(name), "v.%u", i);
		child_keep(name, fd[i]);
	}
	crash();
	REQUIRE_EQ(child_n_fds(), 2000);
	for (unsigned i = 0; i < 2000; i += 2) {
		snprintf(name, sizeof(name), "v.%u", i);
		check_fd(i, name, fd[i]);
	}
	eventfd_write(fd[1999], 7);
	CHECK_EQ(fd_take_events(child_fd(1999, name)), 7);
	CHECK(!strcmp(name, "v.1999"));
}

static void out_of_descriptors(void)
{
	const int new = fd_memory(1);
	unsigned most, i;
	char name[64];

	keeper_options.descriptors = 1500;
	begin();
	child_ready();
	most = (unsigned)atoi(child_variable("FDSTORE"));
	REQUIRE(most > 500 && most < 1300);
	for (i = 0; i < most + 3; i++) {
		snprintf(name, sizeof(name), "v.%u", i);
		child_keep(name, fd_memory(i));
	}
	child_sync();
	CHECK_EQ(keeper_log_count("RLIMIT_NOFILE"), 3);
	snprintf(name, sizeof(name), "cannot keep 'v.%u'", most);
	CHECK_EQ(keeper_log_count(name), 1);
	child_say("FDSTOREREMOVE=1\nFDNAME=v.0", -1);
	/* The keeper has it where v.0 was, before all others. */
	child_keep("v.new", new);
	crash();
	REQUIRE_EQ(child_n_fds(), most);
	check_name(0, "v.1");
	check_fd(most - 1, "v.new", new);
}

/* They have to stand in one string of the environment, beside what is there. */
static void names_that_are_too_long_together(void)
{
	char name[256], text[300];
	unsigned kept;

	memset(name, 'n', 255);
	name[255] = '\0';
	begin();
	child_ready();
	for (unsigned i = 0; i < 600; i++) {
		snprintf(text, sizeof(text), "v.%03u", i);
		memcpy(name, text, 5);
		child_keep(name, fd_event());
	}
	child_sync();
	CHECK(keeper_log_count("no room for it in the environment") > 0);
	child_keep("v.short", fd_event()); /* there is room for that */
	crash();
	kept = child_n_fds();
	CHECK(kept > 500 && kept < 520);
	check_name(kept - 1, "v.short");
}

/* With a small stack there is less room for all arguments together. */
static void environment_that_is_large(void)
{
	static char large[100000];
	char name[256], text[16];
	unsigned kept;

	memset(large, 'x', sizeof(large) - 1);
	setenv("LARGE", large, 1);
	keeper_options.stack = 512 * 1024;
	memset(name, 'n', 255);
	name[255] = '\0';
	begin();
	child_ready();
	for (unsigned i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "v.%03u", i);
		memcpy(name, text, 5);
		child_keep(name, fd_event());
	}
	crash();
	kept = child_n_fds();
	CHECK(kept > 50 && kept < 130);
	CHECK(keeper_log_count("no room for it in the environment") > 0);
}

static void activation_comes_first(void)
{
	keeper_options.n_given = 2;
	keeper_options.given[0] = fd_memory(1);
	keeper_options.given[1] = fd_memory(2);
	keeper_options.given_names = "disk.socket:api";
	begin();
	child_ready();
	REQUIRE_EQ(child_n_fds(), 2);
	check_fd(1, "api", keeper_options.given[1]);
	child_keep("v.a", fd_memory(3));
	for (unsigned i = 0; i < 2; i++) {
		crash();
		REQUIRE_EQ(child_n_fds(), 3);
		check_fd(0, "disk.socket", keeper_options.given[0]);
		check_fd(1, "api", keeper_options.given[1]);
		check_name(2, "v.a");
	}
	CHECK_EQ(child_n_open(), 3 + 2 + 3);
}

static void activation_without_names(void)
{
	keeper_options.n_given = 2;
	keeper_options.given[0] = fd_memory(1);
	keeper_options.given[1] = fd_memory(2);
	keeper_options.given_names = "only-one";
	begin();
	REQUIRE_EQ(child_n_fds(), 2);
	check_name(0, "unknown");
	check_name(1, "unknown");
}

static void other_descriptors_are_not_passed_on(void)
{
	keeper_options.n_given = 3;
	for (unsigned i = 0; i < 3; i++)
		keeper_options.given[i] = fd_memory(i);
	begin();
	CHECK_EQ(child_n_fds(), 0);
	CHECK_EQ(child_n_open(), 3 + 2);
}

/* ---- ends ---- */

static void success_is_the_end(void)
{
	begin();
	child_ready();
	child_exit(0);
	CHECK_EQ(keeper_wait(), 0);
}

static void failure_is_not(void)
{
	begin();
	child_ready();
	child_keep("v.a", fd_memory(1));
	child_exit(1);
	child_await();
	CHECK_EQ(child_n_fds(), 1);
	CHECK_EQ(keeper_log_count("exited with status 1"), 1);
}

static void pauses_grow(void)
{
	const uint64_t start = fe_now_ns();

	begin();
	child_ready();
	crash();
	child_ready();
	crash();
	CHECK(fe_now_ns() - start >= 100000000);
	child_ready();
	crash();
	CHECK(fe_now_ns() - start >= 300000000);
}

static void who_is_never_ready_is_given_up(void)
{
	begin();
	child_ready();
	for (unsigned i = 0; i < RESTARTS_NEVER_READY; i++) {
		child_exit(3);
		child_await();
	}
	/* That was one who was, and four who were not. */
	child_keep("v.a", fd_memory(1));
	child_exit(4);
	CHECK_EQ(keeper_wait(), 4);
	CHECK_EQ(keeper_log_count("giving up; 1 descriptors"), 1);
}

static void who_was_killed_is_given_up_with_its_signal(void)
{
	begin();
	for (unsigned i = 1; i < RESTARTS_NEVER_READY; i++)
		crash();
	child_kill();
	CHECK_EQ(keeper_wait(), 128 + SIGKILL);
}

static void stop_is_passed_on(void)
{
	begin();
	child_ready();
	kill(keeper_pid, SIGTERM);
	CHECK_EQ(child_signal(), SIGTERM);
	child_exit(7);
	CHECK_EQ(keeper_wait(), 7);
}

static void stop_that_ends_by_a_signal(void)
{
	begin();
	kill(keeper_pid, SIGINT); /* it need not be ready */
	CHECK_EQ(child_signal(), SIGINT);
	kill(keeper_pid, SIGINT);
	CHECK_EQ(child_signal(), SIGINT);
	child_kill();
	CHECK_EQ(keeper_wait(), 128 + SIGKILL);
}

static void stop_without_a_child(void)
{
	begin();
	child_ready();
	for (unsigned i = 0; i < 4; i++) {
		crash();
		child_ready();
	}
	child_kill(); /* the next one comes in 0.8 s */
	keeper_await_log("killed by signal 9");
	for (unsigned i = 0; keeper_log_count("killed by signal 9") < 5 && i < 10000; i++)
		poll(NULL, 0, 1);
	kill(keeper_pid, SIGTERM);
	CHECK_EQ(keeper_wait(), 0);
}

static void signals_wait_for_ready(void)
{
	begin();
	kill(keeper_pid, SIGUSR1);
	kill(keeper_pid, SIGHUP);
	child_sync();
	child_ready();
	CHECK_EQ(child_signal(), SIGHUP);
	CHECK_EQ(child_signal(), SIGUSR1);
}

static void signals_are_passed_on(void)
{
	begin();
	child_ready();
	child_sync();
	kill(keeper_pid, SIGHUP);
	CHECK_EQ(child_signal(), SIGHUP);
	kill(keeper_pid, SIGUSR1);
	CHECK_EQ(child_signal(), SIGUSR1);
	CHECK(!keeper_log_count("killed"));
}

static void child_goes_on_without_its_keeper(void)
{
	begin();
	child_ready();
	kill(keeper_pid, SIGKILL);
	CHECK_EQ(keeper_wait(), 128 + SIGKILL);
	CHECK_EQ(child_send("READY=1", 7, NULL, 0), ECONNREFUSED);
	CHECK_EQ(child_n_fds(), 0);
}

/* ---- arithmetic ---- */

static void restarts_are_counted(void)
{
	static const int64_t ms[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
	struct restarts restarts = {.longest_ns = RESTARTS_LONGEST_NS};

	for (size_t i = 0; i < sizeof(ms) / sizeof(*ms); i++)
		CHECK_EQ(restarts_next(&restarts, 0), ms[i] * 1000000);
	CHECK_EQ(restarts_next(&restarts, RESTARTS_GOOD_NS - 1), RESTARTS_LONGEST_NS);
	CHECK_EQ(restarts_next(&restarts, RESTARTS_GOOD_NS), 0);
	for (unsigned i = 1; i < RESTARTS_NEVER_READY; i++)
		CHECK(restarts_next(&restarts, -1) > 0);
	CHECK(restarts_next(&restarts, 1) > 0);
	for (unsigned i = 1; i < RESTARTS_NEVER_READY; i++)
		CHECK(restarts_next(&restarts, -1) > 0);
	CHECK_EQ(restarts_next(&restarts, -1), -1);
	restarts = (struct restarts){.longest_ns = 0};
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(restarts_next(&restarts, 0), 0);
}

static const struct tap_case start_cases[] = {
	{"first_child_is_told_of_the_keeper", first_child_is_told_of_the_keeper},
	{"executable_that_there_is_not", executable_that_there_is_not},
	{"executable_that_is_none", executable_that_is_none},
	{"activation_comes_first", activation_comes_first},
	{"activation_without_names", activation_without_names},
	{"other_descriptors_are_not_passed_on", other_descriptors_are_not_passed_on},
	{0},
};

static const struct tap_case store_cases[] = {
	{"descriptors_outlive_a_crash", descriptors_outlive_a_crash},
	{"several_under_one_name", several_under_one_name},
	{"name_is_forgotten", name_is_forgotten},
	{"open_file_is_kept_once", open_file_is_kept_once},
	{"file_is_kept_once_without_kcmp", file_is_kept_once_without_kcmp},
	{"open_files_are_found_among_many", open_files_are_found_among_many},
	{"what_hangs_up_is_dropped", what_hangs_up_is_dropped},
	{"last_words_are_heard", last_words_are_heard},
	{"two_thousand_descriptors", two_thousand_descriptors},
	{"out_of_descriptors", out_of_descriptors},
	{"names_that_are_too_long_together", names_that_are_too_long_together},
	{"environment_that_is_large", environment_that_is_large},
	{0},
};

static const struct tap_case end_cases[] = {
	{"success_is_the_end", success_is_the_end},
	{"failure_is_not", failure_is_not},
	{"pauses_grow", pauses_grow},
	{"who_is_never_ready_is_given_up", who_is_never_ready_is_given_up},
	{"who_was_killed_is_given_up_with_its_signal", who_was_killed_is_given_up_with_its_signal},
	{"stop_is_passed_on", stop_is_passed_on},
	{"stop_that_ends_by_a_signal", stop_that_ends_by_a_signal},
	{"stop_without_a_child", stop_without_a_child},
	{"signals_wait_for_ready", signals_wait_for_ready},
	{"signals_are_passed_on", signals_are_passed_on},
	{"child_goes_on_without_its_keeper", child_goes_on_without_its_keeper},
	{"restarts_are_counted", restarts_are_counted},
	{0},
};

#define AROUND .setup = keeper_setup, .teardown = keeper_teardown

static const struct tap_suite suites[] = {
	{.name = "keeper start", AROUND, .cases = start_cases},
	{.name = "keeper store", AROUND, .seconds = 60, .cases = store_cases},
	{.name = "keeper end", AROUND, .cases = end_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
