/* SPDX-License-Identifier: BSD-3-Clause */
/* What an operator says of a disk, and what disks find in their process. */
#ifndef DISK_DISK_CONFIG_H
#define DISK_DISK_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>

#include "disk/listener.h"
#include "image/image.h"
#include "io/engine.h"

/* Strings have to live as long as the disk. */
struct disk_config {
	const char *name;   /* for messages, printable */
	const char *serial; /* at most 20 bytes, printable ASCII */
	struct image_options image;
	struct listener_config listener;
	unsigned num_queues;   /* 1 to 256 */
	bool postcopy;         /* front-ends are trusted with this process's memory */
	unsigned seg_max;      /* 1 to BLK_SEG_MAX_MOST */
	bool lock;             /* the image */
	unsigned lock_timeout; /* seconds; 0: do not wait */
};

struct loop;
struct worker;

/* What all disks of a process share. Constant while there are disks, but for `stopping`. */
struct disk_process {
	struct loop *loop;
	struct worker *const *worker; /* num_workers of them, at least 1 */
	unsigned num_workers;
	const struct engine *engine; /* that the workers have */
	bool engine_insisted;        /* no other target will do for files */
	bool iopoll; /* images have to be such that it can be polled for their I/O */
	const atomic_bool *stopping; /* nothing is to be waited for any more */
};

#endif
