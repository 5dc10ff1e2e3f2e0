/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vublkd-keeper: another executable in the place of the child's, and the one before it again; and
 * what a service manager hears meanwhile.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fe_time.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"
#include "tests/unit/support/keeper.h"

#define RESTART_ME 75

static ino_t first; /* the executable that the keeper was started with */

static ino_t inode_at_path(void)
{
	struct stat st;

	REQUIRE_OK(stat("daemon", &st));
	return st.st_ino;
}

/* A child that is ready, and has one descriptor kept. */
static void begin(void)
{
	first = inode_at_path();
	keeper_start();
	child_await();
	child_ready();
	child_keep("v.a", fd_memory(1));
}

/* The child makes room for what lies at the path, which comes. */
static void upgrade(void)
{
	kill(keeper_pid, SIGUSR2);
	CHECK_EQ(child_signal(), SIGUSR2);
	child_exit(RESTART_ME);
	child_await();
	CHECK_EQ(child_n_fds(), 1);
}

static void new_executable_takes_over(void)
{
	ino_t new;

	begin();
	new = keeper_install();
	upgrade();
	CHECK(child_inode() == new &&new != first);
	child_ready();
	keeper_await_log("is ready");
	/* From now on it is the one, whatever lies there. */
	keeper_install_other("/dev/null");
	child_kill();
	child_await();
	CHECK_EQ(child_inode(), new);
	CHECK_EQ(child_n_fds(), 1);
}

static void child_may_ask_for_it_itself(void)
{
	ino_t new;

	begin();
	new = keeper_install();
	child_exit(RESTART_ME);
	child_await();
	CHECK_EQ(child_inode(), new);
	CHECK_EQ(child_n_fds(), 1);
	CHECK_EQ(keeper_log_count("asks to be started again"), 1);
}

static void crash_takes_no_new_executable(void)
{
	begin();
	keeper_install();
	child_kill();
	child_await();
	CHECK_EQ(child_inode(), first);
}

/* Told to make room, it may just as well die of it. */
static void crash_instead_of_making_room(void)
{
	ino_t new;

	begin();
	new = keeper_install();
	kill(keeper_pid, SIGUSR2);
	CHECK_EQ(child_signal(), SIGUSR2);
	child_kill();
	child_await();
	CHECK_EQ(child_inode(), new);
}

static void new_one_that_dies_before_it_is_ready(void)
{
	static const int statuses[] = {1, RESTART_ME, 0};

	begin();
	for (unsigned i = 0; i < 3; i++) {
		const ino_t new = keeper_install();

		upgrade();
		CHECK_EQ(child_inode(), new);
		child_keep("v.b", fd_memory(2)); /* what it had kept is kept */
		child_exit(statuses[i]);
		child_await();
		CHECK_EQ(child_inode(), first);
		REQUIRE_EQ(child_n_fds(), 2);
		child_say("FDSTOREREMOVE=1\nFDNAME=v.b", -1);
		child_ready();
		CHECK_EQ(keeper_log_count("was never ready"), i + 1);
	}
}

static void new_one_that_is_never_ready(void)
{
	setenv("VUBLKD_READY_TIMEOUT", "1", 1);
	begin();
	keeper_install();
	upgrade();
	CHECK(child_inode() != first);
	child_await(); /* it was killed */
	CHECK_EQ(child_inode(), first);
	CHECK_EQ(child_n_fds(), 1);
	CHECK_EQ(keeper_log_count("was not ready in 1 s"), 1);
	child_ready();
	child_sync();
	/* That one may take its time, and another attempt is as good as the first. */
	keeper_install();
	upgrade();
	CHECK(child_inode() != first);
	child_ready();
	keeper_await_log("is ready");
}

static void new_one_that_cannot_be_executed(void)
{
	begin();
	keeper_install_other("/dev/null");
	upgrade();
	CHECK_EQ(child_inode(), first);
	CHECK_EQ(keeper_log_count("Exec format error"), 1);
	child_ready();
	REQUIRE_OK(unlink("daemon"));
	upgrade();
	CHECK_EQ(child_inode(), first);
	CHECK_EQ(keeper_log_count("cannot open"), 1);
}

static void one_at_a_time(void)
{
	begin();
	keeper_install();
	upgrade();
	kill(keeper_pid, SIGUSR2);
	keeper_await_log("is being tried already");
	child_ready();
	child_exit(0);
	CHECK_EQ(keeper_wait(), 0);
}

static void stop_in_the_midst_of_it(void)
{
	setenv("VUBLKD_READY_TIMEOUT", "1", 1);
	begin();
	keeper_install();
	upgrade();
	kill(keeper_pid, SIGTERM);
	CHECK_EQ(child_signal(), SIGTERM);
	poll(NULL, 0, 1500); /* nobody has to be ready any more, who is not killed for it */
	child_exit(3);
	CHECK_EQ(keeper_wait(), 3);
}

/* Without a child there is nobody who would have to make room. */
static void between_two_children(void)
{
	ino_t new;

	begin();
	for (unsigned i = 0; i < 5; i++) {
		child_kill();
		child_await();
		child_ready();
	}
	child_sync();
	child_kill(); /* the next one comes in 1.6 s */
	while (keeper_log_count("killed by signal 9") < 6)
		poll(NULL, 0, 1);
	new = keeper_install();
	kill(keeper_pid, SIGUSR2);
	child_await();
	CHECK_EQ(child_inode(), new);
}

