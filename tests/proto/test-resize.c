/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An image that grows under the running disk: what is added can be read and written, and the
 * front-end is told, once, when it listens. One that shrinks stays as large as its guest was told.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define OK    VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define SIZE  (4 * MIB)
#define LARGE (8 * MIB)
#define GROWN "has grown, and the disk has"
#define CUT   "truncated under the running disk"

static uint8_t buf[64 * KIB];

/* ---- what the front-end is told ---- */

static uint64_t capacity(void)
{
	struct virtio_blk_config config;

	REQUIRE_OK(fe_get_config(&dev.conn, 0, FE_CONFIG_SIZE, &config));
	return config.capacity * 512;
}

static int has_changed(void *arg)
{
	(void)arg;
	return fe_dev_config_changes(&dev);
}

/* Waits until it was told; it must have been once. */
static void await_change(void)
{
	REQUIRE_EQ(fe_wait_for(has_changed, NULL, fe_deadline(5000)), 1);
}

/* All that was done before has been dealt with, and nothing was said. */
static void check_quiet(void)
{
	CHECK_OK(fe_sync(&dev.conn));
	CHECK_EQ(fe_dev_config_changes(&dev), 0);
}

static void sighup(void)
{
	static unsigned int n;

	n = n_logged("SIGHUP: ");
	REQUIRE_OK(kill(server.pid, SIGHUP));
	for (uint64_t deadline = fe_deadline(5000); n_logged("SIGHUP: ") == n;)
		REQUIRE(fe_left_ms(deadline));
}

/* ---- the image ---- */

static void resize_to(uint64_t size)
{
	REQUIRE_OK(truncate(server.image, (off_t)size));
}

static uint64_t image_size(void)
{
	struct stat st;

	REQUIRE_OK(stat(server.image, &st));
	return (uint64_t)st.st_size;
}

/* Is the disk as large as this, and no larger? */
static void check_end(uint64_t size)
{
	const uint64_t last = size / 512 - 8;

	CHECK_EQ(capacity(), size);
	check_round_trip(&blk, last, 4096);
	CHECK_EQ(fe_blk_read(&blk, last, buf, 8192), IOERR);
	CHECK_EQ(fe_blk_read(&blk, last + 8, buf, 4096), IOERR);
	CHECK_EQ(fe_blk_write(&blk, last + 8, buf, 4096), IOERR);
	CHECK_EQ(image_size(), size);
}

static void begin(const char *option)
{
	needs_vublkd();
	serve(SIZE, option);
	attach(.channel = true);
}

/* ---- growing ---- */

static void at_rest(void)
{
	begin("--poll=off");
	check_end(SIZE);
	REQUIRE_OK(fe_vq_wait_rest(blk.vq, fe_deadline(5000)));
	resize_to(LARGE);
	await_change();
	check_end(LARGE);
	check_quiet();
	CHECK_EQ(n_logged(GROWN), 1);
	CHECK_EQ(n_logged(CUT), 0);
}

/* Writes all the time; and asks for the configuration meanwhile, as QEMU does before it answers. */
static void under_load(const char *option)
{
	const uint64_t deadline = fe_deadline(10000);
	struct fe_blk_slot *done;
	unsigned int n = 0, said = 0;

	begin(option);
	write_all_slots(1);
	while (!said || n < 200) {
		REQUIRE(fe_left_ms(deadline));
		REQUIRE_OK(fe_blk_await(&blk, &done));
		CHECK_EQ(*done->status, OK);
		REQUIRE_OK(fe_blk_submit(&blk, done, VIRTIO_BLK_T_OUT, n % 1000 * 8, 4096));
		fe_vq_kick(blk.vq);
		if (++n == 50)
			resize_to(LARGE);
		if (n % 10 == 0)
			CHECK(capacity() == SIZE || n >= 50);
		said += (unsigned int)fe_dev_config_changes(&dev);
	}
	REQUIRE_OK(fe_blk_drain(&blk));
	CHECK_EQ(said, 1);
	check_end(LARGE);
	check_quiet();
}

