/* SPDX-License-Identifier: BSD-3-Clause */
/* How many queues of a disk drain, and saying so when that lasts. Control thread. */
#ifndef DISK_DRAINING_H
#define DISK_DRAINING_H

#include "base/loop.h"

struct draining {
	const char *name; /* of the disk, for messages */
	struct loop *loop;
	unsigned n; /* queues */
	struct loop_timer timer;
};

/* `name` and `loop` have to live as long. */
void draining_init(struct draining *draining, const char *name, struct loop *loop);

/* A queue begins to drain; has drained. */
void draining_add(struct draining *draining);
void draining_remove(struct draining *draining);

#endif
