/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's user, as the sessions that are fuzzed have it: a worker that answers at once, or
 * lets a queue wait, and holds chains as long as it likes. It checks what it is given.
 */
#ifndef SESSION_USER_H
#define SESSION_USER_H

#include <stdbool.h>

#include "lib/vublk.h"
#include "tests/fuzz/fuzz.h"

#define FUZZ_QUEUES 3u
#define FUZZ_CHAINS 24u

struct fuzz_slot {
	struct vublk_chain chain;
	struct iovec iov[4];
	bool popped;
};

struct fuzz_queue {
	struct vublk_queue *vq;
	bool waiting, running;
	struct fuzz_slot slot[FUZZ_CHAINS];
};

struct fuzz_user {
	struct vublk_dev *dev;
	struct fuzz_queue queue[FUZZ_QUEUES];
	int state_fd;  /* what the device reads a state from, -1: nothing */
	int room_fd;   /* is awaited to have room, -1: none is */
	bool due;      /* the device wants to say something of a ring */
	bool late;     /* ... and has to wait for fuzz_user_announce() */
	bool wait;     /* queues that are started have to */
	bool over;     /* the connection has to end */
	bool finished; /* it has ended */
};

extern struct fuzz_user fuzz_user;
extern const struct vublk_ops fuzz_user_ops;

/* Pops, pushes and publishes, as the input says. */
void fuzz_user_work(struct fuzz_input *in);

/* A queue that waits begins, if the input names one. */
void fuzz_user_stop_waiting(struct fuzz_input *in);

/* Has the device say what it wants to. */
void fuzz_user_announce(void);

#endif
