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

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "io/bounce.h"
#include "io/target.h"
#include "request/counters.h"
#include "request/disk.h"

struct blk_req;
struct blk_type;

/* What is held back in an iteration; all zero: nothing. See request/merge.h. */
struct blk_merge {
	struct blk_req *head, *last;
	unsigned n;      /* iovecs in all */
	unsigned merged; /* requests behind the head */
	uint64_t bytes;  /* in all */
};

/* Requests that completed in an iteration and are alike; all zero: none. See request/tally.h. */
struct blk_tally {
	uint64_t n;
	const struct blk_type *type;
	int64_t begun; /* ns: as in the requests */
	uint64_t bytes;
};

struct blk_env {
	const struct blk_disk *disk;
	struct target *target; /* where the image's I/O goes */
	int file;              /* the image, with the target */
	struct bounce_pool *bounce;
	struct bounce_user *bounce_user; /* the disk, with that pool */
	struct mailbox *mailbox;         /* calls for this thread; any thread may post */
	struct blk_counters *counters;   /* the queue's */
	struct step_clock *clock;        /* this thread's: a step is an iteration */
	unsigned queue_index;            /* for messages */
	bool abandoning;                 /* nothing is submitted any more: requests are abandoned */

	/*
	 * May it begin, which is all that is left to do? false: it is held, and blk_req_resume()
	 * or blk_req_abandon() ends that. NULL: all may.
	 */
	bool (*admit)(struct blk_req *req);

	/* Each request ends by one of these, which takes it back. */
	void (*finished)(struct blk_req *req, uint32_t written); /* bytes, for the used ring */
	void (*abandoned)(struct blk_req *req);                  /* stays in flight */
	void (*malformed)(struct blk_req *req, const char *why); /* cannot even be answered */

	/* The room's own; all zero at first, but `rested`. */
	struct blk_merge merge;  /* held back in this iteration */
	struct blk_tally tally;  /* not counted yet */
	bool sequential;         /* the last iteration merged requests; the queue clears it */
	bool rested;             /* since its last write: the image may have changed; image/end.h */
	bool zero_range_missing; /* the image has answered -EOPNOTSUPP */
	bool punch_hole_missing;
	struct log_limit io_errors;
};

#endif
