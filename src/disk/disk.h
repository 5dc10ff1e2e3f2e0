/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk that is served: its image, its rings, the socket under which front-ends find it, and the
 * front-end that is connected. A process may have many. Control thread, but for what is said to be
 * any thread's.
 */
#ifndef DISK_DISK_H
#define DISK_DISK_H

#include "disk/disk_config.h"

struct disk;

/*
 * Opens the image, makes the device, gets the socket, and begins to accept front-ends (or serves
 * the one connection there is). 0, or -errno (logged; -ECANCELED, not logged: the process is
 * stopping). `config` and `process` have to live as long.
 *
 * ended(opaque, status) is called once, when the disk serves nobody and will not any more: after
 * disk_stop(), or when a connection that was handed in is over; status 1 (EXIT_FAILURE): since
 * something failed.
 */
int disk_create(struct disk **diskp, const struct disk_config *config,
		const struct disk_process *process, void (*ended)(void *opaque, int status),
		void *opaque);

/* It must not be connected. NULL is allowed. */
void disk_destroy(struct disk *disk);

/* Accepts nobody any more, ends the session; then it has ended, with status 0. */
void disk_stop(struct disk *disk);

/* Logs what is served, and how; what the session is at, and its rings. */
void disk_introduce(const struct disk *disk);
void disk_report(const struct disk *disk);

/* Looks whether the image has grown, and logs its size if not. */
void disk_check_size(struct disk *disk);

/* Some front-end's memory was lost (vublk_guard_memory()): ends the session if it is this one's. */
void disk_check_memory(struct disk *disk);

/* See listener_unlink(). Any thread, when the process ends. */
void disk_unlink(struct disk *disk);

#endif
