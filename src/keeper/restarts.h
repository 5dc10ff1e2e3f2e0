/* SPDX-License-Identifier: BSD-3-Clause */
/* When a child that has ended is started again, and when no more. Pure: the time is told. */
#ifndef KEEPER_RESTARTS_H
#define KEEPER_RESTARTS_H

#include <stdbool.h>
#include <stdint.h>

#define RESTARTS_NEVER_READY 5                    /* so many in a row that never were: give up */
#define RESTARTS_FIRST_NS    INT64_C(100000000)   /* the second time; the first is at once */
#define RESTARTS_LONGEST_NS  INT64_C(5000000000)  /* unless something else is wished for */
#define RESTARTS_GOOD_NS     INT64_C(10000000000) /* who was ready for so long: all is well again */

/* Zero-initialised but for longest_ns is a fresh one. */
struct restarts {
	int64_t longest_ns; /* 0: there is no pause */
	int64_t pause_ns;
	unsigned never_ready;
};

/*
 * A child has ended that was ready for so long, in ns; -1: it never was. How long to wait before
 * the next one is started, or -1: give up.
 */
int64_t restarts_next(struct restarts *restarts, int64_t ready_ns);

#endif
