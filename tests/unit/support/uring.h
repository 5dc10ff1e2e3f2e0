/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The io_uring engine by itself, with the options that a case wants, and a file of 1 MiB. For tests
 * of what no other engine has.
 */
#ifndef URING_H
#define URING_H

#include "tests/unit/support/engines.h"

#define PAGE 4096ul

extern struct ur {
	struct reactor *reactor;
	struct target *target;
	int fd, file;
} ur;

struct ur_op {
	struct io io;
	struct iovec iov;
	unsigned done;
};

/* Before and after each case; the engine is not open. */
void ur_setup(void);
void ur_teardown(void);

/* Opens the engine: 0 or -errno. */
int ur_try_open(struct uring_options options);

/* Opens the engine and makes the file known to it; skips the case without io_uring. */
void ur_open(struct uring_options options);

/* Runs the engine, `timeout` ns at a time, until `condition`, for 10 s at most. */
#define UR_RUN_UNTIL(condition, timeout) \
	do { \
		int64_t end = eng_now() + (int64_t)tap_stretch(10) * S; \
		while (!(condition) && eng_now() < end) \
			REQUIRE(reactor_run(ur.reactor, timeout) >= 0); \
		REQUIRE(condition); \
	} while (0)

struct ur_op ur_transfer(enum io_op op, void *at, size_t size, uint64_t offset);

void ur_submit(struct ur_op *op);

/* The callback of each operation. */
void ur_complete(struct io *io);

/* Submits one operation and waits for it. Returns its result. */
int64_t ur_run(struct ur_op op);

#endif
