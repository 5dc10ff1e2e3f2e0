/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions that outlive their process: somebody keeps what they consist of, and starts the daemon
 * again whenever it dies. The front-end must not see the connection end, and all that the crash
 * tests ask of a front-end that reconnects is asked of one that knows nothing: each request
 * completes exactly once, and each block holds the last write that was acknowledged. Also where
 * the front-end has no in-flight region.
 *
 * FE_CRASH_KILLS is the number of kills of each case (default 40), FE_CRASH_SEED as in test-crash.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/crash/crash.h"

/* ---- what all cases need ---- */

static void teardown(void)
{
	static char log[16384];

	detach();
	if (tap_failed() && fe_daemon_stderr(&server, log, sizeof(log)))
		tap_diag("the daemons' log:\n%.8000s", log);
	fe_keeper_free(&keeper);
}

/* Ends what crash_begin() began: the daemon has gone on to the end. */
static void finish(void)
{
	crash_check_connected();
	crash_end();
	REQUIRE_EQ(fe_keeper_stop(&keeper, SIGTERM), 0);
	/* There was a session as long as there was a connection. */
	REQUIRE_EQ(keeper.state->kept, 0);
}

static unsigned int random_us(void)
{
	return (unsigned int)crash_random(crash_random(4) ? 4000 : 20000);
}

/* ---- kills under load ---- */

static void random_kills(const struct crash_config *wanted)
{
	const unsigned int kills = number_from("FE_CRASH_KILLS", 40);
	const uint64_t start = fe_now_ns();
	struct crash_config c = *wanted;

	needs_vublkd();
	c.kept = true;
	c.n_queues = c.n_queues ? c.n_queues : 2;
	c.queue_size = 128;
	c.depth = 32;
	c.disk_size = 8 * MIB;
	crash_seed();
	crash_begin(&c);
	for (unsigned int i = 0; i < kills; i++) {
		crash_pump(random_us());
		crash_kill();
		/* The next one may be killed while it goes on, or when it has. */
		if (crash_random(3) == 0)
			usleep((unsigned int)crash_random(5000));
		if (crash_random(8) == 0)
			crash_drain();
	}
	finish();
	CHECK(keeper.state->starts > kills);
	tap_diag("%u kills, %llu requests, %.1f s", kills, (unsigned long long)crash_done,
		 (double)(fe_now_ns() - start) / 1e9);
	CHECK(crash_done > kills);
}

static void split(void)
{
	random_kills(&(struct crash_config){.indirect = true, .event_idx = true});
}

static void packed(void)
{
	random_kills(&(struct crash_config){.packed = true, .indirect = true});
}

static void split_without_a_region(void)
{
	random_kills(&(struct crash_config){.event_idx = true, .no_region = true});
}

static void packed_without_a_region(void)
{
	random_kills(&(struct crash_config){.packed = true, .event_idx = true, .no_region = true});
}

static void calls_by_messages(void)
{
	random_kills(&(struct crash_config){.inband = true, .event_idx = true, .no_region = true});
}

static void several_disks(void)
{
	static const char *const options[] = {"--num-workers=2", NULL};

	random_kills(&(struct crash_config){
		.n_disks = CRASH_DISKS, .mixed = true, .no_region = true, .options = options});
}

/* ---- restarts that are asked for ---- */

/* Asked to stop by a signal under load, it has this status each time, and the next one goes on. */
static void restarts(const struct crash_config *wanted, int signal, int status, unsigned int n)
{
	struct crash_config c = *wanted;

	needs_vublkd();
	c.kept = true;
	c.no_region = true;
	c.queue_size = 64;
	c.depth = 16;
	c.disk_size = 8 * MIB;
	crash_seed();
	crash_begin(&c);
	for (unsigned int i = 0; i < n; i++) {
		crash_pump(5000);
		REQUIRE(!kill(keeper.state->daemon, signal));
		while (keeper.state->ready < i + 2)
			crash_pump(1000);
		REQUIRE_EQ(keeper.state->status, status);
	}
	CHECK_EQ(keeper.state->starts, n + 1);
	finish();
}

static void asked_to_start_again(void)
{
	restarts(&(struct crash_config){.event_idx = true, .n_queues = 2}, SIGUSR2, 75, 10);
}

/* Who keeps the session may start another one, as systemd does for "restart". */
static void stopped_and_started(void)
{
	restarts(&(struct crash_config){.packed = true, .n_queues = 1}, SIGTERM, 0, 3);
}

/* ---- sessions in other states ---- */

