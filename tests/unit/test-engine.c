/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O engines: many operations at once, waiting, files, opening and closing, and taking back.
 * (What one operation does: test-engine-io.c. Watches: test-engine-watch.c.)
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/unit/support/engines.h"
#include "tests/unit/support/try-engine.h"

static void test_find_and_probe(void)
{
	CHECK(engine_find(eng.class->name) == eng.class);
	CHECK(engine_find("") == NULL);
	CHECK(engine_find("posix") == NULL);
	CHECK_OK(try_engine(eng.class));
}

/* ---- many at once ---- */

#define MANY 1000

/* Far more than the depth of 8, each exactly once. */
static void test_more_than_depth(void)
{
	struct eng_op *ops = calloc(MANY, sizeof(*ops));
	unsigned char *buf = eng_buffer(MANY, 0), *back = eng_buffer(MANY, 0);
	ssize_t size = (ssize_t)MANY * BLOCK;

	for (int i = 0; i < MANY; i++) {
		memset(buf + i * BLOCK, i % 251, BLOCK);
		ops[i] = eng_transfer(IO_WRITE, i % 2 ? eng.file : eng.direct_file, buf + i * BLOCK,
				      BLOCK, (uint64_t)i * BLOCK);
		ops[i].io.iov = &ops[i].iov;
		eng_submit(&ops[i]);
	}
	CHECK_EQ(eng.completed, 0);
	RUN_UNTIL(eng.completed >= MANY);
	eng_run_a_while();
	CHECK_EQ(eng.completed, MANY);
	for (int i = 0; i < MANY; i++) {
		CHECK_EQ(ops[i].done, 1);
		CHECK_EQ(ops[i].io.result, BLOCK);
	}
	if (!eng_is_null()) {
		REQUIRE_EQ(pread(eng.fd, back, (size_t)size, 0), size);
		CHECK(!memcmp(back, buf, (size_t)size));
	}
	free(ops);
	free(buf);
	free(back);
}

/* What the kernel is not asked to do itself mixes with what it is. */
static void test_mixed(void)
{
	struct eng_op ops[64] = {0};
	unsigned char *buf = eng_buffer(64, 3);

	eng_fill_file(64, 9);
	for (int i = 0; i < 64; i++) {
		uint64_t offset = (uint64_t)i * BLOCK;

		ops[i] = i % 4 == 0   ? eng_range(IO_PUNCH_HOLE, offset, BLOCK)
			 : i % 4 == 1 ? eng_range(IO_ZERO_RANGE, offset, BLOCK)
			 : i % 4 == 2 ? eng_range(IO_SYNC, 0, 0)
				      : eng_transfer(IO_WRITE, eng.file, buf, BLOCK, offset);
		ops[i].io.iov = &ops[i].iov;
		eng_submit(&ops[i]);
	}
	RUN_UNTIL(eng.completed == 64);
	for (int i = 0; i < 64; i++) {
		static const int left[] = {0, 0, 9, 3};

		CHECK_EQ(ops[i].done, 1);
		CHECK_EQ(ops[i].io.result, i % 4 == 3 ? BLOCK : 0);
		CHECK(eng_is_null() || eng_file_is(left[i % 4], (off_t)i * BLOCK, BLOCK));
	}
	free(buf);
}

static void again(struct eng_op *op)
{
	if (op->done < 500)
		eng_submit(op);
}

static void test_resubmit(void)
{
	unsigned char *buf = eng_buffer(16, 4);
	struct eng_op ops[16];

	eng_fill_file(16, 4);
	for (int i = 0; i < 16; i++) {
		ops[i] = eng_transfer(i % 2 ? IO_WRITE : IO_READ, eng.file, buf + i * BLOCK, BLOCK,
				      (uint64_t)i * BLOCK);
		ops[i].io.iov = &ops[i].iov;
		ops[i].then = again;
		eng_submit(&ops[i]);
	}
	RUN_UNTIL(eng.completed >= 16 * 500);
	eng_run_a_while();
	for (int i = 0; i < 16; i++)
		CHECK_EQ(ops[i].done, 500);
	free(buf);
}

/* ---- waiting ---- */

static void test_timeout(void)
{
	int64_t start;

	eng_run_a_while();
	start = eng_now();
	for (int i = 0; i < 100; i++)
		CHECK_EQ(engine_run(eng.engine, 0), 0);
	CHECK(eng_now() - start < 50 * (int64_t)tap_stretch(1) * MS);
	start = eng_now();
	CHECK_EQ(engine_run(eng.engine, 20 * MS + 500), 0);
	CHECK(eng_now() - start >= 20 * MS);
	CHECK(eng_now() - start < (int64_t)tap_stretch(1) * S);
}

