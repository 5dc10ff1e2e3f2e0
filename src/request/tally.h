/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts the requests of a queue that complete. Worker thread.
 *
 * Theory of operation. Time is that of iterations: the worker's clock is read once in one, at most
 * (base/clock.h), when there is something to time. So of those that were fetched together and
 * complete together each has the same latency, and if they are of one type, too, they are counted
 * at once: one of many costs two comparisons and two additions. What has been gathered is put into
 * the counters when something else completes, and before the iteration's completions are
 * published: a driver that has seen its answer finds it counted.
 */
#ifndef REQUEST_TALLY_H
#define REQUEST_TALLY_H

#include "request/env.h"
#include "request/request.h"

/* The last one was different: counts what there is, and begins with this one. */
void blk_tally_change(struct blk_req *req, int err);

/* It is done; err is what it is answered with, 0 or -errno. */
static inline void blk_tally_add(struct blk_req *req, int err)
{
	struct blk_tally *tally = &req->env->tally;

	if (__builtin_expect(err || tally->begun != req->begun || tally->type != req->type, 0)) {
		blk_tally_change(req, err);
		return;
	}
	tally->n++;
	tally->bytes += req->size;
}

/* Counts what was gathered, in the iteration in which it was. */
void blk_tally_flush(struct blk_env *env);

#endif
