/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/base/fdstore.c and notify.c: what the environment says, what the keeper is told, and what
 * came from an earlier process. The keeper is a socket of the test's own.
 */
#include "src/base/fdstore.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/notify.h"
#include "tests/tap.h"
#include "tests/unit/support/capture.h"
#include "tests/unit/support/fds.h"
#include "tests/unit/support/kept-fds.h"

static bool is_same_file(int a, int b)
{
	struct stat st_a, st_b;

	return !fstat(a, &st_a) && !fstat(b, &st_b) && st_a.st_ino == st_b.st_ino &&
	       st_a.st_dev == st_b.st_dev;
}

/* So many descriptors come with these names; each is a file of its own, as long as its place. */
static void come(int n, const char *names)
{
	for (int i = 0; i < n; i++)
		kept_fds_place(i, fd_memory((uint64_t)i + 1));
	kept_fds_come(n, names);
}

/* Its place, as come() has marked it. */
static int place_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : (int)st.st_size - 1;
}

static bool is_variable(const char *name, const char *value)
{
	const char *is = getenv(name);

	return value ? is && !strcmp(is, value) : !is;
}

/* ---- is there a keeper? ---- */

static bool is_kept(const char *fdstore, const char *own)
{
	unsetenv("FDSTORE");
	unsetenv("VUBLKD_FDSTORE");
	if (fdstore)
		setenv("FDSTORE", fdstore, 1);
	if (own)
		setenv("VUBLKD_FDSTORE", own, 1);
	CHECK_OK(fdstore_open());
	return fdstore_is_kept();
}

static void environment_says_whether_there_is_a_keeper(void)
{
	CHECK(is_kept("100", NULL));
	CHECK(is_kept(NULL, "100"));
	CHECK(!is_kept(NULL, NULL));
	CHECK(!is_kept("0", NULL));
	CHECK(!is_kept("0", "100")); /* a systemd that says it does not */
	CHECK(!is_kept("", NULL));
	CHECK(!is_kept("-1", NULL));
	CHECK(!is_kept("100x", NULL));
	CHECK(!is_kept(NULL, "yes"));
	unsetenv("NOTIFY_SOCKET");
	CHECK(!is_kept("100", NULL));
}

static void without_one_nothing_is_sent(void)
{
	unsetenv("FDSTORE");
	CHECK_OK(fdstore_open());
	CHECK_EQ(fdstore_keep(0, "v.a"), -EOPNOTSUPP);
	CHECK_EQ(fdstore_forget("v.a"), -EOPNOTSUPP);
	CHECK(!kept_fds_receive());
}

/* ---- what he is told ---- */

static void descriptor_is_kept(void)
{
	const int fd = fd_memory(1);

	CHECK_OK(fdstore_open());
	CHECK_OK(fdstore_keep(fd, "v.disk.kick"));
	REQUIRE(kept_fds_receive());
	CHECK_TEXT(kept_text, "FDSTORE=1\nFDPOLL=0\nFDNAME=v.disk.kick");
	CHECK(kept_attached != fd && is_same_file(kept_attached, fd));
	CHECK(fd_is_open(fd));
	CHECK(!kept_fds_receive());
}

static void name_is_forgotten(void)
{
	CHECK_OK(fdstore_open());
	CHECK_OK(fdstore_forget("v.disk.kick"));
	REQUIRE(kept_fds_receive());
	CHECK_TEXT(kept_text, "FDSTOREREMOVE=1\nFDNAME=v.disk.kick");
	CHECK_EQ(kept_attached, -1);
}