static void on_alarm(int signal_number)
{
	(void)signal_number;
}

static void test_signal(void)
{
	struct itimerval timer = {.it_value.tv_usec = 30000};
	struct sigaction action = {.sa_handler = on_alarm};
	int64_t start;

	eng_need_others_awake();
	eng_run_a_while();
	start = eng_now();
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	CHECK_EQ(engine_run(eng.engine, -1), 0);
	CHECK(eng_now() - start >= 25 * MS);
}

/* ---- files, opening and closing ---- */

static void test_files(void)
{
	unsigned char *buf = eng_buffer(1, 0x77);
	struct eng_op op = eng_transfer(IO_WRITE, 100, buf, BLOCK, 0);

	for (int i = 2; i < ENGINE_FILES; i++)
		REQUIRE_EQ(engine_add_file(eng.engine, eng.fd), i);
	CHECK_EQ(engine_add_file(eng.engine, eng.fd), -ENFILE);
	CHECK_EQ(eng_run(&op), BLOCK);
	engine_remove_file(eng.engine, 100);
	CHECK_EQ(eng_run(&op), -EBADF);
	if (!eng_is_null())
		CHECK_EQ(engine_add_file(eng.engine, 12345), -EBADF);
	CHECK_EQ(engine_add_file(eng.engine, eng.fd), 100);
	CHECK_EQ(eng_run(&op), BLOCK);
	free(buf);
}

static bool lock_is_free(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int other = open(eng.path, O_RDWR | O_CLOEXEC);

	REQUIRE_OK(fcntl(other, F_OFD_GETLK, &lock));
	close(other);
	return lock.l_type == F_UNLCK;
}

/* The image's lock goes when it is closed: nothing may hold the file on. */
static void test_file_let_go(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	unsigned char *buf = eng_buffer(1, 0);
	struct eng_op op = eng_transfer(IO_WRITE, -1, buf, BLOCK, 0);

	for (int removed = 0; removed < 2; removed++) {
		int locked = open(eng.path, O_RDWR | O_CLOEXEC);

		REQUIRE_OK(fcntl(locked, F_OFD_SETLK, &lock));
		REQUIRE_EQ(op.io.file = engine_add_file(eng.engine, locked), 2);
		CHECK_EQ(eng_run(&op), BLOCK);
		CHECK(!lock_is_free());
		if (removed)
			engine_remove_file(eng.engine, op.io.file);
		else
			eng_reopen(8);
		close(locked);
		/* A thread of the kernel's tells of its operation, and then lets go of the file. */
		RUN_UNTIL(lock_is_free());
	}
	free(buf);
}

static void test_depths(void)
{
	struct engine_config config = {.depth = 0};
	struct engine *none = eng.engine;

	CHECK_EQ(engine_open(eng.class, &none, &config), -EINVAL);
	CHECK(none == NULL);
	eng_reopen(1);
	test_more_than_depth();
	/* More than fs.aio-max-nr, usually 65536, and than io_uring's largest queues. */
	eng.completed = 0;
	eng_reopen(70000);
	test_more_than_depth();
}

/* Without a thread for it the work is done all the same. */
static void test_no_helper_thread(void)
{
	struct eng_op op = eng_range(IO_PUNCH_HOLE, 0, BLOCK),
		      wrong = eng_range((enum io_op)99, 0, 0);
	pthread_attr_t attr;

	eng_fill_file(2, 5);
	pthread_attr_init(&attr);
	REQUIRE_OK(pthread_attr_setstacksize(&attr, (size_t)1 << 46));
	REQUIRE_OK(pthread_setattr_default_np(&attr));
	CHECK_EQ(eng_run(&op), 0);
	CHECK_EQ(eng_run(&wrong), -EINVAL);
	CHECK(eng_is_null() || eng_file_is(0, 0, BLOCK));
}

/* ---- taking back ---- */

/* Takes one back that was submitted and that no engine_run() has seen. */
static bool withdraw(struct eng_op *op)
{
	bool taken;

	eng.inside = true;
	taken = engine_cancel(eng.engine, &op->io);
	eng.inside = false;
	return taken;
}

