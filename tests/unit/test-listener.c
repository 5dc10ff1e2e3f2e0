/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/disk/listener.c: paths that are free, stale, live or no socket, and descriptors of every
 * kind.
 */
#include "src/disk/listener.h"

#include <errno.h>
#include <pthread.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/tap.h"
#include "tests/unit/support/capture.h"
#include "tests/unit/support/fds.h"

static struct sockaddr_un addr;
static struct listener_config config;
static struct listener listener;

static void setup(void)
{
	/* The private directory may have a name that is too long for a socket. */
	REQUIRE_OK(chdir(getenv("TMPDIR")));
	addr = (struct sockaddr_un){.sun_family = AF_UNIX, .sun_path = "./socket"};
	config = (struct listener_config){.path = addr.sun_path, .fd = -1, .mode = 0600};
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
}

/* Opens it; an error, and only that, is said in one line. */
static int open_listener(void)
{
	const char *text;
	int err;

	capture_begin(STDERR_FILENO);
	err = listener_open(&listener, &config, -1, NULL);
	text = capture_end();
	tap_check(!err == !*text, false, __FILE__, __LINE__, "error %d, and said: '%s'", err, text);
	CHECK(!err || strchr(text, '\n') == text + strlen(text) - 1);
	CHECK_EQ(listener.fd < 0, err != 0);
	return err;
}

static bool exists(void)
{
	struct stat st;

	return !lstat(addr.sun_path, &st);
}

/* Connects to the path: the socket, or -errno. */
static int connect_to_it(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), err = 0;

	REQUIRE(fd >= 0);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		err = -errno;
		close(fd);
	}
	return err ? err : fd;
}

#define NOT_LISTENING (-1)

/* Somebody's socket of this type under the path, with a backlog of so many or NOT_LISTENING. */
static int bind_other(int type, int backlog)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	REQUIRE(fd >= 0);
	REQUIRE_OK(bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	if (backlog != NOT_LISTENING)
		REQUIRE_OK(listen(fd, backlog));
	return fd;
}

static mode_t mode_of_it(void)
{
	struct stat st = {0};

	CHECK_OK(lstat(addr.sun_path, &st));
	return st.st_mode & 07777;
}

/* ---- paths ---- */

static void free_path_is_listened_on(void)
{
	int fd;

	REQUIRE_OK(open_listener());
	CHECK(!listener.connected);
	CHECK_EQ(fcntl(listener.fd, F_GETFD), FD_CLOEXEC);
	CHECK(fcntl(listener.fd, F_GETFL) & O_NONBLOCK);
	fd = connect_to_it();
	CHECK(fd >= 0);
	close(fd);
	listener_close(&listener);
	CHECK(!exists());
	CHECK_EQ(listener.fd, -1);
}

/* Two threads may do it at the end, and between them a successor may have got the same inode. */
static void path_is_removed_once(void)
{
	char other[sizeof(addr.sun_path) + 2];

	REQUIRE_OK(open_listener());
	snprintf(other, sizeof(other), "%s2", addr.sun_path);
	REQUIRE_OK(link(addr.sun_path, other));
	listener_unlink(&listener);
	CHECK(!exists());
	REQUIRE_OK(rename(other, addr.sun_path));
	listener_close(&listener);
	CHECK(exists());
}

static void stale_socket_is_replaced(void)
{
	int fd;

	close(bind_other(SOCK_STREAM, 8));
	REQUIRE(exists());
	REQUIRE_OK(open_listener());
	fd = connect_to_it();
	CHECK(fd >= 0);
	close(fd);
	listener_close(&listener);
	CHECK(!exists());
}

static void check_live(int fd)
{
	CHECK_EQ(open_listener(), -EADDRINUSE);
	CHECK(exists());
	close(fd);
}

/* The other process is still there at the first look, and then no longer. */
static void *leave_after_a_look(void *arg)
{
	const int fd = *(int *)arg;
	const int client = accept(fd, NULL, NULL);

	close(client);
	close(fd);
	return NULL;
}

