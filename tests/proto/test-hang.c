/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two disks on one worker, of which one hangs: its storage answers nothing, with more requests
 * outstanding than the worker may have with the kernel. The other one goes on.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/proto/fuse_file.h"
#include "tests/proto/proto.h"

#define SIZE    FUSE_FILE_MAX
#define BYTES   4096u
#define HANGING 700u /* more than 512, which is DEPTH in src/worker/worker.c */
#define READS   400u
#define TIMEOUT 2u /* s: --stop-timeout */

struct disk {
	char image[320], socket[320];
	struct fe_dev dev;
	struct fe_blk blk;
};

static struct disk hanging, quiet;
static struct fuse_file *file;
static uint8_t buf[BYTES];

/* ---- the disks ---- */

static void tell(const char *id, struct disk *disk)
{
	char path[320];
	FILE *conf;

	REQUIRE((size_t)snprintf(disk->socket, sizeof(disk->socket), "%s/%s", dir, id) < 100);
	snprintf(path, sizeof(path), "%s/conf/%s.conf", dir, id);
	conf = fopen(path, "we");
	REQUIRE(conf);
	fprintf(conf, "blk-file = %s\nsocket-path = %s\n", disk->image, disk->socket);
	REQUIRE(!fclose(conf));
}

static void mount_file(struct fuse_file *(*mount)(const char *dir, uint64_t size))
{
	char path[300];

	needs_vublkd();
	snprintf(path, sizeof(path), "%s/mnt", dir);
	REQUIRE_OK(mkdir(path, 0700));
	file = mount(path, SIZE);
	fe_pattern(file->content, 0, SIZE, 1);
	snprintf(hanging.image, sizeof(hanging.image), "%s/image", path);
	snprintf(quiet.image, sizeof(quiet.image), "%s/quiet.img", dir);
	REQUIRE_OK(fe_image_make(quiet.image, SIZE));
	snprintf(path, sizeof(path), "%s/conf", dir);
	REQUIRE_OK(mkdir(path, 0700));
}

static void start(const char *engine)
{
	static char conf[300], timeout[40];
	const char *const args[] = {conf, "--num-workers=1", timeout, engine, NULL};

	tell("hanging", &hanging);
	tell("quiet", &quiet);
	snprintf(conf, sizeof(conf), "--config-dir=%s/conf", dir);
	snprintf(timeout, sizeof(timeout), "--stop-timeout=%u", TIMEOUT);
	REQUIRE_OK(fe_daemon_spawn(&server, args, NULL, NULL));
	REQUIRE_OK(fe_daemon_await_log(&server, ": serving hanging"));
	REQUIRE_OK(fe_daemon_await_log(&server, ": serving quiet"));
}

static void connect_disk(struct disk *disk, unsigned depth)
{
	REQUIRE_OK(
		fe_dev_start(&disk->dev, disk->socket,
			     &(struct fe_dev_options){.queue_size = 1024, .mem_size = 16 * MIB}));
	REQUIRE_OK(fe_blk_init(&disk->blk, &disk->dev, 0, depth, BYTES));
}

static void hang_up(struct disk *disk)
{
	disk->blk.in_flight = 0;
	fe_blk_free(&disk->blk);
	fe_dev_close(&disk->dev);
}

/* ---- requests ---- */

/* Apart from each other, so that none are merged. */
static void submit_hanging(void)
{
	for (unsigned i = 0; i < HANGING; i++) {
		const uint64_t at = (uint64_t)i * 3 * BYTES % SIZE;

		REQUIRE_OK(fe_blk_submit(&hanging.blk, fe_blk_get(&hanging.blk), VIRTIO_BLK_T_IN,
					 at / 512, BYTES));
	}
	fe_vq_kick(hanging.blk.vq);
}

