/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listening sockets that outlive this process, so that front-ends find somebody while none is
 * there: they wait for the next one. With whoever keeps descriptors (base/fdstore.h), as v.l.NUMBER
 * (hexadecimal). Which is which their paths say. Control thread.
 */
#ifndef DISK_KEPT_SOCKET_H
#define DISK_KEPT_SOCKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct kept_sockets {
	bool on;              /* somebody keeps them */
	atomic_bool restarts; /* this process ends, and another one goes on: they stay */
	uint32_t last;        /* number */
	/* Those of an earlier process. */
	struct kept_socket_there {
		uint32_t number;
		char path[109]; /* whole, with a NUL; "": somebody has taken it */
	} * there;
	unsigned n_there;
};

/* One of a listener's. All zero: it is not kept. */
struct kept_socket {
	uint32_t number;
};

/* Finds what there is. After fdstore_open(). */
void kept_sockets_open(struct kept_sockets *sockets);

/* The one that an earlier process had at this path, the caller's; -1: there is none. */
int kept_socket_take(struct kept_sockets *sockets, struct kept_socket *socket, const char *path);

/* Has it kept, unless it is one that was taken. If that cannot be nothing is lost. */
void kept_socket_keep(struct kept_sockets *sockets, struct kept_socket *socket, int fd);

/* Not any more, unless the next process is to have it. */
void kept_socket_forget(const struct kept_sockets *sockets, struct kept_socket *socket);

#endif
