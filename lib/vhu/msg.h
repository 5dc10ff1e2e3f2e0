/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One framed message on a stream socket, plus the file descriptors that came with it, which it
 * owns until somebody takes them. Control thread. Trusts nothing: the frame is checked here, the
 * payload by vhu_dispatch.
 */
#ifndef VHU_MSG_H
#define VHU_MSG_H

#include <stdbool.h>
#include <stddef.h>

#include "proto.h"

/*
 * The largest payload that is read. What is larger than any message known is read and dropped up to
 * this; a frame that claims more is taken for a peer that speaks something else.
 */
#define VHU_MSG_MAX_PAYLOAD 4096

/* The largest reply: what a payload that is understood can be. */
#define VHU_REPLY_MAX (sizeof(struct vhu_header) + sizeof(union vhu_payload))

/* A reply as it is sent. */
struct vhu_reply {
	size_t size; /* bytes */
	uint8_t bytes[VHU_REPLY_MAX];
};

struct vhu_msg {
	struct vhu_header header;
	union {
		union vhu_payload payload;
		uint8_t raw[VHU_MSG_MAX_PAYLOAD];
	};
	int fd[VHU_MAX_FDS]; /* -1 where taken */
	unsigned n_fds;
	size_t received; /* bytes so far, of header and payload */
	bool has_fds;    /* when it was looked at some were seen, with it or behind it */
	int reply_fd;    /* to go with the reply, owned; -1: none */
};

/* An empty message. */
void vhu_msg_init(struct vhu_msg *msg);

/* Closes the descriptors that nobody took and empties the message. */
void vhu_msg_reset(struct vhu_msg *msg);

/*
 * Reads on from a non-blocking socket ("Message Specification"). 1: the message is complete; 0:
 * more has to come; -ECONNRESET: the peer closed the connection; -EPROTO: no valid frame
 * (version, size, too many descriptors); other -errno from recvmsg(2). Descriptors are received
 * close-on-exec.
 */
int vhu_msg_receive(struct vhu_msg *msg, int sock);

/* Takes descriptor i out of the message: the caller owns it. */
int vhu_msg_take_fd(struct vhu_msg *msg, unsigned i);

/*
 * Looks at the next message, which stays in the socket until vhu_msg_consume(), without
 * descriptors. Else like vhu_msg_receive(). The socket has an offset for that (SO_PEEK_OFF), which
 * it keeps, whoever has it: where looking goes on while a message is not complete.
 */
int vhu_msg_peek(struct vhu_msg *msg, int sock);

/*
 * Duplicates of the descriptors of a message that was looked at and is complete. Only as many as it
 * may have (`wanted`) are believed to be its own: more, or one of who wants none, may be of a
 * message that comes after it. So what would be refused for having too many is taken without them.
 * 0, or -errno as above.
 */
int vhu_msg_peek_fds(struct vhu_msg *msg, int sock, unsigned wanted);

/*
 * From now on messages are looked at, from the first one that is in the socket; or not any more. 0
 * or -errno.
 */
int vhu_msg_set_peeking(int sock, bool peeking);

/* Takes from the socket what was looked at. 0 or -errno. */
int vhu_msg_consume(int sock);

/*
 * The reply to `msg`: its request number, version 1 and the reply flag, `size` bytes of payload,
 * which VHU_REPLY_MAX has room for.
 */
void vhu_msg_make_reply(struct vhu_reply *reply, const struct vhu_msg *msg, const void *payload,
			size_t size);

/*
 * Sends it, with a descriptor (-1: none). 0 or -errno; -EAGAIN means that the peer does not read
 * what it asked for. How much was sent is in how->msg_len, where it is as soon as it was.
 */
struct mmsghdr;
int vhu_msg_send(int sock, const struct vhu_reply *reply, int fd, struct mmsghdr *how);

/* The message's name in the specification, "unknown" for a number that has none. */
const char *vhu_msg_name(uint32_t request);

#endif
