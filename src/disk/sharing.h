/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is the memory that a front-end shares what the guest sees? If not (QEMU's memory backend without
 * share=on gives the guest a private copy), the guest kicks, its requests are in no ring, and it
 * hangs without a word. This notices, and says it.
 *
 * Theory of operation. Workers note that a ring was kicked, and that something was in one. A while
 * after the first ring of a session has started, and again with growing pauses, the control thread
 * looks: nothing was ever there although a ring was kicked twice (QEMU's kick descriptor is
 * readable from the start, without a kick), or once and almost nothing of the memory's file is in
 * use, where at least a firmware would be. Whoever has had a request is never looked at again.
 */
#ifndef DISK_SHARING_H
#define DISK_SHARING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/loop.h"
#include "queue/sharing_signs.h"

struct vublk_dev;

struct sharing {
	struct sharing_signs signs;
	const char *name; /* of the disk, for messages */
	struct loop *loop;
	const struct vublk_dev *dev;
	struct loop_timer timer;
	uint64_t pause_ns; /* until the next look */
	struct log_limit limit;
};

/* `name` and `dev` have to live as long. Control thread, as are all. */
void sharing_init(struct sharing *sharing, const char *name, struct loop *loop,
		  const struct vublk_dev *dev);

/* Rings begin to run; none runs any more. */
void sharing_start(struct sharing *sharing);
void sharing_stop(struct sharing *sharing);

#endif
