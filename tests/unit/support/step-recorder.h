/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records what a piece of code does to memory that outlives its process: it runs one instruction at
 * a time, and after each one that stores there is a picture. So a test can have the next process go
 * on from wherever this one may have been killed. Only on x86-64, and not where nobody steps
 * (valgrind): there the case is skipped.
 */
#ifndef STEP_RECORDER_H
#define STEP_RECORDER_H

#include <stddef.h>
#include <stdint.h>

#define RECORDER_MOST  300  /* pictures */
#define RECORDER_BYTES 1024 /* of either part of the memory */

struct picture {
	uint8_t guest[RECORDER_BYTES], region[RECORDER_BYTES];
};

struct pictures {
	unsigned n;
	struct picture p[RECORDER_MOST];
};

/* The memory in question: the guest's, and an in-flight region. */
void recorder_watch(void *guest, size_t guest_size, void *region, size_t region_size);

/* Runs it, with a picture before and after each instruction that stores. */
void recorder_run(struct pictures *pictures, void (*run)(void));

/* Makes the memory what it was. */
void recorder_restore(const struct picture *p);

#endif