static void keeper_at_a_path(void)
{
	REQUIRE_OK(chdir(getenv("TMPDIR")));
	kept_fds_bind("./notify");
	CHECK_OK(fdstore_open());
	CHECK_EQ(fdstore_forget("v.a"), -EINVAL); /* it is a path only if it is absolute */
	snprintf(kept_text, sizeof(kept_text), "%s/notify", getenv("TMPDIR"));
	setenv("NOTIFY_SOCKET", kept_text, 1);
	if (strlen(kept_text) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		tap_skip("TMPDIR has too long a name");
	CHECK_OK(fdstore_forget("v.a"));
	CHECK(kept_fds_receive());
}

static void name_that_cannot_be(void)
{
	char name[FDSTORE_NAME_MAX + 2];

	CHECK_OK(fdstore_open());
	CHECK_EQ(fdstore_keep(0, "disk"), -EINVAL);
	CHECK_EQ(fdstore_keep(0, ""), -EINVAL);
	CHECK_EQ(fdstore_keep(0, "v.a:b"), -EINVAL);
	CHECK_EQ(fdstore_keep(0, "v.a\nFDSTOREREMOVE=1"), -EINVAL);
	CHECK_EQ(fdstore_keep(0, "v.\177"), -EINVAL);
	CHECK_EQ(fdstore_keep(0, "v.\303\244"), -EINVAL);
	CHECK_EQ(fdstore_forget("v.a:b"), -EINVAL);
	CHECK_EQ(fdstore_keep(-1, "v.a"), -EINVAL);
	memset(name, 'a', sizeof(name));
	memcpy(name, "v.", 2);
	name[FDSTORE_NAME_MAX + 1] = '\0';
	CHECK_EQ(fdstore_keep(0, name), -EINVAL);
	CHECK(!kept_fds_receive());
	name[FDSTORE_NAME_MAX] = '\0';
	CHECK_OK(fdstore_keep(0, name));
	REQUIRE(kept_fds_receive());
	CHECK(!strcmp(kept_text + strlen(kept_text) - FDSTORE_NAME_MAX, name));
}

static void address_that_is_none(void)
{
	char address[200];

	CHECK_EQ(notify_send("", "READY=1", -1), -EINVAL);
	CHECK_EQ(notify_send("@", "READY=1", -1), -EINVAL);
	CHECK_EQ(notify_send("vsock:2:1", "READY=1", -1), -EINVAL);
	memset(address, 'a', sizeof(address));
	address[0] = '@';
	address[109] = '\0';
	CHECK_EQ(notify_send(address, "READY=1", -1), -ENAMETOOLONG);
	address[108] = '\0';
	CHECK_EQ(notify_send(address, "READY=1", -1), -ECONNREFUSED);
	address[0] = '/';
	CHECK_EQ(notify_send(address, "READY=1", -1), -ENAMETOOLONG);
	address[107] = '\0';
	CHECK_EQ(notify_send(address, "READY=1", -1), -ENOENT);
}

static void keeper_that_has_gone(void)
{
	const unsigned before = fds_open() - 1;

	CHECK_OK(fdstore_open());
	close(kept_fds_socket());
	CHECK_EQ(fdstore_keep(0, "v.a"), -ECONNREFUSED);
	CHECK_EQ(fdstore_forget("v.a"), -ECONNREFUSED);
	CHECK_EQ(fds_open(), before);
}

/* He is stopped, say: his queue fills up, and nobody waits for ever. */
static void keeper_that_does_not_read(void)
{
	const int64_t end = now_ns() + INT64_C(10000000000);
	int64_t start;
	int err;

	CHECK_OK(fdstore_open());
	do {
		start = now_ns();
		err = fdstore_keep(0, "v.a");
	} while (!err && start < end);
	CHECK_EQ(err, -EAGAIN);
	CHECK(now_ns() - start >= (NOTIFY_TIMEOUT_MS - 100) * INT64_C(1000000));
	CHECK(kept_fds_receive());
	CHECK_OK(fdstore_forget("v.a"));
}

/* ---- what came ---- */

static void descriptors_are_taken_by_their_names(void)
{
	come(3, "v.a:v.b:v.c");
	CHECK_OK(fdstore_open());
	CHECK_TEXT(fdstore_name(0), "v.a");
	CHECK_TEXT(fdstore_name(2), "v.c");
	CHECK(!fdstore_name(3));
	CHECK_EQ(place_of(fdstore_take("v.b")), 1);
	CHECK_EQ(fdstore_take("v.b"), -ENOENT);
	CHECK_EQ(fdstore_take("v.d"), -ENOENT);
	CHECK_EQ(place_of(fdstore_take("v.a")), 0);
	CHECK_EQ(place_of(fdstore_take("v.c")), 2);
	CHECK_TEXT(fdstore_name(1), "v.b");
	for (int fd = KEPT_FIRST_FD; fd < KEPT_FIRST_FD + 3; fd++)
		CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fdstore_drop_rest(), 0);
	CHECK(!fdstore_name(0));
	CHECK(!kept_fds_receive());
	CHECK(is_variable("LISTEN_FDS", NULL));
	CHECK(is_variable("LISTEN_FDNAMES", NULL));
	CHECK(is_variable("LISTEN_PID", NULL));
	CHECK_EQ(sd_listen_fds(0), 0);
}

static void several_of_one_name(void)
{
	come(3, "v.a:v.b:v.a");
	CHECK_OK(fdstore_open());
	CHECK_EQ(place_of(fdstore_take("v.a")), 0);
	CHECK_EQ(place_of(fdstore_take("v.a")), 2);
	CHECK_EQ(fdstore_take("v.a"), -ENOENT);
	CHECK_EQ(place_of(fdstore_take("v.b")), 1);
}

