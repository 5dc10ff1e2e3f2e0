/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * That a disk begins to be held back by its limits: told when it was not before, for as long as it
 * goes on not again, nor within THROTTLING_NS of that. Control thread.
 */
#ifndef DISK_THROTTLING_H
#define DISK_THROTTLING_H

#include "base/loop.h"
#include "queue/throttle.h"

#define THROTTLING_NS UINT64_C(10000000000) /* after so long without it is over */

struct throttling {
	struct disk_limits *limits;
	struct loop *loop;
	/* `limit` is the one that is waited for, as "iops-total". */
	void (*begins)(struct throttling *throttling, const char *limit);
	struct loop_timer timer; /* while it goes on */
};

/* Before the disk's first queue. All that it is given has to live as long. */
void throttling_init(struct throttling *throttling, struct disk_limits *limits, struct loop *loop,
		     void (*begins)(struct throttling *throttling, const char *limit));

/* After its last one. */
void throttling_end(struct throttling *throttling);

#endif