static void serve_kept(const char *const options[])
{
	static struct fe_daemon_args args;

	needs_vublkd();
	REQUIRE_OK(fe_image_make(server.image, MIB));
	fe_daemon_make_args(&server, options, &args);
	REQUIRE_OK(fe_keeper_start(&keeper, &server, args.arg, NULL));
	REQUIRE_OK(fe_keeper_await_ready(&keeper, 1));
}

/* Kills it; the next one is ready. */
static void next_one(void)
{
	const unsigned int ready = keeper.state->ready;

	REQUIRE_OK(fe_keeper_kill(&keeper));
	REQUIRE_OK(fe_keeper_await_ready(&keeper, ready + 1));
}

struct kept {
	unsigned int least, most;
};

static int is_kept(void *arg)
{
	const struct kept *wanted = arg;

	return keeper.state->kept >= wanted->least && keeper.state->kept <= wanted->most;
}

/* The keeper hears of what it is to keep, or not any more, a moment later. */
static void await_kept(unsigned int least, unsigned int most)
{
	struct kept wanted = {least, most};

	REQUIRE(fe_wait_for(is_kept, &wanted, fe_deadline(FE_TIMEOUT_MS)) > 0);
}

/* The listening socket, and no session. */
static void await_no_session(void)
{
	await_kept(1, 1);
}

static bool is_connected(void)
{
	struct pollfd p = {.fd = dev.conn.fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) == 0;
}

static void over_and_done(void)
{
	detach();
	REQUIRE_EQ(fe_keeper_stop(&keeper, SIGTERM), 0);
}

/* As QEMU's between its firmware and the kernel: nothing runs, and it is killed again and again. */
static void before_anything_runs(void)
{
	serve_kept(NULL);
	/* First who waits to be accepted, then who was. */
	REQUIRE(!kill(keeper.state->daemon, SIGSTOP));
	REQUIRE_OK(fe_conn_open(&dev.conn, server.socket));
	next_one();
	await_kept(3, 3);
	for (unsigned int i = 0; i < 3; i++)
		next_one();
	REQUIRE_OK(fe_dev_negotiate(&dev));
	for (unsigned int i = 0; i < 3; i++)
		next_one();
	REQUIRE(fe_mem_add(&dev.mem, 0, FE_DEFAULT_MEM_SIZE, 0) >= 0);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	next_one();
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	next_one();
	for (unsigned int i = 0; i < dev.n_queues; i++) {
		REQUIRE_OK(fe_dev_start_vq(&dev, i));
		next_one();
	}
	REQUIRE_OK(fe_dev_set_driver_ok(&dev));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 4, 65536));
	check_round_trip(&blk, 0, 4096);
	next_one();
	check_round_trip(&blk, 8, 4096);
	CHECK(is_connected());
	over_and_done();
}

/* As with QEMU's stop and cont. */
static void rings_stop_and_start(void)
{
	serve_kept(NULL);
	attach();
	for (unsigned int i = 0; i < 5; i++) {
		check_round_trip(&blk, 0, 4096);
		if (i % 2)
			next_one();
		REQUIRE_OK(fe_dev_stop(&dev));
		next_one();
		for (unsigned int k = 0; k < dev.n_queues; k++) {
			REQUIRE_OK(fe_dev_start_vq(&dev, k));
			if (i == 2)
				next_one();
		}
		REQUIRE_OK(fe_dev_set_driver_ok(&dev));
	}
	check_round_trip(&blk, 0, 4096);
	CHECK(is_connected());
	over_and_done();
}

/* As QEMU starts a device: it asks for no acknowledgement, so that its messages pile up. */
static void messages_that_ask_nothing_pile_up(void)
{
	serve_kept(NULL);
	for (unsigned int i = 0; i < 4; i++) {
		REQUIRE_OK(fe_conn_open(&dev.conn, server.socket));
		REQUIRE_OK(fe_dev_negotiate(&dev));
		REQUIRE(fe_mem_add(&dev.mem, 0, FE_DEFAULT_MEM_SIZE, 0) >= 0);
		REQUIRE_OK(fe_dev_make_vqs(&dev));
		dev.conn.reply_ack = false;
		REQUIRE(!kill(keeper.state->daemon, SIGSTOP));
		REQUIRE_OK(fe_dev_share_memory(&dev));
		for (unsigned int k = 0; k < dev.n_queues; k++)
			REQUIRE_OK(fe_dev_start_vq(&dev, k));
		REQUIRE_OK(fe_dev_set_driver_ok(&dev));
		if (i % 2)
			next_one();
		else
			kill(keeper.state->daemon, SIGCONT);
		REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 4, 65536));
		check_round_trip(&blk, 0, 4096);
		CHECK(is_connected());
		detach();
	}
	over_and_done();
}

