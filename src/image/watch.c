/* SPDX-License-Identifier: BSD-3-Clause */
/* See image/watch.h. Control thread. */
#include "image/watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/container.h"
#include "base/log.h"

/* Puts the wire up, or leaves it up. */
static int put_up(const struct image_watch *watch)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", watch->end->image->fd);
	return inotify_add_watch(watch->tripped.fd, path, IN_MODIFY | IN_ONESHOT);
}

static void take_down(const struct image_watch *watch)
{
	const int wire = put_up(watch);

	if (wire >= 0)
		inotify_rm_watch(watch->tripped.fd, wire);
}

static void drain(const struct image_watch *watch)
{
	_Alignas(struct inotify_event) char events[4096];

	while (read(watch->tripped.fd, events, sizeof(events)) > 0)
		;
}

bool image_watch_look(struct image_watch *watch)
{
	const bool grown = image_end_look(watch->end);

	if (grown)
		watch->grown(watch);
	return grown;
}

static void tripped(struct loop_watch *loop_watch, uint32_t events)
{
	struct image_watch *watch = container_of(loop_watch, struct image_watch, tripped);

	(void)events;
	image_watch_look(watch);
	drain(watch);
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
		      void (*grown)(struct image_watch *watch))
{
	int err = 0;

	*watch = (struct image_watch){
		.end = end,
		.loop = loop,
		.tripped = {.fd = -1, .ready = tripped},
		.pause = {.fire = paused},
		.grown = grown,
	};
	if (end->image->fd < 0 || end->image->is_device)
		return;
	watch->tripped.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->tripped.fd < 0)
		err = -errno;
	else if (put_up(watch) < 0)
		err = -errno;
	else
		err = loop_watch(loop, &watch->tripped, EPOLLIN);
	if (!err) {
		take_down(watch);
		return;
	}
	log_info("%s: the image cannot be watched (inotify: %s): should it grow, SIGHUP has that "
		 "noticed, and should it be truncated, the next read beyond its end",
		 end->name, strerror(-err));
	if (watch->tripped.fd >= 0)
		close(watch->tripped.fd);
	watch->tripped.fd = -1;
}

void image_watch_close(struct image_watch *watch)
{
	image_watch_stop(watch);
	if (watch->tripped.fd < 0)
		return;
	loop_unwatch(watch->loop, &watch->tripped);
	close(watch->tripped.fd);
	watch->tripped.fd = -1;
}

void image_watch_start(struct image_watch *watch)
{
	if (watch->tripped.fd >= 0 && !watch->running) {
		watch->running = true;
		put_up(watch);
	}
	image_watch_look(watch);
}

void image_watch_stop(struct image_watch *watch)
{
	if (!watch->running)
		return;
	watch->running = false;
	loop_clear_timer(watch->loop, &watch->pause);
	take_down(watch);
}
