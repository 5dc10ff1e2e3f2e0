/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptors that we were started with, from socket activation (sd_listen_fds(3)): they stay
 * where they are, and each child gets them first.
 */
#ifndef KEEPER_GIVEN_H
#define KEEPER_GIVEN_H

#define LISTEN_FDS_START 3

struct given {
	unsigned n;        /* from LISTEN_FDS_START on, with O_CLOEXEC */
	const char *names; /* as LISTEN_FDNAMES has them; n times "unknown" if it had not n */
};

/*
 * Finds them by the environment. 0 or -errno, logged: LISTEN_FDS is not a number of descriptors
 * that are open. All other descriptors but the standard ones are closed: who names one by its
 * number would find another one there.
 */
int given_find(struct given *given);

#endif
