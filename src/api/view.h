/* SPDX-License-Identifier: BSD-3-Clause */
/* What the API sees of the process. Control thread. */
#ifndef API_VIEW_H
#define API_VIEW_H

#include "base/loop.h"
#include "config/disk_options.h"
#include "disks/disks.h"

struct events;
struct worker;

/* All of it has to live as long as the API. */
struct api_view {
	struct loop *loop;
	struct disks *disks;
	const struct disk_host *host;
	struct worker *const *worker; /* num_workers of them */
	unsigned num_workers;
	struct events *events; /* NULL until there is an API */
	char instance[17];     /* of this process, and of no other one */
	/* Reads the configuration again: how many things are wrong (logged). */
	unsigned (*reload)(const struct api_view *view);
	/* Has every disk been opened, or has that taken so long that nobody waits for it? */
	bool (*is_ready)(const struct api_view *view);
	/*
	 * Asks for another process, which goes on with all of it: 0; -EOPNOTSUPP: nobody would
	 * start one; -EBUSY: this one ends already; -EAGAIN: it is not ready yet.
	 */
	int (*upgrade)(const struct api_view *view);
	/* Once: the API is there (0), or will not be (-errno, logged). */
	void (*settled)(struct api_view *view, int err);
};

#endif
