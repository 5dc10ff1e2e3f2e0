/* SPDX-License-Identifier: BSD-3-Clause */
/* See keeper/notices.h. */
#include "keeper/notices.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* unix(7), "Autobind": a name of five hexadecimal digits that nobody has. */
static int bind_somewhere(struct notices *notices)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(addr);
	int length;

	if (bind(notices->fd, (struct sockaddr *)&addr, sizeof(addr.sun_family)) ||
	    getsockname(notices->fd, (struct sockaddr *)&addr, &size))
		return -errno;
	length = (int)(size - sizeof(addr.sun_family)) - 1;
	if (length < 1 || (size_t)length + 2 > sizeof(notices->address))
		return -EADDRNOTAVAIL;
	snprintf(notices->address, sizeof(notices->address), "@%.*s", length, addr.sun_path + 1);
	return 0;
}

int notices_open(struct notices *notices)
{
	const int on = 1;
	int err;

	notices->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notices->fd < 0)
		return -errno;
	err = setsockopt(notices->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) ? -errno : 0;
	if (!err)
		err = bind_somewhere(notices);
	if (err)
		close(notices->fd);
	return err;
}

static void take_control(struct notice *notice, struct msghdr *message)
{
	struct ucred sender;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
	     header = CMSG_NXTHDR(message, header)) {
		const size_t size = header->cmsg_len - CMSG_LEN(0);

		if (header->cmsg_level != SOL_SOCKET)
			continue;
		if (header->cmsg_type == SCM_RIGHTS) {
			notice->n_fds = (unsigned)(size / sizeof(*notice->fd));
			memcpy(notice->fd, CMSG_DATA(header), notice->n_fds * sizeof(*notice->fd));
		} else if (header->cmsg_type == SCM_CREDENTIALS && size == sizeof(sender)) {
			memcpy(&sender, CMSG_DATA(header), sizeof(sender));
			notice->pid = sender.pid;
		}
	}
}

bool notices_take(const struct notices *notices, struct notice *notice)
{
	union {
		char bytes[CMSG_SPACE(sizeof(notice->fd)) + CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr aligned;
	} control;
	struct iovec iov = {notice->text, sizeof(notice->text) - 1};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	ssize_t n;

	do
		n = recvmsg(notices->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return false;
	notice->pid = 0;
	notice->n_fds = 0;
	notice->size = (size_t)n;
	notice->cut = message.msg_flags & MSG_TRUNC;
	notice->lost_fds = message.msg_flags & MSG_CTRUNC;
	take_control(notice, &message);
	return true;
}

void notice_close(struct notice *notice)
{
	while (notice->n_fds)
		close(notice->fd[--notice->n_fds]);
}