static void under_load_with_polling(void)
{
	under_load("--poll=always");
}

static void under_load_with_kicks(void)
{
	under_load("--poll=off");
}

static void step_by_step(void)
{
	begin(NULL);
	for (uint64_t size = SIZE + MIB; size <= LARGE; size += MIB) {
		resize_to(size);
		await_change();
		check_end(size);
	}
	check_quiet();
}

static void for_all_workers(void)
{
	static struct fe_blk second;

	begin("--num-workers=2");
	detach();
	attach(.channel = true, .n_queues = 2);
	REQUIRE_OK(fe_blk_init(&second, &dev, 1, 4, 64 * KIB));
	CHECK_EQ(fe_blk_write(&second, LARGE / 512 - 8, buf, 4096), IOERR);
	resize_to(LARGE);
	await_change();
	check_round_trip(&second, LARGE / 512 - 8, 4096);
	check_end(LARGE);
	fe_blk_free(&second);
}

static void read_only(void)
{
	begin("--read-only");
	resize_to(LARGE);
	await_change();
	CHECK_EQ(capacity(), LARGE);
	CHECK_EQ(fe_blk_read(&blk, LARGE / 512 - 8, buf, 4096), OK);
	CHECK_EQ(fe_blk_read(&blk, LARGE / 512, buf, 4096), IOERR);
}

/* As when it is opened: a part of a sector counts, a part of a block does not. */
static void by_a_part_of_a_sector(void)
{
	begin("--block-size=512");
	resize_to(LARGE + 100);
	await_change();
	CHECK_EQ(capacity(), LARGE + 512);
	REQUIRE_EQ(fe_blk_read(&blk, LARGE / 512, buf, 512), OK);
	check_round_trip(&blk, LARGE / 512, 512);
	CHECK_EQ(image_size(), LARGE + 512);
	CHECK_EQ(fe_blk_read(&blk, LARGE / 512 + 1, buf, 512), IOERR);
	sighup();
	check_quiet();
}

static void by_a_part_of_a_block(void)
{
	begin("--block-size=4096");
	resize_to(SIZE + 1000);
	sighup();
	check_quiet();
	CHECK_EQ(capacity(), SIZE);
	resize_to(LARGE + 1000);
	await_change();
	CHECK_EQ(capacity(), LARGE);
	check_round_trip(&blk, LARGE / 512 - 8, 4096);
	CHECK_EQ(fe_blk_write(&blk, LARGE / 512, buf, 4096), IOERR);
	CHECK_EQ(image_size(), LARGE + 1000);
	CHECK_EQ(n_logged(CUT), 0);
}

/* A device has nothing that could be watched. */
static void device_with_sighup(void)
{
	char file[sizeof(dir) + 8];
	int loop_fd;

	needs_vublkd();
	snprintf(file, sizeof(file), "%s/file", dir);
	REQUIRE_OK(fe_image_make(file, SIZE));
	loop_fd = need_loop(file, 512, 0, server.image, sizeof(server.image));
	serve_again();
	attach(.channel = true);
	CHECK_EQ(fe_blk_read(&blk, SIZE / 512, buf, 4096), IOERR);
	REQUIRE_OK(truncate(file, LARGE));
	REQUIRE_OK(ioctl(loop_fd, LOOP_SET_CAPACITY, 0));
	check_quiet();
	CHECK_EQ(capacity(), SIZE);
	sighup();
	await_change();
	CHECK_EQ(capacity(), LARGE);
	check_round_trip(&blk, LARGE / 512 - 8, 4096);
	CHECK_EQ(fe_blk_read(&blk, LARGE / 512, buf, 4096), IOERR);
	/* And shrinks. */
	REQUIRE_OK(truncate(file, SIZE));
	REQUIRE_OK(ioctl(loop_fd, LOOP_SET_CAPACITY, 0));
	sighup();
	REQUIRE_OK(fe_daemon_await_log(&server, CUT));
	CHECK_EQ(capacity(), LARGE);
	CHECK_EQ(fe_blk_read(&blk, LARGE / 512 - 8, buf, 4096), IOERR);
	CHECK_EQ(fe_blk_write(&blk, LARGE / 512 - 8, buf, 4096), IOERR);
	check_round_trip(&blk, SIZE / 512 - 8, 4096);
	check_quiet();
	close(loop_fd);
}