static void who_is_about_to_leave_is_waited_for(void)
{
	int fd = bind_other(SOCK_STREAM, 8);
	pthread_t thread;
	const char *text;

	config.timeout = 60;
	REQUIRE_OK(pthread_create(&thread, NULL, leave_after_a_look, &fd));
	capture_begin(STDERR_FILENO);
	CHECK_OK(listener_open(&listener, &config, -1, NULL));
	text = capture_end();
	CHECK(strstr(text, "warning: ") && strstr(text, "waiting up to 60 s"));
	pthread_join(thread, NULL);
	CHECK(exists());
	listener_close(&listener);
}

static void stop_ends_the_wait(void)
{
	const int fd = bind_other(SOCK_STREAM, 8);
	const atomic_bool stopping = true;

	config.timeout = 60;
	CHECK_EQ(listener_open(&listener, &config, -1, &stopping), -ECANCELED);
	CHECK(exists());
	close(fd);
}

static void live_socket_is_left_alone(void)
{
	int fd = bind_other(SOCK_STREAM, 8), client;

	CHECK_EQ(open_listener(), -EADDRINUSE);
	listener_close(&listener);
	client = connect_to_it();
	CHECK(client >= 0);
	close(client);
	close(fd);
}

static void live_socket_whose_backlog_is_full(void)
{
	int fd = bind_other(SOCK_STREAM, 0), first = connect_to_it();

	REQUIRE(first >= 0);
	check_live(fd);
	close(first);
}

static void socket_of_another_type_is_left_alone(void)
{
	check_live(bind_other(SOCK_DGRAM, NOT_LISTENING));
	REQUIRE_OK(unlink(addr.sun_path));
	check_live(bind_other(SOCK_SEQPACKET, 8));
}

static void file_is_left_alone(void)
{
	int fd = open(addr.sun_path, O_CREAT | O_WRONLY, 0600);

	REQUIRE_EQ(write(fd, "precious", 8), 8);
	close(fd);
	CHECK_EQ(open_listener(), -EEXIST);
	listener_close(&listener);
	CHECK(exists());
}

/* Not even one that leads to a stale socket: nobody asked to replace the link. */
static void symbolic_link_is_left_alone(void)
{
	close(bind_other(SOCK_STREAM, 8));
	REQUIRE_OK(rename(addr.sun_path, "elsewhere"));
	REQUIRE_OK(symlink("elsewhere", addr.sun_path));
	CHECK_EQ(open_listener(), -EEXIST);
	CHECK(exists());
	CHECK_OK(access("elsewhere", F_OK));
}

static void directory_is_left_alone(void)
{
	REQUIRE_OK(mkdir(addr.sun_path, 0700));
	CHECK_EQ(open_listener(), -EEXIST);
	CHECK_OK(rmdir(addr.sun_path));
}

static void directory_that_is_missing(void)
{
	config.path = "missing/socket";
	CHECK_EQ(open_listener(), -ENOENT);
}

static void check_mode(mode_t mode, mode_t mask)
{
	config.mode = mode;
	umask(mask);
	REQUIRE_OK(open_listener());
	CHECK_EQ(mode_of_it(), mode);
	listener_close(&listener);
	CHECK_EQ(umask(022), mask); /* put back */
}

static void mode_is_as_asked_whatever_the_umask(void)
{
	check_mode(0600, 0);
	check_mode(0660, 077);
	check_mode(0666, 0777);
	check_mode(0700, 022);
	check_mode(0, 0);
}

static void group_is_as_asked(void)
{
	struct stat st;

	if (geteuid())
		tap_skip("only root may give a file to any group");
	config.mode = 0660;
	config.group = "12345";
	REQUIRE_OK(open_listener());
	REQUIRE_OK(lstat(addr.sun_path, &st));
	CHECK_EQ(st.st_gid, 12345);
	CHECK_EQ(mode_of_it(), 0660);
	listener_close(&listener);
	config.group = "root";
	REQUIRE_OK(open_listener());
	REQUIRE_OK(lstat(addr.sun_path, &st));
	CHECK_EQ(st.st_gid, 0);
	listener_close(&listener);
}

