/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue that floods its worker does not keep another one waiting: counted is how many of the
 * flood's requests are completed while one request of the other queue is under way.
 *
 * The bound: a worker begins at most BYTES_AT_ONCE (1 MiB, src/queue/queue.c) of a queue in a
 * round, and what is cached is done before the round is over. A kick that comes while one is under
 * way may be seen at the end of the next one, and the request is begun together with a third: three
 * bursts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/proto/proto.h"

#define FLOOD_DEPTH 256u
#define FLOOD_BYTES (128 * KIB)
#define PROBE_BYTES (4 * KIB)
#define DISK        (64 * MIB)
#define BURST       8u /* BYTES_AT_ONCE / FLOOD_BYTES */
#define PROBES      40u

static struct fe_blk flood, probe;
static uint64_t flood_done; /* that were reaped */
static uint64_t next_place;

/* All that the device has completed of the flood. */
static uint64_t flood_completed(void)
{
	return flood_done + fe_vq_n_used(flood.vq);
}

/* Takes what is completed, and floods again. */
static void pour(void)
{
	struct fe_blk_slot *slot;
	int ret;

	while ((ret = fe_blk_reap(&flood, &slot)) > 0) {
		REQUIRE_EQ(*slot->status, VIRTIO_BLK_S_OK);
		fe_blk_put(&flood, slot);
		flood_done++;
	}
	REQUIRE_OK(ret);
	while ((slot = fe_blk_get(&flood))) {
		const uint64_t sector = next_place++ % (DISK / FLOOD_BYTES) * FLOOD_BYTES / 512;

		REQUIRE_OK(fe_blk_submit(&flood, slot, VIRTIO_BLK_T_IN, sector, FLOOD_BYTES));
	}
	fe_vq_silence(flood.vq, true);
	fe_vq_kick(flood.vq);
}

/*
 * One request of the other queue. Whatever interrupts this process, none is counted that is not
 * completed while it is: looked at first after it is available, last before it was seen to be still
 * under way.
 */
static uint64_t flood_during_a_probe(void)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	struct fe_blk_slot *slot = fe_blk_get(&probe);
	uint64_t before, last, now;

	REQUIRE_OK(fe_blk_submit(&probe, slot, VIRTIO_BLK_T_IN, 0, PROBE_BYTES));
	fe_vq_silence(probe.vq, true);
	fe_vq_kick(probe.vq);
	before = last = now = flood_completed();
	while (!fe_vq_has_used(probe.vq)) {
		REQUIRE(fe_left_ms(deadline));
		last = now;
		/* Pouring takes a moment, in which nobody looks. */
		if (now - flood_done >= FLOOD_DEPTH / 2)
			pour();
		now = flood_completed();
	}
	REQUIRE_EQ(fe_blk_reap(&probe, &slot), 1);
	CHECK_EQ(*slot->status, VIRTIO_BLK_S_OK);
	fe_blk_put(&probe, slot);
	return last - before;
}

/* Some of the flood come and go, so that probes meet it at any moment. */
static void let_pass(uint64_t n)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS), end = flood_done + n;

	while (flood_done < end) {
		REQUIRE(fe_left_ms(deadline));
		pour();
	}
}

static void measure(const char *engine, const char *poll)
{
	uint64_t most = 0, sum = 0;

	serve(DISK, option("--engine", engine), "--cache=writeback", option("--poll", poll));
	attach(.n_queues = 2, .queue_size = 256, .mem_size = 64 * MIB);
	REQUIRE_OK(fe_blk_init(&flood, &dev, 0, FLOOD_DEPTH, FLOOD_BYTES));
	REQUIRE_OK(fe_blk_init(&probe, &dev, 1, 1, PROBE_BYTES));
	let_pass(FLOOD_DEPTH);
	for (unsigned int i = 0; i < PROBES; i++) {
		const uint64_t n = flood_during_a_probe();

		most = n > most ? n : most;
		sum += n;
		let_pass(FLOOD_DEPTH + i % BURST);
	}
	tap_diag("of the flood during one request: %.1f, at most %llu (bound %u)",
		 (double)sum / PROBES, (unsigned long long)most, 3 * BURST);
	CHECK(most <= 3 * BURST);
	CHECK(flood_done > PROBES); /* or there was no flood */
	flood.in_flight = probe.in_flight = 0;
	fe_blk_free(&flood);
	fe_blk_free(&probe);
}

#define CASE(engine, mode, poll) \
	static void engine##_##mode(void) \
	{ \
		measure(#engine, poll); \
	}
CASE(io_uring, auto, "auto")
CASE(io_uring, off, "off")
CASE(io_uring, always, "always")
CASE(libaio, auto, "auto")
CASE(libaio, off, "off")

static const struct tap_case cases[] = {
	{"io_uring_auto", io_uring_auto},     {"io_uring_off", io_uring_off},
	{"io_uring_always", io_uring_always}, {"libaio_auto", libaio_auto},
	{"libaio_off", libaio_off},           {0},
};

static const struct tap_suite suites[] = {PROTO_SUITES("fairness", cases), {0}};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
