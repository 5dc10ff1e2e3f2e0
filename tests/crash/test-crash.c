/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon is killed at random moments under random I/O, and started again: each request
 * completes exactly once, and each block holds the last write acknowledged.
 *
 * FE_CRASH_KILLS is the number of kills of each of the six random cases (default 40; 10000 is the
 * soak, see tests/crash/soak), FE_CRASH_SEED repeats a run as far as the kernel's timing allows.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/crash/crash.h"

#define KILLS_PER_SESSION 10

static unsigned int n_kills;

/* Mostly short, for the moments that matter are those between a few requests. */
static unsigned int random_us(void)
{
	switch (crash_random(4)) {
	case 0:
		return (unsigned int)crash_random(300);
	case 1:
		return (unsigned int)crash_random(20000);
	default:
		return (unsigned int)crash_random(4000);
	}
}

static void random_config(struct crash_config *c)
{
	const unsigned int depths[] = {1, 2, 7, 32, 64, 256};

	c->event_idx = crash_random(2);
	c->n_queues = 1 + (unsigned int)crash_random(CRASH_QUEUES);
	c->depth = crash_random(2) ? depths[crash_random(6)]
				   : 1 + (unsigned int)crash_random(CRASH_DEPTH);
	c->queue_size = 8u << crash_random(6);
	/* A packed ring may have any size. */
	if (c->packed && crash_random(2))
		c->queue_size -= (unsigned int)crash_random(c->queue_size / 8 + 1);
	c->inflight_size = crash_random(3) ? 0 : c->queue_size + (unsigned int)crash_random(64);
	c->payload = crash_random(2) ? FE_INFLIGHT_SPEC : FE_INFLIGHT_QEMU;
	c->block_size = crash_random(2) ? 4096 : 512;
}

/* A new session with that region; the rings go on at the bases that they have. */
static void go_on_with(struct fe_inflight *region)
{
	REQUIRE_OK(fe_inflight_open(&dev, server.socket, region));
	REQUIRE_OK(fe_inflight_begin(&dev));
}

/* One kill, and what comes of it; with some luck another one hits the recovery. */
static void one_crash(void)
{
	crash_pump(random_us());
	crash_kill();
	n_kills++;
	/* A guest goes on while nobody serves it. */
	if (crash_random(2)) {
		crash_reap();
		crash_fill();
	}
	crash_restart();
	crash_reconnect(crash_random(FE_BASES));
	if (crash_random(8) == 0)
		crash_drain();
}

static void random_kills(bool packed, bool indirect, bool inband)
{
	const unsigned int kills = number_from("FE_CRASH_KILLS", 40);
	const uint64_t start = fe_now_ns();

	crash_seed();
	n_kills = 0;
	crash_done = 0;
	while (n_kills < kills) {
		struct crash_config c = {.packed = packed, .indirect = indirect, .inband = inband};

		random_config(&c);
		crash_begin(&c);
		for (unsigned int i = 0; i < KILLS_PER_SESSION && n_kills < kills; i++)
			one_crash();
		crash_end();
		REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	}
	tap_diag("%u kills, %llu requests, %.1f s", n_kills, (unsigned long long)crash_done,
		 (double)(fe_now_ns() - start) / 1e9);
	CHECK(crash_done > n_kills);
}

static void split_direct(void)
{
	random_kills(false, false, false);
}

static void split_indirect(void)
{
	random_kills(false, true, false);
}

static void packed_direct(void)
{
	random_kills(true, false, false);
}

static void packed_indirect(void)
{
	random_kills(true, true, false);
}

/* What the dead one has completed is called for by the next one, by a message. */
static void split_inband(void)
{
	random_kills(false, true, true);
}

static void packed_inband(void)
{
	random_kills(true, true, true);
}

/* ---- other ends, other starts ---- */

/* Runs a case for both kinds of ring, each with a daemon of its own. */
static void for_both(void (*one)(const struct crash_config *c))
{
	crash_seed();
	for (unsigned int packed = 0; packed < 2; packed++) {
		const struct crash_config c = {
			.packed = packed,
			.indirect = packed,
			.event_idx = true,
			.n_queues = 2,
			.queue_size = 128,
			.depth = 16,
			.max_bytes = 64 * KIB,
		};

		one(&c);
		REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	}
}

static unsigned int count_tracked(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < dev.n_queues; i++)
		n += fe_inflight_count(&inflight, i);
	return n;
}

