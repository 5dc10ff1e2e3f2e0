/* SPDX-License-Identifier: BSD-3-Clause */
/* See image/wires.h. */
#include "image/wires.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/container.h"

static void unlink_wire(struct image_wires *wires, const struct image_wire *wire)
{
	struct image_wire **at = &wires->first;

	while (*at != wire)
		at = &(*at)->next;
	*at = wire->next;
}

static struct image_wire *find(const struct image_wires *wires, int descriptor)
{
	struct image_wire *wire = wires->first;

	while (wire && wire->descriptor != descriptor)
		wire = wire->next;
	return wire;
}

/* All wires of that file (-1: of any): first they are down, for one may put itself up again. */
static void trip(struct image_wires *wires, int descriptor)
{
	struct image_wire **at = &wires->first, *tripped = NULL;

	while (*at) {
		struct image_wire *wire = *at;

		if (descriptor >= 0 && wire->descriptor != descriptor) {
			at = &wire->next;
			continue;
		}
		*at = wire->next;
		wire->descriptor = -1;
		wire->next = tripped;
		tripped = wire;
	}
	while (tripped) {
		struct image_wire *wire = tripped;

		tripped = wire->next;
		wire->tripped(wire);
	}
}

static void ready(struct loop_watch *watch, uint32_t events)
{
	struct image_wires *wires = container_of(watch, struct image_wires, watch);
	_Alignas(struct inotify_event) char buffer[4096];
	ssize_t n;

	(void)events;
	while ((n = read(watch->fd, buffer, sizeof(buffer))) > 0) {
		const struct inotify_event *event;

		for (ssize_t at = 0; at < n; at += (ssize_t)(sizeof(*event) + event->len)) {
			event = (const struct inotify_event *)(buffer + at);
			if (event->mask & (IN_MODIFY | IN_Q_OVERFLOW))
				trip(wires, event->wd);
		}
	}
}

void image_wires_open(struct image_wires *wires, struct loop *loop)
{
	*wires = (struct image_wires){
		.loop = loop,
		.watch = {.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .ready = ready},
	};
	if (wires->watch.fd < 0)
		wires->err = -errno;
	else
		wires->err = loop_watch(loop, &wires->watch, EPOLLIN);
	if (!wires->err || wires->watch.fd < 0)
		return;
	close(wires->watch.fd);
	wires->watch.fd = -1;
}

void image_wires_close(struct image_wires *wires)
{
	if (wires->watch.fd < 0)
		return;
	loop_unwatch(wires->loop, &wires->watch);
	close(wires->watch.fd);
	wires->watch.fd = -1;
}

int image_wires_put_up(struct image_wires *wires, struct image_wire *wire, int fd)
{
	char path[32];
	int descriptor;

	if (wire->descriptor >= 0)
		return 0;
	if (wires->watch.fd < 0)
		return wires->err;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	descriptor = inotify_add_watch(wires->watch.fd, path, IN_MODIFY | IN_ONESHOT);
	if (descriptor < 0)
		return -errno;
	wire->descriptor = descriptor;
	wire->next = wires->first;
	wires->first = wire;
	return 0;
}

void image_wires_take_down(struct image_wires *wires, struct image_wire *wire)
{
	const int descriptor = wire->descriptor;

	if (descriptor < 0)
		return;
	unlink_wire(wires, wire);
	wire->descriptor = -1;
	/* One file may be many disks'. */
	if (!find(wires, descriptor))
		inotify_rm_watch(wires->watch.fd, descriptor);
}
