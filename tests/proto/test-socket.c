/* SPDX-License-Identifier: BSD-3-Clause */
/* The socket: made, replaced, inherited, guarded; and who may connect when. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/proto/proto.h"

static char err[16384];

/* A socket bound to the path, and listening if `backlog` is not negative. */
static int bind_socket(const char *path, int backlog)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	REQUIRE(strlen(path) < sizeof(addr.sun_path));
	strcpy(addr.sun_path, path);
	REQUIRE_OK(bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	if (backlog >= 0)
		REQUIRE_OK(listen(fd, backlog));
	return fd;
}

/* The daemon on server's image and socket must give up, with one line that names the socket. */
static void expect_socket_refused(void)
{
	CHECK_EQ(run(option("--socket-path", server.socket), option("--blk-file", server.image),
		     "--lock-timeout=0"),
		 1);
	fe_daemon_stderr(&server, err, sizeof(err));
	CHECK(one_clear_line(err));
	CHECK(strstr(err, server.socket));
}

static void stale_socket_is_replaced(void)
{
	needs_vublkd();
	close(bind_socket(server.socket, 1));
	CHECK_OK(access(server.socket, F_OK));
	serve(MIB);
	check_serves();
}

static void socket_of_a_killed_daemon_is_replaced(void)
{
	needs_vublkd();
	serve(MIB);
	fe_daemon_stop(&server, SIGKILL, NULL);
	CHECK_OK(access(server.socket, F_OK));
	serve_again();
	check_serves();
}

static void live_socket_is_left_alone(void)
{
	needs_vublkd();
	int fd = bind_socket(server.socket, 4);
	struct fe_conn conn;

	REQUIRE_OK(fe_image_make(server.image, MIB));
	expect_socket_refused();
	CHECK_OK(fe_conn_open(&conn, server.socket));
	fe_conn_close(&conn);
	close(fd);
}

static void live_socket_with_a_full_backlog_is_left_alone(void)
{
	needs_vublkd();
	int fd = bind_socket(server.socket, 0);
	struct fe_conn conn;

	REQUIRE_OK(fe_image_make(server.image, MIB));
	REQUIRE_OK(fe_conn_open(&conn, server.socket)); /* a backlog of 0 holds one */
	expect_socket_refused();
	CHECK_OK(access(server.socket, F_OK));
	fe_conn_close(&conn);
	close(fd);
}

static void socket_of_another_daemon_is_left_alone(void)
{
	struct fe_daemon other;

	needs_vublkd();
	serve(MIB);
	fe_daemon_prepare(&other, dir);
	REQUIRE_OK(fe_image_make(other.image, MIB));
	REQUIRE_OK(fe_daemon_spawn(&other,
				   (const char *const[]){option("--socket-path", server.socket),
							 option("--blk-file", other.image),
							 "--lock-timeout=0", NULL},
				   NULL, NULL));
	CHECK_EQ(fe_daemon_wait(&other), 1);
	check_serves();
}

static void other_file_is_never_replaced(void)
{
	char text[5] = "";

	needs_vublkd();
	REQUIRE_OK(fe_image_make(server.image, MIB));
	REQUIRE_OK(fe_image_make(server.socket, 4));
	REQUIRE_OK(fe_image_write(server.socket, 0, "mine", 4));
	expect_socket_refused();
	REQUIRE_OK(fe_image_read(server.socket, 0, text, 4));
	CHECK(!strcmp(text, "mine"));
}

static void path_that_cannot_be(void)
{
	char path[sizeof(server.socket)];

	needs_vublkd();
	REQUIRE_OK(fe_image_make(server.image, MIB));
	snprintf(path, sizeof(path), "%s/no/such/dir/socket", dir);
	strcpy(server.socket, path);
	expect_socket_refused();
	snprintf(path, sizeof(path), "%.40s/%0140d", dir, 0);
	strcpy(server.socket, path);
	CHECK(run(option("--socket-path", path), option("--blk-file", server.image)) > 0);
	CHECK(fe_daemon_stderr(&server, err, sizeof(err)) > 0);
}

static void socket_mode(void)
{
	struct stat st;

	needs_vublkd();
	serve(MIB, "--socket-mode=0640");
	REQUIRE_OK(stat(server.socket, &st));
	CHECK_EQ(st.st_mode & 07777, 0640);
	CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	serve_again("--socket-mode=0606");
	REQUIRE_OK(stat(server.socket, &st));
	CHECK_EQ(st.st_mode & 07777, 0606);
	check_serves();
}

static void socket_group(void)
{
	struct group *group = getgrnam("daemon");
	struct stat st;

	needs_vublkd();
	if (geteuid() || !group)
		tap_skip("needs root and a group 'daemon'");
	serve(MIB, "--socket-group=daemon");
	REQUIRE_OK(stat(server.socket, &st));
	CHECK_EQ(st.st_gid, group->gr_gid);
	check_serves();
}