static void group_that_there_is_not(void)
{
	static const char *const groups[] = {"no-such-group", "12x", "-1",
					     "4294967295",    "",    "99999999999999999999"};

	for (unsigned i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		config.group = groups[i];
		CHECK_EQ(open_listener(), -EINVAL);
		CHECK(!exists());
	}
}

/* As somebody who may neither write into the directory nor give files away. */
static void become_nobody(void)
{
	if (geteuid())
		tap_skip("needs root, to become nobody");
	REQUIRE_OK(seteuid(65534));
}

static void group_that_may_not_be_given(void)
{
	REQUIRE_OK(chmod(".", 0777));
	become_nobody();
	config.group = "12345";
	CHECK_EQ(open_listener(), -EPERM);
	CHECK(!exists());
	REQUIRE_OK(seteuid(0));
}

static void directory_that_may_not_be_written(void)
{
	REQUIRE_OK(chmod(".", 0755));
	become_nobody();
	CHECK_EQ(open_listener(), -EACCES);
	REQUIRE_OK(seteuid(0));
	CHECK(!exists());
}

static void stale_socket_that_may_not_be_removed(void)
{
	close(bind_other(SOCK_STREAM, 8));
	REQUIRE_OK(chmod(addr.sun_path, 0777));
	REQUIRE_OK(chmod(".", 0755));
	become_nobody();
	CHECK_EQ(open_listener(), -EACCES);
	REQUIRE_OK(seteuid(0));
	CHECK(exists());
}

/* Anybody who may read the directory can hold its lock for ever. */
static void directory_that_somebody_locks_for_ever(void)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY);

	REQUIRE_OK(flock(fd, LOCK_EX));
	CHECK_OK(open_listener());
	listener_close(&listener);
	close(fd);
}

/* ---- the end ---- */

static void socket_that_is_no_longer_ours_stays(void)
{
	int fd;

	REQUIRE_OK(open_listener());
	REQUIRE_OK(rename(addr.sun_path, "elsewhere"));
	fd = bind_other(SOCK_STREAM, 8);
	listener_close(&listener);
	CHECK(exists());
	close(fd);
}

static void path_that_is_gone_is_no_matter(void)
{
	REQUIRE_OK(open_listener());
	REQUIRE_OK(unlink(addr.sun_path));
	listener_close(&listener);
	listener_close(&listener); /* nor is a second time */
}

static void close_leaves_a_descriptor_s_path_alone(void)
{
	config.fd = bind_other(SOCK_STREAM, 8);
	config.path = NULL;
	REQUIRE_OK(open_listener());
	listener_close(&listener);
	CHECK(exists());
}

static void nothing_is_left_open(void)
{
	const unsigned before = fds_open();
	int fd;

	REQUIRE_OK(open_listener());
	CHECK_EQ(fds_open(), before + 1);
	listener_close(&listener);
	CHECK_EQ(fds_open(), before);
	fd = bind_other(SOCK_STREAM, 8);
	CHECK_EQ(open_listener(), -EADDRINUSE);
	CHECK_EQ(fds_open(), before + 1);
	close(fd);
}

/* ---- descriptors ---- */

static int open_fd(int fd)
{
	config.path = NULL;
	config.fd = fd;
	return open_listener();
}

static void listening_descriptor(void)
{
	const int fd = bind_other(SOCK_STREAM, 8);

	fcntl(fd, F_SETFD, 0);
	REQUIRE_OK(open_fd(fd));
	CHECK_EQ(listener.fd, fd);
	CHECK(!listener.connected);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	listener_close(&listener);
	CHECK(!fd_is_open(fd));
}

