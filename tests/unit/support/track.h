/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ring of ring.h with a region in which is written down what is in flight: `sr` if it is a
 * split one, `pr` if it is a packed one. For tests of lib/vq/track*.c.
 */
#ifndef TRACK_H
#define TRACK_H

#include "tests/unit/support/packed.h"

extern struct inflight_split *sr;
extern struct inflight_packed *pr;

/* The region of the ring's queue, of `entries` entries, all zeros. */
void track_make_region(unsigned queues, unsigned entries, bool packed);

/* A tracked ring that does not run yet. */
void track_make(unsigned size, unsigned entries, uint64_t features, uint32_t base);

/* Starts it, with this base. */
int track_start_at(uint32_t base);

int track_start(void);

void track_open(unsigned size, uint64_t features, uint32_t base);

/* The process dies: what it had in hand is in nobody's any more. */
void track_drop(unsigned i);

/* Makes descriptor `head` available as a request by itself. */
void track_offer(unsigned head);

/* What comes out, in order: heads or ids, and nothing more. */
void track_check_pops(const char *expected);

/* Nothing is half-done in the region. */
void track_check_settled(unsigned idx, bool wrap);

#endif
