/* SPDX-License-Identifier: BSD-3-Clause */
/* See io/epoll.h. */
#include "io/epoll.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "io/internal.h"

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define BATCH     64 /* events taken at once; epoll rotates what is left, so none starves */

int engine_epoll_open(struct engine_epoll *ep)
{
	*ep = (struct engine_epoll){.fd = epoll_create1(EPOLL_CLOEXEC)};
	if (ep->fd < 0)
		return -errno;
	engine_watches_init(&ep->watches);
	return 0;
}

void engine_epoll_close(struct engine_epoll *ep)
{
	engine_watches_destroy(&ep->watches);
	close(ep->fd);
}

int engine_epoll_watch(struct engine_epoll *ep, struct engine_watch *watch)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	int ret = engine_watches_add(&ep->watches, watch), slot = watch->slot;

	if (ret)
		return ret;
	event.data.u64 = engine_watches_tag(&ep->watches, slot);
	if (epoll_ctl(ep->fd, EPOLL_CTL_ADD, watch->fd, &event) == 0)
		return 0;
	ret = -errno;
	engine_watches_end(&ep->watches, watch);
	engine_watches_free(&ep->watches, slot);
	return ret;
}

void engine_epoll_unwatch(struct engine_epoll *ep, struct engine_watch *watch)
{
	int slot = watch->slot;

	if (!engine_watches_has(&ep->watches, watch))
		return;
	epoll_ctl(ep->fd, EPOLL_CTL_DEL, watch->fd, NULL);
	engine_watches_end(&ep->watches, watch);
	engine_watches_free(&ep->watches, slot);
}

static int wait_for_events(struct engine_epoll *ep, struct epoll_event *events, int64_t timeout_ns)
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

int engine_epoll_run(struct engine_epoll *ep, struct engine *engine, int64_t timeout_ns)
{
	struct epoll_event events[BATCH];
	struct watch_slot *slot;
	int n = wait_for_events(ep, events, timeout_ns);

	ep->skipped = 0;
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		/* Looked up only now: an earlier one's ready() may have ended this watch. */
		slot = engine_watches_find(&ep->watches, events[i].data.u64);
		if (slot)
			engine_ready(engine, slot->watch);
	}
	return 0;
}

int engine_epoll_supports(int fd)
{
	int ret = 0, trial = epoll_create1(EPOLL_CLOEXEC);

	if (trial < 0)
		return -errno;
	if (epoll_ctl(trial, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN}) < 0)
		ret = -errno;
	close(trial);
	return ret;
}
