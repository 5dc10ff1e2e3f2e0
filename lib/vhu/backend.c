/* SPDX-License-Identifier: BSD-3-Clause */
/* See vhu/backend.h. */
#include "vhu/backend.h"

#include <errno.h>
#include <string.h>

#include "shared/fd.h"

#define MAX_PAYLOAD 64 /* bytes */

void vhu_backend_init(struct vhu_backend *backend)
{
	*backend = (struct vhu_backend){.fd = -1};
}

void vhu_backend_set(struct vhu_backend *backend, int fd)
{
	vhu_fd_close(backend->fd);
	backend->fd = fd;
	backend->full = false;
}

void vhu_backend_close(struct vhu_backend *backend)
{
	vhu_fd_close(backend->fd);
	vhu_backend_init(backend);
}

int vhu_backend_send(struct vhu_backend *backend, enum vhu_backend_request request,
		     const void *payload, size_t size)
{
	const struct vhu_header header = {
		.request = (uint32_t)request,
		.flags = VHU_VERSION,
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
