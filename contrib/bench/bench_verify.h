/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --verify: what is written, and whether what is read is that. Each sector bears a stamp from which
 * all its bytes follow: its own number and a generation, which is the run's and the write's. So a
 * run knows what it has written itself exactly, and of what an earlier one has written, that it is
 * whole and in its place. One for each queue, whose thread alone uses it, as no other queue writes
 * there. See bench_verify.c for the rules.
 */
#ifndef BENCH_VERIFY_H
#define BENCH_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

struct bench_verify;
struct bench_queue;
struct bench_slot;

/* For blocks 0 to n_blocks - 1, of which up to `depth` are in use at a time. 0 or -errno. */
int bench_verify_new(struct bench_verify **verifyp, uint64_t n_blocks, unsigned int depth);
void bench_verify_free(struct bench_verify *verify);

/* Is no request on this block in flight? Else what comes of it is anybody's guess. */
bool bench_verify_may_use(const struct bench_verify *verify, uint64_t block);

/* Prepares the data of a request that is about to be submitted: its block and direction are set. */
void bench_verify_submit(struct bench_queue *queue, struct bench_slot *slot);

/* The request is done; `ok`: its status says so. False if what was read is wrong. */
bool bench_verify_complete(struct bench_queue *queue, struct bench_slot *slot, bool ok);

/* The first thing that was wrong in one line, "" if nothing was. */
const char *bench_verify_trouble(const struct bench_verify *verify);

#endif
