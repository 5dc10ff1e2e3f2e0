/* SPDX-License-Identifier: BSD-3-Clause */
/* base/file_key.c: descriptors that are of one file, and those that are not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file_key.h"
#include "tests/tap.h"

static bool same(int a, int b)
{
	struct file_key ka, kb;

	REQUIRE_OK(file_key_get(a, &ka));
	REQUIRE_OK(file_key_get(b, &kb));
	return file_key_equal(&ka, &kb);
}

/* Of two that are not the same, one is itself under any number. */
static void check_pair(int a, int b)
{
	const int again = dup(a);

	CHECK(same(a, a));
	CHECK(same(a, again));
	CHECK(!same(a, b));
	CHECK(!same(again, b));
	close(again);
	close(a);
	close(b);
}

static void eventfds(void)
{
	check_pair(eventfd(0, 0), eventfd(0, EFD_NONBLOCK));
}

static void memory(void)
{
	check_pair(memfd_create("a", 0), memfd_create("a", 0));
}

static void ends_of_a_pipe(void)
{
	int end[2];

	REQUIRE_OK(pipe(end));
	check_pair(end[0], end[1]);
}

static void ends_of_a_socket_pair(void)
{
	int end[2];

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, end));
	check_pair(end[0], end[1]);
}

static void what_is_not_open(void)
{
	struct file_key key;

	CHECK_EQ(file_key_get(-1, &key), -EBADF);
}

static const struct tap_case cases[] = {
	{"eventfds", eventfds},
	{"memory", memory},
	{"ends_of_a_pipe", ends_of_a_pipe},
	{"ends_of_a_socket_pair", ends_of_a_socket_pair},
	{"what_is_not_open", what_is_not_open},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "file key", .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
