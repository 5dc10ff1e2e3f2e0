/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which worker serves a queue. Of workers on which the queue's own disk has the fewest queues it is
 * one that has had least to do lately, in steps of a quarter of its time, and of these one that has
 * the fewest of all disks; so the queues of each disk are spread evenly, and disks that have one
 * queue each meet neither on the first worker nor where another one is at work. Where there is
 * still a choice queue i goes to worker i mod N, or to the next one after it: with one disk, where
 * it always goes, for what workers do counts only beside queues of other disks. Workers that the
 * disk's configuration does not name are left out, as if there were none but the others.
 *
 * A queue stays where it is for as long as it runs. Control thread.
 */
#ifndef DISK_PLACEMENT_H
#define DISK_PLACEMENT_H

#include <stdint.h>

/* All zero, but for the first two, there is no queue. */
struct placement {
	unsigned num_workers;
	/* How much of its time a worker has worked lately, percent. */
	unsigned (*load)(const struct placement *placement, unsigned worker);
	unsigned *queues; /* by worker, of all disks */
};

/* Of num_workers, 1 to WORKERS_MOST. 0 or -ENOMEM. */
int placement_init(struct placement *placement, unsigned num_workers,
		   unsigned (*load)(const struct placement *placement, unsigned worker));
void placement_end(struct placement *placement);

/*
 * The worker for queue `index` of a disk that has so many queues `own` by worker, and may have them
 * on those whose bits are set in `among` (0: on any; one at least is there): it has one more now.
 * And one less: the queue has ended.
 */
unsigned placement_take(struct placement *placement, unsigned *own, unsigned index, uint64_t among);
void placement_give_back(struct placement *placement, unsigned *own, unsigned worker);

#endif
