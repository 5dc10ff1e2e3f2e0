/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adjacent requests made into one operation. Worker thread.
 *
 * Theory of operation. What a queue begins in one iteration is held back by one request: if the
 * next one goes on where it ended, it is appended, and the list goes to the target as one operation
 * with the first request as its head; if not, the one that was held is submitted. So random
 * requests pay a comparison. Nothing is held beyond the iteration.
 *
 * The requests stay what they are: each was taken from the ring and is answered by itself. When the
 * operation was not done in full, its requests are sorted out: the first ones are done, one may be
 * done in part, and the rest is submitted again, one by one, so that an error finds the request
 * that it belongs to. To do again what may have been done already is harmless, as after a crash.
 */
#ifndef REQUEST_MERGE_H
#define REQUEST_MERGE_H

#include "request/request.h"

/*
 * Submits a read or write, whose io is complete, in this iteration or with the next request. If it
 * is done alone, `done` hears of it; if together with others, `unmerged`, with as many of its bytes
 * as are done for sure; its data, offset and left are as they were.
 */
void blk_merge_submit(struct blk_req *req, void (*done)(struct io *io),
		      void (*unmerged)(struct blk_req *req, uint64_t done));

/* The iteration is over: submits what is held back. */
void blk_merge_flush(struct blk_env *env);

#endif
