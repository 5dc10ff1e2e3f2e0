/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many requests of a disk have failed, by kind. Of each a line could be logged, and of many at
 * once only some are: so the totals are told, a minute after the first one, each minute while
 * there are more, and at the end of a session. Nothing of this costs anything while no request
 * fails.
 */
#ifndef REQUEST_IO_ERRORS_H
#define REQUEST_IO_ERRORS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/mailbox.h"

enum io_errors_kind {
	IO_ERRORS_READ,
	IO_ERRORS_WRITE,
	IO_ERRORS_FLUSH,
	IO_ERRORS_OTHER, /* discard, write-zeroes */
	IO_ERRORS_KINDS
};

struct io_errors {
	const char *name; /* of the disk, for messages */
	struct loop *loop;
	/* The first one in a minute, and what was wrong. */
	void (*begin)(struct io_errors *errors, const char *what);
	atomic_uint_fast64_t failed[IO_ERRORS_KINDS]; /* in all */
	atomic_bool posted;
	struct call call;
	enum io_errors_kind first_kind; /* of that one: written before it is posted */
	int first_err;
	struct loop_timer timer;
	uint64_t told[IO_ERRORS_KINDS];  /* when the timer was last set */
	uint64_t begun[IO_ERRORS_KINDS]; /* at the session's beginning */
};

/* `name` has to live as long. Control thread. */
void io_errors_init(struct io_errors *errors, const char *name, struct loop *loop,
		    void (*begin)(struct io_errors *errors, const char *what));

/* A request failed, with -errno. Worker thread. */
void io_errors_count(struct io_errors *errors, enum io_errors_kind kind, int err);

/* The session is over, and no worker has any of its requests: tells its totals. Control thread. */
void io_errors_end_session(struct io_errors *errors);

/* The disk goes, after its last session: nothing is told any more. Control thread. */
void io_errors_end(struct io_errors *errors);

#endif
