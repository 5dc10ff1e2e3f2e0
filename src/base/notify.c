/* SPDX-License-Identifier: BSD-3-Clause */
/* See base/notify.h. */
#include "base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int make_address(struct sockaddr_un *addr, socklen_t *size, const char *text)
{
	const size_t length = strlen(text);

	if ((*text != '/' && *text != '@') || length < 2)
		return -EINVAL;
	/* A path ends with a NUL, an abstract name with its length. */
	if (length + (*text == '/') > sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(addr->sun_path, text, length);
	if (*text == '@')
		addr->sun_path[0] = '\0';
	*size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (*text == '/'));
	return 0;
}

static void attach(struct msghdr *message, void *control, size_t size, int fd)
{
	struct cmsghdr *header;

	message->msg_control = control;
	message->msg_controllen = size;
	header = CMSG_FIRSTHDR(message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
}

static int send_in_time(const struct msghdr *message)
{
	const struct timeval patience = {NOTIFY_TIMEOUT_MS / 1000, NOTIFY_TIMEOUT_MS % 1000 * 1000};
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) ||
	    sendmsg(fd, message, MSG_NOSIGNAL) < 0)
		err = -errno;
	close(fd);
	return err;
}

int notify_send(const char *address, const char *text, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(fd))];
		struct cmsghdr aligned;
	} control = {{0}};
	struct sockaddr_un addr;
	struct iovec iov = {(void *)text, strlen(text)};
	struct msghdr message = {.msg_name = &addr, .msg_iov = &iov, .msg_iovlen = 1};
	int err = make_address(&addr, &message.msg_namelen, address);

	if (err)
		return err;
	if (fd >= 0)
		attach(&message, control.bytes, sizeof(control.bytes), fd);
	return send_in_time(&message);
}
