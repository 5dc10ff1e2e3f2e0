/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The limits of a disk (--iops-total and so on), as a guest meets them that asks for as much as its
 * rings take. How much is done is checked against what may be done at most, which holds on a slow
 * machine, too; that it is not far less, loosely.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "tests/frontend/fe_inflight.h"
#include "tests/proto/proto.h"

#define OK     VIRTIO_BLK_S_OK
#define QUEUES 4u
#define DEPTH  16u
#define BYTES  (4 * KIB)
#define DISK   (16 * MIB)

static struct fe_blk queue[QUEUES];
static unsigned int n_queues;

static void start_queues(unsigned int n)
{
	attach(.n_queues = n);
	n_queues = n;
	for (unsigned int q = 0; q < n; q++)
		REQUIRE_OK(fe_blk_init(&queue[q], &dev, q, DEPTH, BYTES));
}

static void free_queues(void)
{
	for (unsigned int q = 0; q < n_queues; q++)
		fe_blk_free(&queue[q]);
}

static void submit(struct fe_blk *b, uint32_t type, uint64_t sector)
{
	struct fe_blk_slot *slot = fe_blk_get(b);

	REQUIRE(slot != NULL);
	memset(slot->data, (int)sector / 8 + 1, BYTES);
	REQUIRE_OK(fe_blk_submit(b, slot, type, sector, BYTES));
}

static void fill(struct fe_blk *b, uint32_t type)
{
	while (b->free)
		submit(b, type, 0);
	fe_vq_kick(b->vq);
}

static unsigned int reap(struct fe_blk *b)
{
	struct fe_blk_slot *slot;
	unsigned int n = 0;

	for (; fe_blk_reap(b, &slot) > 0; n++) {
		CHECK_EQ(*slot->status, OK);
		fe_blk_put(b, slot);
	}
	return n;
}

/* All rings are kept full for so long: how many requests are done? */
static unsigned int flood(unsigned int ms, uint32_t type, uint64_t *ns)
{
	const uint64_t begin = fe_now_ns(), end = begin + ms * 1000000ull;
	unsigned int n = 0;

	while (fe_now_ns() < end) {
		for (unsigned int q = 0; q < n_queues; q++) {
			fill(&queue[q], type);
			n += reap(&queue[q]);
		}
		poll(&(struct pollfd){.fd = queue[0].vq->call_fd, .events = POLLIN}, 1, 1);
	}
	*ns = fe_now_ns() - begin;
	return n;
}

/* What may be done in that time: the average, and what an idle disk may do at once. */
static void check_rate(unsigned int n, uint64_t ns, unsigned int rate, unsigned int at_once)
{
	const double most = (double)rate * (double)ns / 1e9 + at_once;

	tap_diag("%u requests in %llu ms, at most %.0f", n, (unsigned long long)(ns / 1000000),
		 most);
	CHECK(n <= most + 1);
	CHECK(n >= most / 2);
}

/* CPU time of the daemon, ns. */
static uint64_t cpu_time(void)
{
	struct timespec time;
	clockid_t clock;

	REQUIRE_OK(clock_getcpuclockid(server.pid, &clock));
	REQUIRE_OK(clock_gettime(clock, &time));
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* ---- rates ---- */

/* So many queues, which ask for more than that, are kept to so many requests a second. */
static void check_limited(unsigned int queues, uint32_t type, unsigned int rate,
			  unsigned int at_once)
{
	uint64_t ns;
	unsigned int n;

	start_queues(queues);
	n = flood(600, type, &ns);
	check_rate(n, ns, rate, at_once);
	free_queues();
}

static void requests_of_one_queue(void)
{
	needs_vublkd();
	serve(DISK, "--iops-total=400");
	check_limited(1, VIRTIO_BLK_T_IN, 400, 40);
}

/* 500 blocks a second. */
static void bytes_of_queues_on_several_workers(void)
{
	needs_vublkd();
	serve(DISK, "--bps-write=2000K", "--num-workers=2");
	check_limited(QUEUES, VIRTIO_BLK_T_OUT, 500, 50);
}

/* Requests of 4K count as two. */
static void larger_ones_count_as_several(void)
{
	needs_vublkd();
	serve(DISK, "--iops-read=800", "--iops-size=2K", "--poll=off");
	check_limited(2, VIRTIO_BLK_T_IN, 400, 40);
}

static void a_burst(void)
{
	uint64_t ns;
	unsigned int n;

	needs_vublkd();
	serve(DISK, "--iops-total=20", "--iops-total-max=300");
	start_queues(QUEUES);
	n = flood(300, VIRTIO_BLK_T_IN, &ns);
	check_rate(n, ns, 20, 300);
	n = flood(500, VIRTIO_BLK_T_IN, &ns);
	CHECK(n <= 20 * ns / 1000000000 + 2);
	free_queues();
}

/* ---- what waits, and what does not ---- */

/* Of one byte a second: one is done, and no other. */
static void hold_writes(void)
{
	start_queues(1);
	for (unsigned int i = 0; i < DEPTH - 2; i++)
		submit(&queue[0], VIRTIO_BLK_T_OUT, 8ull * i);
	fe_vq_kick(queue[0].vq);
	REQUIRE_OK(fe_vq_wait(queue[0].vq, fe_deadline(FE_TIMEOUT_MS)));
	CHECK_EQ(reap(&queue[0]), 1);
}

static void reads_and_flushes_pass(void)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID};
	struct fe_blk_slot *slot, *done;

	needs_vublkd();
	serve(DISK, "--bps-write=1");
	hold_writes();
	for (unsigned int i = 0; i < 3; i++) {
		slot = fe_blk_get(&queue[0]);
		REQUIRE(slot != NULL);
		REQUIRE_OK(fe_blk_submit(&queue[0], slot, types[i], 0,
					 types[i] == VIRTIO_BLK_T_FLUSH    ? 0
					 : types[i] == VIRTIO_BLK_T_GET_ID ? 20
									   : BYTES));
		fe_vq_kick(queue[0].vq);
		REQUIRE_OK(fe_blk_await(&queue[0], &done));
		CHECK(done == slot);
		CHECK_EQ(*slot->status, OK);
		fe_blk_put(&queue[0], slot);
	}
	CHECK_EQ(queue[0].in_flight, DEPTH - 3);
	free_queues();
}

