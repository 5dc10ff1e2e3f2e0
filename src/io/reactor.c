/* SPDX-License-Identifier: BSD-3-Clause */
/* See io/reactor.h: timers, hooks, and what is done in each run. The reactor's thread only. */
#include "io/reactor.h"

#include "base/clock.h"

/* ---- timers ---- */

void reactor_clear_timer(struct reactor *reactor, struct reactor_timer *timer)
{
	struct reactor_timer **at = &reactor->timers;

	if (!timer->set)
		return;
	while (*at != timer)
		at = &(*at)->next;
	*at = timer->next;
	timer->set = false;
}

void reactor_set_timer(struct reactor *reactor, struct reactor_timer *timer, int64_t in_ns)
{
	struct reactor_timer **at = &reactor->timers;

	reactor_clear_timer(reactor, timer);
	timer->at = now_ns() + in_ns;
	timer->set = true;
	while (*at && (*at)->at <= timer->at)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
	reactor->quiet = false;
}

static int64_t shorter(int64_t a, int64_t b)
{
	return b < 0 || (a >= 0 && a < b) ? a : b;
}

static int64_t until_timer(const struct reactor *reactor)
{
	int64_t left;

	if (!reactor->timers)
		return -1;
	left = reactor->timers->at - now_ns();
	return left > 0 ? left : 0;
}

/* Those whose time has come; not those that they set. */
static void fire_timers(struct reactor *reactor)
{
	const int64_t now = reactor->timers ? now_ns() : 0;

	while (reactor->timers && reactor->timers->at <= now) {
		struct reactor_timer *timer = reactor->timers;

		reactor->timers = timer->next;
		timer->set = false;
		timer->fire(timer);
	}
}

/* ---- hooks ---- */

void reactor_hook(struct reactor *reactor, struct reactor_hook *hook)
{
	hook->next = reactor->hooks;
	reactor->hooks = hook;
	reactor->quiet = false;
}

void reactor_unhook(struct reactor *reactor, struct reactor_hook *hook)
{
	struct reactor_hook **at = &reactor->hooks;

	while (*at != hook)
		at = &(*at)->next;
	*at = hook->next;
}

/* ---- a run ---- */

int reactor_run_all(struct reactor *reactor, int64_t timeout_ns)
{
	int err;

	reactor->delivered = 0;
	for (struct reactor_hook *hook = reactor->hooks; hook; hook = hook->next)
		timeout_ns = shorter(hook->before(hook), timeout_ns);
	if (timeout_ns)
		timeout_ns = shorter(until_timer(reactor), timeout_ns);
	err = reactor->class->run(reactor, timeout_ns);
	for (struct reactor_hook *hook = reactor->hooks; hook; hook = hook->next)
		hook->after(hook);
	fire_timers(reactor);
	/* These know by themselves what there is to do. */
	if (reactor->timers || reactor->hooks)
		reactor->quiet = false;
	return err ? err : (int)reactor->delivered;
}
