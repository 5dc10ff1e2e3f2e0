/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The back-end channel (SET_BACKEND_REQ_FD): what a back-end says of its own accord, in frames like
 * those of the front-end. Control thread. The descriptor is the front-end's and untrusted.
 *
 * Nothing here waits, and no acknowledgement is asked for: front-ends ask for other things before
 * they would give it, and who waits for it waits for ever. Nor is anything read.
 */
#ifndef VHU_BACKEND_H
#define VHU_BACKEND_H

#include <stdbool.h>
#include <stddef.h>

#include "proto.h"

struct vhu_backend {
	int fd;              /* -1: there is no channel */
	bool full;           /* was, the last time */
	bool config_changed; /* is to be said; see vhu_dev_say_due() */
};

/* There is no channel, and nothing to be said. */
void vhu_backend_init(struct vhu_backend *backend);

/* Takes over the descriptor, or none (-1), instead of the one that there was. */
void vhu_backend_set(struct vhu_backend *backend, int fd);

/* Closes it; nothing is to be said any more. */
void vhu_backend_close(struct vhu_backend *backend);

/*
 * Sends one frame, of at most 64 bytes of payload, or nothing of it. 0; -EAGAIN: there is no room
 * now; other -errno: the channel is of no use any more and has been closed (-ENOTCONN: there was
 * none).
 */
int vhu_backend_send(struct vhu_backend *backend, enum vhu_backend_request request,
		     const void *payload, size_t size);

#endif
