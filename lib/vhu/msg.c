/* SPDX-License-Identifier: BSD-3-Clause */
/* See vhu/msg.h. Control thread; nothing of a frame is believed before it is whole. */
#include "vhu/msg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "shared/fd.h"

void vhu_msg_init(struct vhu_msg *msg)
{
	msg->n_fds = 0;
	msg->received = 0;
	msg->reply_fd = -1;
}

void vhu_msg_reset(struct vhu_msg *msg)
{
	for (unsigned i = 0; i < msg->n_fds; i++)
		vhu_fd_close(msg->fd[i]);
	vhu_fd_close(msg->reply_fd);
	vhu_msg_init(msg);
}

/*
 * Collects the descriptors of one recvmsg(). All of them are in our process now, so all are
 * taken down before anything is judged: vhu_msg_reset() closes them whatever comes.
 */
static int collect_fds(struct vhu_msg *msg, struct msghdr *hdr)
{
	const bool truncated = hdr->msg_flags & MSG_CTRUNC;
	const unsigned had = msg->n_fds;
	int err = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (msg->n_fds < VHU_MAX_FDS) {
				msg->fd[msg->n_fds++] = fd;
			} else {
				vhu_fd_close(fd);
				err = -EPROTO;
			}
		}
	}
	/* There was room for VHU_MAX_FDS: fewer came because we may open no more. */
	if (truncated && !err)
		err = msg->n_fds - had < VHU_MAX_FDS ? -EMFILE : -EPROTO;
	return err;
}

/* One recvmsg() of at most `size` bytes, never beyond this message. */
static int receive_part(struct vhu_msg *msg, int sock, void *to, size_t size)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(VHU_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = {to, size};
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;
	int err;

	do
		n = recvmsg(sock, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	err = collect_fds(msg, &hdr);
	if (err)
		return err;
	if (n == 0)
		return -ECONNRESET;
	msg->received += (size_t)n;
	return 1;
}

int vhu_msg_receive(struct vhu_msg *msg, int sock)
{
	const size_t head = sizeof(msg->header);
	int err;

	while (msg->received < head) {
		err = receive_part(msg, sock, (char *)&msg->header + msg->received,
				   head - msg->received);
		if (err <= 0)
			return err;
	}
	if ((msg->header.flags & VHU_FLAG_VERSION_MASK) != VHU_VERSION ||
	    msg->header.size > VHU_MSG_MAX_PAYLOAD)
		return -EPROTO;
	while (msg->received < head + msg->header.size) {
		size_t done = msg->received - head;

		err = receive_part(msg, sock, msg->raw + done, msg->header.size - done);
		if (err <= 0)
			return err;
	}
	return 1;
}

int vhu_msg_take_fd(struct vhu_msg *msg, unsigned i)
{
	int fd = msg->fd[i];

	msg->fd[i] = -1;
	return fd;
}

int vhu_msg_reply(const struct vhu_msg *msg, int sock, const void *payload, size_t size)
{
	struct vhu_header header = {
		.request = msg->header.request,
		.flags = VHU_VERSION | VHU_FLAG_REPLY,
		.size = (uint32_t)size,
	};
	struct iovec iov[2] = {{&header, sizeof(header)}, {(void *)payload, size}};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr hdr = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	if (msg->reply_fd >= 0) {
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &msg->reply_fd, sizeof(int));
		hdr.msg_control = &control;
		hdr.msg_controllen = sizeof(control);
	}

	do
		n = sendmsg(sock, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* A part of a reply is of no use to anybody, and replies are small. */
	return (size_t)n == sizeof(header) + size ? 0 : -EAGAIN;
}

const char *vhu_msg_name(uint32_t request)
{
	static const char *const names[] = {
#define X(name, number) [number] = #name,
		VHU_MESSAGES(X)
#undef X
	};

	if (request < VHU_REQUEST_LIMIT && names[request])
		return names[request];
	return "unknown";
}