/* More than the depth: what the kernel has no room for can be taken back, wherever it is. */
static void test_withdraw(void)
{
	unsigned char *buf = eng_buffer(40, 0x33);
	struct eng_op ops[40];
	unsigned n_taken = 0;
	bool taken[40];

	eng_fill_file(40, 0x11);
	for (unsigned i = 0; i < 40; i++) {
		ops[i] = eng_transfer(IO_WRITE, eng.file, buf + i * BLOCK, BLOCK,
				      (uint64_t)i * BLOCK);
		ops[i].io.iov = &ops[i].iov;
		eng_submit(&ops[i]);
	}
	/* The last, the middle, the first, and all others that are odd. */
	for (unsigned k = 0; k < 40; k++) {
		const unsigned i = 39 - k;

		taken[i] = false;
		if (i == 39 || i == 0 || i % 2) {
			taken[i] = withdraw(&ops[i]);
			n_taken += taken[i];
			/* Once only. */
			CHECK(!taken[i] || !withdraw(&ops[i]));
		}
	}
	/* At most 8 may be with the kernel. */
	CHECK(taken[39]);
	CHECK(n_taken >= 21 - 8);
	RUN_UNTIL(eng.completed >= 40 - n_taken);
	eng_run_a_while();
	CHECK_EQ(eng.completed, 40 - n_taken);
	for (unsigned i = 0; i < 40; i++) {
		CHECK_EQ(ops[i].done, !taken[i]);
		CHECK(eng_is_null() ||
		      eng_file_is(taken[i] ? 0x11 : 0x33, (off_t)i * BLOCK, BLOCK));
		/* Done with: too late. */
		CHECK(!withdraw(&ops[i]));
	}
	free(buf);
}

/* What was taken back is its owner's, and can be submitted again; the rest goes on in order. */
static void test_withdraw_and_submit(void)
{
	unsigned char *buf = eng_buffer(1, 0x44);
	struct eng_op ops[20];

	eng_fill_file(20, 0x11);
	for (unsigned round = 0; round < 3; round++) {
		eng.completed = 0;
		for (unsigned i = 0; i < 20; i++) {
			ops[i] = eng_transfer(IO_WRITE, eng.file, buf, BLOCK, (uint64_t)i * BLOCK);
			ops[i].io.iov = &ops[i].iov;
			eng_submit(&ops[i]);
		}
		/* All that waits, so that the list is empty, and then something again. */
		for (unsigned i = 20; i--;)
			if (withdraw(&ops[i]))
				eng_submit(&ops[i]);
		for (unsigned i = 0; i < 20; i++)
			if (withdraw(&ops[i]))
				eng_submit(&ops[i]);
		RUN_UNTIL(eng.completed >= 20);
		eng_run_a_while();
		CHECK_EQ(eng.completed, 20);
	}
	CHECK(eng_is_null() || eng_file_is(0x44, 0, (size_t)20 * BLOCK));
	free(buf);
}

/* What a helper thread would do. */
static void test_withdraw_offloaded(void)
{
	struct eng_op ops[4];
	unsigned n_taken = 0;

	eng_fill_file(4, 0x55);
	for (unsigned i = 0; i < 4; i++) {
		ops[i] = eng_range(IO_PUNCH_HOLE, (uint64_t)i * BLOCK, BLOCK);
		eng_submit(&ops[i]);
	}
	for (unsigned i = 1; i < 4; i += 2) {
		const bool taken = withdraw(&ops[i]);

		n_taken += taken;
		ops[i].done = taken ? 2 : 0;
	}
	RUN_UNTIL(eng.completed >= 4 - n_taken);
	eng_run_a_while();
	CHECK_EQ(eng.completed, 4 - n_taken);
	for (unsigned i = 0; i < 4; i++)
		CHECK(eng_is_null() ||
		      eng_file_is(ops[i].done == 2 ? 0x55 : 0, (off_t)i * BLOCK, BLOCK));
}

/* One that was never submitted, and one that the kernel has. */
static void test_withdraw_too_late(void)
{
	unsigned char *buf = eng_buffer(1, 0);
	struct eng_op op = eng_transfer(IO_READ, eng.file, buf, BLOCK, 0), other = op;

	eng_fill_file(1, 1);
	other.io.iov = &other.iov;
	CHECK(!withdraw(&other));
	CHECK_EQ(eng_run(&op), BLOCK);
	CHECK(!withdraw(&op));
	CHECK_EQ(op.done, 1);
	free(buf);
}

static const struct tap_case cases[] = {
	{"find_and_probe", test_find_and_probe},
	{"more_than_depth", test_more_than_depth},
	{"mixed", test_mixed},
	{"resubmit", test_resubmit},
	{"timeout", test_timeout},
	{"signal", test_signal},
	{"files", test_files},
	{"file_let_go", test_file_let_go},
	{"depths", test_depths},
	{"no_helper_thread", test_no_helper_thread},
	{"withdraw", test_withdraw},
	{"withdraw_and_submit", test_withdraw_and_submit},
	{"withdraw_offloaded", test_withdraw_offloaded},
	{"withdraw_too_late", test_withdraw_too_late},
	{0},
};

int main(int argc, char **argv)
{
	return eng_main(argc, argv, cases);
}
