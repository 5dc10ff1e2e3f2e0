/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One served disk: its image with the lock on it, its vhost-user device, and the queues that
 * workers serve for it. Control thread.
 */
#ifndef DISK_DISK_H
#define DISK_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

/* What an operator says of a disk. Strings have to live as long as the disk. */
struct disk_config {
	const char *name;      /* for messages, printable */
	const char *serial;    /* at most 20 bytes, printable ASCII */
	unsigned num_queues;   /* 1 to 256 */
	unsigned seg_max;      /* 1 to BLK_SEG_MAX_MOST */
	bool lock;             /* the image */
	unsigned lock_timeout; /* seconds; 0: do not wait */
};

struct disk;
struct image;
struct vublk_dev;
struct worker;

/* What the disk tells whoever feeds it a socket (disk/server.c). */
struct disk_events {
	void (*resume)(void *opaque, bool again); /* see struct vublk_ops */
	void (*disconnected)(void *opaque);
};

/*
 * Makes a disk of an image that is open, and stays its owner's. 0 or -errno. The configuration, the
 * image and the workers have to live as long as the disk.
 */
int disk_create(struct disk **diskp, const struct disk_config *config, const struct image *image,
		struct loop *loop, struct worker *const *workers, unsigned num_workers,
		const struct disk_events *events, void *opaque);

/* It must not be connected. */
void disk_destroy(struct disk *disk);

/* Its vhost-user device, which lives as long as the disk. */
struct vublk_dev *disk_device(struct disk *disk);

/* For messages. */
const char *disk_name(const struct disk *disk);

/*
 * By what the disk's front-end knows it, so that a successor can be told from another disk of the
 * same guest: not 0 and unlike all other disks', or 0: by nothing. Before the first connection.
 */
void disk_set_identity(struct disk *disk, uint64_t identity);

/* Ends the session. */
void disk_disconnect(struct disk *disk);

#endif
