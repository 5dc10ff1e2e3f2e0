/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk that goes on in another daemon: what its driver has set goes over as the device's state
 * ("Migrating back-end state"), which a front-end carries from one daemon to the other unread; and
 * in the in-flight region, when the next daemon takes the place of one that is gone.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/frontend/fe_inflight.h"
#include "tests/proto/proto.h"

#define WCE   offsetof(struct virtio_blk_config, wce)
#define LOADS VHU_TRANSFER_LOAD

static uint8_t state[4096];
static size_t state_size;

/* ---- the front-end ---- */

static uint8_t wce(void)
{
	struct virtio_blk_config config;

	REQUIRE_OK(fe_get_config(&dev.conn, 0, FE_CONFIG_SIZE, &config));
	return config.wce;
}

static void set_wce(uint8_t on)
{
	REQUIRE_OK(fe_set_config(&dev.conn, WCE, 1, VHU_CONFIG_FLAG_WRITABLE, &on));
}

/* SET_DEVICE_STATE_FD with one end of a pipe; the other one, or -1 when it was refused. */
static int begin_transfer(uint32_t direction)
{
	const struct vhu_transfer_params params = {.direction = direction};
	const int theirs = direction == LOADS ? 0 : 1;
	struct fe_msg reply;
	int pair[2];

	REQUIRE_OK(pipe2(pair, O_CLOEXEC));
	REQUIRE_OK(fe_send(&dev.conn, VHU_SET_DEVICE_STATE_FD, VHU_VERSION, &params, sizeof(params),
			   &pair[theirs], 1));
	close(pair[theirs]);
	REQUIRE_OK(fe_recv(&dev.conn, &reply));
	CHECK_EQ(reply.n_fds, 0);
	if (reply.payload.u64 == VHU_TRANSFER_NOFD)
		return pair[!theirs];
	CHECK_EQ(reply.payload.u64, VHU_TRANSFER_NOFD | 1);
	close(pair[!theirs]);
	return -1;
}

static uint64_t check_transfer(void)
{
	uint64_t result;

	REQUIRE_OK(fe_ask_u64(&dev.conn, VHU_CHECK_DEVICE_STATE, &result));
	return result;
}

static void save(void)
{
	const int fd = begin_transfer(!LOADS);
	ssize_t n;

	REQUIRE(fd >= 0);
	state_size = 0;
	while ((n = read(fd, state + state_size, sizeof(state) - state_size)) > 0)
		state_size += (size_t)n;
	CHECK_EQ(n, 0);
	CHECK(state_size > 0);
	close(fd);
	CHECK_EQ(check_transfer(), 0);
}

/* Whether it was loaded. */
static bool load(void)
{
	const int fd = begin_transfer(LOADS);

	REQUIRE(fd >= 0);
	REQUIRE_EQ(write(fd, state, state_size), (ssize_t)state_size);
	close(fd);
	return !check_transfer();
}

static void attach_stopped(void)
{
	attach();
	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
}

/* ---- handed over ---- */

static void goes_on_in_another_daemon(void)
{
	needs_vublkd();
	serve(MIB);
	for (uint8_t on = 0; on < 2; on++) {
		attach_stopped();
		set_wce(on);
		save();
		detach();
		REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
		serve_again();
		attach_stopped();
		set_wce(!on); /* whatever it was before */
		CHECK(load());
		CHECK_EQ(wce(), on);
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
		check_round_trip(&blk, 0, 4096);
		CHECK_EQ(wce(), on);
		detach();
	}
}

/* The pieces come when they come; other messages are served meanwhile. */
static void loads_as_it_comes(void)
{
	int fd;

	needs_vublkd();
	serve(MIB);
	attach_stopped();
	set_wce(0);
	save();
	set_wce(1);
	fd = begin_transfer(LOADS);
	REQUIRE(fd >= 0);
	for (size_t i = 0; i < state_size; i++) {
		REQUIRE_EQ(write(fd, state + i, 1), 1);
		CHECK_OK(fe_sync(&dev.conn));
		CHECK_EQ(wce(), 1);
	}
	close(fd);
	CHECK_EQ(check_transfer(), 0);
	CHECK_EQ(wce(), 0);
}

static int is_closed(void *arg)
{
	const int fd = *(const int *)arg;

	return write(fd, "", 1) < 0 && errno == EPIPE;
}

/* A larger one is of another back-end: its writer finds the pipe closed, and does not wait. */
static void another_back_end(void)
{
	int fd;

	needs_vublkd();
	serve(MIB);
	attach_stopped();
	set_wce(0);
	signal(SIGPIPE, SIG_IGN);
	fd = begin_transfer(LOADS);
	REQUIRE(fd >= 0);
	CHECK_EQ(fe_wait_for(is_closed, &fd, fe_deadline(FE_TIMEOUT_MS)), 1);
	close(fd);
	CHECK(check_transfer() != 0);
	CHECK_EQ(n_logged("cannot load the device's state: it is not a state of vublkd's"), 1);
	CHECK_EQ(wce(), 0);
	check_serves();
}

