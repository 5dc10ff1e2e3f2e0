/* SPDX-License-Identifier: BSD-3-Clause */
/* See shared/fd.h. Nothing here waits, whatever the descriptor is. */
#include "shared/fd.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

void vhu_fd_close(int fd)
{
	const struct linger none = {0};

	if (fd < 0)
		return;
	/* No matter if it is no socket. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(fd);
}

/* One end of a pair of Unix sockets; its other end has no name, as our own listening one has. */
static bool is_socket_pair(int fd)
{
	struct sockaddr_un peer;
	socklen_t size = sizeof(peer);

	return !getpeername(fd, (struct sockaddr *)&peer, &size) && peer.sun_family == AF_UNIX &&
	       size == sizeof(peer.sun_family);
}

/* Of the descriptors that have no file type. Without /proc it has to be believed. */
static bool is_eventfd(int fd)
{
	char path[32], target[32] = {0};

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) < 0 ||
	       !strcmp(target, "anon_inode:[eventfd]");
}

bool vhu_fd_is_stream(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	switch (st.st_mode & S_IFMT) {
	case S_IFIFO:
		return true;
	case S_IFSOCK:
		return is_socket_pair(fd);
	default:
		return false;
	}
}

bool vhu_fd_can_notify(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	return st.st_mode & S_IFMT ? vhu_fd_is_stream(fd) : is_eventfd(fd);
}

/* A read that does not wait, whatever the descriptor's flags are now. */
static ssize_t read_now(int fd, void *to, size_t size)
{
	struct iovec iov = {to, size};
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	ssize_t n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

	if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
		return n;
	/* Kernels before 5.8 have that for files only. */
	if (poll(&pfd, 1, 0) == 0) {
		errno = EAGAIN;
		return -1;
	}
	return read(fd, to, size);
}

int vhu_fd_read(int fd, void *to, size_t size)
{
	ssize_t n;

	do {
		n = recv(fd, to, size, MSG_DONTWAIT);
		if (n < 0 && errno == ENOTSOCK)
			n = read_now(fd, to, size);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}

int vhu_fd_drain(int fd)
{
	char bytes[64];

	/*
	 * A read that leaves room has emptied it: an eventfd, or a pipe with some kicks in it. A
	 * pipe may have more coming all the time, so there is an end to it.
	 */
	for (unsigned i = 0; i < 64; i++) {
		const ssize_t n = read_now(fd, bytes, sizeof(bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (!n)
			return -EPIPE;
		if ((size_t)n < sizeof(bytes))
			return 0;
	}
	return 0;
}

/* A write that does not wait, whatever the descriptor's flags are now. */
static ssize_t write_now(int fd, const void *from, size_t size)
{
	const struct iovec iov = {(void *)from, size};
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	ssize_t n = send(fd, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0 || errno != ENOTSOCK)
		return n;
	n = pwritev2(fd, &iov, 1, -1, RWF_NOWAIT);
	if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
		return n;
	/* Kernels that have that for files only. What a pipe has room for is a page at least. */
	if (poll(&pfd, 1, 0) == 0) {
		errno = EAGAIN;
		return -1;
	}
	return write(fd, from, size);
}

int vhu_fd_write(int fd, const void *bytes, size_t size)
{
	ssize_t n;

	do {
		n = write_now(fd, bytes, size);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* A part of a frame is worse than none: nothing after it would be understood. */
	return (size_t)n == size ? 0 : -EPIPE;
}

void vhu_fd_signal(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	const uint64_t one = 1;

	/*
	 * There is no write to an eventfd that never waits, so we ask before. A front-end that
	 * fills it up in between, having cleared O_NONBLOCK, stops its own queues.
	 */
	if (fd < 0 || poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT))
		return;
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}
