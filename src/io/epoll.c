/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reactor that does without io_uring and sleeps in epoll(7). Its thread only.
 *
 * Edge-triggered, as io_uring's multishot poll is: a descriptor that its owner does not drain,
 * or a pipe whose other end has been closed to annoy us, wakes the thread once, not for ever.
 *
 * One that is run without waiting, again and again, does not look at its watches each time, for
 * that is a system call: every 1024th time, or sooner after work. Targets say how much that was
 * (reactor->unlooked).
 */
#include "io/epoll.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/container.h"
#include "io/watches.h"

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define BATCH     64 /* events taken at once; epoll rotates what is left, so none starves */

struct epoll {
	struct reactor base;
	int fd;
	bool no_pwait2; /* a kernel before 5.11: time-outs are in ms */
	struct watches watches;
};

static struct epoll *to_epoll(struct reactor *reactor)
{
	return container_of(reactor, struct epoll, base);
}

static int open_epoll(struct reactor **reactorp, const struct reactor_config *config)
{
	struct epoll *ep;

	*reactorp = NULL;
	if (!config->depth || config->depth > INT_MAX)
		return -EINVAL;
	ep = calloc(1, sizeof(*ep));
	if (!ep)
		return -ENOMEM;
	ep->base.class = &reactor_epoll;
	ep->base.config = *config;
	ep->fd = epoll_create1(EPOLL_CLOEXEC);
	if (ep->fd < 0) {
		const int err = -errno;

		free(ep);
		return err;
	}
	watches_init(&ep->watches);
	*reactorp = &ep->base;
	return 0;
}

static void close_epoll(struct reactor *reactor)
{
	struct epoll *ep = to_epoll(reactor);

	watches_destroy(&ep->watches);
	close(ep->fd);
	free(ep);
}

static int watch(struct reactor *reactor, struct reactor_watch *watch)
{
	struct epoll *ep = to_epoll(reactor);
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	int err = watches_add(&ep->watches, watch), slot = watch->slot;

	if (err)
		return err;
	event.data.u64 = watches_tag(&ep->watches, slot);
	if (epoll_ctl(ep->fd, EPOLL_CTL_ADD, watch->fd, &event) == 0)
		return 0;
	err = -errno;
	watches_end(&ep->watches, watch);
	watches_free(&ep->watches, slot);
	return err;
}

static void unwatch(struct reactor *reactor, struct reactor_watch *watch)
{
	struct epoll *ep = to_epoll(reactor);
	int slot = watch->slot;

	if (!watches_has(&ep->watches, watch))
		return;
	epoll_ctl(ep->fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watches_end(&ep->watches, watch);
	watches_free(&ep->watches, slot);
}

static int wait_for_events(struct epoll *ep, struct epoll_event *events, int64_t timeout_ns)
{
	struct timespec ts = {timeout_ns / NS_PER_S, timeout_ns % NS_PER_S};
	int64_t ms = -1;
	int n;

	if (timeout_ns > 0 && !ep->no_pwait2) {
		n = epoll_pwait2(ep->fd, events, BATCH, &ts, NULL);
		if (n >= 0 || errno != ENOSYS)
			return n;
		ep->no_pwait2 = true;
	}
	if (timeout_ns >= 0)
		ms = timeout_ns / NS_PER_MS + (timeout_ns % NS_PER_MS > 0);
	return epoll_wait(ep->fd, events, BATCH, ms < INT_MAX ? (int)ms : INT_MAX);
}

static int run(struct reactor *reactor, int64_t timeout_ns)
{
	struct epoll *ep = to_epoll(reactor);
	struct epoll_event events[BATCH];
	int n;

	if (!timeout_ns && ++reactor->unlooked < REACTOR_UNLOOKED_MOST)
		return 0;
	reactor->unlooked = 0;
	n = wait_for_events(ep, events, timeout_ns);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		/* Looked up only now: an earlier one's ready() may have ended this watch. */
		struct watch_slot *slot = watches_find(&ep->watches, events[i].data.u64);

		if (slot)
			reactor_ready(reactor, slot->watch);
	}
	return 0;
}

const struct reactor_class reactor_epoll = {
	.open = open_epoll,
	.close = close_epoll,
	.watch = watch,
	.unwatch = unwatch,
	.run = run,
};

int epoll_supports(int fd)
{
	int err = 0, trial = epoll_create1(EPOLL_CLOEXEC);

	if (trial < 0)
		return -errno;
	if (epoll_ctl(trial, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN}) < 0)
		err = -errno;
	close(trial);
	return err;
}
