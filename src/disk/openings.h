/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The threads on which disks open, so many at a time: with thousands of disks a thread each is more
 * than a host may give. Who has to wait has its turn in order; one that hangs, as on a network file
 * system, does not keep its place for ever. A thread that cannot be had is tried for again, as long
 * as others are at work, whose threads will be free; else a few times, and then who waits is
 * refused. Control thread.
 */
#ifndef DISK_OPENINGS_H
#define DISK_OPENINGS_H

#include <stdbool.h>

#include "base/loop.h"

#define OPENINGS_MOST 64

/* One that opens something; embedded in its owner. All zero, but for the functions and arg. */
struct opening {
	void *(*run)(void *arg); /* on a thread of its own */
	/* Instead, on the control thread: no thread is to be had. Does not call the openings. */
	void (*refused)(void *arg, int err);
	void *arg;
	bool begun;
	unsigned round; /* that it has begun in */
	struct opening *next;
};

struct openings {
	struct loop *loop;
	struct opening *waiting, **last;
	unsigned n_places; /* that are taken */
	unsigned round;    /* places taken in an earlier one are given on */
	int trouble;       /* why the last thread was not to be had (-errno); 0: it was */
	unsigned tries;    /* without success, while none of ours was at work */
	struct loop_timer timer;
	/* thread_detached(); for tests. */
	int (*start)(void *(*run)(void *arg), void *arg);
};

void openings_init(struct openings *openings, struct loop *loop);

/* It begins, now or when there is a place. */
void openings_add(struct openings *openings, struct opening *opening);

/* Takes it back. false, and nothing is done: it has begun. */
bool openings_cancel(struct openings *openings, struct opening *opening);

/* One that had begun has done: its place is another one's. */
void openings_done(struct openings *openings, struct opening *opening);

#endif
