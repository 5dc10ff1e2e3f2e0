/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the requests of one queue need of the world: where their I/O goes, which disk it is, and who
 * hears of their end. The queue owns one, and each of its requests points to it; so the code of
 * this room knows neither queues nor workers. Worker thread, but for what is said to be others' as
 * well.
 */
#ifndef REQUEST_ENV_H
#define REQUEST_ENV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/mailbox.h"
#include "io/bounce.h"
#include "io/target.h"
#include "request/disk.h"

struct blk_req;

/* What is held back in an iteration; all zero: nothing. See request/merge.h. */
struct blk_merge {
	struct blk_req *head, *last;
	unsigned n;     /* iovecs in all */
	uint64_t bytes; /* in all */
};

struct blk_env {
	const struct blk_disk *disk;
	struct target *target; /* where the image's I/O goes */
	int file;              /* the image, with the target */
	struct bounce_pool *bounce;
	struct mailbox *mailbox; /* calls for this thread; any thread may post */
	unsigned queue_index;    /* for messages */
	bool abandoning;         /* nothing is submitted any more: requests are abandoned */

	/* Each request ends by one of these, which takes it back. */
	void (*finished)(struct blk_req *req, uint32_t written); /* bytes, for the used ring */
	void (*abandoned)(struct blk_req *req);                  /* stays in flight */
	void (*malformed)(struct blk_req *req, const char *why); /* cannot even be answered */

	/* The room's own; all zero at first, but `rested`. */
	struct blk_merge merge;  /* held back in this iteration */
	bool sequential;         /* the last iteration merged requests; the queue clears it */
	bool rested;             /* since its last write: the image may have changed; image/end.h */
	bool zero_range_missing; /* the image has answered -EOPNOTSUPP */
	bool punch_hole_missing;
	struct log_limit io_errors;
};

#endif
