/* SPDX-License-Identifier: BSD-3-Clause */
/* The socket and the framing of messages, see fe_conn.h. Owns the socket. */
#define _GNU_SOURCE
#include "fe_conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fe_fds.h"
#include "fe_time.h"

struct attempt {
	struct fe_conn *conn;
	struct sockaddr_un addr;
};

/* fe_wait_for(): 1 connected, 0 try again, or -errno. */
static int try_connect(void *arg)
{
	struct attempt *a = arg;

	if (!connect(a->conn->fd, (struct sockaddr *)&a->addr, sizeof(a->addr)))
		return 1;
	return errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN ? 0 : -errno;
}

int fe_conn_open(struct fe_conn *conn, const char *path)
{
	struct attempt a = {.conn = conn, .addr = {.sun_family = AF_UNIX}};

	if (strlen(path) >= sizeof(a.addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.addr.sun_path, path);
	*conn = (struct fe_conn){
		.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
	if (conn->fd < 0)
		return -errno;

	int ret = fe_wait_for(try_connect, &a, fe_deadline(FE_TIMEOUT_MS));

	if (ret > 0)
		return 0;
	fe_conn_close(conn);
	return ret;
}

void fe_conn_close(struct fe_conn *conn)
{
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
}

int fe_send_raw(struct fe_conn *conn, const void *bytes, size_t size, const int *fds,
		unsigned int n_fds)
{
	union fe_fds_room room;
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = size};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);

	fe_pass_fds(&mh, &room, fds, n_fds);
	while (iov.iov_len) {
		ssize_t n = sendmsg(conn->fd, &mh, MSG_NOSIGNAL);

		if (n >= 0) {
			iov.iov_base = (char *)iov.iov_base + n;
			iov.iov_len -= (size_t)n;
			mh.msg_control = NULL;
			mh.msg_controllen = 0;
		} else if (errno == EAGAIN) {
			int ret = fe_wait_fd(conn->fd, POLLOUT, deadline);

			if (ret)
				return ret;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

int fe_send(struct fe_conn *conn, uint32_t request, uint32_t flags, const void *payload,
	    uint32_t size, const int *fds, unsigned int n_fds)
{
	struct vhu_header header = {.request = request, .flags = flags, .size = size};
	uint8_t bytes[16384];

	if (sizeof(header) + size > sizeof(bytes))
		return -EMSGSIZE;
	memcpy(bytes, &header, sizeof(header));
	if (size)
		memcpy(bytes + sizeof(header), payload, size);
	return fe_send_raw(conn, bytes, sizeof(header) + size, fds, n_fds);
}

static void take_fds(struct msghdr *mh, struct fe_msg *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		msg->n_fds = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(msg->fds, CMSG_DATA(c), msg->n_fds * sizeof(int));
	}
}

/* Exactly `size` bytes, and the fds that come along into `msg`. */
static int receive(struct fe_conn *conn, void *bytes, size_t size, struct fe_msg *msg,
		   uint64_t deadline)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(VHU_MAX_FDS * sizeof(int))];
	} control;

	while (size) {
		struct iovec iov = {.iov_base = bytes, .iov_len = size};
		struct msghdr mh = {.msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = &control,
				    .msg_controllen = sizeof(control)};
		int ret = fe_wait_fd(conn->fd, POLLIN, deadline);

		if (ret)
			return ret;
		ssize_t n = recvmsg(conn->fd, &mh, MSG_CMSG_CLOEXEC);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return errno == ECONNRESET ? -EPIPE : -errno;
		if (n == 0)
			return -EPIPE;
		take_fds(&mh, msg);
		bytes = (char *)bytes + n;
		size -= (size_t)n;
	}
	return 0;
}

int fe_recv(struct fe_conn *conn, struct fe_msg *msg)
{
	uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);

	memset(msg, 0, sizeof(*msg));
	int ret = receive(conn, &msg->header, sizeof(msg->header), msg, deadline);

	if (ret)
		return ret;
	if (msg->header.size > sizeof(msg->payload))
		return -EPROTO;
	return receive(conn, &msg->payload, msg->header.size, msg, deadline);
}

void fe_msg_close_fds(struct fe_msg *msg)
{
	while (msg->n_fds)
		close(msg->fds[--msg->n_fds]);
}

