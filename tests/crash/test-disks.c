/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process that serves several disks is killed at random moments, while each of them has a
 * front-end with random I/O, and is started again: on each disk each request completes exactly
 * once, and each block holds the last write that this disk acknowledged.
 *
 * FE_CRASH_KILLS is the number of kills of each case (default 40), FE_CRASH_SEED as in test-crash.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "tests/crash/crash.h"

/* Mostly short, for the moments that matter are those between a few requests. */
static unsigned int random_us(void)
{
	return (unsigned int)crash_random(crash_random(4) ? 4000 : 20000);
}

/* Of some disks the front-end has work waiting, of some it is still to come. */
static void one_crash(void)
{
	crash_pump(random_us());
	crash_kill();
	if (crash_random(2)) {
		crash_reap();
		crash_fill();
	}
	crash_restart();
	crash_reconnect(crash_random(FE_BASES));
	if (crash_random(8) == 0)
		crash_drain();
}

static void random_kills(const char *workers)
{
	const unsigned int kills = number_from("FE_CRASH_KILLS", 40);
	const uint64_t start = fe_now_ns();
	const char *const options[] = {workers, NULL};
	const struct crash_config c = {
		.indirect = true,
		.event_idx = true,
		.n_disks = CRASH_DISKS,
		.mixed = true,
		.n_queues = 2,
		.queue_size = 128,
		.depth = 32,
		.disk_size = 8 * MIB,
		.options = options,
	};

	needs_vublkd();
	crash_seed();
	crash_begin(&c);
	for (unsigned int i = 0; i < kills; i++)
		one_crash();
	crash_end();
	tap_diag("%u kills, %llu requests, %.1f s", kills, (unsigned long long)crash_done,
		 (double)(fe_now_ns() - start) / 1e9);
	/* None of them was left out. */
	for (unsigned int i = 0; i < CRASH_DISKS; i++)
		CHECK(crash_disk_done(i) > kills);
	REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
}

static void one_worker(void)
{
	random_kills("--num-workers=1");
}

static void two_workers(void)
{
	random_kills("--num-workers=2");
}

/* Stopped with I/O in flight on all disks: status 0, and the next one goes on. */
static void sigterm(void)
{
	const struct crash_config c = {
		.n_disks = CRASH_DISKS,
		.mixed = true,
		.n_queues = 1,
		.queue_size = 64,
		.depth = 16,
		.disk_size = 8 * MIB,
	};

	needs_vublkd();
	crash_seed();
	crash_begin(&c);
	for (unsigned int i = 0; i < 3; i++) {
		crash_pump(3000);
		crash_fill();
		REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
		crash_restart();
		crash_reconnect(FE_BASE_QEMU);
	}
	crash_end();
	REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
}

static const struct tap_case cases[] = {
	{"one_worker", one_worker},
	{"two_workers", two_workers},
	{"sigterm", sigterm},
	{0},
};

static struct tap_suite suites[] = {
	{.name = "disks", .setup = proto_setup, .teardown = proto_teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	suites[0].seconds = 60 + number_from("FE_CRASH_KILLS", 40) / 2;
	return tap_main(argc, argv, suites);
}
