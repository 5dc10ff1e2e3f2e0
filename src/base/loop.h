/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control thread's loop: descriptors (epoll), timers, and its mailbox. Everything in it runs on
 * the control thread and must not block, so that one slow disk cannot hold up another.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mailbox.h"

struct loop;

/* A watched descriptor; embedded in its owner's object, which loop_unwatch() sets free. */
struct loop_watch {
	int fd;
	void (*ready)(struct loop_watch *watch, uint32_t events); /* EPOLL* */
};

struct loop_timer {
	void (*fire)(struct loop_timer *timer);
	uint64_t at_ns; /* CLOCK_MONOTONIC; the loop's own */
	bool set;
	struct loop_timer *next;
};

/*
 * Makes a loop, which lives as long as the process: signals are posted to it to the end. 0 or
 * -errno.
 */
int loop_create(struct loop **loopp);

/* Watches for `events` (level-triggered). EPOLLHUP and EPOLLERR always come. 0 or -errno. */
int loop_watch(struct loop *loop, struct loop_watch *watch, uint32_t events);

/* Changes the events of a watch. */
void loop_rewatch(struct loop *loop, struct loop_watch *watch, uint32_t events);

/* Ends a watch: ready() is not called any more, not even for an event that has come already. */
void loop_unwatch(struct loop *loop, struct loop_watch *watch);

/* Fires once after `delay_ns`; set again, it is moved. timer->fire must be set. */
void loop_set_timer(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns);
void loop_clear_timer(struct loop *loop, struct loop_timer *timer);

/* Where other threads post calls for the control thread. */
struct mailbox *loop_mailbox(struct loop *loop);

/* Runs until loop_quit(). Returns the status given there, or -errno. */
int loop_run(struct loop *loop);

/* Makes loop_run() return after what it is at. */
void loop_quit(struct loop *loop, int status);

/* CLOCK_MONOTONIC in ns. Any thread. */
uint64_t loop_now(void);

#endif