static void sighup_without_a_change(void)
{
	begin("--log-level=debug");
	sighup();
	REQUIRE_OK(fe_daemon_await_log(&server, "the image has not grown, and the disk has 4194304 "
						"bytes"));
	check_quiet();
	check_end(SIZE);
}

/* Of a thousand disks it would be a thousand lines. */
static void sighup_without_a_change_is_no_news(void)
{
	begin(NULL);
	sighup();
	REQUIRE_OK(kill(server.pid, SIGUSR1));
	REQUIRE_OK(fe_daemon_await_log(&server, "requests so far"));
	CHECK_EQ(n_logged("has not grown"), 0);
}

static void no_image(void)
{
	const char *const args[] = {option("--socket-path", server.socket), "--engine=null",
				    "--size=1M", "--log-level=debug", NULL};

	needs_vublkd();
	REQUIRE_OK(fe_daemon_spawn(&server, args, NULL, NULL));
	REQUIRE_OK(fe_daemon_await_socket(&server));
	attach(.channel = true);
	sighup();
	REQUIRE_OK(fe_daemon_await_log(&server, "has not grown"));
	check_quiet();
	CHECK_EQ(capacity(), MIB);
}

/* ---- when it is told ---- */

/* Nobody is connected, or no ring runs: who reads the configuration then is not told of it. */
static void while_nobody_looks(void)
{
	begin(NULL);
	detach();
	resize_to(LARGE);
	attach(.channel = true);
	check_quiet();
	CHECK_EQ(dev.config.capacity, LARGE / 512);
	check_end(LARGE);
	REQUIRE_OK(fe_dev_stop(&dev));
	resize_to(LARGE + MIB);
	sighup();
	REQUIRE_OK(fe_daemon_await_log(&server, "9437184 bytes"));
	check_quiet(); /* a device that is stopped says nothing */
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	await_change();
	check_end(LARGE + MIB);
	/* It has read it, and another start is no reason. */
	REQUIRE_OK(fe_dev_stop(&dev));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	check_quiet();
}

/* A front-end that has not read it is told again when it starts its rings. */
static void not_listened_to(void)
{
	begin(NULL);
	resize_to(LARGE);
	await_change();
	REQUIRE_OK(fe_dev_stop(&dev));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	await_change();
	check_end(LARGE);
}

/* What it knows is what an earlier process has told it. */
static void after_each_reconnection(void)
{
	begin(NULL);
	check_quiet();
	for (uint64_t size = SIZE; size <= LARGE; size += SIZE) {
		REQUIRE_EQ(fe_daemon_stop(&server, SIGKILL, NULL), 128 + SIGKILL);
		resize_to(size);
		serve_again();
		fe_dev_hang_up(&dev);
		REQUIRE_OK(fe_dev_reconnect(&dev, server.socket));
		await_change();
		check_end(size);
		check_quiet();
	}
	fe_dev_hang_up(&dev);
	resize_to(LARGE + MIB);
	REQUIRE_OK(fe_dev_reconnect(&dev, server.socket));
	await_change();
	check_end(LARGE + MIB);
	check_quiet();
}

static void without(unsigned int feature)
{
	needs_vublkd();
	serve(SIZE);
	attach(.protocol_off = FE_BIT(feature));
	resize_to(LARGE);
	REQUIRE_OK(fe_daemon_await_log(&server, "takes no news"));
	check_round_trip(&blk, LARGE / 512 - 8, 4096);
	CHECK_EQ(fe_blk_read(&blk, LARGE / 512, buf, 4096), IOERR);
}

static void without_backend_req(void)
{
	without(VHU_PROTOCOL_F_BACKEND_REQ);
}

static void without_config(void)
{
	without(VHU_PROTOCOL_F_CONFIG);
}

