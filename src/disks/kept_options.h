/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a disk of the API is told, which is written down nowhere else, with whoever keeps
 * descriptors (base/fdstore.h): the next process has the disk again, and goes on with its session.
 * A memfd for each disk, as v.o.NUMBER (hexadecimal), which has two places for the text and says
 * which one holds, so that a change is made by one store, and needs no descriptor more. The text is
 * of strings that each end with a NUL: the disk's name, and names of options and their values in
 * turn. Control thread.
 */
#ifndef DISKS_KEPT_OPTIONS_H
#define DISKS_KEPT_OPTIONS_H

#include <stdint.h>

#include "config/disk_options.h"

/* One disk's. All zero: they are not kept. */
struct kept_options {
	uint32_t number;
	int fd; /* of ours, if there is a number */
};

/* Has them kept, in the place of what was before, if anybody keeps. If that cannot be: logged. */
void kept_options_keep(struct kept_options *kept, const struct disk_options *options);

/* Not any more. */
void kept_options_forget(struct kept_options *kept);

/* Lets go of them here, for the next process to have. */
void kept_options_leave(struct kept_options *kept);

/*
 * What an earlier process has left: run() for each, in the order of their numbers, and takes both
 * over. What cannot be followed is logged, and left to fdstore_drop_rest(). After fdstore_open(),
 * once.
 */
void kept_options_each(const struct disk_host *host,
		       void (*run)(void *opaque, struct disk_options *options,
				   struct kept_options kept),
		       void *opaque);

#endif
