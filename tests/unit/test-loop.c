/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/base/loop.c: descriptors, timers in order, and what a callback may do to the batch in hand.
 */
#include "src/base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>

#include "src/base/container.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"

#define MS 1000000ull

static struct loop *loop;
static char trace[256]; /* what happened, a letter each */

static void note(char letter)
{
	trace[strlen(trace)] = letter;
}

#define CHECK_TRACE(expected) \
	do { \
		tap_check(!strcmp(trace, expected), false, __FILE__, __LINE__, "'%s', not '%s'", \
			  trace, expected); \
		memset(trace, 0, sizeof(trace)); \
	} while (0)

/* A timer, or a watched eventfd, that notes its letter and then does something. */
struct thing {
	struct loop_timer timer;
	struct loop_watch watch;
	char letter;
	uint32_t events;
	void (*then)(struct thing *thing);
	struct thing *other;
};

static void quit(struct thing *thing)
{
	(void)thing;
	loop_quit(loop, 42);
}

static void fired(struct loop_timer *timer)
{
	struct thing *thing = container_of(timer, struct thing, timer);

	note(thing->letter);
	if (thing->then)
		thing->then(thing);
}

static void ready(struct loop_watch *watch, uint32_t events)
{
	struct thing *thing = container_of(watch, struct thing, watch);

	thing->events = events;
	note(thing->letter);
	fd_take_events(watch->fd);
	if (thing->then)
		thing->then(thing);
}

static void set_timer(struct thing *thing, char letter, uint64_t delay_ns)
{
	thing->letter = letter;
	thing->timer.fire = fired;
	loop_set_timer(loop, &thing->timer, delay_ns);
}

/* An eventfd that is readable already. */
static void watch(struct thing *thing, char letter)
{
	thing->letter = letter;
	thing->watch = (struct loop_watch){.fd = fd_event(), .ready = ready};
	eventfd_write(thing->watch.fd, 1);
	REQUIRE_OK(loop_watch(loop, &thing->watch, EPOLLIN));
}

static void unwatch(struct thing *thing)
{
	loop_unwatch(loop, &thing->watch);
	close(thing->watch.fd);
}

/* Ends the loop after so long. */
static void run_for(uint64_t delay_ns)
{
	static struct thing end;

	end.then = quit;
	set_timer(&end, '.', delay_ns);
	CHECK_EQ(loop_run(loop), 42);
}

static void setup(void)
{
	REQUIRE_OK(loop_create(&loop));
}

/* ---- timers ---- */

static void timers_fire_in_order_of_time(void)
{
	struct thing a = {0}, b = {0}, c = {0};

	set_timer(&c, 'c', 3 * MS);
	set_timer(&a, 'a', MS);
	set_timer(&b, 'b', 2 * MS);
	run_for(4 * MS);
	CHECK_TRACE("abc.");
}

static void timers_of_the_same_time_fire_in_the_order_set(void)
{
	struct thing things[5] = {0};

	for (int i = 0; i < 5; i++)
		set_timer(&things[i], (char)('a' + i), 0);
	run_for(0);
	CHECK_TRACE("abcde.");
}

static void timer_does_not_fire_early(void)
{
	const uint64_t begin = loop_now();
	struct thing a = {.then = quit};

	set_timer(&a, 'a', 5 * MS);
	CHECK_EQ(loop_run(loop), 42);
	CHECK(loop_now() - begin >= 5 * MS);
	CHECK(!a.timer.set);
}

static void timer_fires_once(void)
{
	struct thing a = {0};

	set_timer(&a, 'a', 0);
	run_for(5 * MS);
	CHECK_TRACE("a.");
}

static void timer_that_is_set_again_is_moved(void)
{
	struct thing a = {0}, b = {0};

	set_timer(&a, 'a', MS);
	set_timer(&b, 'b', 2 * MS);
	set_timer(&a, 'a', 3 * MS);
	run_for(5 * MS);
	CHECK_TRACE("ba.");
}

static void timer_that_is_cleared_does_not_fire(void)
{
	struct thing a = {0}, b = {0}, c = {0};

	set_timer(&a, 'a', 0);
	set_timer(&b, 'b', 0);
	set_timer(&c, 'c', 0);
	loop_clear_timer(loop, &b.timer);
	loop_clear_timer(loop, &b.timer); /* no harm */
	CHECK(!b.timer.set);
	run_for(MS);
	CHECK_TRACE("ac.");
}

static void clear_the_other(struct thing *thing)
{
	loop_clear_timer(loop, &thing->other->timer);
}

/* Both are due, the first one clears the second. */
static void timer_clears_one_that_is_due(void)
{
	struct thing b = {0}, a = {.then = clear_the_other, .other = &b};

	set_timer(&a, 'a', 0);
	set_timer(&b, 'b', 0);
	run_for(MS);
	CHECK_TRACE("a.");
}

static void set_again(struct thing *thing)
{
	if (strlen(trace) < 3)
		loop_set_timer(loop, &thing->timer, 0);
}

static void timer_sets_itself_again(void)
{
	struct thing a = {.then = set_again};

	set_timer(&a, 'a', 0);
	run_for(5 * MS);
	CHECK_TRACE("aaa.");
}

/* ---- descriptors ---- */

static void readable_descriptor_is_ready(void)
{
	struct thing a = {0};

	watch(&a, 'a');
	run_for(2 * MS);
	CHECK_TRACE("a.");
	CHECK_EQ(a.events, EPOLLIN);
	unwatch(&a);
}

