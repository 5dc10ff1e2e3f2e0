/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk that has become larger, and that its front-end is told so. Control thread.
 *
 * Theory of operation. A front-end knows the size that it has read from the configuration space in
 * this session, or none: QEMU reads it when its device is made, and after a reconnection goes on
 * with what an earlier process told it. So it is told when the disk grows, and when rings begin to
 * run and the size is not what it has read; thus once after each reconnection, and, should it not
 * have listened, at the next start of its rings. Being told of what it knows harms no front-end;
 * but the guest of some logs it. The library holds it back until rings run, which is when QEMU
 * listens.
 *
 * Where the front-end's channel is full it is tried again, RESIZE_TRIES times.
 */
#ifndef DISK_RESIZE_H
#define DISK_RESIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/loop.h"
#include "image/end.h"

#define RESIZE_RETRY_NS UINT64_C(200000000)
#define RESIZE_TRIES    50u

struct vublk_dev;

struct resize {
	const char *name; /* of the disk, for messages */
	struct loop *loop;
	struct vublk_dev *dev;
	const struct image_end *end;
	uint64_t known; /* bytes that the front-end has read of, 0: none in this session */
	bool running;   /* rings do, or are about to */
	struct loop_timer retry;
	unsigned tries; /* left */
	struct log_limit limit;
};

/* All that it is given has to live as long. */
void resize_init(struct resize *resize, const char *name, struct loop *loop, struct vublk_dev *dev,
		 const struct image_end *end);

/* The disk has grown. */
void resize_grown(struct resize *resize);

/* The front-end reads the configuration space, as it is now. */
void resize_read(struct resize *resize);

/* Rings begin to run; none runs any more; the session is over. */
void resize_start(struct resize *resize);
void resize_stop(struct resize *resize);
void resize_end_session(struct resize *resize);

#endif
