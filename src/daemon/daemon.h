/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process: its loop, its signals, its workers, and the disks that it serves. There is one, for
 * a process has its signals and its guard of memory once. Control thread.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "config/disk_options.h"
#include "daemon/workers.h"

/* What an operator says of the process. */
struct daemon_config {
	struct workers_config workers;
	struct disk_host host;       /* what follows from it for disks */
	const char *config_dir;      /* NULL: none */
	struct listener_config api;  /* .path is NULL: none */
	const char *metrics_address; /* NULL: none */
	unsigned stop_timeout;       /* seconds; 0: do not wait */
};

/*
 * What a start would find wrong with it, with that disk of the command line (or NULL) and with
 * those of the directory: how many things (each logged). Nothing is opened but files of settings.
 */
unsigned daemon_check(const struct daemon_config *config, const struct disk_options *disk);

/*
 * Serves `disk` (which it takes over; or NULL) and those of the directory until SIGTERM or SIGINT;
 * without a directory also until the end of a connection that was handed in. Returns the exit
 * status: 0, or 1 when something cannot be had (logged). The configuration has to live until the
 * process ends: a thread that is never joined may use it.
 */
int daemon_run(const struct daemon_config *config, struct disk_options *disk);

#endif