int fe_tell(struct fe_conn *conn, uint32_t request, const void *payload, uint32_t size,
	    const int *fds, unsigned int n_fds)
{
	uint32_t flags = VHU_VERSION | (conn->reply_ack ? VHU_FLAG_NEED_REPLY : 0);
	struct fe_msg reply;
	int ret = fe_send(conn, request, flags, payload, size, fds, n_fds);

	if (ret || !conn->reply_ack)
		return ret;
	ret = fe_recv(conn, &reply);
	if (ret)
		return ret;
	fe_msg_close_fds(&reply);
	if (reply.header.request != request || reply.header.size != sizeof(uint64_t) ||
	    reply.header.flags != (VHU_VERSION | VHU_FLAG_REPLY))
		return -EPROTO;
	return reply.payload.u64 ? FE_REFUSED : 0;
}

int fe_tell_u64(struct fe_conn *conn, uint32_t request, uint64_t value)
{
	return fe_tell(conn, request, &value, sizeof(value), NULL, 0);
}

int fe_tell_state(struct fe_conn *conn, uint32_t request, uint32_t index, uint32_t num)
{
	struct vhu_vring_state state = {.index = index, .num = num};

	return fe_tell(conn, request, &state, sizeof(state), NULL, 0);
}

int fe_tell_vring_fd(struct fe_conn *conn, uint32_t request, unsigned int index, int fd)
{
	uint64_t value = index | (fd < 0 ? VHU_VRING_NOFD : 0);

	return fe_tell(conn, request, &value, sizeof(value), &fd, fd < 0 ? 0 : 1);
}

int fe_ask(struct fe_conn *conn, uint32_t request, const void *payload, uint32_t size,
	   struct fe_msg *reply)
{
	int ret = fe_send(conn, request, VHU_VERSION, payload, size, NULL, 0);

	if (!ret)
		ret = fe_recv(conn, reply);
	if (!ret && (reply->header.request != request ||
		     reply->header.flags != (VHU_VERSION | VHU_FLAG_REPLY)))
		ret = -EPROTO;
	return ret;
}

int fe_ask_u64(struct fe_conn *conn, uint32_t request, uint64_t *value)
{
	struct fe_msg reply;
	int ret = fe_ask(conn, request, NULL, 0, &reply);

	if (!ret && reply.header.size != sizeof(*value))
		ret = -EPROTO;
	if (!ret)
		*value = reply.payload.u64;
	return ret;
}

int fe_ask_base(struct fe_conn *conn, unsigned int index, uint32_t *base)
{
	struct vhu_vring_state state = {.index = index};
	struct fe_msg reply;
	int ret = fe_ask(conn, VHU_GET_VRING_BASE, &state, sizeof(state), &reply);

	if (!ret && (reply.header.size != sizeof(state) || reply.payload.state.index != index))
		ret = -EPROTO;
	if (!ret)
		*base = reply.payload.state.num;
	return ret;
}

int fe_get_config(struct fe_conn *conn, uint32_t offset, uint32_t size, void *config)
{
	struct vhu_config ask = {.offset = offset, .size = size};
	uint32_t wire_size = VHU_CONFIG_HEADER + (size < VHU_MAX_CONFIG ? size : VHU_MAX_CONFIG);
	struct fe_msg reply;
	int ret = fe_ask(conn, VHU_GET_CONFIG, &ask, wire_size, &reply);

	if (ret)
		return ret;
	if (!reply.header.size)
		return FE_REFUSED;
	if (reply.header.size != wire_size || reply.payload.config.offset != offset ||
	    reply.payload.config.size != size)
		return -EPROTO;
	memcpy(config, reply.payload.config.data, size);
	return 0;
}

int fe_set_config(struct fe_conn *conn, uint32_t offset, uint32_t size, uint32_t flags,
		  const void *config)
{
	struct vhu_config set = {.offset = offset, .size = size, .flags = flags};

	if (size > VHU_MAX_CONFIG)
		return -EMSGSIZE;
	memcpy(set.data, config, size);
	return fe_tell(conn, VHU_SET_CONFIG, &set, VHU_CONFIG_HEADER + size, NULL, 0);
}

int fe_sync(struct fe_conn *conn)
{
	uint64_t features;

	return fe_ask_u64(conn, VHU_GET_FEATURES, &features);
}

int fe_wait_closed(struct fe_conn *conn)
{
	uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	char dropped[4096];

	for (;;) {
		int ret = fe_wait_fd(conn->fd, POLLIN, deadline);

		if (ret)
			return ret;
		ssize_t n = recv(conn->fd, dropped, sizeof(dropped), 0);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}