/*
 * SIGTERM with I/O in flight is no crash: status 0, and what is left is left in the region. (One
 * that is not waited for may end between a request's completion and what is noted of it.)
 */
static void one_sigterm(const struct crash_config *c)
{
	crash_begin(c);
	for (unsigned int i = 0; i < 5; i++) {
		unsigned int ms;

		crash_pump(3000);
		crash_fill();
		REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, &ms), 0);
		CHECK(ms < tap_stretch(7000)); /* --stop-timeout is 5 s */
		crash_reap();
		if (!c->options)
			CHECK(count_tracked() <= crash_in_flight);
		crash_restart();
		crash_reconnect(FE_BASE_QEMU);
	}
	crash_end();
}

static void sigterm(void)
{
	for_both(one_sigterm);
}

/* The stop timeout ends while the kernel holds much of it: the same, and the next one waits. */
static void one_sigterm_at_once(const struct crash_config *c)
{
	static const char *const options[] = {"--stop-timeout=0", NULL};
	struct crash_config at_once = *c;

	at_once.options = options;
	one_sigterm(&at_once);
}

static void sigterm_at_once(void)
{
	for_both(one_sigterm_at_once);
}

/*
 * GET_VRING_BASE answers when all is done; so the next daemon, however that one ended, goes on
 * there.
 */
static void one_clean_stop(const struct crash_config *c)
{
	crash_begin(c);
	for (unsigned int i = 0; i < 6; i++) {
		crash_pump(3000);
		crash_fill();
		REQUIRE_OK(fe_dev_stop(&dev));
		/* What it took it has given back; some it may never have seen. */
		CHECK_EQ(count_tracked(), 0);
		crash_reap();
		if (i % 2)
			crash_kill();
		else
			REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
		crash_restart();
		/* The base is what GET_VRING_BASE said, packed too. */
		go_on_with(&inflight);
	}
	crash_end();
}

static void clean_stop(void)
{
	for_both(one_clean_stop);
}

/* The same, with a stop that comes before recovery has had time for all: nothing is left behind. */
static void one_stop_in_recovery(const struct crash_config *c)
{
	struct crash_config deep = *c;

	deep.queue_size = 1024;
	deep.depth = 256;
	deep.max_bytes = 4 * KIB;
	crash_begin(&deep);
	for (unsigned int i = 0; i < 8; i++) {
		crash_pump(2000);
		crash_fill();
		crash_kill();
		crash_restart();
		REQUIRE_OK(fe_inflight_open(&dev, server.socket, &inflight));
		for (unsigned int q = 0; q < dev.n_queues && !c->packed; q++)
			dev.vq[q].base = fe_vq_used_base(&dev.vq[q]);
		/* All in one go: no answers to wait for. */
		dev.conn.reply_ack = false;
		REQUIRE_OK(fe_inflight_begin(&dev));
		REQUIRE_OK(fe_dev_stop(&dev));
		/* Without bit 20 nothing may stay in flight: the region does not migrate, say. */
		CHECK_EQ(count_tracked(), 0);
		go_on_with(&inflight);
	}
	crash_end();
}

static void stop_in_recovery(void)
{
	for_both(one_stop_in_recovery);
}

/* Stops a ring as `message` says; *base is the answer. */
static int ask_base(uint32_t message, unsigned int index, uint32_t *base)
{
	struct vhu_vring_state state = {.index = index};
	struct fe_msg msg;
	int ret = fe_ask(&dev.conn, message, &state, sizeof(state), &msg);

	if (!ret)
		*base = msg.payload.state.num;
	return ret;
}

/*
 * A stop that records instead of draining (bit 20, or bits 20 and 23 with message 45): what is left
 * is in the region, the answer is the used index, nothing comes back after it, and the next start
 * goes on with all of it. `features` are added to those of the session.
 */
static unsigned int abandon_all(uint64_t features, uint32_t message)
{
	unsigned int left;

	dev.protocol |= features;
	REQUIRE_OK(fe_tell_u64(&dev.conn, VHU_SET_PROTOCOL_FEATURES, dev.protocol));
	crash_fill();
	for (unsigned int i = 0; i < dev.n_queues; i++) {
		uint32_t base;

		REQUIRE_OK(ask_base(message, i, &base));
		if (fe_inflight_count(&inflight, i))
			CHECK_EQ(base, fe_vq_used_base(&dev.vq[i]));
		dev.vq[i].base = base;
	}
	left = count_tracked();
	crash_reap();
	CHECK(left <= crash_in_flight);
	CHECK_EQ(count_tracked(), left);
	return left;
}

