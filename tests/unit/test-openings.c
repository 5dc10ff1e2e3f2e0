/* SPDX-License-Identifier: BSD-3-Clause */
/* How many disks open at a time, and who is next. The clock and the threads are the test's. */
#include "disk/openings.h"

#include <errno.h>
#include <string.h>

#include "tests/tap.h"
#include "tests/unit/support/capture.h"

#define ALL 200u

static struct openings openings;
static struct opening opening[ALL];
static struct opening *begun[ALL]; /* in order */
static unsigned n_begun, n_refused;
static int refusal;

static void *never(void *arg)
{
	return arg;
}

static int start(void *(*run)(void *arg), void *arg)
{
	REQUIRE(run == never && n_begun < ALL);
	if (refusal)
		return refusal;
	begun[n_begun++] = arg;
	return 0;
}

static void refused(void *arg, int err)
{
	(void)arg;
	CHECK_EQ(err, refusal);
	n_refused++;
}

static void setup(void)
{
	struct loop *loop;

	REQUIRE_EQ(loop_create(&loop), 0);
	openings_init(&openings, loop);
	openings.start = start;
}

static void add(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		opening[i] = (struct opening){.run = never, .refused = refused, .arg = &opening[i]};
		openings_add(&openings, &opening[i]);
	}
}

static void time_passes(void)
{
	REQUIRE(openings.timer.set);
	loop_clear_timer(openings.loop, &openings.timer);
	openings.timer.fire(&openings.timer);
}

static void check_order(unsigned n)
{
	CHECK_EQ(n_begun, n);
	for (unsigned i = 0; i < n_begun; i++)
		CHECK(begun[i] == &opening[i]);
}

static void so_many_open_at_a_time(void)
{
	add(0, OPENINGS_MOST);
	check_order(OPENINGS_MOST);
	CHECK(!openings.timer.set);
	add(OPENINGS_MOST, ALL);
	check_order(OPENINGS_MOST);
	for (unsigned i = 0; i < ALL - OPENINGS_MOST; i++) {
		openings_done(&openings, &opening[i]);
		check_order(OPENINGS_MOST + i + 1);
	}
	CHECK(!openings.timer.set);
	for (unsigned i = ALL - OPENINGS_MOST; i < ALL; i++)
		openings_done(&openings, &opening[i]);
	CHECK_EQ(openings.n_places, 0);
}

static void who_hangs_is_not_waited_for(void)
{
	add(0, ALL);
	time_passes();
	check_order(2 * OPENINGS_MOST);
	/* Its place was given on before. */
	openings_done(&openings, &opening[0]);
	check_order(2 * OPENINGS_MOST);
	openings_done(&openings, &opening[OPENINGS_MOST]);
	check_order(2 * OPENINGS_MOST + 1);
	time_passes();
	check_order(3 * OPENINGS_MOST + 1);
	CHECK_EQ(openings.n_places, OPENINGS_MOST);
	time_passes();
	check_order(ALL);
	CHECK(!openings.timer.set);
}

static void a_thread_is_tried_for_again(void)
{
	const char *text;

	capture_begin(STDERR_FILENO);
	refusal = -EAGAIN;
	add(0, 3);
	time_passes();
	CHECK_EQ(n_begun, 0);
	refusal = 0;
	time_passes();
	check_order(3);
	CHECK(!openings.timer.set);
	/* Nor do those that are at work lose their places by it. */
	CHECK_EQ(openings.n_places, 3);
	refusal = -EAGAIN;
	add(3, 4);
	refusal = 0;
	openings_done(&openings, &opening[0]);
	check_order(4);
	text = capture_end();
	CHECK(strstr(text, "no thread to open a disk on: Resource temporarily unavailable; no "
			   "thread more may be had"));
	CHECK(strstr(text, "there are threads to open disks on again"));
}

/* How often until all that wait are refused? */
static unsigned tries(unsigned n)
{
	unsigned i;

	for (i = 0; n_refused < n && i < 100; i++)
		time_passes();
	CHECK_EQ(n_refused, n);
	return i;
}

static void without_threads_it_ends(void)
{
	capture_begin(STDERR_FILENO);
	/* One that is at work will be done. */
	add(0, 1);
	refusal = -EAGAIN;
	add(1, 4);
	for (unsigned i = 0; i < 20; i++)
		time_passes();
	CHECK_EQ(n_refused, 0);
	/* Its thread may end a moment later. */
	openings_done(&openings, &opening[0]);
	CHECK_EQ(n_refused, 0);
	CHECK_EQ(tries(3), 5);
	CHECK(openings.waiting == NULL && !openings.timer.set);
	/* The next ones have as much patience, however many they are. */
	n_refused = 0;
	add(4, 54);
	CHECK_EQ(n_refused, 0);
	CHECK_EQ(tries(50), 5);
	CHECK(openings.waiting == NULL && !openings.timer.set);
	refusal = 0;
	add(54, 55);
	CHECK_EQ(n_begun, 2);
	CHECK(!openings.timer.set);
	capture_end();
}

static void who_waits_may_be_taken_back(void)
{
	add(0, OPENINGS_MOST + 3);
	CHECK(!openings_cancel(&openings, &opening[0]));
	CHECK(openings_cancel(&openings, &opening[OPENINGS_MOST + 2]));
	CHECK(!openings_cancel(&openings, &opening[OPENINGS_MOST + 2]));
	CHECK(openings_cancel(&openings, &opening[OPENINGS_MOST]));
	/* What never had a place gives none back. */
	openings_done(&openings, &opening[OPENINGS_MOST]);
	CHECK_EQ(openings.n_places, OPENINGS_MOST);
	add(OPENINGS_MOST + 3, OPENINGS_MOST + 4);
	openings_done(&openings, &opening[1]);
	openings_done(&openings, &opening[2]);
	REQUIRE_EQ(n_begun, OPENINGS_MOST + 2);
	CHECK(begun[OPENINGS_MOST] == &opening[OPENINGS_MOST + 1]);
	CHECK(begun[OPENINGS_MOST + 1] == &opening[OPENINGS_MOST + 3]);
	CHECK(openings.waiting == NULL && !openings.timer.set);
}

static const struct tap_case cases[] = {
	{"so_many_open_at_a_time", so_many_open_at_a_time},
	{"who_hangs_is_not_waited_for", who_hangs_is_not_waited_for},
	{"a_thread_is_tried_for_again", a_thread_is_tried_for_again},
	{"without_threads_it_ends", without_threads_it_ends},
	{"who_waits_may_be_taken_back", who_waits_may_be_taken_back},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "openings", .setup = setup, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
