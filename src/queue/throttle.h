/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a disk's limits (request/limits.h) hold of a queue's requests. The limits belong to the disk
 * and are shared by its queues, whichever workers those have; they are behind a lock, which only
 * requests of a disk that has limits meet. What is held is the queue's own: its worker's thread.
 *
 * Theory of operation. A request that has been checked asks for its turn (blk_env.admit). If that
 * is still to come it is held, and with it all of its direction that come after it; reads and
 * writes do not wait for each other. The first one held of each direction has its turn, the others
 * do not ask before they are first. One timer for both directions begins those whose turn has come,
 * and then as many as the limits let, in batches, so that they can be merged. The timer is never
 * set for less than THROTTLE_GRAIN: what becomes due meanwhile is begun with it, and nothing is
 * lost by that, since buckets hold hundreds of times as much.
 *
 * Nothing is polled for: a queue of which all requests are held rests until its timer, or a kick.
 *
 * What is held was popped: it is in flight, it is written down in the region, and it has a slot,
 * which bounds its number. A queue that has to end, or of which memory is taken away, does not wait
 * for turns: what is held begins at once and is counted all the same; the disk pays afterwards.
 */
#ifndef QUEUE_THROTTLE_H
#define QUEUE_THROTTLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "io/reactor.h"
#include "request/limits.h"
#include "request/request.h"

#define THROTTLE_GRAIN INT64_C(250000) /* ns */

struct throttle;

/* Of a disk. On cache lines of its own: workers write here what no other disk's may wait for. */
struct disk_limits {
	_Alignas(64) pthread_mutex_t lock;
	struct limits limits;
	struct throttle *queues; /* that run */
	/* What is told of that something is held; under the lock, too. NULL: nothing. */
	struct mailbox *listener;
	struct nudge holds;
	void *opaque; /* that one's */
	bool told;    /* and will not be again before disk_limits_are_calm() */
	bool held;    /* since that was asked */
};

/* Control thread, before its first queue and after its last one. The configuration is checked. */
void disk_limits_init(struct disk_limits *limits, const struct limits_config *config);
void disk_limits_destroy(struct disk_limits *limits);

/*
 * From now on run() is called, of `holds`, by this mailbox's owner when something is held: once,
 * and again for what is held when disk_limits_are_calm() has said so. Control thread, before its
 * first queue.
 */
void disk_limits_watch(struct disk_limits *limits, struct mailbox *listener,
		       void (*run)(struct nudge *nudge), void *opaque);

/* Was nothing held since this was last asked, nor is now? Any thread. */
bool disk_limits_are_calm(struct disk_limits *limits);

/* The limit that was waited for last, as "iops-total". Any thread. */
const char *disk_limits_waited_for(struct disk_limits *limits);

/*
 * Other limits from now on, for what is held, too: the workers hear of it. The configuration is
 * copied, and has been checked by limits_config_check(). Control thread, while queues run or not.
 */
void disk_limits_set(struct disk_limits *limits, const struct limits_config *config);

/* Those of one direction, in order. */
struct throttle_list {
	struct blk_req *first, **last;
	bool has_turn; /* the first one */
	int64_t turn;  /* ns, monotonic */
};

/* What its queue does for it. Worker thread. */
struct throttle_hooks {
	bool (*admit)(struct blk_req *req);        /* calls throttle_admit() */
	void (*before)(struct throttle *throttle); /* something held begins */
	/* Calls throttle_look_again(), and if the queue has ended throttle_end() once more. */
	void (*changed)(struct nudge *nudge);
};

struct throttle {
	struct disk_limits *shared; /* NULL: it has none, and gets none */
	const struct throttle_hooks *hooks;
	struct blk_env *env;
	struct reactor *reactor;
	struct throttle_list list[2]; /* reads, writes */
	unsigned n_held;
	bool limited; /* by what it has heard */
	bool open;    /* the queue ends: nothing is held any more */
	bool linked;
	struct reactor_timer timer;
	struct nudge nudge;    /* the limits have changed */
	struct throttle *next; /* of the disk's; under its lock */
	int64_t since;         /* ns; up to then time is counted; if something is held */
};

/* Of a queue that does not run. `shared` may be NULL. Control thread. */
void throttle_init(struct throttle *throttle, struct disk_limits *shared, struct blk_env *env,
		   const struct throttle_hooks *hooks);

/* ---- worker thread ---- */

/* The queue begins, or has ended: true when nothing comes from other threads any more. */
void throttle_begin(struct throttle *throttle, struct reactor *reactor);
bool throttle_end(struct throttle *throttle);

/* For blk_env.admit. */
bool throttle_admit(struct throttle *throttle, struct blk_req *req);

/* The limits are others. */
void throttle_look_again(struct throttle *throttle);

/* Nothing waits any more, now or later: what is held begins, or is abandoned if the queue is. */
void throttle_open(struct throttle *throttle);

/* The same, once, for those that `which` says and those before them. */
void throttle_hurry(struct throttle *throttle,
		    bool (*which)(const struct blk_req *req, const void *opaque),
		    const void *opaque);

#endif
