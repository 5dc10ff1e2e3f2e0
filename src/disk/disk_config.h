/* SPDX-License-Identifier: BSD-3-Clause */
/* What an operator says of a disk, and what disks find in their process. */
#ifndef DISK_DISK_CONFIG_H
#define DISK_DISK_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/listener.h"
#include "image/image.h"
#include "io/engine.h"
#include "request/limits.h"

#define WORKERS_MOST 64 /* of a process */

/* Strings have to live as long as the disk. */
struct disk_config {
	const char *name;   /* for messages, printable */
	const char *serial; /* at most 20 bytes, printable ASCII */
	struct image_options image;
	struct listener_config listener;
	struct limits_config limits; /* checked by limits_config_check() */
	unsigned num_queues;         /* 1 to 256 */
	uint64_t workers;            /* that its queues may go to, a bit each; 0: any */
	bool no_poll;                /* its queues are no reason for a worker to poll */
	bool postcopy;               /* front-ends are trusted with this process's memory */
	unsigned seg_max;            /* 1 to BLK_SEG_MAX_MOST */
	bool lock;                   /* the image */
	unsigned lock_timeout;       /* seconds; 0: do not wait */
};

struct image_wires;
struct kept_sessions;
struct kept_sockets;
struct loop;
struct openings;
struct placement;
struct worker;

/*
 * What all disks of a process share. Constant while there are disks, but for what the placement and
 * the openings hold.
 */
struct disk_process {
	struct loop *loop;
	struct image_wires *wires;
	struct worker *const *worker; /* num_workers of them, at least 1 */
	unsigned num_workers;
	struct placement *placement;    /* of their queues on these */
	struct openings *openings;      /* of these disks */
	struct kept_sessions *sessions; /* that outlive the process */
	struct kept_sockets *sockets;   /* the same */
	const struct engine *engine;    /* that the workers have */
	bool engine_insisted;           /* no other target will do for files */
	/* Tells whoever wants to know what has happened to a disk; `detail` may be NULL. */
	void (*tell)(const struct disk_process *process, const struct disk_config *config,
		     const char *event, const char *detail);
	/* What operators call the disk that keeps others from this image; NULL: none does. */
	const char *(*holder_of)(const struct disk_process *process, const struct image *image);
	bool iopoll; /* images have to be such that it can be polled for their I/O */
};

#endif
