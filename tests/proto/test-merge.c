/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adjacent requests, which the daemon makes into one operation, when the host does a part of it
 * only: each request still has the answer and the data that are its own. The host is made to stop
 * by a limit of the size of files, which the daemon inherits.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/proto/proto.h"

#define REQUESTS 16u
#define SIZE     (4 * KIB)
#define DISK     (4 * MIB)

static struct fe_blk many;

/* Serves a disk of which nothing behind `limit` can be written. */
static void serve_limited(uint64_t limit)
{
	struct rlimit before, now;

	needs_vublkd();
	REQUIRE_OK(getrlimit(RLIMIT_FSIZE, &before));
	now = (struct rlimit){limit, before.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	REQUIRE_OK(fe_image_make(server.image, DISK));
	REQUIRE_OK(setrlimit(RLIMIT_FSIZE, &now));
	serve_again("--cache=writeback");
	REQUIRE_OK(setrlimit(RLIMIT_FSIZE, &before));
	attach(.n_queues = 2);
	REQUIRE_OK(fe_blk_init(&many, &dev, 1, REQUESTS, SIZE));
}

/* All requests, one behind the other from byte `start` on, with one kick. */
static void submit_all(uint32_t type, uint64_t start)
{
	for (unsigned int i = 0; i < REQUESTS; i++) {
		struct fe_blk_slot *slot = fe_blk_get(&many);

		REQUIRE(slot != NULL);
		slot->cookie = (void *)(uintptr_t)(start + i * SIZE);
		if (type == VIRTIO_BLK_T_OUT)
			fe_pattern(slot->data, start + i * SIZE, SIZE, 1);
		else
			memset(slot->data, 0, SIZE);
		REQUIRE_OK(fe_blk_submit(&many, slot, type, (start + i * SIZE) / FE_SECTOR, SIZE));
	}
	fe_vq_kick(many.vq);
}

/* Those that end at or before `limit` have succeeded, the others not. */
static void check_all(uint64_t limit, bool read)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	struct fe_blk_slot *slot;

	while (many.in_flight) {
		REQUIRE_OK(fe_vq_wait(many.vq, deadline));
		while (fe_blk_reap(&many, &slot) > 0) {
			const uint64_t at = (uintptr_t)slot->cookie;

			CHECK_EQ(*slot->status,
				 at + SIZE <= limit ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
			if (read)
				CHECK_EQ(fe_pattern_differs(slot->data, at, SIZE, 1), -1);
			fe_blk_put(&many, slot);
		}
	}
}

/* The limit at each place of the operation: between requests, and within each. */
static void writes_up_to_a_limit(void)
{
	const uint64_t limit = MIB + 512;

	serve_limited(limit);
	for (uint64_t start = limit - 512 - REQUESTS * SIZE; start <= limit; start += 1536) {
		submit_all(VIRTIO_BLK_T_OUT, start);
		check_all(limit, false);
	}
	submit_all(VIRTIO_BLK_T_IN, MIB - REQUESTS * SIZE);
	check_all(limit, true);
	/* Nothing was written where it may not be. */
	static uint8_t beyond[64 * KIB], zeros[sizeof(beyond)];

	REQUIRE_OK(fe_image_read(server.image, limit, beyond, sizeof(beyond)));
	CHECK(!memcmp(beyond, zeros, sizeof(beyond)));
	fe_blk_free(&many);
}

static const struct tap_case cases[] = {
	{"writes_up_to_a_limit", writes_up_to_a_limit},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("merge", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
