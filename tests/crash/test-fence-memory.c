/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a killed daemon was reading still arrives in the guest's memory. The next one must not
 * answer before it has, for what was answered the guest uses for something else
 * (src/image/memory_fence.h); this has to hold for images that many read at a time, too, which no
 * lock keeps apart.
 *
 * The first daemon is killed with a backlog of large O_DIRECT reads. When the second one has
 * answered, the guest writes into the buffers; nothing but that may be in them when all I/O has
 * ended.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/crash/crash.h"

#define BACKLOG   128
#define SIZE      MIB
#define DISK      (BACKLOG * SIZE)
#define MEMORY    (DISK + 16 * MIB)
#define ROUNDS    4
#define READ_BYTE 100         /* of the image, locked by whoever uses it: src/image/lock.c */
#define FENCE     (1ll << 61) /* from there on, of the region's file: src/image/memory_fence.c */
#define WAITS     "has not ended"
#define ON_DISK   1 /* seeds */
#define REUSED    2

static const struct fe_dev_options deep = {.queue_size = 256, .mem_size = MEMORY};
static struct fe_daemon first;
static struct fe_dev other_dev;
static struct fe_blk other_blk;

static void make_image(void)
{
	char *data = malloc(SIZE);

	REQUIRE_OK(fe_image_make(server.image, DISK));
	for (unsigned int i = 0; i < BACKLOG; i++) {
		fe_pattern(data, i * SIZE, SIZE, ON_DISK);
		REQUIRE_OK(fe_image_write(server.image, i * SIZE, data, SIZE));
	}
	free(data);
}

static bool is_held(void)
{
	return is_locked(server.image, READ_BYTE, 1);
}

/* Is the file locked by which the guest is known? */
static bool is_fenced(int file)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	return is_locked(path, FENCE, 0);
}

/* Has the kernel take a backlog, and ends the daemon in the middle. */
static void kill_with_backlog(void)
{
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, BACKLOG, SIZE));
	for (unsigned int i = 0; i < BACKLOG; i++) {
		struct fe_blk_slot *slot = fe_blk_get(&blk);

		memset(slot->data, 0, SIZE);
		slot->cookie = slot;
		REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_IN, i * SIZE / FE_SECTOR, SIZE));
	}
	fe_vq_kick(blk.vq);
	/* The first is there, so the others are on their way. */
	REQUIRE_OK(fe_vq_wait(blk.vq, fe_deadline(FE_TIMEOUT_MS)));
	crash_kill();
	first = server;
}

/* The guest has something else there, at the end, where reads arrive last. */
static void reuse(struct fe_blk_slot *slot)
{
	fe_pattern(slot->data + SIZE - 4096, 0, 4096, REUSED);
}

static void reuse_all(void)
{
	for (unsigned int i = 0; i < BACKLOG; i++)
		reuse(&blk.slot[i]);
}

static unsigned int count_overwritten(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < BACKLOG; i++)
		n += fe_pattern_differs(blk.slot[i].data + SIZE - 4096, 0, 4096, REUSED) != -1;
	return n;
}

/* Another session with the same guest, of which the first one's requests are no part. */
static void answer_something(void)
{
	char id[20];

	other_dev.mem = dev.mem;
	REQUIRE_OK(fe_dev_start(&other_dev, server.socket, &deep));
	REQUIRE_OK(fe_blk_init(&other_blk, &other_dev, 0, 1, 4096));
	/* Which does not queue behind them. */
	REQUIRE_EQ(fe_blk_get_id(&other_blk, id, sizeof(id)), VIRTIO_BLK_S_OK);
	reuse_all();
}

/* The session goes on: what was in flight is read again. */
static void answer_all(void)
{
	REQUIRE_OK(fe_inflight_reconnect(&dev, server.socket, &inflight, FE_BASE_QEMU));
	for (unsigned int i = 0; i < BACKLOG; i++) {
		struct fe_blk_slot *slot;

		REQUIRE_OK(fe_blk_await(&blk, &slot));
		CHECK_EQ(*slot->status, VIRTIO_BLK_S_OK);
		reuse(slot);
	}
}

enum kind {
	UNTRACKED,
	TRACKED,
	ELSEWHERE /* tracked, and the next daemon has another socket */
};

