/* SPDX-License-Identifier: BSD-3-Clause */
/* See image/watch.h. Control thread. */
#include "image/watch.h"

#include <string.h>

#include "base/container.h"
#include "base/log.h"

static int put_up(struct image_watch *watch)
{
	return image_wires_put_up(watch->wires, &watch->wire, watch->end->image->fd);
}

bool image_watch_look(struct image_watch *watch)
{
	const bool grown = image_end_look(watch->end);

	if (grown)
		watch->grown(watch);
	return grown;
}

static void tripped(struct image_wire *wire)
{
	struct image_watch *watch = container_of(wire, struct image_watch, wire);

	image_watch_look(watch);
	if (watch->running && !watch->pause.set)
		loop_set_timer(watch->loop, &watch->pause, WATCH_PAUSE_NS);
}

static void paused(struct loop_timer *timer)
{
	struct image_watch *watch = container_of(timer, struct image_watch, pause);

	put_up(watch);
	image_watch_look(watch);
}

void image_watch_open(struct image_watch *watch, struct image_end *end, struct loop *loop,
		      struct image_wires *wires, void (*grown)(struct image_watch *watch))
{
	int err;

	*watch = (struct image_watch){
		.end = end,
		.loop = loop,
		.wires = wires,
		.wire = {.tripped = tripped, .descriptor = -1},
		.pause = {.fire = paused},
		.grown = grown,
	};
	if (end->image->fd < 0 || end->image->is_device)
		return;
	err = put_up(watch);
	watch->works = !err;
	if (err)
		log_info("%s: the image cannot be watched (inotify: %s): should it grow, SIGHUP "
			 "has that noticed, and should it be truncated, the next read beyond its "
			 "end",
			 end->name, strerror(-err));
	image_wires_take_down(wires, &watch->wire);
}

void image_watch_close(struct image_watch *watch)
{
	if (watch->wires)
		image_watch_stop(watch);
}

void image_watch_start(struct image_watch *watch)
{
	if (watch->works && !watch->running) {
		watch->running = true;
		put_up(watch);
	}
	image_watch_look(watch);
}

void image_watch_stop(struct image_watch *watch)
{
	watch->running = false;
	loop_clear_timer(watch->loop, &watch->pause);
	image_wires_take_down(watch->wires, &watch->wire);
}
