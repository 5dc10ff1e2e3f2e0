/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rings of a disk: its vhost-user device, the queues that workers serve for it, and the lock
 * that has to be had before they run. Control thread.
 */
#ifndef DISK_RINGS_H
#define DISK_RINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/disk_config.h"

struct disk_counters;
struct image;
struct image_end;
struct ring_counters;
struct rings;
struct vublk_dev;

/* What they tell whoever feeds the device a socket (disk/frontend.c). */
struct rings_events {
	void (*resume)(void *opaque, bool again); /* see struct vublk_ops */
	void (*disconnected)(void *opaque);
	int (*watch_state)(void *opaque, int fd);
};

/*
 * Makes those of an image that is open, and stays its owner's. 0 or -errno. The configuration, the
 * image and what the process has have to live as long.
 */
int rings_create(struct rings **ringsp, const struct disk_config *config, const struct image *image,
		 const struct disk_process *process, const struct rings_events *events,
		 void *opaque);

/* The device must not be connected. NULL is allowed. */
void rings_destroy(struct rings *rings);

/* What was counted since they were made; of ring `index` since its start (false: not served). */
void rings_counters(const struct rings *rings, struct disk_counters *counters);
bool rings_ring_counters(const struct rings *rings, unsigned index, struct ring_counters *counters);

/* Looks whether the image has grown. Has it? Then that was logged, and the front-end is told. */
bool rings_look_at_size(struct rings *rings);
const struct image_end *rings_image_end(const struct rings *rings);

/* The vhost-user device, which lives as long. */
struct vublk_dev *rings_device(struct rings *rings);

/* The disk's name, for messages; and that of where its I/O goes. */
const char *rings_name(const struct rings *rings);
const char *rings_target_name(const struct rings *rings);

/* How many queues are served, or wait for the image's lock. */
unsigned rings_running(const struct rings *rings);

/* Tells what has happened to the disk: see struct disk_process. */
void rings_tell(const struct rings *rings, const char *event, const char *detail);

/*
 * By what the disk's front-end knows it, so that a successor can be told from another disk of the
 * same guest: not 0 and unlike all other disks', or 0: by nothing. Before the first connection.
 */
void rings_set_identity(struct rings *rings, uint64_t identity);

/*
 * The configuration's limits, which have been checked by limits_config_check(), or its no_poll have
 * changed: they hold from now on, limits also for requests that wait.
 */
void rings_config_changed(struct rings *rings);

/* Are others kept from the image? */
bool rings_hold_image(const struct rings *rings);

/* The limit that requests have waited for last, as "iops-total". */
const char *rings_waited_for(struct rings *rings);

/* Ends the session. */
void rings_disconnect(struct rings *rings);

#endif
