/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol tests' common ground, see proto.h. Owns the case's daemon, device and requests. */
#define _GNU_SOURCE
#include "tests/proto/proto.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/frontend/fe_loop.h"

#define DEPTH 4

char dir[256];
struct fe_daemon server;
struct fe_dev dev;
struct fe_blk blk;
bool proto_packed;

void proto_setup(void)
{
	tap_check(fe_daemon_is_qsd() || getenv("VUBLKD"), true, __FILE__, __LINE__,
		  "VUBLKD, the path of the daemon to test, is not set");
	REQUIRE_OK(fe_temp_dir(dir));
	fe_daemon_prepare(&server, dir);
}

void proto_setup_packed(void)
{
	proto_packed = true;
	proto_setup();
}

void proto_teardown(void)
{
	static char log[16384];

	detach();
	if (server.pid) {
		CHECK(fe_daemon_alive(&server));
		CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	}
	if (tap_failed() && fe_daemon_stderr(&server, log, sizeof(log)))
		tap_diag("the daemon's log:\n%.3500s", log);
}

void proto_serve_again(const char *const options[])
{
	REQUIRE_OK(fe_daemon_serve(&server, options));
}

void proto_serve(uint64_t size, const char *const options[])
{
	REQUIRE_OK(fe_image_make(server.image, size));
	proto_serve_again(options);
}

/* What a case asks for, on rings of the suite's kind. */
static struct fe_dev_options of_kind(const struct fe_dev_options *options)
{
	struct fe_dev_options o = *options;

	if (proto_packed) {
		needs_vublkd(); /* qemu-storage-daemon 7.2 has no packed rings */
		if (o.features_off & FE_BIT(VIRTIO_F_VERSION_1))
			needs_split("legacy drivers have no packed rings");
		o.packed = true;
	}
	return o;
}

void proto_attach(const struct fe_dev_options *options)
{
	const struct fe_dev_options o = of_kind(options);

	REQUIRE_OK(fe_dev_start(&dev, server.socket, &o));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, DEPTH, SLOT_SIZE));
}

void proto_greet(const struct fe_dev_options *options)
{
	dev.options = of_kind(options);
	REQUIRE_OK(fe_conn_open(&dev.conn, server.socket));
	REQUIRE_OK(fe_dev_negotiate(&dev));
}

void detach(void)
{
	fe_blk_free(&blk);
	fe_dev_close(&dev);
}

void check_round_trip(struct fe_blk *b, uint64_t sector, uint32_t len)
{
	static uint64_t seed;
	void *buf = malloc(len);

	fe_pattern(buf, 0, len, ++seed);
	CHECK_EQ(fe_blk_write(b, sector, buf, len), VIRTIO_BLK_S_OK);
	memset(buf, 0, len);
	CHECK_EQ(fe_blk_read(b, sector, buf, len), VIRTIO_BLK_S_OK);
	CHECK_EQ(fe_pattern_differs(buf, 0, len, seed), -1);
	memset(buf, 0, len);
	CHECK_OK(fe_image_read(server.image, sector * FE_SECTOR, buf, len));
	CHECK_EQ(fe_pattern_differs(buf, 0, len, seed), -1);
	free(buf);
}

void proto_settle_calls(void)
{
	fe_vq_silence(blk.vq, true);
	REQUIRE_OK(
		fe_blk_submit(&blk, fe_blk_get(&blk), VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES));
	REQUIRE_EQ(fe_blk_drain(&blk), 0);
	fe_vq_take_event(blk.vq->call_fd);
}

void check_serves(void)
{
	detach();
	CHECK(fe_daemon_alive(&server));
	attach();
	check_round_trip(&blk, 8, 4096);
	detach();
}

void write_all_slots(uint64_t seed)
{
	struct fe_blk_slot *slot;

	for (uint64_t at = 0; (slot = fe_blk_get(&blk)); at += SLOT_SIZE) {
		fe_pattern(slot->data, at, SLOT_SIZE, seed);
		REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_OUT, at / FE_SECTOR, SLOT_SIZE));
	}
	fe_vq_kick(blk.vq);
}