/* What a guest has switched off stays off; it is known from the session alone. */
static void the_write_cache_stays_off(void)
{
	struct virtio_blk_config config;

	serve_kept((const char *const[]){"--cache=writeback", NULL});
	attach();
	REQUIRE_OK(fe_set_config(&dev.conn, offsetof(struct virtio_blk_config, wce), 1, 0,
				 &(const uint8_t){0}));
	next_one();
	next_one();
	REQUIRE_OK(fe_get_config(&dev.conn, 0, FE_CONFIG_SIZE, &config));
	CHECK_EQ(config.wce, 0);
	over_and_done();
}

/* Who hangs up while nobody serves it is noticed by the next one; nothing of it stays. */
static void a_front_end_that_goes_meanwhile(void)
{
	serve_kept(NULL);
	attach();
	keeper.state->late = true;
	kill(keeper.state->daemon, SIGKILL);
	while (keeper.state->daemon)
		usleep(1000);
	await_kept(5, 100);
	detach();
	keeper.state->late = false;
	REQUIRE_OK(fe_keeper_await_ready(&keeper, 2));
	await_no_session();
	/* And the next one is served. */
	attach();
	check_round_trip(&blk, 0, 4096);
	over_and_done();
}

/* A front-end that hangs up in an orderly way leaves nothing behind either. */
static void nothing_stays_of_a_session_that_ends(void)
{
	serve_kept(NULL);
	for (unsigned int i = 0; i < 3; i++) {
		attach();
		check_round_trip(&blk, 0, 4096);
		await_kept(5, 100);
		detach();
		await_no_session();
	}
	over_and_done();
}

/* The same descriptors again and again, as QEMU does when it masks vectors. */
static void descriptors_that_come_again(void)
{
	unsigned int kept;

	serve_kept(NULL);
	attach();
	REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, dev.vq[0].call_fd));
	await_kept(5, 100);
	REQUIRE_OK(fe_sync(&dev.conn));
	usleep(100000);
	kept = keeper.state->kept;
	for (unsigned int i = 0; i < 50; i++) {
		REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, dev.vq[0].call_fd));
		REQUIRE_OK(fe_dev_share_memory(&dev));
	}
	await_kept(kept, kept);
	next_one();
	check_round_trip(&blk, 0, 4096);
	await_kept(kept, kept);
	over_and_done();
}

/* Whatever the daemon is at when it dies, each question has one answer, and the right one. */
static void questions_while_it_dies(void)
{
	const unsigned int kills = number_from("FE_CRASH_KILLS", 40);
	uint64_t value, features, n = 0;

	serve_kept(NULL);
	attach();
	REQUIRE_OK(fe_ask_u64(&dev.conn, VHU_GET_FEATURES, &features));
	crash_seed();
	for (unsigned int i = 0; i < kills; i++) {
		const uint64_t end = fe_now_ns() + crash_random(3000000);

		do {
			REQUIRE_OK(fe_ask_u64(&dev.conn, VHU_GET_QUEUE_NUM, &value));
			REQUIRE_EQ(value, dev.max_queues);
			REQUIRE_OK(fe_ask_u64(&dev.conn, VHU_GET_FEATURES, &value));
			REQUIRE_EQ(value, features);
			REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0,
						    dev.vq[0].call_fd));
			n++;
		} while (fe_now_ns() < end);
		REQUIRE(!kill(keeper.state->daemon, SIGKILL));
		while (keeper.state->ready < i + 2 && crash_random(2))
			REQUIRE_OK(fe_sync(&dev.conn));
		REQUIRE_OK(fe_keeper_await_ready(&keeper, i + 2));
	}
	check_round_trip(&blk, 0, 4096);
	tap_diag("%u kills, %llu questions", kills, (unsigned long long)n);
	over_and_done();
}

/* ---- each step ---- */

static const char *const steps[] = {
#include "tests/crash/keep-steps.h"
};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

