/* SPDX-License-Identifier: BSD-3-Clause */
/* See kept-fds.h. */
#include "tests/unit/support/kept-fds.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/tap.h"

#define HIGH_FD 100 /* where no descriptors come */

char kept_text[1024];
int kept_attached;

static int keeper;
static int saved[KEPT_FDS]; /* what the test had where descriptors come; -1: nothing */

void kept_fds_bind(const char *address)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(addr);
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", address);
	if (*address == '@') {
		addr.sun_path[0] = '\0';
		size = (socklen_t)(sizeof(addr.sun_family) + strlen(address));
	}
	keeper = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
	REQUIRE(keeper >= 0);
	close(fd);
	REQUIRE_OK(bind(keeper, (struct sockaddr *)&addr, size));
	setenv("NOTIFY_SOCKET", address, 1);
}

int kept_fds_socket(void)
{
	return keeper;
}

void kept_fds_setup(void)
{
	static const char *const variables[] = {"NOTIFY_SOCKET", "FDSTORE",        "VUBLKD_FDSTORE",
						"LISTEN_FDS",    "LISTEN_FDNAMES", "LISTEN_PID"};
	char address[64];

	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
		unsetenv(variables[i]);
	for (int i = 0; i < KEPT_FDS; i++)
		saved[i] = fcntl(KEPT_FIRST_FD + i, F_DUPFD_CLOEXEC, HIGH_FD);
	snprintf(address, sizeof(address), "@test-kept-fds-%d", getpid());
	kept_fds_bind(address);
	setenv("FDSTORE", "100", 1);
}

void kept_fds_teardown(void)
{
	close(keeper);
	for (int i = 0; i < KEPT_FDS; i++) {
		close(KEPT_FIRST_FD + i);
		if (saved[i] < 0)
			continue;
		dup2(saved[i], KEPT_FIRST_FD + i);
		close(saved[i]);
	}
}

bool kept_fds_receive(void)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr aligned;
	} control;
	struct iovec iov = {kept_text, sizeof(kept_text) - 1};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	const ssize_t n = recvmsg(keeper, &message, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	kept_text[n < 0 ? 0 : n] = '\0';
	kept_attached = -1;
	if (n >= 0 && header)
		memcpy(&kept_attached, CMSG_DATA(header), sizeof(kept_attached));
	return n >= 0;
}

void kept_fds_place(int i, int fd)
{
	REQUIRE(i < KEPT_FDS && dup2(fd, KEPT_FIRST_FD + i) >= 0);
	if (fd != KEPT_FIRST_FD + i)
		close(fd);
}

void kept_fds_come(int n, const char *names)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", n);
	setenv("LISTEN_FDS", number, 1);
	setenv("LISTEN_FDNAMES", names, 1);
	snprintf(number, sizeof(number), "%d", getpid());
	setenv("LISTEN_PID", number, 1);
}
