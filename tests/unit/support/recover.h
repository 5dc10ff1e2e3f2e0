/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process leaves that dies at a step that the test says: a ring of 8 and its region. What
 * the next process has to make of them stands in the tables of the head comments of
 * lib/vq/track*.c.
 */
#ifndef RECOVER_H
#define RECOVER_H

#include "tests/unit/support/track.h"

/* A known region of which nothing is in flight, used and available index 40. */
void recover_split(void);

/* A request in flight, in a split ring's region and in a packed one's. */
void recover_in_flight(unsigned head, uint64_t counter);
void recover_in_flight_packed(unsigned first, unsigned last, unsigned num, uint64_t counter);

/* 0 to 3 in flight, 2 and then 1 being given back. */
void recover_split_give(bool linked, bool used, unsigned cleared);

/* An entry of a packed ring's region. */
void recover_entry(unsigned i, unsigned next, unsigned id, unsigned flags);

/*
 * A ring of 8 that begins at slot 5: lists of 2 (id 1; slots 5, 6), 1 (id 2; slot 7), 2 (id 3;
 * slots 0, 1, the next lap) and 1 (id 4; slot 2), of which the first three are in flight in entries
 * 3 4, 0 and 6 1; the free ones are 5 2 7.
 */
void recover_packed(void);

/* Starts with the base that QEMU has, of long ago. */
void recover_start(void);

#endif
