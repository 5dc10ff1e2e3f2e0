/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A directory of settings: NAME.conf is what the disk NAME is told. Brings the disks of a process
 * into line with it, as often as asked. What is wrong with a file is logged, and leaves the disk as
 * it was, and all others alone. Control thread.
 */
#ifndef DISKS_CONFIG_DIR_H
#define DISKS_CONFIG_DIR_H

#include "config/disk_options.h"
#include "disks/disks.h"

/*
 * Reads the directory: new disks come, those whose file has gone go (unless a front-end is
 * connected), and those whose file has changed go on with what it says now (the same). Returns how
 * many things are wrong or could not be done (each logged).
 */
unsigned config_dir_apply(const char *path, const struct disk_host *host, struct disks *disks);

/*
 * Only reads it (NULL: there is none), and returns how many things are wrong (each logged): with
 * its files, and between them, the disk of the command line (or NULL) and the API's socket (or
 * NULL).
 */
unsigned config_dir_check(const char *path, const struct disk_host *host,
			  const struct disk_options *own, const char *api_path);

#endif
