/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the operator is told: what is served, what an image looks like, how many requests have
 * failed, and that memory is not shared, which only makes a guest hang.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/proto/proto.h"

static const char *log_text(void)
{
	static char text[65536];

	fe_daemon_stderr(&server, text, sizeof(text));
	return text;
}

/* ---- what is served ---- */

static void check_served(const char *expected)
{
	CHECK_OK(fe_daemon_await_log(&server, "; version "));
	tap_check(strstr(log_text(), expected) != NULL, false, __FILE__, __LINE__, "'%s' in '%s'",
		  expected, log_text());
}

static void what_is_served_is_said(void)
{
	char line[1000];

	needs_vublkd();
	serve(MIB, "--cache=writeback", "--num-workers=2", "--read-only");
	snprintf(line, sizeof(line),
		 "serving %s: a file, read-only, 1048576 bytes in blocks of 512 (physical ",
		 server.image);
	check_served(line);
	check_served(", cache writeback, 2 workers; version ");
	CHECK_EQ(n_logged("serving"), 1);
}

static void name_is_what_it_is_called(void)
{
	char line[1000];

	needs_vublkd();
	serve(MIB, "--name=disk of guest 7");
	snprintf(line, sizeof(line), "serving disk of guest 7, image %s: a file, ", server.image);
	check_served(line);
	check_served(", 1 worker; ");
	attach();
	CHECK_OK(fe_daemon_await_log(&server, "info: disk of guest 7: a front-end is connected"));
}

/* ---- what the image looks like ---- */

static void other_formats_are_told(void)
{
	static const struct {
		const char *name, *magic;
		size_t at, size;
	} formats[] = {
		{"qcow2", "QFI\xfb\0\0\0\3", 0, 8},
		{"VMDK", "KDMV\1\0\0\0", 0, 8},
		{"VMDK", "# Disk DescriptorFile\n", 0, 22},
		{"VDI", "\x7f\x10\xda\xbe", 0x40, 4},
		{"VHDX", "vhdxfile", 0, 8},
	};
	char line[100];

	needs_vublkd();
	for (unsigned int i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		REQUIRE_OK(fe_image_make(server.image, MIB));
		REQUIRE_OK(fe_image_write(server.image, formats[i].at, formats[i].magic,
					  formats[i].size));
		serve_again();
		snprintf(line, sizeof(line), "it looks like a %s image", formats[i].name);
		CHECK_EQ(n_logged("it looks like a "), 1);
		CHECK_EQ(n_logged(line), 1);
		attach();
		check_round_trip(&blk, 8, 4096); /* it is served all the same */
		detach();
		CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	}
	REQUIRE_OK(fe_image_make(server.image, MIB));
	serve_again();
	CHECK_EQ(n_logged("it looks like"), 0);
}

/* ---- failed requests ---- */

/* Each is counted, though not each has a line. */
static void failed_requests_are_counted(void)
{
	const struct rlimit limit = {4096, 4096};
	static uint8_t buf[4096];

	needs_vublkd();
	serve(MIB);
	attach();
	CHECK_EQ(fe_blk_write(&blk, 8, buf, 4096), VIRTIO_BLK_S_OK);
	/* As if the file system were full. */
	REQUIRE_OK(prlimit(server.pid, RLIMIT_FSIZE, &limit, NULL));
	for (unsigned int i = 0; i < 200; i++)
		CHECK_EQ(fe_blk_write(&blk, 8, buf, 4096), VIRTIO_BLK_S_IOERR);
	detach();
	attach();
	detach();
	CHECK_OK(fe_daemon_await_log(&server, "200 requests failed in this session: 0 reads, 200 "
					      "writes, 0 flushes, 0 others"));
	CHECK_EQ(n_logged("in this session"), 1); /* the second one had none */
	CHECK(n_logged("write of 4096 bytes") < 100);
}

/* ---- memory that is not shared ---- */

/* The device gets another file than the one that the driver has. */
static void attach_unshared(uint64_t used)
{
	int fd = memfd_create("private", MFD_CLOEXEC), own;

	greet();
	add_region(0, 16 * MIB, 0);
	REQUIRE_OK(ftruncate(fd, 16 * MIB));
	if (used)
		REQUIRE_OK(fallocate(fd, 0, 0, (off_t)used));
	own = dev.mem.region[0].fd;
	dev.mem.region[0].fd = fd;
	REQUIRE_OK(fe_dev_share_memory(&dev));
	dev.mem.region[0].fd = own;
	close(fd);
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	/* As QEMU's, readable from the start. */
	fe_vq_raw_kick(&dev.vq[0]);
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 4, 4096));
}

static void kick_with_a_request(void)
{
	struct fe_blk_slot *slot = fe_blk_get(&blk);

	REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_IN, 0, 512));
	fe_vq_publish(blk.vq);
	fe_vq_raw_kick(blk.vq);
}

static void unshared_memory_is_told(void)
{
	needs_vublkd();
	serve(MIB);
	attach_unshared(0);
	kick_with_a_request();
	CHECK_OK(fe_daemon_await_log(&server, "needs share=on"));
	detach();
	check_serves();
}

/* QEMU's prealloc=on; so only the kicks tell. */
static void unshared_memory_that_is_there_is_told(void)
{
	needs_vublkd();
	serve(MIB);
	attach_unshared(16 * MIB);
	usleep(tap_stretch(200) * 1000); /* the first kick is seen for itself */
	kick_with_a_request();
	CHECK_OK(fe_daemon_await_log(&server, "needs share=on"));
	CHECK_EQ(n_logged("needs share=on"), 1);
}

/* A driver at rest has a kick, too, and a guest that is served is never suspected. */
static void shared_memory_is_none_to_complain_about(void)
{
	needs_vublkd();
	serve(MIB);
	fe_mem_prealloc = true;
	attach();
	fe_vq_raw_kick(blk.vq);
	usleep(2500 * 1000);
	CHECK_EQ(n_logged("needs share=on"), 0);
	check_round_trip(&blk, 0, 4096);
	for (unsigned int i = 0; i < 3; i++) {
		fe_vq_raw_kick(blk.vq);
		usleep(100 * 1000);
	}
	usleep(4500 * 1000);
	CHECK_EQ(n_logged("needs share=on"), 0);
}

static void no_memory_is_told(void)
{
	needs_vublkd();
	serve(MIB);
	greet();
	add_region(0, 16 * MIB, 0);
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	CHECK(fe_dev_start_vq(&dev, 0) != 0);
	CHECK_OK(fe_daemon_await_log(&server, "no memory is shared; QEMU needs a memory backend"));
}

#define ROW(name) \
	{ \
#name, name \
	}
static const struct tap_case cases[] = {
	ROW(what_is_served_is_said),
	ROW(name_is_what_it_is_called),
	ROW(other_formats_are_told),
	ROW(failed_requests_are_counted),
	ROW(unshared_memory_is_told),
	ROW(unshared_memory_that_is_there_is_told),
	ROW(shared_memory_is_none_to_complain_about),
	ROW(no_memory_is_told),
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "log", .setup = proto_setup, .teardown = proto_teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
