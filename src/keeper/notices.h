/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The socket by which the child tells us things: datagrams, maybe with descriptors, and always
 * with who sent them, by the kernel. Anybody can send there; what is in them is not looked at
 * here.
 */
#ifndef KEEPER_NOTICES_H
#define KEEPER_NOTICES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "keeper/message.h"

#define NOTICE_FDS_MAX      253 /* as many as the kernel has with one datagram (SCM_MAX_FD) */
#define NOTICES_ADDRESS_MAX 16

struct notices {
	int fd;
	char address[NOTICES_ADDRESS_MAX]; /* "@" and an abstract name, for NOTIFY_SOCKET */
};

struct notice {
	pid_t pid; /* who sent it; 0: the kernel did not say */
	size_t size;
	char text[MESSAGE_MAX + 2]; /* with room for a NUL */
	bool cut;                   /* it was longer */
	bool lost_fds;              /* we could not have all of its descriptors */
	unsigned n_fds;
	int fd[NOTICE_FDS_MAX]; /* with O_CLOEXEC */
};

/* Makes the socket, at a name that the kernel chooses. 0 or -errno, not logged. */
int notices_open(struct notices *notices);

/* The next one, whose descriptors are the caller's. Does not wait. Was there one? */
bool notices_take(const struct notices *notices, struct notice *notice);

/* Closes all descriptors that a notice still has. */
void notice_close(struct notice *notice);

#endif
