/* SPDX-License-Identifier: BSD-3-Clause */
/* Discards and write-zeroes; see zeroes.c. Worker thread. */
#ifndef REQUEST_ZEROES_H
#define REQUEST_ZEROES_H

#include "request/request.h"

/* Executes a discard or write-zeroes of `left` bytes at `offset`. */
void blk_discard_begin(struct blk_req *req);
void blk_zeroes_begin(struct blk_req *req, bool unmap);

#endif
