/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads and writes; see rw.c. Worker thread. */
#ifndef REQUEST_RW_H
#define REQUEST_RW_H

#include "request/request.h"

/* Executes a read or write: io.op and flags, data, offset and left are set. */
void blk_rw_begin(struct blk_req *req);

/*
 * A transfer from `offset` has moved `done` of `left` bytes. Returns those after which the next one
 * goes on, in whole blocks where O_DIRECT wants these; 0: once more from `offset`; -EIO: no
 * progress, twice.
 */
int64_t blk_rw_progress(struct blk_req *req, uint64_t done);

#endif