/* One that never comes to its end disturbs nobody, and goes with its session. */
static void never_ends(void)
{
	int fd;

	needs_vublkd();
	serve(MIB);
	attach_stopped();
	signal(SIGPIPE, SIG_IGN);
	fd = begin_transfer(LOADS);
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	check_round_trip(&blk, 0, 4096);
	detach();
	CHECK_EQ(fe_wait_for(is_closed, &fd, fe_deadline(FE_TIMEOUT_MS)), 1);
	close(fd);
	attach_stopped();
	CHECK(check_transfer() != 0);
	check_serves();
}

static void not_while_rings_run(void)
{
	needs_vublkd();
	serve(MIB);
	attach();
	CHECK_EQ(begin_transfer(LOADS), -1);
	CHECK_EQ(begin_transfer(!LOADS), -1);
	CHECK_EQ(n_logged("rings run"), 2);
	check_round_trip(&blk, 0, 4096);
}

/* ---- left behind ---- */

static struct fe_inflight inflight;

static void begin_tracked(const char *cache, unsigned int n_queues)
{
	const struct fe_dev_options options = {.packed = proto_packed, .n_queues = n_queues};

	needs_vublkd();
	serve(MIB, cache);
	inflight = (struct fe_inflight){0};
	REQUIRE_OK(fe_inflight_start(&dev, server.socket, &options, &inflight));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 4, 64 * KIB));
	check_round_trip(&blk, 0, 4096);
}

/* Killed, or asked to end; and QEMU goes on with the next one. */
static void go_on(const char *cache, int signal)
{
	CHECK_EQ(fe_daemon_stop(&server, signal, NULL), signal == SIGKILL ? 128 + SIGKILL : 0);
	serve_again(cache);
	REQUIRE_OK(fe_inflight_reconnect(&dev, server.socket, &inflight, FE_BASE_QEMU));
	check_round_trip(&blk, 0, 4096);
}

#define NONE    "--cache=none"
#define THROUGH "--cache=writethrough"

/* The driver has set it once, and flushes or does not flush accordingly for ever. */
static void write_cache_stays_off(void)
{
	begin_tracked(NONE, 1);
	CHECK_EQ(wce(), 1);
	set_wce(0);
	for (int i = 0; i < 3; i++) {
		go_on(NONE, i == 1 ? SIGTERM : SIGKILL);
		CHECK_EQ(wce(), 0);
	}
	set_wce(1);
	for (int i = 0; i < 3; i++) {
		go_on(NONE, i == 1 ? SIGTERM : SIGKILL);
		CHECK_EQ(wce(), 1);
	}
	fe_inflight_free(&inflight);
}

static int is_off(void *arg)
{
	(void)arg;
	return !wce();
}

/* With any queue that is started alone, and whether or not it ran when the driver did it. */
static void each_queue_knows_it(void)
{
	begin_tracked(NONE, 4);
	REQUIRE_OK(fe_dev_stop_vq(&dev, 2));
	set_wce(0);
	for (unsigned int i = 0; i < 4; i++) {
		CHECK_EQ(fe_daemon_stop(&server, SIGKILL, NULL), 128 + SIGKILL);
		serve_again(NONE);
		REQUIRE_OK(fe_inflight_open(&dev, server.socket, &inflight));
		REQUIRE_OK(fe_dev_start_vq(&dev, i));
		/* It may have to wait for its image; and is asked by nobody before that. */
		CHECK_EQ(fe_wait_for(is_off, NULL, fe_deadline(FE_TIMEOUT_MS)), 1);
	}
	fe_inflight_free(&inflight);
}

/* A driver that found it off does not flush, whatever the operator says since. */
static void operator_turns_it_on(void)
{
	begin_tracked(THROUGH, 1);
	CHECK_EQ(wce(), 0);
	for (int i = 0; i < 2; i++) {
		go_on(NONE, SIGTERM);
		CHECK_EQ(wce(), 0);
	}
	fe_inflight_free(&inflight);
}

/* Another guest's disk is as it was configured. */
static void new_region_knows_nothing(void)
{
	begin_tracked(NONE, 1);
	set_wce(0);
	fe_inflight_free(&inflight);
	fe_blk_free(&blk);
	fe_dev_close(&dev);
	attach();
	CHECK_EQ(wce(), 1);
}

static const struct tap_case cases[] = {
	{"goes_on_in_another_daemon", goes_on_in_another_daemon},
	{"loads_as_it_comes", loads_as_it_comes},
	{"another_back_end", another_back_end},
	{"never_ends", never_ends},
	{"not_while_rings_run", not_while_rings_run},
	{"write_cache_stays_off", write_cache_stays_off},
	{"each_queue_knows_it", each_queue_knows_it},
	{"operator_turns_it_on", operator_turns_it_on},
	{"new_region_knows_nothing", new_region_knows_nothing},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("state", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
