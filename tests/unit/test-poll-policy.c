/* SPDX-License-Identifier: BSD-3-Clause */
/* src/worker/poll_policy.c: when looking for work pays, told by what happened. */
#include "src/worker/poll_policy.h"

#include "tests/tap.h"

#define US 1000

static struct poll_policy policy;

static void fixed_ones_never_change(void)
{
	static const int64_t fixed[] = {POLL_OFF, 7 * US, POLL_ALWAYS};

	for (unsigned i = 0; i < 3; i++) {
		poll_policy_init(&policy, fixed[i]);
		CHECK_EQ(policy.window, fixed[i]);
		for (unsigned k = 0; k < 10; k++) {
			poll_policy_slept(&policy, US);
			poll_policy_slept(&policy, 1000 * US);
			poll_policy_found(&policy);
		}
		CHECK_EQ(policy.window, fixed[i]);
	}
}

static void at_rest_there_is_no_window(void)
{
	poll_policy_init(&policy, POLL_AUTO);
	CHECK_EQ(policy.window, 0);
	for (unsigned i = 0; i < 1000; i++)
		poll_policy_slept(&policy, 3 * POLL_AUTO_MOST);
	CHECK_EQ(policy.window, 0);
}

static void short_sleep_opens_it_and_success_keeps_it(void)
{
	poll_policy_init(&policy, POLL_AUTO);
	poll_policy_slept(&policy, 10 * US);
	CHECK_EQ(policy.window, POLL_AUTO_MOST);
	for (unsigned i = 0; i < 1000; i++)
		poll_policy_found(&policy);
	CHECK_EQ(policy.window, POLL_AUTO_MOST);
}

/* How many sleeps of `gap` it takes until the window is there (or gone). */
static unsigned sleeps_until(bool open, int64_t gap)
{
	unsigned n = 0;

	for (; !policy.window == open; n++)
		poll_policy_slept(&policy, gap);
	return n;
}

static void failure_closes_it_for_ever_longer(void)
{
	unsigned before = 0, pause;

	poll_policy_init(&policy, POLL_AUTO);
	for (unsigned i = 0; i < 12; i++) {
		pause = sleeps_until(true, POLL_AUTO_MOST);
		CHECK(pause > before || (i > 8 && pause == before));
		before = pause;
		/* Halved each time, so it costs no more than twice the largest. */
		CHECK(sleeps_until(false, POLL_AUTO_MOST) <= 5);
	}
	CHECK(before >= 200 && before < 1000);
	/* One success, and the next failure begins anew. */
	sleeps_until(true, POLL_AUTO_MOST);
	poll_policy_found(&policy);
	sleeps_until(false, POLL_AUTO_MOST);
	CHECK_EQ(sleeps_until(true, POLL_AUTO_MOST), 2);
}

static const struct tap_case cases[] = {
	{"fixed_ones_never_change", fixed_ones_never_change},
	{"at_rest_there_is_no_window", at_rest_there_is_no_window},
	{"short_sleep_opens_it_and_success_keeps_it", short_sleep_opens_it_and_success_keeps_it},
	{"failure_closes_it_for_ever_longer", failure_closes_it_for_ever_longer},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "poll policy", .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
