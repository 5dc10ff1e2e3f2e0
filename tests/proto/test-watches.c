/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kicks are heard: session after session, also when the entries by which they are watched for have
 * been used for other things before; and served without being heard, where the kernel does not
 * watch at all.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/proto/proto.h"

/* Twice round the engine's submission ring (ENGINE_DEPTH and WATCH_ROOM) and more. */
#define SESSIONS 40u
#define REQUESTS 40u

static void sessions_after_many_requests(void)
{
	serve(MIB);
	for (unsigned int i = 0; i < SESSIONS; i++) {
		attach();
		for (unsigned int k = 0; k < REQUESTS; k++)
			check_round_trip(&blk, 8 * (k % 16), 4096);
		detach();
	}
}

/* As above, but rings stop and start, with new kick descriptors. */
static void rings_after_many_requests(void)
{
	serve(MIB);
	attach();
	for (unsigned int i = 0; i < SESSIONS; i++) {
		for (unsigned int k = 0; k < REQUESTS; k++)
			check_round_trip(&blk, 8 * (k % 16), 4096);
		REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	}
}

/* The sanitized daemon lets itself be told that no watch works. */
static void need_deaf_daemon(void)
{
	const char *variant = getenv("VUBLKD_VARIANT");

	needs_vublkd();
	if (!variant || strcmp(variant, "sanitized") != 0)
		tap_skip("only in builds for tests the daemon's watches can be made to fail");
}

static void kicks_that_cannot_be_watched(void)
{
	need_deaf_daemon();
	REQUIRE_OK(setenv("VUBLK_NO_WATCHES", "1", 1));
	serve(MIB, "--engine=io_uring");
	for (unsigned int i = 0; i < 5; i++) {
		attach(.n_queues = 2);
		for (unsigned int k = 0; k < 16; k++)
			check_round_trip(&blk, 8 * k, 4096);
		detach();
	}
	CHECK_OK(fe_daemon_await_log(&server, "cannot watch a worker's mailbox"));
	CHECK_OK(fe_daemon_await_log(&server, "queue 0: its kick descriptor cannot be watched: Bad "
					      "file descriptor; polling the ring"));
}

static const struct tap_case cases[] = {
	{"sessions_after_many_requests", sessions_after_many_requests},
	{"rings_after_many_requests", rings_after_many_requests},
	{"kicks_that_cannot_be_watched", kicks_that_cannot_be_watched},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("watches", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
