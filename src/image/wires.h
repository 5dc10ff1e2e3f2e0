/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What tells that an image file was changed: inotify(7), one instance for all images of a process,
 * since a user may have few (128, usually). Control thread.
 */
#ifndef IMAGE_WIRES_H
#define IMAGE_WIRES_H

#include <stdbool.h>

#include "base/loop.h"

/* A wire across one file: whoever changes that trips over it, once. Embedded in its owner. */
struct image_wire {
	void (*tripped)(struct image_wire *wire);
	/* The wires' own. */
	int descriptor; /* inotify's, the same for all wires of one file; -1: it is down */
	struct image_wire *next;
};

struct image_wires {
	struct loop *loop;
	struct loop_watch watch;  /* .fd: of inotify, -1: there is none */
	struct image_wire *first; /* those that are up */
	int err;                  /* why there is none, -errno */
};

/* Where there is no inotify that is told by image_wires_put_up(). */
void image_wires_open(struct image_wires *wires, struct loop *loop);
void image_wires_close(struct image_wires *wires);

/*
 * Puts a wire up across an open file, until it trips or is taken down; or leaves it up. 0 or
 * -errno.
 */
int image_wires_put_up(struct image_wires *wires, struct image_wire *wire, int fd);

/* Takes it down; or it is down already. */
void image_wires_take_down(struct image_wires *wires, struct image_wire *wire);

#endif
