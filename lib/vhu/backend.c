/* SPDX-License-Identifier: BSD-3-Clause */
/* See vhu/backend.h. */
#include "vhu/backend.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "shared/fd.h"

#define MAX_PAYLOAD 64 /* bytes */

void vhu_backend_init(struct vhu_backend *backend, void (*await_room)(void *opaque, int fd),
		      void *opaque)
{
	*backend = (struct vhu_backend){.fd = -1, .await_room = await_room, .opaque = opaque};
}

void vhu_backend_await_room(struct vhu_backend *backend, bool await)
{
	await &= backend->fd >= 0;
	if (await == backend->awaits_room)
		return;
	backend->awaits_room = await;
	backend->await_room(backend->opaque, await ? backend->fd : -1);
}

void vhu_backend_set(struct vhu_backend *backend, int fd)
{
	/* Before it is closed: the front-end's copy keeps it alive, and watched. */
	vhu_backend_await_room(backend, false);
	vhu_fd_close(backend->fd);
	backend->fd = fd;
	backend->full = false;
	backend->answer_size = 0;
}

void vhu_backend_close(struct vhu_backend *backend)
{
	vhu_backend_set(backend, -1);
	backend->config_changed = false;
}

static int send_frame(struct vhu_backend *backend, enum vhu_backend_request request, uint32_t flags,
		      const void *payload, size_t size)
{
	const struct vhu_header header = {
		.request = (uint32_t)request,
		.flags = VHU_VERSION | flags,
		.size = (uint32_t)size,
	};
	char frame[sizeof(header) + MAX_PAYLOAD];
	int err;

	if (size > MAX_PAYLOAD)
		return -EMSGSIZE;
	if (backend->fd < 0)
		return -ENOTCONN;
	memcpy(frame, &header, sizeof(header));
	if (size)
		memcpy(frame + sizeof(header), payload, size);
	err = vhu_fd_write(backend->fd, frame, sizeof(header) + size);
	if (err && err != -EAGAIN)
		vhu_backend_set(backend, -1);
	backend->full = err == -EAGAIN;
	return err;
}

int vhu_backend_send(struct vhu_backend *backend, enum vhu_backend_request request,
		     const void *payload, size_t size)
{
	return send_frame(backend, request, 0, payload, size);
}

int vhu_backend_ask(struct vhu_backend *backend, enum vhu_backend_request request,
		    const void *payload, size_t size)
{
	return send_frame(backend, request, VHU_FLAG_NEED_REPLY, payload, size);
}

/* Reads on: 1 when all of an answer is there; 0; -errno. A pipe has no way back. */
static int receive(struct vhu_backend *backend)
{
	ssize_t n;

	do {
		n = recv(backend->fd, backend->answer + backend->answer_size,
			 sizeof(backend->answer) - backend->answer_size, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == ENOTSOCK ? 0 : -errno;
	if (!n)
		return -EPIPE;
	backend->answer_size += (size_t)n;
	return backend->answer_size == sizeof(backend->answer);
}

int vhu_backend_take_answer(struct vhu_backend *backend, enum vhu_backend_request *request,
			    uint64_t *u64)
{
	struct vhu_header header;
	int got;

	static_assert(sizeof(backend->answer) == sizeof(header) + sizeof(*u64), "header, 64 bits");
	if (backend->fd < 0)
		return -ENOTCONN;
	got = receive(backend);
	if (got > 0) {
		memcpy(&header, backend->answer, sizeof(header));
		memcpy(u64, backend->answer + sizeof(header), sizeof(*u64));
		*request = header.request;
		backend->answer_size = 0;
		if (header.size != sizeof(*u64) || !(header.flags & VHU_FLAG_REPLY))
			got = -EPROTO;
	}
	if (got < 0)
		vhu_backend_set(backend, -1);
	return got;
}
