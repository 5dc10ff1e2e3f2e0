/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The back-end channel (SET_BACKEND_REQ_FD): what a back-end says of its own accord, in frames like
 * those of the front-end. Control thread. The descriptor is the front-end's and untrusted.
 *
 * Nothing here waits. Where an acknowledgement is asked for (vhu_backend_ask()), it is read when it
 * has come: front-ends ask for other things before they give it, and who waits for it waits for
 * ever.
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
	char answer[20];     /* a part of one that has come: header, 64 bits */
	size_t answer_size;
	bool awaits_room;
	/* See struct vublk_ops; not called without need. */
	void (*await_room)(void *opaque, int fd);
	void *opaque;
};

/* There is no channel, and nothing to be said. */
void vhu_backend_init(struct vhu_backend *backend, void (*await_room)(void *opaque, int fd),
		      void *opaque);

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

/* The same, and asks for an acknowledgement ("VHOST_USER_PROTOCOL_F_REPLY_ACK"). */
int vhu_backend_ask(struct vhu_backend *backend, enum vhu_backend_request request,
		    const void *payload, size_t size);

/*
 * The next acknowledgement, if there is one: 1, and what it is to and says (0: it was done); 0:
 * there is none; -errno: the channel is of no use any more and has been closed.
 */
int vhu_backend_take_answer(struct vhu_backend *backend, enum vhu_backend_request *request,
			    uint64_t *u64);

/*
 * Has the user call vublk_dev_announce() when the channel has room (`await`), or not any more.
 * Without a channel nothing is awaited.
 */
void vhu_backend_await_room(struct vhu_backend *backend, bool await);

#endif