static void connected_descriptor(void)
{
	int pair[2];

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	REQUIRE_OK(open_fd(pair[0]));
	CHECK_EQ(listener.fd, pair[0]);
	CHECK(listener.connected);
	CHECK_EQ(fcntl(pair[0], F_GETFD), FD_CLOEXEC);
	CHECK(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
	listener_close(&listener);
	close(pair[1]);
}

/* ---- how it is known ---- */

static uint64_t identity_at(const char *path)
{
	uint64_t identity;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	REQUIRE_OK(open_listener());
	identity = listener_identity(&listener);
	listener_close(&listener);
	return identity;
}

static void identity_is_that_of_the_place(void)
{
	const uint64_t here = identity_at("./socket");
	char path[sizeof(addr.sun_path)];

	CHECK(here != 0);
	CHECK_EQ(identity_at("socket"), here);
	REQUIRE_OK(mkdir("other", 0700));
	CHECK_EQ(identity_at("other/../socket"), here);
	CHECK(identity_at("other/socket") != here);
	CHECK(identity_at("socket2") != here);
	REQUIRE_OK(symlink(".", "link"));
	CHECK_EQ(identity_at("link/socket"), here);
	/* A path that fills all the room that there is, and so has no end. */
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	CHECK(identity_at(path) != here);
}

static uint64_t identity_of(int fd)
{
	REQUIRE_OK(open_fd(fd));
	return listener_identity(&listener);
}

static int bind_abstract(const char *name)
{
	struct sockaddr_un abstract = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1, "%s-%d", name, getpid());
	REQUIRE_OK(bind(fd, (struct sockaddr *)&abstract,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				    strlen(abstract.sun_path + 1))));
	REQUIRE_OK(listen(fd, 1));
	return fd;
}

static void identity_of_a_descriptor(void)
{
	const uint64_t here = identity_at("./socket");
	uint64_t one, two;
	int pair[2], accepted, peer, fd;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "./socket");
	fd = bind_other(SOCK_STREAM, 8);
	peer = connect_to_it();
	REQUIRE(peer >= 0);
	accepted = accept(fd, NULL, NULL);
	CHECK_EQ(identity_of(fd), here);
	listener_close(&listener);
	/* A connection that somebody else has accepted. */
	CHECK_EQ(identity_of(accepted), here);
	listener_close(&listener);
	close(peer);
	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	CHECK_EQ(identity_of(pair[0]), 0);
	listener_close(&listener);
	close(pair[1]);
	one = identity_of(bind_abstract("one"));
	listener_close(&listener);
	two = identity_of(bind_abstract("two"));
	listener_close(&listener);
	CHECK(one && two && one != two && one != here);
}

static void check_wrong_fd(int fd)
{
	REQUIRE(fd >= 0);
	CHECK_EQ(open_fd(fd), -EINVAL);
	close(fd);
}

static void descriptor_of_another_kind(void)
{
	int pair[2];

	check_wrong_fd(fd_memory(1));
	check_wrong_fd(fd_event());
	check_wrong_fd(open("/dev/null", O_RDWR));
	check_wrong_fd(bind_other(SOCK_DGRAM, NOT_LISTENING));
	REQUIRE_OK(unlink(addr.sun_path));
	check_wrong_fd(bind_other(SOCK_SEQPACKET, 8));
	REQUIRE_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	check_wrong_fd(pair[0]);
	close(pair[1]);
	check_wrong_fd(socket(AF_INET, SOCK_STREAM, 0));
}

static void descriptor_that_is_not_open(void)
{
	CHECK_EQ(open_fd(1000), -EINVAL);
}

/* ---- systemd ---- */

#define FIRST_FD 3 /* SD_LISTEN_FDS_START; the test has something else there */

