/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several queues on several workers: while all of them move data, rings are stopped and started,
 * disabled and enabled, and get new kick descriptors. Each request writes a pattern and reads it
 * back, so none may be lost, done twice or mixed up with another queue's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define QUEUES  4u
#define DEPTH   16u
#define BYTES   (4 * KIB)
#define DISK    (16 * MIB)
#define AREA    (DISK / QUEUES) /* of each queue, bytes */
#define CHANGES 60u

/* What a slot is at: its block is written, then read back. */
struct op {
	uint64_t sector, seed;
	bool reading;
};

static struct fe_blk queue[QUEUES];
static struct op ops[QUEUES][DEPTH];
static uint64_t done, next_seed, rng;

/* ---- the work ---- */

static void submit(unsigned int q, struct fe_blk_slot *slot)
{
	const unsigned int i = (unsigned int)(slot - queue[q].slot);
	struct op *op = &ops[q][i];

	if (!op->reading) {
		op->seed = ++next_seed;
		/* Blocks are a slot's own, so that nobody else's write comes in between. */
		op->sector = (q * AREA +
			      (fe_random(&rng) % (AREA / BYTES / DEPTH) * DEPTH + i) * BYTES) /
			     FE_SECTOR;
		fe_pattern(slot->data, 0, BYTES, op->seed);
	} else {
		memset(slot->data, 0, BYTES);
	}
	REQUIRE_OK(fe_blk_submit(&queue[q], slot, op->reading ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
				 op->sector, BYTES));
}

static void complete(unsigned int q, struct fe_blk_slot *slot)
{
	struct op *op = &ops[q][slot - queue[q].slot];

	REQUIRE_EQ(*slot->status, VIRTIO_BLK_S_OK);
	if (op->reading)
		REQUIRE_EQ(fe_pattern_differs(slot->data, 0, BYTES, op->seed), -1);
	op->reading = !op->reading;
	done++;
}

static unsigned int reap(unsigned int q)
{
	struct fe_blk_slot *slot;
	unsigned int n = 0;
	int ret;

	for (; (ret = fe_blk_reap(&queue[q], &slot)) > 0; n++) {
		complete(q, slot);
		fe_blk_put(&queue[q], slot);
	}
	REQUIRE_OK(ret);
	return n;
}

static void fill(unsigned int q)
{
	struct fe_blk_slot *slot;

	while ((slot = fe_blk_get(&queue[q])))
		submit(q, slot);
	fe_vq_kick(queue[q].vq);
}

/* So many requests of queue `q`, and whatever the others do meanwhile. */
static void work(unsigned int q, unsigned int n)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);

	while (n) {
		const unsigned int got = reap(q);

		n -= got < n ? got : n;
		fill(q);
		for (unsigned int other = 0; other < QUEUES; other++) {
			if (other == q)
				continue;
			reap(other);
			fill(other);
		}
		if (!got && n) {
			struct pollfd p = {.fd = queue[q].vq->call_fd, .events = POLLIN};

			fe_vq_silence(queue[q].vq, false);
			if (fe_vq_has_used(queue[q].vq))
				continue;
			REQUIRE_EQ(poll(&p, 1, fe_left_ms(deadline)), 1);
			fe_vq_take_event(p.fd);
		}
	}
}

/* ---- changes ---- */

/* What was popped has been given back by the answer; nothing comes while it is disabled. */
static void disable_and_enable(unsigned int q)
{
	REQUIRE_OK(fe_dev_enable_vq(&dev, q, false));
	reap(q);
	work((q + 1) % QUEUES, DEPTH);
	CHECK_EQ(fe_vq_n_used(queue[q].vq), 0);
	REQUIRE_OK(fe_dev_enable_vq(&dev, q, true));
}

static void stop_and_start(unsigned int q)
{
	REQUIRE_OK(fe_dev_stop_vq(&dev, q));
	reap(q);
	work((q + 1) % QUEUES, DEPTH);
	REQUIRE_OK(fe_dev_start_vq(&dev, q));
}

/* The old one is closed at once; what it was signalled for is found without a kick. */
static void replace_kick(unsigned int q)
{
	struct fe_vq *vq = queue[q].vq;

	close(vq->kick_fd);
	vq->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	REQUIRE(vq->kick_fd >= 0);
	REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, q, vq->kick_fd));
}

static void change(unsigned int q)
{
	static void (*const changes[])(unsigned int q) = {disable_and_enable, stop_and_start,
							  replace_kick};

	changes[fe_random(&rng) % 3](q);
}

static void drain(void)
{
	for (unsigned int q = 0; q < QUEUES; q++) {
		const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);

		while (queue[q].in_flight) {
			REQUIRE_OK(fe_vq_wait(queue[q].vq, deadline));
			reap(q);
		}
	}
}

static void run_with(const char *workers, const char *poll)
{
	needs_vublkd();
	serve(DISK, "--cache=writeback", option("--num-workers", workers), option("--poll", poll),
	      "--num-queues=4");
	attach(.n_queues = QUEUES);
	rng = fe_now_ns() | 1;
	tap_diag("seed %llu", (unsigned long long)rng);
	for (unsigned int q = 0; q < QUEUES; q++)
		REQUIRE_OK(fe_blk_init(&queue[q], &dev, q, DEPTH, BYTES));
	for (unsigned int i = 0; i < CHANGES; i++) {
		const unsigned int q = (unsigned int)(fe_random(&rng) % QUEUES);

		work(q, 1 + (unsigned int)(fe_random(&rng) % (2 * DEPTH)));
		change(q);
		/* Whatever the change was, it goes on. */
		work(q, 2 * DEPTH);
	}
	drain();
	tap_diag("%llu requests", (unsigned long long)done);
	for (unsigned int q = 0; q < QUEUES; q++)
		fe_blk_free(&queue[q]);
}

#define CASE(name, workers, poll) \
	static void name(void) \
	{ \
		run_with(workers, poll); \
	}
CASE(two_workers_that_sleep, "2", "off")
CASE(two_workers_that_adapt, "2", "auto")
CASE(three_workers_that_adapt, "3", "auto")
CASE(three_workers_with_a_window, "3", "100")
CASE(two_workers_that_never_sleep, "2", "always")

static const struct tap_case cases[] = {
	{"two_workers_that_sleep", two_workers_that_sleep},
	{"two_workers_that_adapt", two_workers_that_adapt},
	{"three_workers_that_adapt", three_workers_that_adapt},
	{"three_workers_with_a_window", three_workers_with_a_window},
	{"two_workers_that_never_sleep", two_workers_that_never_sleep},
	{0},
};

static const struct tap_suite suites[] = {PROTO_SUITES("workers", cases), {0}};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
