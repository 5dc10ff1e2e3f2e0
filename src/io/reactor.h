/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reactor: what a worker sleeps in. It watches descriptors (kick eventfds, the worker's
 * mailbox), keeps timers, and has the targets on it (io/target.h) hand what was submitted to the
 * kernel and deliver what has completed; with io_uring all of that is one system call. One worker
 * thread owns one reactor and is the only one that calls it, reactor_open() included (io_uring
 * rings belong to the thread that makes them).
 *
 *	target_submit(io) ... target_submit(io)		no system call
 *	reactor_run(timeout)				one: flush, wait, then io->done()
 *
 * io/uring is a reactor with a target of its own; io/epoll.c does without io_uring.
 */
#ifndef IO_REACTOR_H
#define IO_REACTOR_H

#include <stdbool.h>
#include <stdint.h>

struct reactor;

/* A watched file descriptor. Owned by the caller, who embeds it; see reactor_watch(). */
struct reactor_watch {
	int fd;
	void (*ready)(struct reactor_watch *watch);
	void (*failed)(struct reactor_watch *watch, int err); /* may be NULL; see reactor_watch() */
	int slot;                                             /* the reactor's own */
};

/* A timer. Owned by the caller, who embeds it; all zero: not set. */
struct reactor_timer {
	void (*fire)(struct reactor_timer *timer);
	/* The reactor's own. */
	int64_t at; /* ns, monotonic */
	bool set;
	struct reactor_timer *next; /* in order of time */
};

/*
 * What a target without a ring of the reactor's is asked in each reactor_run(): before it sleeps,
 * to hand over what was submitted; how long may be slept then, ns (0: something is complete; < 0:
 * no limit)? And afterwards, to deliver what has completed.
 */
struct reactor_hook {
	int64_t (*before)(struct reactor_hook *hook);
	void (*after)(struct reactor_hook *hook);
	struct reactor_hook *next; /* the reactor's own */
};

/* What only io_uring can do, and is asked for by name: open() fails if it cannot be had. */
struct uring_options {
	bool fixed_buffers; /* target_set_memory() registers memory with the kernel */
	bool iopoll;        /* wait for reads and writes by polling the device; O_DIRECT only */
	bool sqpoll;        /* a thread of the kernel's takes what is submitted; not with iopoll */
	int sqpoll_cpu;     /* the processor it stays on; -1: any */
};

struct reactor_config {
	unsigned depth; /* operations that the kernel may hold at once; the rest waits here */
	struct uring_options options;
};

struct reactor_class {
	int (*open)(struct reactor **reactorp, const struct reactor_config *config);
	void (*close)(struct reactor *reactor);
	int (*watch)(struct reactor *reactor, struct reactor_watch *watch);
	void (*unwatch)(struct reactor *reactor, struct reactor_watch *watch);
	/* Flushes, waits, delivers: 0 or -errno. */
	int (*run)(struct reactor *reactor, int64_t timeout_ns);
};

extern const struct reactor_class reactor_uring, reactor_epoll;

/* Every implementation begins with this. */
struct reactor {
	const struct reactor_class *class;
	/*
	 * By what reactor_run() sees, without a call, that there is nothing to do: nothing is
	 * queued (`quiet`), no completion has come since (*tail), and the kernel has no news
	 * (*flags). A reactor that cannot tell is never quiet.
	 */
	bool quiet;
	unsigned seen, news; /* the tail that was reaped; the flags that are news */
	const unsigned *tail, *flags;
	unsigned delivered; /* completions and watches of the reactor_run() under way */
	unsigned unlooked;  /* work since descriptors were looked at, for io/epoll.c */
	struct reactor_hook *hooks;
	struct reactor_timer *timers;
	struct reactor_config config;
};

/* When there was so much work descriptors are looked at, even without waiting. */
#define REACTOR_UNLOOKED_MOST 1024u

/* How often a descriptor is looked at that the kernel does not watch. */
#define REACTOR_POLL_NS INT64_C(100000)