/* Starts it on an image and an inherited socket. */
static void serve_fd(int fd, const char *arg, const char *const environment[])
{
	needs_vublkd();
	REQUIRE_OK(fe_image_make(server.image, MIB));
	REQUIRE_OK(fe_daemon_spawn(
		&server, (const char *const[]){option("--blk-file", server.image), arg, NULL},
		(const int[]){fd, -1}, environment));
	close(fd);
}

static void fd_listening(void)
{
	serve_fd(bind_socket(server.socket, 4), "--fd=3", NULL);
	check_serves();
	check_serves();
}

static void fd_connected(void)
{
	int pair[2];

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	serve_fd(pair[1], "--fd=3", NULL);
	REQUIRE_OK(fe_dev_start_on(&dev, pair[0], NULL));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 1, SLOT_SIZE));
	check_round_trip(&blk, 0, 4096);
	detach();
	/* There is nobody to come after this front-end. */
	CHECK_EQ(fe_daemon_wait(&server), 0);
}

static void fd_of_no_use(void)
{
	char path[300];

	needs_vublkd();
	REQUIRE_OK(fe_image_make(server.image, MIB));
	/* not open */
	CHECK_EQ(run("--fd=77", option("--blk-file", server.image)), 1);
	CHECK(fe_daemon_stderr(&server, err, sizeof(err)) > 0);
	/* no socket */
	snprintf(path, sizeof(path), "%s/file", dir);
	REQUIRE_OK(fe_image_make(path, MIB));
	serve_fd(open(path, O_RDWR | O_CLOEXEC), "--fd=3", NULL);
	CHECK_EQ(fe_daemon_wait(&server), 1);
	CHECK(fe_daemon_stderr(&server, err, sizeof(err)) > 0);
	/* a socket of another kind */
	serve_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "--fd=3", NULL);
	CHECK_EQ(fe_daemon_wait(&server), 1);
	CHECK(fe_daemon_stderr(&server, err, sizeof(err)) > 0);
}

static void socket_activation(void)
{
	serve_fd(bind_socket(server.socket, 4), "--log-level=info",
		 (const char *const[]){"LISTEN_PID=", "LISTEN_FDS=1", NULL});
	check_serves();
	check_serves();
}

static void socket_activation_meant_for_another(void)
{
	serve_fd(bind_socket(server.socket, 4), "--log-level=info",
		 (const char *const[]){"LISTEN_PID=1", "LISTEN_FDS=1", NULL});
	CHECK_EQ(fe_daemon_wait(&server), 2);
}

static void second_front_end_is_turned_away(void)
{
	struct fe_conn second;

	needs_vublkd(); /* qemu-storage-daemon lets it wait */
	serve(MIB);
	attach();
	for (unsigned int i = 0; i < 5; i++) {
		REQUIRE_OK(fe_conn_open(&second, server.socket));
		CHECK_OK(fe_wait_closed(&second));
		fe_conn_close(&second);
		check_round_trip(&blk, 0, 4096);
	}
	CHECK(fe_daemon_stderr(&server, err, sizeof(err)) > 0);
	check_serves();
}

static void reconnects_at_once(void)
{
	serve(MIB);
	for (unsigned int i = 0; i < 200; i++) {
		struct fe_conn conn;

		REQUIRE_OK(fe_conn_open(&conn, server.socket));
		REQUIRE_OK(fe_sync(&conn));
		fe_conn_close(&conn);
	}
	check_serves();
}

static void connections_leave_no_fds(void)
{
	int before;

	serve(MIB);
	check_serves();
	attach(.n_queues = 4);
	check_round_trip(&blk, 0, 4096);
	before = fe_daemon_count_fds(&server);
	for (unsigned int i = 0; i < 20; i++) {
		detach();
		attach(.n_queues = 4);
		check_round_trip(&blk, 0, 4096);
	}
	check_fds(before);
}

static const struct tap_case cases[] = {
	{"stale_socket_is_replaced", stale_socket_is_replaced},
	{"socket_of_a_killed_daemon_is_replaced", socket_of_a_killed_daemon_is_replaced},
	{"live_socket_is_left_alone", live_socket_is_left_alone},
	{"live_socket_with_a_full_backlog_is_left_alone",
	 live_socket_with_a_full_backlog_is_left_alone},
	{"socket_of_another_daemon_is_left_alone", socket_of_another_daemon_is_left_alone},
	{"other_file_is_never_replaced", other_file_is_never_replaced},
	{"path_that_cannot_be", path_that_cannot_be},
	{"socket_mode", socket_mode},
	{"socket_group", socket_group},
	{"fd_listening", fd_listening},
	{"fd_connected", fd_connected},
	{"fd_of_no_use", fd_of_no_use},
	{"socket_activation", socket_activation},
	{"socket_activation_meant_for_another", socket_activation_meant_for_another},
	{"second_front_end_is_turned_away", second_front_end_is_turned_away},
	{"reconnects_at_once", reconnects_at_once},
	{"connections_leave_no_fds", connections_leave_no_fds},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "socket", .setup = proto_setup, .teardown = proto_teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
