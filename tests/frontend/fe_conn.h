/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front-end's end of the vhost-user socket. Two layers: fe_send*() and fe_recv() move any
 * bytes, flags, sizes and fds that a test wants; fe_tell() and fe_ask() are the proper use of the
 * protocol on top. Nothing waits longer than FE_TIMEOUT_MS; -EPIPE says that the back-end closed.
 */
#ifndef FE_CONN_H
#define FE_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/proto.h"

#define FE_REFUSED 1 /* the back-end answered a request for acknowledgement with non-zero */

/* Makes the call; leaves the function with its answer (FE_REFUSED or -errno) unless that is 0. */
#define FE_TRY(call) \
	do { \
		int try_ret = (call); \
		if (try_ret) \
			return try_ret; \
	} while (0)

struct fe_conn {
	int fd;
	bool reply_ack; /* REPLY_ACK is negotiated: fe_tell() asks for an acknowledgement */
};

struct fe_msg {
	struct vhu_header header;
	union vhu_payload payload;
	int fds[VHU_MAX_FDS]; /* the receiver's, fe_msg_close_fds() */
	unsigned int n_fds;
};

/*
 * Connects to the socket at `path`; while nobody listens there yet, or its backlog is full, tries
 * again until the time is up. 0 or -errno.
 */
int fe_conn_open(struct fe_conn *conn, const char *path);
void fe_conn_close(struct fe_conn *conn);

/* Sends `size` bytes and the fds in one sendmsg(2), and nothing else. 0 or -errno. */
int fe_send_raw(struct fe_conn *conn, const void *bytes, size_t size, const int *fds,
		unsigned int n_fds);

/*
 * Sends a message: `flags` as they are (a proper message has VHU_VERSION), `size` bytes of
 * payload. The fds stay the caller's. 0 or -errno.
 */
int fe_send(struct fe_conn *conn, uint32_t request, uint32_t flags, const void *payload,
	    uint32_t size, const int *fds, unsigned int n_fds);

/* Receives one message. 0, -ETIMEDOUT, -EPIPE, or -EPROTO when it is none. */
int fe_recv(struct fe_conn *conn, struct fe_msg *msg);
void fe_msg_close_fds(struct fe_msg *msg);

/*
 * A request that has no reply of its own. With reply_ack the acknowledgement is asked for and
 * awaited: 0, FE_REFUSED or -errno; without, 0 says only that it was sent.
 */
int fe_tell(struct fe_conn *conn, uint32_t request, const void *payload, uint32_t size,
	    const int *fds, unsigned int n_fds);
int fe_tell_u64(struct fe_conn *conn, uint32_t request, uint64_t value);
int fe_tell_state(struct fe_conn *conn, uint32_t request, uint32_t index, uint32_t num);
/* SET_VRING_KICK, CALL, ERR: the fd goes along, or the no-fd bit when it is -1. */
int fe_tell_vring_fd(struct fe_conn *conn, uint32_t request, unsigned int index, int fd);

/*
 * A request with a reply of its own: sends, receives, and checks that the reply is to `request`
 * and has exactly the flags of a reply (else -EPROTO). 0 or -errno.
 */
int fe_ask(struct fe_conn *conn, uint32_t request, const void *payload, uint32_t size,
	   struct fe_msg *reply);
int fe_ask_u64(struct fe_conn *conn, uint32_t request, uint64_t *value);
/* GET_VRING_BASE. */
int fe_ask_base(struct fe_conn *conn, unsigned int index, uint32_t *base);

/* GET_CONFIG of `size` bytes from `offset`. 0; FE_REFUSED for a reply without payload; -errno. */
int fe_get_config(struct fe_conn *conn, uint32_t offset, uint32_t size, void *config);
int fe_set_config(struct fe_conn *conn, uint32_t offset, uint32_t size, uint32_t flags,
		  const void *config);

/* A round trip: all that was sent before has been dealt with. 0 or -errno. */
int fe_sync(struct fe_conn *conn);

/* Waits until the back-end closes the connection; what it still sends is dropped. 0 or -errno. */
int fe_wait_closed(struct fe_conn *conn);

#endif
