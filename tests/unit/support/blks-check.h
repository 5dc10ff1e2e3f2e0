/* SPDX-License-Identifier: BSD-3-Clause */
/* What became of the requests of blks.h: the operations that the engine has, and the answers. */
#ifndef BLKS_CHECK_H
#define BLKS_CHECK_H

#include "tests/unit/support/blks.h"

/* Is operation `op` that of requests `first` to `last`, with all their pieces? */
void blks_check_op(unsigned op, unsigned first, unsigned last);

/* Is operation `op` the rest of request `i` from byte `done` on, by itself? */
void blks_check_rest(unsigned op, unsigned i, uint64_t done);

/* Was request `i` answered so, once, and with what it says done? */
void blks_check_one(unsigned i, uint8_t status);

/* Is it still in flight? */
void blks_check_open(unsigned i);

/* Was each answered so? */
void blks_check_answered(uint8_t status);

#endif