/* Opens what systemd passes: `n` descriptors, of which the first is `fd`. */
static int open_from_systemd(int fd, int n)
{
	const int saved = dup(FIRST_FD);
	char number[16];
	int err;

	config.path = NULL;
	snprintf(number, sizeof(number), "%d", getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof(number), "%d", n);
	setenv("LISTEN_FDS", number, 1);
	dup2(fd, FIRST_FD);
	capture_begin(STDERR_FILENO);
	err = listener_open(&listener, &config, -1, NULL);
	capture_end();
	dup2(saved, FIRST_FD);
	close(saved);
	CHECK(!getenv("LISTEN_FDS")); /* no child takes them for its own */
	return err;
}

static void socket_from_systemd(void)
{
	int fd = bind_other(SOCK_STREAM, 8);

	CHECK_OK(open_from_systemd(fd, 1));
	CHECK_EQ(listener.fd, FIRST_FD);
	CHECK(!listener.connected);
	CHECK(!listener.path);
	close(fd);
}

static void wrong_number_of_sockets_from_systemd(void)
{
	int fd = bind_other(SOCK_STREAM, 8);

	CHECK_EQ(open_from_systemd(fd, 2), -EINVAL);
	CHECK_EQ(open_from_systemd(fd, 0), -EINVAL);
	close(fd);
}

static void wrong_descriptor_from_systemd(void)
{
	CHECK_EQ(open_from_systemd(fd_event(), 1), -EINVAL);
}

static void no_socket_at_all(void)
{
	CHECK_EQ(open_fd(-1), -EINVAL);
}

static const struct tap_case path_cases[] = {
	{"free_path_is_listened_on", free_path_is_listened_on},
	{"path_is_removed_once", path_is_removed_once},
	{"stale_socket_is_replaced", stale_socket_is_replaced},
	{"who_is_about_to_leave_is_waited_for", who_is_about_to_leave_is_waited_for},
	{"stop_ends_the_wait", stop_ends_the_wait},
	{"live_socket_is_left_alone", live_socket_is_left_alone},
	{"live_socket_whose_backlog_is_full", live_socket_whose_backlog_is_full},
	{"socket_of_another_type_is_left_alone", socket_of_another_type_is_left_alone},
	{"file_is_left_alone", file_is_left_alone},
	{"symbolic_link_is_left_alone", symbolic_link_is_left_alone},
	{"directory_is_left_alone", directory_is_left_alone},
	{"directory_that_is_missing", directory_that_is_missing},
	{"mode_is_as_asked_whatever_the_umask", mode_is_as_asked_whatever_the_umask},
	{"group_is_as_asked", group_is_as_asked},
	{"group_that_there_is_not", group_that_there_is_not},
	{"group_that_may_not_be_given", group_that_may_not_be_given},
	{"directory_that_may_not_be_written", directory_that_may_not_be_written},
	{"stale_socket_that_may_not_be_removed", stale_socket_that_may_not_be_removed},
	{"directory_that_somebody_locks_for_ever", directory_that_somebody_locks_for_ever},
	{"socket_that_is_no_longer_ours_stays", socket_that_is_no_longer_ours_stays},
	{"path_that_is_gone_is_no_matter", path_that_is_gone_is_no_matter},
	{"close_leaves_a_descriptor_s_path_alone", close_leaves_a_descriptor_s_path_alone},
	{"nothing_is_left_open", nothing_is_left_open},
	{0},
};

static const struct tap_case fd_cases[] = {
	{"listening_descriptor", listening_descriptor},
	{"connected_descriptor", connected_descriptor},
	{"identity_is_that_of_the_place", identity_is_that_of_the_place},
	{"identity_of_a_descriptor", identity_of_a_descriptor},
	{"descriptor_of_another_kind", descriptor_of_another_kind},
	{"descriptor_that_is_not_open", descriptor_that_is_not_open},
	{"socket_from_systemd", socket_from_systemd},
	{"wrong_number_of_sockets_from_systemd", wrong_number_of_sockets_from_systemd},
	{"wrong_descriptor_from_systemd", wrong_descriptor_from_systemd},
	{"no_socket_at_all", no_socket_at_all},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "listener path", .setup = setup, .cases = path_cases},
	{.name = "listener fd", .setup = setup, .cases = fd_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
