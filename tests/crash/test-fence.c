/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O outlives the process that asked for it: after SIGKILL the kernel goes on writing what it was
 * given. The next daemon must not write, nor read, before that has ended (field notes, 3: "The
 * fence"); it tells the end by the lock on the image.
 *
 * The first daemon is killed with a backlog of large O_DIRECT writes. The second is started at once
 * and gets, from a front-end that knows nothing of the first, other writes to the same blocks. None
 * of these, once acknowledged, may be overwritten by one of the first's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/loop.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/crash/crash.h"

#define BACKLOG    128
#define SIZE       MIB
#define DISK       (BACKLOG * SIZE)
#define ROUNDS     6
#define WRITE_BYTE 101 /* of the image, locked by whoever writes it: src/image/lock.c */
#define WAITS      "waiting up to"

static const char *const options[] = {"--log-level=info", NULL};

static struct fe_dev
	second_dev; /* the first is proto.h's `dev`, and its memory stays until all is over */
static struct fe_blk second_blk;

static void attach_deep(struct fe_dev *d, struct fe_blk *b, uint32_t size)
{
	REQUIRE_OK(fe_dev_start(d, server.socket,
				&(struct fe_dev_options){
					.queue_size = 256,
					.mem_size = BACKLOG * (size + 8192ull) + MIB,
				}));
	REQUIRE_OK(fe_blk_init(b, d, 0, BACKLOG, size));
}

/* Written once, so that writes need no more than the disk: in holes they would go one by one. */
static void make_image(void)
{
	char *data = malloc(SIZE);

	memset(data, 1, SIZE);
	REQUIRE_OK(fe_image_make(server.image, DISK));
	for (unsigned int i = 0; i < BACKLOG; i++)
		REQUIRE_OK(fe_image_write(server.image, i * SIZE, data, SIZE));
	free(data);
}

/* Does any process, a dead one included, hold the image for writing? */
static bool is_held(void)
{
	return is_locked(server.image, WRITE_BYTE, 1);
}

/* The blocks of write number i, with the pattern of this seed. */
static void submit_write(struct fe_blk *b, unsigned int i, uint32_t size, uint64_t seed)
{
	struct fe_blk_slot *slot = fe_blk_get(b);

	fe_pattern(slot->data, i * SIZE, size, seed);
	REQUIRE_OK(fe_blk_submit(b, slot, VIRTIO_BLK_T_OUT, i * SIZE / FE_SECTOR, size));
}

/* Has the kernel take all of a backlog, and ends the daemon in the middle. */
static void kill_with_backlog(uint64_t seed)
{
	struct fe_blk_slot *slot;

	attach_deep(&dev, &blk, SIZE);
	for (unsigned int i = 0; i < BACKLOG; i++)
		submit_write(&blk, i, SIZE, seed);
	fe_vq_kick(blk.vq);
	/* The first has landed, so the others are on their way. */
	REQUIRE_OK(fe_vq_wait(blk.vq, fe_deadline(FE_TIMEOUT_MS)));
	REQUIRE_EQ(fe_blk_reap(&blk, &slot), 1);
	crash_kill();
}

/* Each block of the image begins with what the second daemon has acknowledged. */
static unsigned int count_overwritten(uint64_t seed)
{
	static char buf[4096];
	unsigned int n = 0;

	for (unsigned int i = 0; i < BACKLOG; i++) {
		REQUIRE_OK(fe_image_read(server.image, i * SIZE, buf, sizeof(buf)));
		n += fe_pattern_differs(buf, i * SIZE, sizeof(buf), seed) != -1;
	}
	return n;
}

struct outcome {
	unsigned int held;        /* rounds in which the first one's I/O was still there */
	unsigned int waited;      /* in which the second said so */
	unsigned int overwritten; /* blocks */
};

/* The last ones first: those of the backlog land last. */
static void write_second(uint64_t seed)
{
	attach_deep(&second_dev, &second_blk, 4096);
	for (unsigned int i = BACKLOG; i--;)
		submit_write(&second_blk, i, 4096, seed);
	REQUIRE_OK(fe_blk_drain(&second_blk));
}

static void end_round(void)
{
	fe_blk_free(&second_blk);
	fe_dev_close(&second_dev);
	detach();
}

static void one_round(struct outcome *o, unsigned int round, const char *const extra[])
{
	const uint64_t first = 2 * round + 1, second = first + 1;
	bool held;

	REQUIRE_OK(fe_daemon_serve(&server, options));
	kill_with_backlog(first);
	REQUIRE_OK(fe_daemon_serve(&server, extra));
	held = is_held();
	write_second(second);
	o->waited += n_logged(WAITS) > 0;
	o->held += held;
	/* SIGTERM waits for its own I/O; the lock is then free, or was the fence. */
	REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	while (is_held())
		usleep(1000);
	o->overwritten += count_overwritten(second);
	end_round();
}

static void report(const struct outcome *o)
{
	tap_diag("the first one's I/O was still under way in %u of %u rounds, waited for in %u",
		 o->held, ROUNDS, o->waited);
}

static void fence(void)
{
	struct outcome o = {0};

	make_image();
	for (unsigned int i = 0; i < ROUNDS; i++)
		one_round(&o, i, options);
	report(&o);
	CHECK_EQ(o.overwritten, 0);
	/* libaio's process does not end before its I/O; then there is nothing to wait for. */
	if (!o.held && !o.waited)
		return;
	/* It may have ended in between, but hardly each time. */
	CHECK(o.waited > 0 || o.held < ROUNDS);
}

/* The same without the fence: says what it is worth here, and that the case above can fail. */
static void no_fence(void)
{
	struct outcome o = {0};

	make_image();
	for (unsigned int i = 0; i < ROUNDS; i++)
		one_round(&o, i, (const char *const[]){"--no-lock", NULL});
	tap_diag("without the lock %u of %u blocks were overwritten", o.overwritten,
		 (unsigned int)(ROUNDS * BACKLOG));
	CHECK_EQ(o.waited, 0);
}

/* ---- a block device, of which there are two nodes ---- */

static bool is_claimed(const char *node)
{
	const int fd = open(node, O_RDWR | O_EXCL | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	else
		REQUIRE_EQ(errno, EBUSY);
	return fd < 0;
}

/* As with a container that is started anew, whose /dev is another one. */
static void other_node(void)
{
	static char file[300], nodes[2][300];
	struct outcome o = {0};
	struct stat st;
	int loop, fd;

	needs_vublkd();
	make_image();
	memcpy(file, server.image, sizeof(file));
	loop = need_loop(file, 512, LO_FLAGS_DIRECT_IO, nodes[0], sizeof(nodes[0]));
	snprintf(nodes[1], sizeof(nodes[1]), "%s/node", dir);
	REQUIRE_OK(fstat(loop, &st));
	REQUIRE_OK(mknod(nodes[1], S_IFBLK | 0600, st.st_rdev));
	fd = open(nodes[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		tap_skip("device nodes do not work in %s", dir);
	close(fd);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		const uint64_t first = 2 * i + 1, second = first + 1;

		memcpy(server.image, nodes[0], sizeof(nodes[0]));
		REQUIRE_OK(fe_daemon_serve(&server, options));
		kill_with_backlog(first);
		memcpy(server.image, nodes[1], sizeof(nodes[1]));
		REQUIRE_OK(fe_daemon_serve(&server, options));
		o.held += is_claimed(nodes[1]);
		write_second(second);
		o.waited += n_logged(WAITS) > 0;
		CHECK(is_claimed(nodes[0]));
		REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
		while (is_claimed(nodes[0]))
			usleep(1000);
		o.overwritten += count_overwritten(second);
		end_round();
	}
	report(&o);
	CHECK_EQ(o.overwritten, 0);
	CHECK(o.waited > 0 || o.held < ROUNDS);
	close(loop);
	memcpy(server.image, file, sizeof(file));
}

static const struct tap_case cases[] = {
	{"fence", fence},
	{"no_fence", no_fence},
	{"other_node", other_node},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "fence",
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
