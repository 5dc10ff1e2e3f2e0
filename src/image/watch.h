/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A wire that whoever changes the image file trips over, so that one that has grown is noticed, and
 * a truncated one though nobody reads what was cut off (image/end.h).
 *
 * Theory of operation. inotify(7) tells of changes to the file, our own writes among them, which
 * must cost nothing. So it tells once (IN_ONESHOT), and the wire is put up again WATCH_PAUSE_NS
 * later. While the guest writes the size is so looked at ten times a second; while it does not, the
 * wire is up and nothing wakes.
 *
 * What is left: while the guest keeps a worker busy with writes, a truncation is noticed up to
 * WATCH_PAUSE_NS late, and what it writes meanwhile beyond the new end makes the file grow, though
 * never up to its old size. The same holds for what another host does on a network file system, as
 * late as this one hears of it. A block device has no such wire: its size is looked at when rings
 * begin to run, and when somebody asks.
 */
#ifndef IMAGE_WATCH_H
#define IMAGE_WATCH_H

#include <stdbool.h>

#include "base/loop.h"
#include "image/end.h"
#include "image/wires.h"

#define WATCH_PAUSE_NS UINT64_C(100000000)

struct image_watch {
	struct image_end *end;
	struct loop *loop;
	struct image_wires *wires; /* NULL until it is opened */
	struct image_wire wire;
	bool works; /* the file can be watched */
	struct loop_timer pause;
	bool running;
	void (*grown)(struct image_watch *watch); /* the disk is larger from now on */
};

/*
 * Makes it; the process has the wires. Where there is no inotify it says so, and does without.
 * Control thread, as are all.
 */
void image_watch_open(struct image_watch *watch, struct image_end *end, struct loop *loop,
		      struct image_wires *wires, void (*grown)(struct image_watch *watch));
void image_watch_close(struct image_watch *watch);

/* Puts the wire up, and looks at the size; and takes it down: for as long as rings run. */
void image_watch_start(struct image_watch *watch);
void image_watch_stop(struct image_watch *watch);

/* Looks at the size now. Has the disk grown? Then grown() was called. */
bool image_watch_look(struct image_watch *watch);

#endif
