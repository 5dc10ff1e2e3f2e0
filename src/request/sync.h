/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Syncs of the image: for flushes, and after what has to be durable before it is answered. All
 * workers share one, for they share the image's open file.
 *
 * Theory of operation. The kernel tells of a failed write-back once for each open file: the next
 * sync says that all is well, though the data is gone; of two at the same time one is told. So
 * there is never more than one sync under way. Who comes while one is, waits for the next one,
 * which covers all that was written before it began; one request, the leader, has it done by its
 * worker's target, and all who waited together get its result, each on its own worker.
 *
 *	blk_sync_join()		no sync under way: leads one at once; else waits
 *	  target		the next leader begins; then the group is answered
 *
 * A sync that failed is remembered until the image is opened again, that is, until the process is
 * restarted: what was lost cannot be told from what was not. The exception is a device without
 * the page cache: its writes told of their errors themselves, and nothing of the kernel's is lost.
 */
#ifndef REQUEST_SYNC_H
#define REQUEST_SYNC_H

#include <pthread.h>
#include <stdbool.h>

struct blk_req;

struct blk_sync {
	pthread_mutex_t lock;
	bool running;                    /* a sync is with a target, or has a leader */
	bool failed;                     /* for good */
	struct blk_req *waiting, **last; /* for the next one, in order */
};

/* Control thread, while no queue runs. */
void blk_sync_init(struct blk_sync *sync);
void blk_sync_destroy(struct blk_sync *sync);

/*
 * Answers the request when a sync that begins from now on has ended: OK, or IOERR if that failed,
 * or one did before. May answer at once. Of a queue that is being abandoned it is abandoned. The
 * request's worker.
 */
void blk_sync_join(struct blk_req *req);

/* Does it wait for the next sync, and no longer does? The request's worker. */
bool blk_sync_leave(struct blk_req *req);

#endif