static void time_that_is_none(void)
{
	static const char *const wrong[] = {
		"0", "", "x", "10 ", "-1", "3601", "9999999999999999999"};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		setenv("VUBLKD_READY_TIMEOUT", wrong[i], 1);
		keeper_start();
		CHECK_EQ(keeper_wait(), 2);
		CHECK_EQ(keeper_log_count("VUBLKD_READY_TIMEOUT must be"), i + 1);
	}
	unsetenv("VUBLKD_READY_TIMEOUT");
	setenv("VUBLKD_RESTART_PAUSE", "1.5", 1);
	keeper_start();
	CHECK_EQ(keeper_wait(), 2);
	CHECK_EQ(keeper_log_count("VUBLKD_RESTART_PAUSE must be a number of seconds from 0"), 1);
}

/* ---- what a service manager hears ---- */

static int manager;
static char heard[8192];

static void setup_manager(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t size;

	keeper_setup();
	size = (socklen_t)(sizeof(addr.sun_family) + 1 +
			   (size_t)snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1,
					    "test-keeper-%d", getpid()));
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	REQUIRE_OK(bind(manager, (struct sockaddr *)&addr, size));
	snprintf(heard, sizeof(heard), "@%s", addr.sun_path + 1);
	setenv("NOTIFY_SOCKET", heard, 1);
}

static const char *hear(void)
{
	ssize_t n;

	REQUIRE_OK(fe_wait_fd(manager, POLLIN, fe_deadline(FE_TIMEOUT_MS)));
	n = recv(manager, heard, sizeof(heard) - 1, 0);
	REQUIRE(n >= 0);
	heard[n] = '\0';
	return heard;
}

/* Is that what he hears, from us who are the service? */
static void check_heard(const char *lines)
{
	char expected[256];

	snprintf(expected, sizeof(expected), "%sMAINPID=%d", lines, keeper_pid);
	hear();
	tap_check(!strcmp(heard, expected), false, __FILE__, __LINE__, "he hears '%s', not '%s'",
		  heard, expected);
}

static void manager_hears_how_it_is(void)
{
	keeper_start();
	child_await();
	CHECK(strcmp(child_variable("NOTIFY_SOCKET"), getenv("NOTIFY_SOCKET")) != 0);
	child_say("STATUS=opening\nMAINPID=1\nWATCHDOG=1", -1);
	check_heard("STATUS=opening\n");
	child_keep("v.a", fd_memory(1));
	child_say("FDSTORE=1\nREADY=1\nFDNAME=v.b\nSTATUS=serving", fd_memory(2));
	check_heard("READY=1\nSTATUS=serving\n");
	child_say("RELOADING=1\nMONOTONIC_USEC=12345", -1);
	check_heard("RELOADING=1\nMONOTONIC_USEC=12345\n");
	child_say("EXTEND_TIMEOUT_USEC=1000", -1);
	check_heard("EXTEND_TIMEOUT_USEC=1000\n");
	/* It stops, but the service does not. */
	child_say("STOPPING=1\nSTATUS=over", -1);
	check_heard("STATUS=over\n");
	child_exit(RESTART_ME);
	child_await();
	child_ready();
	check_heard("READY=1\n");
	kill(keeper_pid, SIGTERM);
	CHECK_EQ(child_signal(), SIGTERM);
	CHECK(!strcmp(hear(), "STOPPING=1"));
	child_exit(0);
	CHECK_EQ(keeper_wait(), 0);
	CHECK_EQ(recv(manager, heard, sizeof(heard), MSG_DONTWAIT), -1);
}

static void manager_hears_of_the_end(void)
{
	keeper_start();
	child_await();
	child_exit(0);
	CHECK(!strcmp(hear(), "STOPPING=1"));
	CHECK_EQ(keeper_wait(), 0);
}

static void manager_that_has_gone(void)
{
	close(manager);
	keeper_start();
	child_await();
	child_ready();
	child_keep("v.a", fd_memory(1));
	child_kill();
	child_await();
	CHECK_EQ(child_n_fds(), 1);
	CHECK_EQ(keeper_log_count("cannot tell the service manager"), 1);
}

static const struct tap_case upgrade_cases[] = {
	{"new_executable_takes_over", new_executable_takes_over},
	{"child_may_ask_for_it_itself", child_may_ask_for_it_itself},
	{"crash_takes_no_new_executable", crash_takes_no_new_executable},
	{"crash_instead_of_making_room", crash_instead_of_making_room},
	{"new_one_that_dies_before_it_is_ready", new_one_that_dies_before_it_is_ready},
	{"new_one_that_is_never_ready", new_one_that_is_never_ready},
	{"new_one_that_cannot_be_executed", new_one_that_cannot_be_executed},
	{"one_at_a_time", one_at_a_time},
	{"stop_in_the_midst_of_it", stop_in_the_midst_of_it},
	{"between_two_children", between_two_children},
	{"time_that_is_none", time_that_is_none},
	{0},
};

static const struct tap_case manager_cases[] = {
	{"manager_hears_how_it_is", manager_hears_how_it_is},
	{"manager_hears_of_the_end", manager_hears_of_the_end},
	{"manager_that_has_gone", manager_that_has_gone},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "keeper upgrade",
	 .setup = keeper_setup,
	 .teardown = keeper_teardown,
	 .cases = upgrade_cases},
	{.name = "keeper manager",
	 .setup = setup_manager,
	 .teardown = keeper_teardown,
	 .cases = manager_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