static void rest_is_dropped(void)
{
	come(4, "v.a:v.b:v.a:stored");
	CHECK_OK(fdstore_open());
	CHECK_EQ(place_of(fdstore_take("v.a")), 0);
	CHECK_EQ(fdstore_drop_rest(), 3);
	CHECK(fd_is_open(KEPT_FIRST_FD));
	CHECK(!fd_is_open(KEPT_FIRST_FD + 1) && !fd_is_open(KEPT_FIRST_FD + 2) &&
	      !fd_is_open(KEPT_FIRST_FD + 3));
	/* One of v.a is in use: it is not forgotten. */
	REQUIRE(kept_fds_receive());
	CHECK_TEXT(kept_text, "FDSTOREREMOVE=1\nFDNAME=v.b");
	REQUIRE(kept_fds_receive());
	CHECK_TEXT(kept_text, "FDSTOREREMOVE=1\nFDNAME=stored");
	CHECK(!kept_fds_receive());
	CHECK_EQ(fdstore_drop_rest(), 0);
	CHECK_EQ(fdstore_take("v.b"), -ENOENT);
}

/* Those of socket activation come first, and stay where they are found. */
static void activation_is_told_apart(void)
{
	char **names = NULL;

	come(4, "disk.socket::v.a:stored");
	CHECK_OK(fdstore_open());
	CHECK_TEXT(fdstore_name(0), "v.a");
	CHECK_TEXT(fdstore_name(1), "stored");
	CHECK(!fdstore_name(2));
	CHECK(is_variable("LISTEN_FDNAMES", "disk.socket:"));
	REQUIRE_EQ(sd_listen_fds_with_names(1, &names), 2);
	CHECK_TEXT(names[0], "disk.socket");
	CHECK_TEXT(names[1], "");
	CHECK_EQ(place_of(fdstore_take("v.a")), 2);
	CHECK_EQ(fdstore_drop_rest(), 1);
	CHECK(fd_is_open(KEPT_FIRST_FD) && fd_is_open(KEPT_FIRST_FD + 1));
	free(names[0]);
	free(names[1]);
	free(names);
}

static void activation_alone_is_left_as_it_is(void)
{
	come(2, "a:b");
	CHECK_OK(fdstore_open());
	CHECK(!fdstore_name(0));
	CHECK(is_variable("LISTEN_FDS", "2"));
	CHECK(is_variable("LISTEN_FDNAMES", "a:b"));
	CHECK_EQ(fdstore_drop_rest(), 0);
	CHECK(fd_is_open(KEPT_FIRST_FD));
}

static void nothing_came(void)
{
	CHECK_OK(fdstore_open());
	CHECK(!fdstore_name(0));
	CHECK_EQ(fdstore_take("v.a"), -ENOENT);
	CHECK_EQ(fdstore_drop_rest(), 0);
	come(1, "v.a");
	setenv("LISTEN_PID", "1", 1);
	CHECK_OK(fdstore_open()); /* they are somebody else's */
	CHECK(!fdstore_name(0));
}

static void environment_that_is_wrong(void)
{
	come(2, "v.a");
	CHECK_EQ(fdstore_open(), -EINVAL);
	come(2, "v.a:v.b:v.c");
	CHECK_EQ(fdstore_open(), -EINVAL);
	come(2, "v.a:v.b");
	setenv("LISTEN_FDS", "x", 1);
	CHECK_EQ(fdstore_open(), -EINVAL);
	come(2, "v.a:v.b");
	close(KEPT_FIRST_FD + 1);
	CHECK_EQ(fdstore_open(), -EBADF);
	CHECK(!fdstore_name(0));
}

static const struct tap_case told_cases[] = {
	{"environment_says_whether_there_is_a_keeper", environment_says_whether_there_is_a_keeper},
	{"without_one_nothing_is_sent", without_one_nothing_is_sent},
	{"descriptor_is_kept", descriptor_is_kept},
	{"name_is_forgotten", name_is_forgotten},
	{"keeper_at_a_path", keeper_at_a_path},
	{"name_that_cannot_be", name_that_cannot_be},
	{"address_that_is_none", address_that_is_none},
	{"keeper_that_has_gone", keeper_that_has_gone},
	{"keeper_that_does_not_read", keeper_that_does_not_read},
	{0},
};

static const struct tap_case came_cases[] = {
	{"descriptors_are_taken_by_their_names", descriptors_are_taken_by_their_names},
	{"several_of_one_name", several_of_one_name},
	{"rest_is_dropped", rest_is_dropped},
	{"activation_is_told_apart", activation_is_told_apart},
	{"activation_alone_is_left_as_it_is", activation_alone_is_left_as_it_is},
	{"nothing_came", nothing_came},
	{"environment_that_is_wrong", environment_that_is_wrong},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "fdstore told",
	 .setup = kept_fds_setup,
	 .teardown = kept_fds_teardown,
	 .cases = told_cases},
	{.name = "fdstore came",
	 .setup = kept_fds_setup,
	 .teardown = kept_fds_teardown,
	 .cases = came_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