/* One who waits costs nothing, whatever the worker is told of polling. */
static void nothing_is_polled_for(void)
{
	uint64_t cpu;

	needs_vublkd();
	serve(DISK, "--bps-write=1", "--poll=1000000");
	hold_writes();
	cpu = cpu_time();
	CHECK_EQ(poll(&(struct pollfd){.fd = queue[0].vq->call_fd, .events = 0}, 1, 400), 0);
	cpu = cpu_time() - cpu;
	tap_diag("%llu us of CPU time in 400 ms", (unsigned long long)(cpu / 1000));
	CHECK(cpu < 100000000);
	free_queues();
}

/* ---- ends ---- */

static void check_image(void)
{
	uint8_t byte;

	for (unsigned int i = 0; i < DEPTH - 2; i++) {
		REQUIRE_OK(fe_image_read(server.image, i * BYTES, &byte, 1));
		CHECK_EQ(byte, i + 1);
	}
}

static void a_stop_waits_for_no_turn(void)
{
	needs_vublkd();
	serve(DISK, "--bps-write=1", "--cache=writeback");
	hold_writes();
	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
	CHECK_EQ(reap(&queue[0]), DEPTH - 3);
	check_image();
	/* It was counted: nothing more is done for a long time. */
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	submit(&queue[0], VIRTIO_BLK_T_OUT, 0);
	fe_vq_kick(queue[0].vq);
	CHECK_EQ(fe_vq_wait(queue[0].vq, fe_deadline(50)), -ETIMEDOUT);
	free_queues();
}

static struct fe_inflight inflight;

/* What waits stays in the region, and another process does it. */
static void restart_with(int signal)
{
	needs_vublkd();
	serve(DISK, "--bps-write=1", "--cache=writeback");
	inflight = (struct fe_inflight){0};
	REQUIRE_OK(fe_inflight_start(&dev, server.socket,
				     &(struct fe_dev_options){.packed = proto_packed}, &inflight));
	REQUIRE_OK(fe_blk_init(&queue[0], &dev, 0, DEPTH, BYTES));
	for (unsigned int i = 0; i < DEPTH - 2; i++)
		submit(&queue[0], VIRTIO_BLK_T_OUT, 8ull * i);
	fe_vq_kick(queue[0].vq);
	REQUIRE_OK(fe_vq_wait(queue[0].vq, fe_deadline(FE_TIMEOUT_MS)));
	CHECK_EQ(reap(&queue[0]), 1);
	REQUIRE_EQ(fe_daemon_stop(&server, signal, NULL), signal == SIGKILL ? 128 + SIGKILL : 0);
	CHECK_EQ(reap(&queue[0]), 0);
	CHECK_EQ(fe_inflight_count(&inflight, 0), DEPTH - 3);
	serve_again("--cache=writeback", "--iops-write=100");
	REQUIRE_OK(fe_inflight_reconnect(&dev, server.socket, &inflight, FE_BASE_QEMU));
	for (unsigned int n = 0; n < DEPTH - 3;) {
		REQUIRE_OK(fe_vq_wait(queue[0].vq, fe_deadline(FE_TIMEOUT_MS)));
		n += reap(&queue[0]);
	}
	CHECK_EQ(queue[0].in_flight, 0);
	check_image();
	fe_blk_free(&queue[0]);
	fe_inflight_free(&inflight);
}

static void stopped_and_started(void)
{
	restart_with(SIGTERM);
}

static void killed_and_started(void)
{
	restart_with(SIGKILL);
}

static const struct tap_case cases[] = {
	{"requests_of_one_queue", requests_of_one_queue},
	{"bytes_of_queues_on_several_workers", bytes_of_queues_on_several_workers},
	{"larger_ones_count_as_several", larger_ones_count_as_several},
	{"a_burst", a_burst},
	{"reads_and_flushes_pass", reads_and_flushes_pass},
	{"nothing_is_polled_for", nothing_is_polled_for},
	{"a_stop_waits_for_no_turn", a_stop_waits_for_no_turn},
	{"stopped_and_started", stopped_and_started},
	{"killed_and_started", killed_and_started},
	{0},
};

static const struct tap_suite suites[] = {PROTO_SUITES("limits", cases), {0}};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