/* A life with all kinds of messages. */
static void all_of_it(bool packed, bool region)
{
	static struct fe_inflight own;
	const struct fe_dev_options options = {.packed = packed, .channel = true, .n_queues = 2};
	uint32_t base;

	own = (struct fe_inflight){0};
	if (region)
		REQUIRE_OK(fe_inflight_start(&dev, server.socket, &options, &own));
	else
		REQUIRE_OK(fe_dev_start(&dev, server.socket, &options));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 4, 65536));
	check_round_trip(&blk, 0, 4096);
	/* Memory comes again, other descriptors, the same ones. */
	REQUIRE_OK(fe_dev_share_memory(&dev));
	REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_ERR, 1, -1));
	REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, dev.vq[0].call_fd));
	check_round_trip(&blk, 8, 4096);
	REQUIRE_OK(fe_dev_enable_vq(&dev, 0, false));
	REQUIRE_OK(fe_dev_enable_vq(&dev, 0, true));
	check_round_trip(&blk, 16, 4096);
	/* Stop, and go on. */
	REQUIRE_OK(fe_dev_stop(&dev));
	for (unsigned int i = 0; i < dev.n_queues; i++)
		REQUIRE_OK(fe_dev_start_vq(&dev, i));
	REQUIRE_OK(fe_dev_set_driver_ok(&dev));
	check_round_trip(&blk, 24, 4096);
	REQUIRE_OK(fe_ask_base(&dev.conn, 0, &base));
	REQUIRE_EQ(base, fe_vq_used_base(&dev.vq[0]));
	REQUIRE(is_connected());
	detach();
	fe_inflight_free(&own);
}

/* It dies at the step when it comes there for the n-th time: the rest of its life is the next
 * one's. Does it come there so often? */
static bool visit(const char *step, unsigned int n, bool packed, bool region)
{
	static struct fe_daemon_args args;
	char kill[80];
	bool died;

	snprintf(kill, sizeof(kill), "%s:%u", step, n);
	fe_daemon_make_args(&server, NULL, &args);
	REQUIRE_OK(fe_keeper_start(&keeper, &server, args.arg, kill));
	all_of_it(packed, region);
	died = keeper.state->starts > 1;
	/* When the front-end had gone, for one. */
	REQUIRE_EQ(fe_keeper_stop(&keeper, SIGTERM), 0);
	died |= keeper.state->starts > 1;
	fe_keeper_free(&keeper);
	return died;
}

static void visit_each(bool packed, bool region)
{
	unsigned int visits = 0;

	crash_needs_kill_points();
	REQUIRE_OK(fe_image_make(server.image, MIB));
	for (unsigned int i = 0; i < N_STEPS; i++) {
		unsigned int n = 1;

		/* Not each time of those that come often: there are many messages. */
		while (visit(steps[i], n, packed, region)) {
			visits++;
			n += 1 + n / 2;
		}
		tap_check(n > 1, false, __FILE__, __LINE__, "%s was never met", steps[i]);
	}
	tap_diag("%zu steps, %u deaths", N_STEPS, visits);
}

static void each_step_split(void)
{
	visit_each(false, false);
}

static void each_step_packed_with_a_region(void)
{
	visit_each(true, true);
}

/* ---- what cannot go on ---- */

/* It has not all that it needs: the connection ends, which is said, and the disk is served. */
static void a_keeper_with_too_little_room(void)
{
	serve_kept(NULL);
	keeper.state->most = 5;
	attach();
	check_round_trip(&blk, 0, 4096);
	keeper.state->most = 100;
	next_one();
	REQUIRE_OK(fe_daemon_await_log(&server, "the session of an earlier process cannot go on"));
	CHECK(!is_connected());
	detach();
	attach();
	check_round_trip(&blk, 0, 4096);
	over_and_done();
}

static const struct tap_case cases[] = {
	{"split", split},
	{"packed", packed},
	{"split_without_a_region", split_without_a_region},
	{"packed_without_a_region", packed_without_a_region},
	{"calls_by_messages", calls_by_messages},
	{"several_disks", several_disks},
	{"asked_to_start_again", asked_to_start_again},
	{"stopped_and_started", stopped_and_started},
	{"before_anything_runs", before_anything_runs},
	{"rings_stop_and_start", rings_stop_and_start},
	{"messages that ask nothing pile up", messages_that_ask_nothing_pile_up},
	{"the_write_cache_stays_off", the_write_cache_stays_off},
	{"a_front_end_that_goes_meanwhile", a_front_end_that_goes_meanwhile},
	{"nothing_stays_of_a_session_that_ends", nothing_stays_of_a_session_that_ends},
	{"descriptors_that_come_again", descriptors_that_come_again},
	{"questions_while_it_dies", questions_while_it_dies},
	{"each_step_split", each_step_split},
	{"each_step_packed_with_a_region", each_step_packed_with_a_region},
	{"a_keeper_with_too_little_room", a_keeper_with_too_little_room},
	{0},
};

static struct tap_suite suites[] = {
	{.name = "kept", .setup = proto_setup, .teardown = teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	suites[0].seconds = 60 + number_from("FE_CRASH_KILLS", 40) / 2;
	return tap_main(argc, argv, suites);
}