static void start_first(enum kind kind)
{
	if (kind == UNTRACKED)
		REQUIRE_OK(fe_dev_start(&dev, server.socket, &deep));
	else
		REQUIRE_OK(fe_inflight_start(&dev, server.socket, &deep, &inflight));
}

static void start_second(enum kind kind, const char *const options[])
{
	if (kind == ELSEWHERE)
		strcat(server.socket, "2");
	REQUIRE_OK(fe_daemon_serve(&server, options));
}

static void forget(enum kind kind)
{
	fe_blk_free(&blk);
	fe_blk_free(&other_blk);
	if (kind == UNTRACKED) {
		dev.mem = (struct fe_mem){0};
		fe_dev_close(&other_dev);
	}
	fe_dev_close(&dev);
	fe_inflight_free(&inflight);
	memcpy(server.socket, first.socket, sizeof(first.socket));
}

/* Several times, since the I/O may have ended in between. */
static void rounds(enum kind kind, const char *const options[])
{
	unsigned int overwritten = 0, held = 0, waited = 0;
	bool fenced;

	make_image();
	for (unsigned int i = 0; i < ROUNDS; i++) {
		REQUIRE_OK(fe_daemon_serve(&server, options));
		start_first(kind);
		kill_with_backlog();
		fenced = is_fenced(kind == UNTRACKED ? dev.mem.region[0].fd : inflight.fd);
		/* What is under way now was so then. (libaio's process does not end before it.) */
		if (is_held()) {
			held++;
			CHECK(fenced);
		}
		start_second(kind, options);
		if (kind == UNTRACKED)
			answer_something();
		else
			answer_all();
		waited += n_logged(WAITS) > 0;
		REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
		while (is_held())
			usleep(1000);
		overwritten += count_overwritten();
		forget(kind);
	}
	tap_diag("the first one's I/O was still under way in %u of %u rounds, waited for in %u",
		 held, ROUNDS, waited);
	CHECK_EQ(overwritten, 0);
}

#define READ_ONLY ((const char *const[]){"--read-only", "--log-level=info", NULL})
#define NO_LOCK   ((const char *const[]){"--no-lock", "--log-level=info", NULL})

static void read_only(void)
{
	rounds(UNTRACKED, READ_ONLY);
}

static void read_only_tracked(void)
{
	rounds(TRACKED, READ_ONLY);
}

static void read_only_elsewhere(void)
{
	rounds(ELSEWHERE, READ_ONLY);
}

/* Who shares an image for writing is no less in need of his memory. */
static void shared_for_writing(void)
{
	rounds(TRACKED, NO_LOCK);
}

/* As while the I/O of a dead process is under way, for as long as we like. */
static void fence_is_waited_for(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = FENCE, .l_len = 1};
	char path[40], id[20];
	int fd;

	REQUIRE_OK(fe_image_make(server.image, MIB));
	REQUIRE_OK(fe_daemon_serve(&server, READ_ONLY));
	REQUIRE_OK(fe_inflight_start(&dev, server.socket, &deep, &inflight));
	REQUIRE(is_fenced(inflight.fd));
	crash_kill();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", inflight.fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	REQUIRE(fd >= 0);
	while (fcntl(fd, F_OFD_SETLK, &lock))
		usleep(1000); /* the dead one's */
	REQUIRE_OK(fe_daemon_serve(&server, READ_ONLY));
	REQUIRE_OK(fe_inflight_reconnect(&dev, server.socket, &inflight, FE_BASE_QEMU));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 1, 4096));
	CHECK_OK(fe_daemon_await_log(&server, WAITS));
	CHECK_EQ(blk.vq->ring.used->idx, 0);
	close(fd);
	CHECK_EQ(fe_blk_get_id(&blk, id, sizeof(id)), VIRTIO_BLK_S_OK);
	fe_inflight_free(&inflight);
}

static const struct tap_case cases[] = {
	{"fence_is_waited_for", fence_is_waited_for}, {"read_only", read_only},
	{"read_only_tracked", read_only_tracked},     {"read_only_elsewhere", read_only_elsewhere},
	{"shared_for_writing", shared_for_writing},   {0},
};

static const struct tap_suite suites[] = {
	{.name = "fence of the memory",
	 .setup = proto_setup,
	 .teardown = proto_teardown,
	 .seconds = 80,
	 .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