static void channel_that_was_closed(void)
{
	begin(NULL);
	fe_conn_close(&dev.channel);
	resize_to(LARGE);
	REQUIRE_OK(fe_daemon_await_log(&server, GROWN));
	check_end(LARGE);
}

/* Nor does it wait for who does not read. */
static void channel_that_nobody_reads(void)
{
	begin(NULL);
	for (uint64_t i = 1; i <= 400; i++) {
		resize_to(SIZE + i * 512);
		REQUIRE_OK(kill(server.pid, SIGHUP));
		CHECK(capacity() <= SIZE + i * 512);
	}
	sighup();
	while (capacity() < SIZE + 400 * 512)
		;
	check_round_trip(&blk, SIZE / 512 + 399, 512);
	CHECK(fe_dev_config_changes(&dev) >= 1);
}

/* ---- shrinking ---- */

static void shrinking_is_refused(void)
{
	begin(NULL);
	resize_to(LARGE);
	await_change();
	resize_to(SIZE);
	REQUIRE_OK(fe_daemon_await_log(&server, CUT));
	for (int i = 0; i < 3; i++) {
		sighup();
		CHECK_EQ(capacity(), LARGE);
		CHECK_EQ(fe_blk_read(&blk, LARGE / 512 - 8, buf, 4096), IOERR);
		CHECK_EQ(fe_blk_write(&blk, LARGE / 512 - 8, buf, 4096), IOERR);
		CHECK_EQ(fe_blk_write(&blk, SIZE / 512, buf, 4096), IOERR);
		CHECK_EQ(image_size(), SIZE);
	}
	check_round_trip(&blk, SIZE / 512 - 8, 4096);
	CHECK_EQ(n_logged(CUT), 1);
	check_quiet();
}

/* What was lost does not come back as zeros. */
static void growing_back_is_not_believed(void)
{
	begin(NULL);
	resize_to(SIZE - MIB);
	REQUIRE_OK(fe_daemon_await_log(&server, CUT));
	for (int i = 0; i < 2; i++) {
		resize_to(i ? LARGE : SIZE);
		sighup();
		REQUIRE_OK(fe_daemon_await_log(&server, "the disk still has 4194304 bytes, and "
							"fails beyond 3145728"));
		CHECK_EQ(capacity(), SIZE);
		CHECK_EQ(fe_blk_read(&blk, SIZE / 512 - 8, buf, 4096), IOERR);
		CHECK_EQ(fe_blk_write(&blk, SIZE / 512 - 8, buf, 4096), IOERR);
	}
	check_quiet();
	CHECK_EQ(n_logged(GROWN), 0);
	/* A daemon that is started again takes the image as it is. */
	REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	serve_again();
	fe_dev_hang_up(&dev);
	REQUIRE_OK(fe_dev_reconnect(&dev, server.socket));
	await_change();
	check_end(LARGE);
}

static const struct tap_case cases[] = {
	{"at_rest", at_rest},
	{"under_load_with_polling", under_load_with_polling},
	{"under_load_with_kicks", under_load_with_kicks},
	{"step_by_step", step_by_step},
	{"for_all_workers", for_all_workers},
	{"read_only", read_only},
	{"by_a_part_of_a_sector", by_a_part_of_a_sector},
	{"by_a_part_of_a_block", by_a_part_of_a_block},
	{"device_with_sighup", device_with_sighup},
	{"sighup_without_a_change", sighup_without_a_change},
	{"sighup_without_a_change_is_no_news", sighup_without_a_change_is_no_news},
	{"no_image", no_image},
	{"while_nobody_looks", while_nobody_looks},
	{"not_listened_to", not_listened_to},
	{"after_each_reconnection", after_each_reconnection},
	{"without_backend_req", without_backend_req},
	{"without_config", without_config},
	{"channel_that_was_closed", channel_that_was_closed},
	{"channel_that_nobody_reads", channel_that_nobody_reads},
	{"shrinking_is_refused", shrinking_is_refused},
	{"growing_back_is_not_believed", growing_back_is_not_believed},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("resize", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
