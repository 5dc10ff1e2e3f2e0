/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk as JSON, and what a disk is told as JSON. Control thread. */
#ifndef API_DISK_JSON_H
#define API_DISK_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "config/disk_options.h"
#include "disks/disks.h"

/*
 * A disk, as GET shows it: the caller's reference. NULL: out of memory. With what was counted of it
 * and of its queues if it is the only one that is asked for.
 */
json_t *disk_json(const struct disks_entry *entry, bool with_counters);

/*
 * Values by the disk's rows from an object with their names: strings, numbers, booleans; null: not
 * given. They go over those in `text`; what is made for numbers is kept in `room`, as long as the
 * object. 0, or -EINVAL with one line in `error`.
 */
struct disk_json_room {
	char number[DISK_OPTIONS_MAX][32];
};
int disk_json_read(const json_t *object, const char *text[DISK_OPTIONS_MAX],
		   struct disk_json_room *room, char *error, size_t size);

#endif