/* Writes and reads of the other disk; us for each. */
static void check_quiet(const char *when)
{
	const uint64_t begin = fe_now_ns();

	for (unsigned i = 0; i < READS; i++) {
		const uint64_t at = (uint64_t)i * BYTES % SIZE;

		fe_pattern(buf, at, BYTES, i);
		REQUIRE_EQ(fe_blk_write(&quiet.blk, at / 512, buf, BYTES), VIRTIO_BLK_S_OK);
		memset(buf, 0, BYTES);
		REQUIRE_EQ(fe_blk_read(&quiet.blk, at / 512, buf, BYTES), VIRTIO_BLK_S_OK);
		REQUIRE_EQ(fe_pattern_differs(buf, at, BYTES, i), -1);
	}
	tap_diag("%s: %.1f us a request", when, (double)(fe_now_ns() - begin) / 2e3 / READS);
}

/* How many have come back? */
static unsigned reap_hanging(void)
{
	struct fe_blk_slot *slot;
	unsigned n = 0;

	while (fe_blk_reap(&hanging.blk, &slot) > 0) {
		CHECK_EQ(*slot->status, VIRTIO_BLK_S_OK);
		fe_blk_put(&hanging.blk, slot);
		n++;
	}
	return n;
}

static void check_all_come_back(void)
{
	const uint64_t deadline = fe_deadline(20000);
	unsigned n = 0;

	file->hangs = false;
	while (n < HANGING && fe_left_ms(deadline)) {
		n += reap_hanging();
		usleep(1000);
	}
	CHECK_EQ(n, HANGING);
}

static void check_goes_on(void)
{
	connect_disk(&quiet, 4);
	connect_disk(&hanging, HANGING);
	check_quiet("both at rest");
	file->hangs = true;
	submit_hanging();
	check_quiet("while the other one hangs");
	CHECK_EQ(reap_hanging(), 0);
}

/* ---- cases ---- */

/* A device; and SIGTERM waits for it no longer than it may. */
static void device(void)
{
	uint64_t begin;
	unsigned ms;
	char path[64];
	int loop;

	/* With libaio the worker itself waits where a device has no room for a request. */
	needs_io_uring();
	mount_file(fuse_file_mount);
	loop = need_loop(hanging.image, 512, 0, path, sizeof(path));
	strcpy(hanging.image, path);
	start(NULL);
	check_goes_on();
	begin = fe_now_ns();
	REQUIRE_OK(kill(server.pid, SIGTERM));
	REQUIRE_OK(fe_daemon_await_log(&server, "stopping with I/O in flight"));
	ms = (unsigned)((fe_now_ns() - begin) / 1000000);
	tap_diag("has given up after %u ms", ms);
	CHECK(ms >= TIMEOUT * 1000 - 100);
	CHECK(ms <= (TIMEOUT + 3) * 1000 * tap_stretch(1));
	/* The kernel's own threads wait for the device, and the process goes with them. */
	file->hangs = false;
	CHECK_EQ(fe_daemon_wait(&server), 0);
	hang_up(&hanging);
	hang_up(&quiet);
	close(loop);
}

/* A file, by libaio; and all that hung is done when it hangs no more. */
static void file_system(void)
{
	mount_file(fuse_file_mount_async);
	start(NULL);
	check_goes_on();
	check_all_come_back();
	check_quiet("afterwards");
	hang_up(&hanging);
	hang_up(&quiet);
}

/* A ring that starts while the file system answers nothing. */
static void file_system_at_the_start(void)
{
	needs_io_uring();
	mount_file(fuse_file_mount);
	start("--engine=io_uring");
	connect_disk(&quiet, 4);
	file->hangs = true;
	connect_disk(&hanging, HANGING);
	submit_hanging();
	check_quiet("while the other one hangs");
	check_all_come_back();
	hang_up(&hanging);
	hang_up(&quiet);
}

static const struct tap_case cases[] = {
	{"device", device},
	{"file_system", file_system},
	{"file_system_at_the_start", file_system_at_the_start},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "hang",
	 .setup = proto_setup,
	 .teardown = proto_teardown,
	 .seconds = 90,
	 .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
