/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watching by epoll(7), for the engines whose kernel interface cannot wait for descriptors.
 * The engine's thread only.
 *
 * Edge-triggered, as io_uring's multishot poll is: a descriptor that its owner does not drain,
 * or a pipe whose other end has been closed to annoy us, wakes the thread once, not for ever.
 */
#ifndef IO_EPOLL_H
#define IO_EPOLL_H

#include "io/watches.h"

struct engine_epoll {
	int fd;
	bool no_pwait2; /* a kernel before 5.11: time-outs are in ms */
	unsigned
		skipped; /* iterations since the watches were checked; those with work count more */
	struct engine_watches watches;
};

/* 0 or -errno. */
int engine_epoll_open(struct engine_epoll *ep);
void engine_epoll_close(struct engine_epoll *ep);

/* engine_watch() and engine_unwatch(). */
int engine_epoll_watch(struct engine_epoll *ep, struct engine_watch *watch);
void engine_epoll_unwatch(struct engine_epoll *ep, struct engine_watch *watch);

/*
 * Waits at most timeout_ns (0: not at all, < 0: no limit) and calls ready() of what is there.
 * 0 or -errno; a signal is 0.
 */
int engine_epoll_run(struct engine_epoll *ep, struct engine *engine, int64_t timeout_ns);

/*
 * For an engine that is run without waiting, again and again: is it time to look at the watches?
 * Every 1024th time, or every 64th of those with completions; each such iteration's work is
 * bounded.
 */
static inline bool engine_epoll_is_due(struct engine_epoll *ep, bool worked)
{
	ep->skipped += worked ? 16 : 1;
	return ep->skipped >= 1024;
}

/* Can epoll watch this descriptor? 0 or -errno: -EPERM as for a regular file, -EBADF. */
int engine_epoll_supports(int fd);

#endif