/* Level-triggered: as long as it is readable. */
static void drain_nothing(struct thing *thing)
{
	if (strlen(trace) < 3)
		eventfd_write(thing->watch.fd, 1);
}

static void descriptor_is_ready_as_long_as_it_is_readable(void)
{
	struct thing a = {.then = drain_nothing};

	watch(&a, 'a');
	run_for(5 * MS);
	CHECK_TRACE("aaa.");
	unwatch(&a);
}

static void rewatch_changes_the_events(void)
{
	static struct loop *volatile first; /* nobody destroys one, and it is no leak */
	struct thing a = {0};

	watch(&a, 'a');
	loop_rewatch(loop, &a.watch, 0);
	run_for(2 * MS);
	CHECK_TRACE(".");
	first = loop;
	loop_rewatch(first, &a.watch, EPOLLIN);
	setup(); /* that one has quit */
	REQUIRE_OK(loop_watch(loop, &a.watch, EPOLLIN));
	run_for(2 * MS);
	CHECK_TRACE("a.");
	unwatch(&a);
}

static void hang_up_comes_unasked(void)
{
	struct thing a = {.letter = 'a', .then = unwatch};
	int pair[2];

	REQUIRE_OK(pipe(pair));
	a.watch = (struct loop_watch){.fd = pair[0], .ready = ready};
	REQUIRE_OK(loop_watch(loop, &a.watch, 0));
	close(pair[1]);
	run_for(2 * MS);
	CHECK_TRACE("a.");
	CHECK_EQ(a.events, EPOLLHUP);
}

static void unwatch_both(struct thing *thing)
{
	unwatch(thing);
	unwatch(thing->other);
	/* As its owner may: nothing of it must be touched any more. */
	memset(&thing->other->watch, 0, sizeof(thing->other->watch));
}

/* Both are ready in one batch; whoever comes first ends the other's watch. */
static void unwatch_of_one_that_is_ready_too(void)
{
	struct thing a = {.then = unwatch_both}, b = {.then = unwatch_both, .other = &a};

	a.other = &b;
	watch(&a, 'x');
	watch(&b, 'x');
	run_for(2 * MS);
	CHECK_TRACE("x.");
}

static void descriptor_that_cannot_be_watched(void)
{
	struct loop_watch bad = {.fd = fd_memory(1), .ready = ready};
	const int fd = bad.fd;

	CHECK_EQ(loop_watch(loop, &bad, EPOLLIN), -EPERM);
	bad.fd = -1;
	CHECK_EQ(loop_watch(loop, &bad, EPOLLIN), -EBADF);
	close(fd);
}

static void more_ready_than_one_batch_takes(void)
{
	struct thing things[100] = {0};

	for (unsigned i = 0; i < 100; i++)
		watch(&things[i], 'x');
	run_for(20 * MS);
	CHECK_EQ(strlen(trace), 101);
	for (unsigned i = 0; i < 100; i++)
		unwatch(&things[i]);
}

/* ---- calls and the end ---- */

static void call_quit(struct call *call)
{
	(void)call;
	loop_quit(loop, 7);
}

static void *post(void *call)
{
	mailbox_post(loop_mailbox(loop), call);
	return NULL;
}

static void call_of_another_thread_wakes_it(void)
{
	struct call call = {.run = call_quit};
	pthread_t thread;

	REQUIRE_OK(pthread_create(&thread, NULL, post, &call));
	CHECK_EQ(loop_run(loop), 7);
	pthread_join(thread, NULL);
}

static void quit_lets_the_batch_end(void)
{
	struct thing a = {.then = quit}, b = {.then = quit};

	watch(&a, 'x');
	watch(&b, 'x');
	CHECK_EQ(loop_run(loop), 42);
	CHECK_TRACE("xx");
	unwatch(&a);
	unwatch(&b);
}

static const struct tap_case timer_cases[] = {
	{"timers_fire_in_order_of_time", timers_fire_in_order_of_time},
	{"timers_of_the_same_time_fire_in_the_order_set",
	 timers_of_the_same_time_fire_in_the_order_set},
	{"timer_does_not_fire_early", timer_does_not_fire_early},
	{"timer_fires_once", timer_fires_once},
	{"timer_that_is_set_again_is_moved", timer_that_is_set_again_is_moved},
	{"timer_that_is_cleared_does_not_fire", timer_that_is_cleared_does_not_fire},
	{"timer_clears_one_that_is_due", timer_clears_one_that_is_due},
	{"timer_sets_itself_again", timer_sets_itself_again},
	{0},
};

static const struct tap_case watch_cases[] = {
	{"readable_descriptor_is_ready", readable_descriptor_is_ready},
	{"descriptor_is_ready_as_long_as_it_is_readable",
	 descriptor_is_ready_as_long_as_it_is_readable},
	{"rewatch_changes_the_events", rewatch_changes_the_events},
	{"hang_up_comes_unasked", hang_up_comes_unasked},
	{"unwatch_of_one_that_is_ready_too", unwatch_of_one_that_is_ready_too},
	{"descriptor_that_cannot_be_watched", descriptor_that_cannot_be_watched},
	{"more_ready_than_one_batch_takes", more_ready_than_one_batch_takes},
	{"call_of_another_thread_wakes_it", call_of_another_thread_wakes_it},
	{"quit_lets_the_batch_end", quit_lets_the_batch_end},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "loop timer", .setup = setup, .cases = timer_cases},
	{.name = "loop", .setup = setup, .cases = watch_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