static void one_abandon(const struct crash_config *c)
{
	const uint64_t record = FE_BIT(VHU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT);
	const uint64_t skip = FE_BIT(VHU_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN);
	static const char *const options[] = {"--num-workers=1", "--poll=off", NULL};
	struct crash_config deep = *c;
	unsigned int left = 0;

	/* More than the engine, one for all, gives the kernel at once; and found at once. */
	deep.options = options;
	deep.n_queues = 4;
	deep.queue_size = 1024;
	deep.depth = 256;
	crash_begin(&deep);
	/* How much the kernel has not seen yet is chance; if it was never anything, once more. */
	for (unsigned int i = 0; i < 8 || (!left && i < 80); i++) {
		crash_pump(2000);
		left += i % 2 ? abandon_all(record | skip, VHU_GET_VRING_BASE_SKIP_DRAIN)
			      : abandon_all(record, VHU_GET_VRING_BASE);
		/* On the same daemon, or on another one. */
		if (i % 4 > 1) {
			crash_kill();
			crash_restart();
		}
		go_on_with(&inflight);
	}
	tap_diag("%u requests were left in the region", left);
	CHECK(left > 0);
	crash_end();
}

static void abandon(void)
{
	for_both(one_abandon);
}

/*
 * The same, with two daemons that are there at once, as when a guest moves: the second one, waiting
 * for the image, gets a copy of the region, and finishes what is in it.
 */
static void one_hand_over(const struct crash_config *c)
{
	const uint64_t record = FE_BIT(VHU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT);
	const uint64_t skip = FE_BIT(VHU_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN);
	static const char *const options[] = {"--num-workers=1", "--poll=off", NULL};
	struct crash_config deep = *c;
	unsigned int left = 0;

	deep.options = options;
	deep.n_queues = 4;
	deep.queue_size = 1024;
	deep.depth = 256;
	crash_begin(&deep);
	for (unsigned int i = 0; i < 4 || (!left && i < 40); i++) {
		struct fe_inflight region;
		struct fe_daemon first = server;

		crash_pump(2000);
		left += abandon_all(record | skip, VHU_GET_VRING_BASE_SKIP_DRAIN);
		REQUIRE_OK(fe_inflight_copy(&region, &inflight, 0, 0));
		snprintf(server.socket, sizeof(server.socket), "%s/%u.sock", dir, i);
		snprintf(server.err_path, sizeof(server.err_path), "%s/%u.err", dir, i);
		REQUIRE_OK(fe_daemon_serve(&server, options));
		fe_dev_hang_up(&dev);
		go_on_with(&region);
		REQUIRE_EQ(fe_daemon_stop(&first, SIGTERM, NULL), 0);
		fe_inflight_free(&inflight);
		inflight = region;
	}
	tap_diag("%u requests were handed over", left);
	CHECK(left > 0);
	crash_end();
}

static void hand_over(void)
{
	for_both(one_hand_over);
}

/* A driver begins anew, with rings as they were at first. */
static void clean_rings(void)
{
	for (unsigned int i = 0; i < dev.n_queues; i++)
		fe_vq_reset(&dev.vq[i], fe_vq_fresh_base(&dev.vq[i]));
}

/*
 * RESET_DEVICE, then a start without new memory, and a second front-end with rings and region of
 * its own: neither finds anything of what was before.
 */
static void one_new_start(const struct crash_config *c)
{
	crash_begin(c);
	crash_pump(5000);
	crash_drain();
	REQUIRE_OK(fe_tell(&dev.conn, VHU_RESET_DEVICE, NULL, 0, NULL, 0));
	clean_rings();
	REQUIRE_OK(fe_tell_u64(&dev.conn, VHU_SET_FEATURES, dev.features));
	fe_inflight_free(&inflight);
	REQUIRE_OK(fe_inflight_get(&dev, &inflight, c->queue_size));
	REQUIRE_OK(fe_inflight_set(&dev, &inflight));
	REQUIRE_OK(fe_inflight_begin(&dev));
	crash_pump(5000);
	crash_once();
	crash_drain();
	/* Now with a new session, region and all. */
	fe_inflight_free(&inflight);
	REQUIRE_OK(fe_inflight_open(&dev, server.socket, &inflight));
	clean_rings();
	REQUIRE_OK(fe_inflight_begin(&dev));
	crash_pump(5000);
	crash_once();
	crash_end();
}

