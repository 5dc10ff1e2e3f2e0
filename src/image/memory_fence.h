/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O outlives the process that asked for it: what a killed daemon was reading still arrives in the
 * guest's memory, when its successor has long answered the request and the guest has something
 * else there. The lock of an image that is written keeps the successor waiting; one that is only
 * read may have many readers.
 *
 * So each session locks the files by which the guest is known: the in-flight region's, which is one
 * disk's, and that of the guest memory, in which each disk of the guest has a byte of its own, told
 * by the disk's socket. What is locked is an open file of our own, which lives as long as the
 * process or, registered with its io_uring, until the last request of that has ended.
 */
#ifndef IMAGE_MEMORY_FENCE_H
#define IMAGE_MEMORY_FENCE_H

#include <stdint.h>

struct vublk_dev;

#define MEMORY_FENCE_FILES 2

struct memory_fence {
	/* To be registered with each target whose I/O reaches the memory; -1: none. */
	int fd[MEMORY_FENCE_FILES];
};

/* With nothing taken. */
void memory_fence_init(struct memory_fence *fence);

/*
 * Takes it for the session that the device has, or, where a file cannot be locked, does without
 * (logged as information, under `name`). `identity` is the same for who serves the same disk of the
 * guest after us, and another for other disks; 0: it is not known, and nobody can come after us but
 * with the in-flight region. 0, or -EAGAIN: another process's still stands. Control thread.
 */
int memory_fence_take(struct memory_fence *fence, const struct vublk_dev *dev, uint64_t identity,
		      const char *name);

/* Lets go of it; nothing may be in flight. */
void memory_fence_release(struct memory_fence *fence);

#endif
