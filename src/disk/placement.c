/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/placement.h. */
#include "disk/placement.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "disk/disk_config.h"

#define STEP 25 /* percent: workers that differ by less are equally busy */

int placement_init(struct placement *placement, unsigned num_workers,
		   unsigned (*load)(const struct placement *placement, unsigned worker))
{
	placement->num_workers = num_workers;
	placement->load = load;
	placement->queues = calloc(num_workers, sizeof(*placement->queues));
	return placement->queues ? 0 : -ENOMEM;
}

void placement_end(struct placement *placement)
{
	free(placement->queues);
	placement->queues = NULL;
}

/* Are there queues of other disks? */
static bool has_neighbours(const struct placement *placement, const unsigned *own)
{
	unsigned i = 0;

	while (i < placement->num_workers && own[i] == placement->queues[i])
		i++;
	return i < placement->num_workers;
}

/* Worker a, or b? `busy`: in steps, by worker. */
static bool is_better(const struct placement *placement, const unsigned *own, const unsigned *busy,
		      unsigned a, unsigned b)
{
	if (own[a] != own[b])
		return own[a] < own[b];
	if (busy[a] != busy[b])
		return busy[a] < busy[b];
	return placement->queues[a] < placement->queues[b];
}

unsigned placement_take(struct placement *placement, unsigned *own, unsigned index, uint64_t among)
{
	const bool beside_others = has_neighbours(placement, own);
	unsigned may[WORKERS_MOST], busy[WORKERS_MOST] = {0}, n = 0, best;

	for (unsigned i = 0; i < placement->num_workers; i++) {
		if (among && !(among >> i & 1))
			continue;
		may[n++] = i;
		if (beside_others)
			busy[i] = placement->load(placement, i) / STEP;
	}
	best = may[index % n];
	for (unsigned i = 1; i < n; i++) {
		const unsigned at = may[(index + i) % n];

		if (is_better(placement, own, busy, at, best))
			best = at;
	}
	own[best]++;
	placement->queues[best]++;
	return best;
}

void placement_give_back(struct placement *placement, unsigned *own, unsigned worker)
{
	own[worker]--;
	placement->queues[worker]--;
}