static void new_start(void)
{
	for_both(one_new_start);
}

/* No daemon lives long enough to finish what the one before it has begun. */
static void one_again_and_again(const struct crash_config *c)
{
	crash_begin(c);
	crash_pump(3000);
	crash_fill();
	for (unsigned int i = 0; i < 25; i++) {
		crash_kill();
		crash_reap();
		crash_restart();
		crash_reconnect(FE_BASE_QEMU);
		if (crash_random(2))
			usleep((useconds_t)crash_random(400));
	}
	crash_drain();
	crash_end();
}

static void again_and_again(void)
{
	for_both(one_again_and_again);
}

/* A region as another back-end gives it, with as many entries as it was asked for. */
static void make_small(struct fe_inflight *small, unsigned int queue_size)
{
	const uint64_t size = inflight.packed ? 32 + 32 * queue_size : 16 + 16 * queue_size;
	struct fe_inflight like = inflight;

	like.desc.queue_size = (uint16_t)queue_size;
	like.desc.mmap_size = like.desc.num_queues * ((size + 63) & ~UINT64_C(63));
	REQUIRE_OK(fe_inflight_copy(small, &like, 0, 0));
	memset(small->region, 0, small->desc.mmap_size);
}

/*
 * "desc_num": a region may have more entries than the ring, and ours has, whatever it was asked
 * for; with fewer the ring is served without being tracked.
 */
static void one_other_size(const struct crash_config *c)
{
	struct crash_config larger = *c;
	struct fe_inflight small;

	larger.inflight_size = c->queue_size + 77;
	crash_begin(&larger);
	for (unsigned int i = 0; i < 4; i++) {
		crash_pump(2000);
		crash_once();
	}
	crash_drain();
	REQUIRE_OK(fe_dev_stop(&dev));
	fe_inflight_free(&inflight);
	inflight.queue_size = c->queue_size / 2;
	go_on_with(&inflight);
	crash_pump(2000);
	crash_once();
	crash_drain();
	REQUIRE_OK(fe_dev_stop(&dev));
	make_small(&small, c->queue_size / 2);
	go_on_with(&small);
	crash_pump(2000);
	crash_drain();
	REQUIRE_OK(fe_daemon_await_log(&server, "are not tracked, and would be lost"));
	REQUIRE_OK(fe_dev_stop(&dev));
	fe_inflight_free(&small);
	go_on_with(&inflight);
	crash_end();
}

static void other_size(void)
{
	for_both(one_other_size);
}

/* Another back-end may end the list of free entries in its own way, and count from anywhere. */
static void foreign_region(void)
{
	const struct crash_config c = {
		.packed = true, .n_queues = 1, .queue_size = 64, .depth = 12, .event_idx = true};
	const uint16_t tails[] = {64, 65, 0x7fff, 0xffff};

	crash_seed();
	crash_begin(&c);
	for (unsigned int i = 0; i < 4; i++) {
		struct inflight_packed *p = fe_inflight_packed(&inflight, 0);
		unsigned int at;

		crash_pump(3000);
		crash_fill();
		crash_kill();
		for (at = p->old_free_head; at < 64 && p->desc[at].next < 64;)
			at = p->desc[at].next;
		if (at < 64)
			p->desc[at].next = tails[i];
		for (at = 0; at < 64; at++)
			if (p->desc[at].inflight)
				p->desc[at].counter += UINT64_MAX / 2;
		crash_restart();
		crash_reconnect(FE_BASE_QEMU);
		crash_drain();
	}
	crash_end();
}

static const struct tap_case cases[] = {
	{"random_split_direct", split_direct},
	{"random_split_indirect", split_indirect},
	{"random_packed_direct", packed_direct},
	{"random_packed_indirect", packed_indirect},
	{"random_split_inband", split_inband},
	{"random_packed_inband", packed_inband},
	{"sigterm", sigterm},
	{"sigterm_at_once", sigterm_at_once},
	{"clean_stop", clean_stop},
	{"stop_in_recovery", stop_in_recovery},
	{"abandon", abandon},
	{"hand_over", hand_over},
	{"new_start", new_start},
	{"again_and_again", again_and_again},
	{"other_size", other_size},
	{"foreign_region", foreign_region},
	{0},
};

static struct tap_suite suites[] = {
	{.name = "crash", .setup = proto_setup, .teardown = proto_teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	suites[0].seconds = 60 + number_from("FE_CRASH_KILLS", 40) / 4;
	return tap_main(argc, argv, suites);
}
