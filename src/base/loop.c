/* SPDX-License-Identifier: BSD-3-Clause */
/* See base/loop.h. Control thread. */
#include "base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/container.h"

#define EVENTS_AT_ONCE 32

struct loop {
	int epoll_fd;
	bool quit;
	int status;
	struct loop_timer *timers; /* in order of time */
	struct mailbox mailbox;
	struct loop_watch mailbox_watch;
	struct epoll_event event[EVENTS_AT_ONCE]; /* the batch being delivered */
	int n_events;
};

uint64_t loop_now(void)
{
	return (uint64_t)now_ns();
}

static void run_mailbox(struct loop_watch *watch, uint32_t events)
{
	struct loop *loop = container_of(watch, struct loop, mailbox_watch);

	(void)events;
	mailbox_run(&loop->mailbox);
}

int loop_create(struct loop **loopp)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int err;

	*loopp = NULL;
	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		err = -errno;
		goto free_loop;
	}
	err = mailbox_init(&loop->mailbox);
	if (err)
		goto close_epoll;
	loop->mailbox_watch =
		(struct loop_watch){.fd = loop->mailbox.event_fd, .ready = run_mailbox};
	err = loop_watch(loop, &loop->mailbox_watch, EPOLLIN);
	if (err)
		goto destroy_mailbox;
	*loopp = loop;
	return 0;

destroy_mailbox:
	mailbox_destroy(&loop->mailbox);
close_epoll:
	close(loop->epoll_fd);
free_loop:
	free(loop);
	return err;
}

struct mailbox *loop_mailbox(struct loop *loop)
{
	return &loop->mailbox;
}

/* ---- descriptors ---- */

int loop_watch(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) ? -errno : 0;
}

void loop_rewatch(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void loop_unwatch(struct loop *loop, struct loop_watch *watch)
{
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	for (int i = 0; i < loop->n_events; i++)
		if (loop->event[i].data.ptr == watch)
			loop->event[i].data.ptr = NULL;
}

/* ---- timers ---- */

void loop_clear_timer(struct loop *loop, struct loop_timer *timer)
{
	struct loop_timer **at = &loop->timers;

	if (!timer->set)
		return;
	while (*at != timer)
		at = &(*at)->next;
	*at = timer->next;
	timer->set = false;
}

void loop_set_timer(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns)
{
	struct loop_timer **at = &loop->timers;

	loop_clear_timer(loop, timer);
	timer->at_ns = loop_now() + delay_ns;
	while (*at && (*at)->at_ns <= timer->at_ns)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
	timer->set = true;
}

static void fire_timers(struct loop *loop)
{
	const uint64_t now = loop_now();

	while (loop->timers && loop->timers->at_ns <= now) {
		struct loop_timer *timer = loop->timers;

		loop_clear_timer(loop, timer);
		timer->fire(timer);
	}
}

/* For epoll_wait(): ms until the next timer, rounded up, or -1. */
static int timeout_ms(const struct loop *loop)
{
	uint64_t now, ms;

	if (!loop->timers)
		return -1;
	now = loop_now();
	if (loop->timers->at_ns <= now)
		return 0;
	ms = (loop->timers->at_ns - now + 999999) / 1000000;
	return ms > 3600000 ? 3600000 : (int)ms;
}

/* ---- running ---- */

int loop_run(struct loop *loop)
{
	while (!loop->quit) {
		loop->n_events =
			epoll_wait(loop->epoll_fd, loop->event, EVENTS_AT_ONCE, timeout_ms(loop));
		if (loop->n_events < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < loop->n_events; i++) {
			struct loop_watch *watch = loop->event[i].data.ptr;

			if (watch)
				watch->ready(watch, loop->event[i].events);
		}
		loop->n_events = 0;
		fire_timers(loop);
	}
	return loop->status;
}

void loop_quit(struct loop *loop, int status)
{
	loop->quit = true;
	loop->status = status;
}
