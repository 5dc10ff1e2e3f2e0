/* SPDX-License-Identifier: BSD-3-Clause */
/* See vhu/msg.h. Control thread; nothing of a frame is believed before it is whole. */
#include "vhu/msg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "shared/fd.h"
#include "vq/kill_point.h"

void vhu_msg_init(struct vhu_msg *msg)
{
	msg->n_fds = 0;
	msg->received = 0;
	msg->has_fds = false;
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

/* One recvmsg() of at most `size` bytes. How many; -EAGAIN: none yet; else -errno. */
static ssize_t receive_some(int sock, struct msghdr *hdr, int flags)
{
	ssize_t n;

	do
		n = recvmsg(sock, hdr, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return n;
}

/* The same, with descriptors. */
static ssize_t receive_with_fds(struct vhu_msg *msg, int sock, void *to, size_t size, int flags)
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
	const ssize_t n = receive_some(sock, &hdr, flags);
	const int err = n < 0 ? 0 : collect_fds(msg, &hdr);

	return err ? err : n;
}

/* The same, that only looks, and only whether there are descriptors. */
static ssize_t look(struct vhu_msg *msg, int sock, void *to, size_t size)
{
	struct iovec iov = {to, size};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
	const ssize_t n = receive_some(sock, &hdr, MSG_PEEK);

	msg->has_fds |= n >= 0 && hdr.msg_flags & MSG_CTRUNC;
	return n;
}

/* At most `size` bytes more, never beyond this message. 1; 0: none yet; -errno. */
static int receive_part(struct vhu_msg *msg, int sock, void *to, size_t size, bool peek)
{
	const ssize_t n =
		peek ? look(msg, sock, to, size) : receive_with_fds(msg, sock, to, size, 0);

	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return n ? (int)n : -ECONNRESET;
	msg->received += (size_t)n;
	return 1;
}

/* The bytes of a message; see vhu_msg_receive(). */
static int receive_bytes(struct vhu_msg *msg, int sock, bool peek)
{
	const size_t head = sizeof(msg->header);
	int err;

	while (msg->received < head) {
		err = receive_part(msg, sock, (char *)&msg->header + msg->received,
				   head - msg->received, peek);
		if (err <= 0)
			return err;
	}
	if ((msg->header.flags & VHU_FLAG_VERSION_MASK) != VHU_VERSION ||
	    msg->header.size > VHU_MSG_MAX_PAYLOAD)
		return -EPROTO;
	while (msg->received < head + msg->header.size) {
		size_t done = msg->received - head;

		err = receive_part(msg, sock, msg->raw + done, msg->header.size - done, peek);
		if (err <= 0)
			return err;
	}
	return 1;
}

int vhu_msg_receive(struct vhu_msg *msg, int sock)
{
	return receive_bytes(msg, sock, false);
}

/* ---- messages that stay where they are ---- */

int vhu_msg_set_peeking(int sock, bool peeking)
{
	const int offset = peeking ? 0 : -1;

	return setsockopt(sock, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) ? -errno : 0;
}

int vhu_msg_peek(struct vhu_msg *msg, int sock)
{
	return receive_bytes(msg, sock, true);
}

/* Those of the last part again: they are another message's. */
static void drop_fds(struct vhu_msg *msg, unsigned keep)
{
	while (msg->n_fds > keep)
		vhu_fd_close(msg->fd[--msg->n_fds]);
}

/*
 * Each part that was sent with descriptors is looked at once from its beginning, for each look has
 * all of its part's. But who looks up to the end of a message is shown more: Linux goes on to the
 * next part until there are descriptors, though there is no room for a byte more of it.
 */
int vhu_msg_peek_fds(struct vhu_msg *msg, int sock, unsigned wanted)
{
	char bytes[sizeof(struct vhu_header) + VHU_MSG_MAX_PAYLOAD];
	int err;

	if (!msg->has_fds || !wanted)
		return 0;
	err = vhu_msg_set_peeking(sock, true);
	for (size_t left = msg->received; left && !err;) {
		const unsigned had = msg->n_fds;
		/* What is more than it may have need not come into our process. */
		const ssize_t n = had < wanted ? receive_with_fds(msg, sock, bytes, left, MSG_PEEK)
					       : look(msg, sock, bytes, left);

		if (n > 0)
			left -= (size_t)n;
		else
			err = n ? (int)n : -ECONNRESET;
		if (!left && !err && msg->n_fds > wanted)
			drop_fds(msg, had);
	}
	return err;
}

int vhu_msg_consume(int sock)
{
	char bytes[sizeof(struct vhu_header) + VHU_MSG_MAX_PAYLOAD];
	int left;
	socklen_t size = sizeof(left);

	if (getsockopt(sock, SOL_SOCKET, SO_PEEK_OFF, &left, &size))
		return -errno;
	while (left > 0) {
		struct iovec iov = {bytes,
				    (size_t)left < sizeof(bytes) ? (size_t)left : sizeof(bytes)};
		struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
		const ssize_t n = receive_some(sock, &hdr, 0);

		if (n <= 0)
			return n ? (int)n : -ECONNRESET;
		left -= (int)n;
		VQ_KILL_POINT("keep-consume");
	}
	return 0;
}

/* ---- descriptors, replies, names ---- */

int vhu_msg_take_fd(struct vhu_msg *msg, unsigned i)
{
	int fd = msg->fd[i];

	msg->fd[i] = -1;
	return fd;
}

void vhu_msg_make_reply(struct vhu_reply *reply, const struct vhu_msg *msg, const void *payload,
			size_t size)
{
	const struct vhu_header header = {
		.request = msg->header.request,
		.flags = VHU_VERSION | VHU_FLAG_REPLY,
		.size = (uint32_t)size,
	};

	memcpy(reply->bytes, &header, sizeof(header));
	memcpy(reply->bytes + sizeof(header), payload, size);
	reply->size = sizeof(header) + size;
}

int vhu_msg_send(int sock, const struct vhu_reply *reply, int fd, struct mmsghdr *how)
{
	struct iovec iov = {(void *)reply->bytes, reply->size};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	int n;

	how->msg_len = 0;
	how->msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
	if (fd >= 0) {
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
		how->msg_hdr.msg_control = &control;
		how->msg_hdr.msg_controllen = sizeof(control);
	}

	do
		n = sendmmsg(sock, how, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* A part of a reply is of no use to anybody, and replies are small. */
	return how->msg_len == reply->size ? 0 : -EAGAIN;
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
