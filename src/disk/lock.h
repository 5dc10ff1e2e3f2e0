/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What has to be had before the first ring of a session runs, and is held until the last one has
 * drained:
 *
 *	the image		nobody else uses it in a way that contradicts	image/lock.h,
 *				nor by another node of the same block device	image/claim.h
 *	the memory's fence	no I/O of an earlier process reaches the guest	image/memory_fence.h
 *
 * Each of them stands until the last I/O of a killed process has ended. So what another one holds
 * is waited for, with a timer: it may be our own dead predecessor. Control thread.
 */
#ifndef DISK_LOCK_H
#define DISK_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/loop.h"
#include "image/image.h"
#include "image/memory_fence.h"

struct disk_process;
struct vublk_dev;

struct disk_lock {
	/* Set by the owner before anything else, and left alone. */
	const char *name; /* of the disk, for messages */
	struct loop *loop;
	const struct image *image;
	const struct disk_process *process; /* which knows what its other disks have */
	bool exclusive;                     /* else (--no-lock) the memory's fence is all */
	unsigned timeout;                   /* seconds to wait */
	uint64_t identity; /* of the disk for its front-end; see memory_fence_take() */
	/* What disk_lock_take() left open is settled: 0: it is held, or -errno (logged). */
	void (*settled)(struct disk_lock *lock, int err);

	bool held;
	struct image_hold hold;
	struct memory_fence fence;
	const struct vublk_dev *dev; /* whose session waits */
	struct loop_timer timer;
	uint64_t since; /* loop_now() */
	char why[320];  /* in words, what the last attempt has met, if it was told */
	struct log_limit waits;
};

/* Makes it, of a lock whose first part is set. */
void disk_lock_init(struct disk_lock *lock);

/*
 * Takes all of it for the device's session. 0: it is held; -EAGAIN: another one's stands against
 * it, and settled() will be called, unless disk_lock_cancel() is; other -errno (logged).
 */
int disk_lock_take(struct disk_lock *lock, const struct vublk_dev *dev);

/* Does not wait any more. */
void disk_lock_cancel(struct disk_lock *lock);

/* Lets go of what is held, if anything is. */
void disk_lock_release(struct disk_lock *lock);

#endif
