/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another image under the same guest: it is replaced, or has another size, while the daemon is
 * down. The operator is told, for the guest does not know. What tells is in the in-flight region,
 * which the front-end keeps.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/frontend/fe_inflight.h"
#include "tests/proto/proto.h"

#define OK    VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define SIZE  (1 * MIB)

static struct fe_inflight inflight;
static uint8_t buf[4096];

static void begin(uint64_t size)
{
	needs_vublkd();
	serve(size);
	inflight = (struct fe_inflight){0};
	REQUIRE_OK(fe_inflight_start(&dev, server.socket,
				     &(struct fe_dev_options){.packed = proto_packed}, &inflight));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 4, 64 * KIB));
	REQUIRE_EQ(fe_blk_write(&blk, 0, buf, 4096), OK);
}

static void kill_it(void)
{
	REQUIRE_EQ(fe_daemon_stop(&server, SIGKILL, NULL), 128 + SIGKILL);
}

static void go_on(void)
{
	serve_again();
	REQUIRE_OK(fe_inflight_reconnect(&dev, server.socket, &inflight, FE_BASE_QEMU));
	REQUIRE_EQ(fe_blk_read(&blk, 0, buf, 4096), OK);
}

#define OTHER  "not the image that the running guest was started with"
#define BEYOND "reaches beyond the end of the disk"

static void the_same_is_the_same(void)
{
	begin(SIZE);
	for (int i = 0; i < 3; i++) {
		kill_it();
		go_on();
		CHECK_EQ(n_logged(OTHER), 0);
	}
	CHECK_EQ(n_logged(BEYOND), 0);
	fe_inflight_free(&inflight);
}

/* A write into the odd tail makes the file longer, which is no other image. */
static void tail_that_was_written(void)
{
	begin(SIZE + 100);
	REQUIRE_EQ(fe_blk_write(&blk, SIZE / 512, buf, 512), OK);
	kill_it();
	go_on();
	CHECK_EQ(n_logged(OTHER), 0);
	fe_inflight_free(&inflight);
}

static void another_file(void)
{
	char old[sizeof(server.image) + 4];

	begin(SIZE);
	kill_it();
	snprintf(old, sizeof(old), "%s.old", server.image);
	REQUIRE_OK(rename(server.image, old));
	REQUIRE_OK(fe_image_make(server.image, SIZE));
	go_on();
	CHECK_EQ(n_logged(OTHER), 1);
	/* It was told; from now on this is the image. */
	kill_it();
	go_on();
	CHECK_EQ(n_logged(OTHER), 0);
	fe_inflight_free(&inflight);
}

static void a_smaller_one(void)
{
	begin(SIZE);
	kill_it();
	REQUIRE_OK(truncate(server.image, SIZE / 2));
	go_on();
	CHECK_EQ(n_logged(OTHER), 1);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(fe_blk_read(&blk, SIZE / 512 - 8, buf, 4096), IOERR);
		CHECK_EQ(fe_blk_write(&blk, SIZE / 512 - 8, buf, 4096), IOERR);
	}
	CHECK_EQ(n_logged(BEYOND), 1);
	fe_inflight_free(&inflight);
}

/* Its guest is told (test-resize). */
static void a_larger_one(void)
{
	begin(SIZE);
	for (unsigned int i = 1; i <= 3; i++) {
		kill_it();
		REQUIRE_OK(truncate(server.image, (off_t)(SIZE << i)));
		go_on();
		CHECK_EQ(n_logged(OTHER), 0);
	}
	kill_it();
	REQUIRE_OK(truncate(server.image, SIZE << 2));
	go_on();
	CHECK_EQ(n_logged(OTHER), 1);
	fe_inflight_free(&inflight);
}

/* Without a region only what the guest asks for tells. */
static void a_smaller_one_without_a_region(void)
{
	needs_vublkd();
	serve(SIZE);
	attach();
	detach();
	kill_it();
	REQUIRE_OK(truncate(server.image, SIZE / 2));
	serve_again();
	attach();
	CHECK_EQ(fe_blk_read(&blk, 0, buf, 4096), OK);
	CHECK_EQ(n_logged(BEYOND), 0);
	CHECK_EQ(fe_blk_read(&blk, SIZE / 512 - 8, buf, 4096), IOERR);
	CHECK_EQ(fe_blk_read(&blk, SIZE / 512 - 8, buf, 4096), IOERR);
	CHECK_EQ(n_logged(BEYOND), 1);
	CHECK_EQ(n_logged(OTHER), 0);
}

static const struct tap_case cases[] = {
	{"the_same_is_the_same", the_same_is_the_same},
	{"tail_that_was_written", tail_that_was_written},
	{"another_file", another_file},
	{"a_smaller_one", a_smaller_one},
	{"a_larger_one", a_larger_one},
	{"a_smaller_one_without_a_region", a_smaller_one_without_a_region},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("replace", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
