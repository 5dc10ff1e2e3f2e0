/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine under test, whichever it is: eng_main() runs each case on every class, and on io_uring
 * as older kernels have it. For tests of src/io; there is one file, and operations on it.
 *
 *	struct eng_op op = eng_transfer(IO_WRITE, eng.file, buf, BLOCK, 0);
 *
 *	CHECK_EQ(eng_run(&op), BLOCK);
 */
#ifndef ENGINES_H
#define ENGINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/base/container.h"
#include "src/io/engine.h"
#include "src/io/uring/faults.h"
#include "tests/tap.h"

#define BLOCK 4096
#define MS    INT64_C(1000000)
#define S     (1000 * MS)

extern struct eng {
	const struct engine *engine;
	struct uring_options options;
	struct reactor *reactor;
	struct target *target;
	char path[300];
	int fd, direct_fd, file, direct_file; /* one file, opened twice */
	unsigned completed;
	bool inside; /* a call into the engine that must not call back */
} eng;

struct eng_op {
	struct io io;
	struct iovec iov;
	unsigned done;
	void (*then)(struct eng_op *op);
};

/* ---- the engine ---- */

/* The main() of a program: these cases on each engine, which is open. */
int eng_main(int argc, char **argv, const struct tap_case *cases);

/* Opens an engine: 0 or -errno. And closes it. */
int eng_try(const struct engine *engine, const struct reactor_config *config,
	    struct reactor **reactor, struct target **target);
void eng_close(struct reactor *reactor, struct target *target);

/* Opens the engine, and makes both files known to it. */
void eng_open(unsigned depth);

/* The same, in place of the one that is open. */
void eng_reopen(unsigned depth);

bool eng_is_null(void);

/* Skips the case on the null engine. */
void eng_need_io(void);

/*
 * Skips the case on io_uring in valgrind 3.19, which takes io_uring_enter(2) for a call that does
 * not sleep: while one thread is in it no other has its turn, and no signal arrives.
 */
void eng_need_others_awake(void);

int64_t eng_now(void);

/* Runs the engine until `condition`, for 10 s at most. */
#define RUN_UNTIL(condition) \
	do { \
		int64_t end = eng_now() + (int64_t)tap_stretch(10) * S; \
		while (!(condition) && eng_now() < end) \
			REQUIRE(reactor_run(eng.reactor, 100 * MS) >= 0); \
		REQUIRE(condition); \
	} while (0)

/* Runs it for a while, to see that something does not happen. */
void eng_run_a_while(void);

/* ---- operations and the file ---- */

struct eng_op eng_transfer(enum io_op op, int handle, void *buf, size_t len, uint64_t offset);

struct eng_op eng_range(enum io_op op, uint64_t offset, uint64_t length);

/* done() of an operation that the case submits by itself. */
void eng_complete(struct io *io);

void eng_submit(struct eng_op *op);

/* Submits one operation and waits for it. Returns its result. */
int64_t eng_run(struct eng_op *op);

/* So many blocks of that byte, aligned; the caller's. */
unsigned char *eng_buffer(size_t blocks, int byte);

/* Has the file begin with so many blocks of that byte. */
void eng_fill_file(size_t blocks, int byte);

/* Is all of [offset, offset + len) of the file that byte? */
bool eng_file_is(int byte, off_t offset, size_t len);

#endif
