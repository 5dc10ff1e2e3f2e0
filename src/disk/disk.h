/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk that is served: its image, its rings, the socket under which front-ends find it, and the
 * front-end that is connected. A process may have many. Control thread, but for what is said to be
 * any thread's.
 */
#ifndef DISK_DISK_H
#define DISK_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/counters.h"
#include "disk/disk_config.h"

struct disk;

/* What whoever has a disk hears of it. On the control thread, never from within a call. */
struct disk_events {
	/*
	 * Once: its front-ends are served from now on (0), or it cannot be served (-errno, logged;
	 * -ECANCELED, not logged: after disk_stop()), and is to be destroyed.
	 */
	void (*opened)(void *opaque, int err);
	/*
	 * Once after that: it serves nobody and will not any more, after disk_stop(), or when a
	 * connection that was handed in is over; status 1 (EXIT_FAILURE): since something failed.
	 */
	void (*ended)(void *opaque, int status);
};

/*
 * Makes a disk, which opens its image and gets its socket, on a thread of its own, since either may
 * take its time (disk/openings.h), and then begins to accept front-ends (or serves the one
 * connection there is). 0 or -ENOMEM (logged). `config`, `process` and `events` have to live as
 * long.
 */
int disk_create(struct disk **diskp, const struct disk_config *config,
		const struct disk_process *process, const struct disk_events *events, void *opaque);

/*
 * It has not opened, or has ended, or the process ends. NULL is allowed. A thread of its own closes
 * the image, for that may take its time, too.
 */
void disk_destroy(struct disk *disk);

/*
 * Accepts nobody any more, ends the session, or leaves it for the next process (`leave_session`) if
 * it is kept; then it has ended, with status 0.
 */
void disk_stop(struct disk *disk, bool leave_session);

/* Why it could not be opened, in words; "": nothing is known. After opened(). */
const char *disk_why(const struct disk *disk);

struct disk_facts {
	bool connected; /* to a front-end */
	bool read_only;
	uint64_t size; /* bytes, as the guest is told */
	unsigned block_size;
	unsigned n_queues;  /* that are served */
	const char *target; /* where its I/O goes: an engine's name */
};

/* What is to be seen of it; false: it is not open yet. */
bool disk_look(const struct disk *disk, struct disk_facts *facts);

/* Has it a front-end, which is not about to leave? */
bool disk_is_connected(const struct disk *disk);

/*
 * What was counted of the disk since it was opened; and of ring `index` since its start (false: it
 * is not served).
 */
void disk_counters(const struct disk *disk, struct disk_counters *counters);
bool disk_ring_counters(const struct disk *disk, unsigned index, struct ring_counters *counters);

/* Does it keep others from this image, which is another disk's? */
bool disk_holds(const struct disk *disk, const struct image *image);

/* The limit that its requests have waited for last, as "iops-total"; NULL: it is not open. */
const char *disk_waited_for(const struct disk *disk);

/* What may change of its configuration under a front-end has, and counts from now on. */
void disk_config_changed(struct disk *disk);

/* Logs what the session is at, its rings, and what was counted. */
void disk_report(struct disk *disk);

/* Looks whether the image has grown. That it has not is logged if it was asked for of this disk. */
void disk_check_size(struct disk *disk, bool asked);

/* Some front-end's memory was lost (vublk_guard_memory()): ends the session if it is this one's. */
void disk_check_memory(struct disk *disk);

/* See listener_unlink(). Any thread, when the process ends. */
void disk_unlink(struct disk *disk);

#endif
