/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process: its loop, its signals, its workers, and the disk that it serves. There is one, for a
 * process has its signals and its guard of memory once. Control thread.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "daemon/workers.h"
#include "disk/disk_config.h"

/* What an operator says of the process. */
struct daemon_config {
	struct workers_config workers;
	unsigned stop_timeout; /* seconds; 0: do not wait */
};

/*
 * Serves the disk until SIGTERM, SIGINT, or the end of a connection that was handed in. Returns the
 * exit status: 0, or 1 when something cannot be had (logged). Both have to live until the process
 * ends: a thread that is never joined may use them.
 */
int daemon_run(const struct daemon_config *config, const struct disk_config *disk);

#endif