/*
 * Opens a reactor of the class; the calling thread owns it from now on. 0 or -errno, and then
 * *reactorp is NULL.
 */
static inline int reactor_open(const struct reactor_class *class, struct reactor **reactorp,
			       const struct reactor_config *config)
{
	return class->open(reactorp, config);
}

/* Closes it; the owning thread's call, too. No target is open, nothing watched, no timer set. */
static inline void reactor_close(struct reactor *reactor)
{
	reactor->class->close(reactor);
}

/*
 * Watches watch->fd for input: watch->ready() is called from reactor_run() whenever it became
 * readable, at least once after each time it did, and once at first if it is readable already.
 * End of file, a hang-up and an error count as readable. A spurious call is possible, so ready()
 * reads without blocking. Level or edge triggering is the reactor's affair: ready() must drain
 * the descriptor, or unwatch it, and must not count on being called again if it does neither.
 * Memory and descriptor stay the caller's and must live until reactor_unwatch(). 0 or -errno
 * (-EPERM: cannot be polled, as a regular file; -EEXIST, not from io_uring: this very
 * descriptor is watched already).
 *
 * With io_uring the kernel may refuse a watch, or give it up, later on. No wake-up is lost by that:
 * failed() is called once with the reason (-errno), for a log line, and from then on ready() every
 * REACTOR_POLL_NS, whether there is anything to read or not, until reactor_unwatch().
 */
static inline int reactor_watch(struct reactor *reactor, struct reactor_watch *watch)
{
	return reactor->class->watch(reactor, watch);
}

/*
 * Ends a watch; ready() is not called any more once this returns, even if an event is there
 * already. May be called from any ready() or done(). Without effect on one not watched. The
 * descriptor may be closed at once; the kernel's own reference to it goes in the course of the
 * next reactor_run()s, or with reactor_close() (with `sqpoll`: when the kernel's thread has turned
 * around).
 */
static inline void reactor_unwatch(struct reactor *reactor, struct reactor_watch *watch)
{
	reactor->class->unwatch(reactor, watch);
}

/*
 * Has timer->fire() called once from reactor_run(), in so many ns at the earliest, instead of when
 * it was set for. From fire() it may be set again.
 */
void reactor_set_timer(struct reactor *reactor, struct reactor_timer *timer, int64_t in_ns);

/* Without effect on one that is not set. */
void reactor_clear_timer(struct reactor *reactor, struct reactor_timer *timer);

/* See struct reactor_hook. From outside of a callback. */
void reactor_hook(struct reactor *reactor, struct reactor_hook *hook);
void reactor_unhook(struct reactor *reactor, struct reactor_hook *hook);

/* reactor_run() when something may have happened. */
int reactor_run_all(struct reactor *reactor, int64_t timeout_ns);

/*
 * Hands what is queued to the kernel, waits until something is complete or readable, but at most
 * timeout_ns (0: do not wait, < 0: no limit), then delivers what is there; what callbacks
 * submit meanwhile waits for the next call, so one call's work is bounded. Returns the number of
 * completions and watches delivered, give or take the reactor's own wake-ups; 0: time-out, timers,
 * a signal, or nothing for the caller in what woke it; -errno: the reactor itself is broken.
 * Without waiting (0), or while completions are pending, a watch may be seen some calls late. Not
 * from within a callback. Without waiting it may be called in a tight loop: if nothing has
 * happened, io_uring finds that out by a few loads.
 */
static inline int reactor_run(struct reactor *reactor, int64_t timeout_ns)
{
	if (!timeout_ns && reactor->quiet &&
	    __atomic_load_n(reactor->tail, __ATOMIC_RELAXED) == reactor->seen &&
	    !(__atomic_load_n(reactor->flags, __ATOMIC_RELAXED) & reactor->news))
		return 0;
	return reactor_run_all(reactor, timeout_ns);
}

/* ---- for reactors and targets: something is delivered ---- */

/* A watch. It may be gone when this returns. */
static inline void reactor_ready(struct reactor *reactor, struct reactor_watch *watch)
{
	reactor->delivered++;
	watch->ready(watch);
}

#endif