void make_rings(uint64_t mem_size)
{
	add_region(0, mem_size, 0);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	REQUIRE_OK(fe_dev_make_vqs(&dev));
}

unsigned int add_region(uint64_t gpa, uint64_t size, uint64_t mmap_offset)
{
	int region = fe_mem_add(&dev.mem, gpa, size, mmap_offset);

	REQUIRE(region >= 0);
	return (unsigned int)region;
}

void check_region(unsigned int region)
{
	const uint64_t size = 4096;
	uint64_t gpa = fe_alloc_in(&dev.mem, region, size, size);
	struct fe_seg seg = {.addr = gpa, .len = (uint32_t)size};
	uint8_t *data = fe_ptr(&dev.mem, gpa, size);

	REQUIRE(data != NULL);
	fe_pattern(data, 0, size, 100 + region);
	CHECK_EQ(fe_blk_segs(&blk, VIRTIO_BLK_T_OUT, 8 * region, &seg, 1), 0);
	memset(data, 0, size);
	seg.write = true;
	CHECK_EQ(fe_blk_segs(&blk, VIRTIO_BLK_T_IN, 8 * region, &seg, 1), 0);
	CHECK_EQ(fe_pattern_differs(data, 0, size, 100 + region), -1);
	fe_mem_release(&dev.mem, region, gpa - dev.mem.region[region].gpa);
}

int proto_run(const char *const args[])
{
	needs_vublkd();
	REQUIRE_OK(fe_daemon_spawn(&server, args, NULL, NULL));
	return fe_daemon_wait(&server);
}

static int has_fds(void *expected)
{
	return fe_daemon_count_fds(&server) == *(int *)expected;
}

void check_fds(int expected)
{
	if (fe_wait_for(has_fds, &expected, fe_deadline(2000)) < 0)
		CHECK_EQ(fe_daemon_count_fds(&server), expected);
}

bool one_clear_line(const char *err)
{
	unsigned int lines = 0;

	for (size_t len; *err; err += len + 1) {
		len = strcspn(err, "\n");
		if (!len || !err[len])
			return false;
		lines += !memmem(err, len, "warning: ", strlen("warning: "));
	}
	return lines == 1;
}

unsigned int n_logged(const char *text)
{
	static char log[65536];
	unsigned int n = 0;

	fe_daemon_stderr(&server, log, sizeof(log));
	for (const char *at = log; (at = strstr(at, text)); at++)
		n++;
	return n;
}

bool is_locked(const char *path, off_t from, off_t size)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = from, .l_len = size};
	int fd = open(path, O_RDWR | O_CLOEXEC);

	REQUIRE(fd >= 0);
	REQUIRE_OK(fcntl(fd, F_OFD_GETLK, &lock));
	close(fd);
	return lock.l_type != F_UNLCK;
}

int need_loop(const char *file, uint32_t block_size, uint32_t flags, char *path, size_t size)
{
	const int fd = fe_loop_make(file, block_size, flags, path, size);

	if (fd < 0)
		tap_skip("no loop device: %s", strerror(-fd));
	return fd;
}

const char *option(const char *name, const char *value)
{
	static char text[16][512];
	static unsigned int next;
	char *out = text[next++ % 16];

	snprintf(out, sizeof(text[0]), "%s=%s", name, value);
	return out;
}

uint64_t seed_from(const char *name)
{
	const char *s = getenv(name);
	const uint64_t seed = s ? strtoull(s, NULL, 0) : fe_now_ns();

	tap_diag("%s=%llu", name, (unsigned long long)seed);
	return seed;
}

unsigned int number_from(const char *name, unsigned int otherwise)
{
	const char *s = getenv(name);

	return s && atoi(s) > 0 ? (unsigned int)atoi(s) : otherwise;
}

void needs_vublkd(void)
{
	if (fe_daemon_is_qsd())
		tap_skip("only for vublkd");
}

void needs_io_uring(void)
{
	const char *variant = getenv("VUBLKD_VARIANT");

	if (variant && (!strcmp(variant, "libaio") || !strcmp(variant, "nouring")))
		tap_skip("this variant is without io_uring");
}

void needs_split(const char *why)
{
	if (proto_packed)
		tap_skip("only for split rings: %s", why);
}
