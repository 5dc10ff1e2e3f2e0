/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O engines: many operations at once, waiting, files, opening and closing, and taking back.
 * (What one operation does: test-engine-io.c. Watches: test-engine-watch.c.)
 */
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "src/io/inbox.h"
#include "tests/unit/support/engines.h"
#include "tests/unit/support/try-engine.h"

static void test_find_and_probe(void)
{
	CHECK(engine_find(eng.engine->name)->target == eng.engine->target);
	CHECK(engine_find("") == NULL);
	CHECK(engine_find("posix") == NULL);
	CHECK_OK(try_engine(eng.engine));
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
		CHECK_EQ(reactor_run(eng.reactor, 0), 0);
	CHECK(eng_now() - start < 50 * (int64_t)tap_stretch(1) * MS);
	start = eng_now();
	CHECK_EQ(reactor_run(eng.reactor, 20 * MS + 500), 0);
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
	CHECK_EQ(reactor_run(eng.reactor, -1), 0);
	CHECK(eng_now() - start >= 25 * MS);
}

/* The kernel's libaio, which is short of memory for so many calls. */
static unsigned n_short;

int io_submit(io_context_t context, long n, struct iocb **iocbs)
{
	long taken;

	if (n_short) {
		n_short--;
		return -EAGAIN;
	}
	taken = syscall(SYS_io_submit, context, n, iocbs);
	return taken < 0 ? -errno : (int)taken;
}

/* What is not taken at once is offered again, also by who never waits. */
static void test_short_of_memory(void)
{
	unsigned char *buf = eng_buffer(1, 1);
	struct eng_op op = eng_transfer(IO_WRITE, eng.file, buf, BLOCK, 0);
	const int64_t end = eng_now() + (int64_t)tap_stretch(5) * S;

	eng_run_a_while();
	n_short = 5;
	op.io.iov = &op.iov;
	eng_submit(&op);
	while (!op.done && eng_now() < end)
		REQUIRE(reactor_run(eng.reactor, 0) >= 0);
	CHECK_EQ(op.done, 1);
	CHECK_EQ(op.io.result, BLOCK);
	CHECK_EQ(n_short, eng.target->class == &target_aio ? 0 : 5);
	/* And by who sleeps. */
	n_short = 2;
	CHECK_EQ(eng_run(&op), BLOCK);
	n_short = 0;
	free(buf);
}

/* ---- files, opening and closing ---- */

/* As many as there may be, and one more. */
static void test_files(void)
{
	struct rlimit limit = {TARGET_FILES + 100, TARGET_FILES + 100};
	unsigned char *buf = eng_buffer(1, 0x77);
	struct eng_op op = eng_transfer(IO_WRITE, 100, buf, BLOCK, 0);
	int fd[TARGET_FILES + 1];

	REQUIRE_OK(setrlimit(RLIMIT_NOFILE, &limit));
	eng_reopen(8);
	for (int i = 2; i <= TARGET_FILES; i++)
		REQUIRE((fd[i] = dup(eng.fd)) >= 0);
	for (int i = 2; i < TARGET_FILES; i++)
		REQUIRE_EQ(target_get_file(eng.target, fd[i], 0), i);
	CHECK_EQ(target_get_file(eng.target, fd[TARGET_FILES], 0), -ENFILE);
	CHECK_EQ(eng_run(&op), BLOCK);
	target_put_file(eng.target, 100);
	CHECK_EQ(eng_run(&op), -EBADF);
	if (!eng_is_null())
		CHECK_EQ(target_get_file(eng.target, 12345, 0), -EBADF);
	CHECK_EQ(target_get_file(eng.target, fd[TARGET_FILES], 0), 100);
	CHECK_EQ(eng_run(&op), BLOCK);
	free(buf);
}

/* Who asks for a file that is known shares its handle, which goes with the last one. */
static void test_file_of_many(void)
{
	unsigned char *buf = eng_buffer(1, 0x77);
	struct eng_op op = eng_transfer(IO_WRITE, eng.file, buf, BLOCK, 0);

	for (int i = 0; i < 3; i++)
		CHECK_EQ(target_get_file(eng.target, eng.fd, 0), eng.file);
	for (int i = 0; i < 3; i++) {
		target_put_file(eng.target, eng.file);
		CHECK_EQ(eng_run(&op), BLOCK);
	}
	target_put_file(eng.target, eng.file);
	CHECK_EQ(eng_run(&op), -EBADF);
	/* Once too often harms nobody. */
	target_put_file(eng.target, eng.file);
	target_put_file(eng.target, -1);
	target_put_file(eng.target, TARGET_FILES);
	CHECK_EQ(target_get_file(eng.target, eng.fd, 0), eng.file);
	CHECK_EQ(eng_run(&op), BLOCK);
	free(buf);
}

/* ---- several targets on one reactor ---- */

/* Each does its own, and nothing of it gets lost in one run. */
static void test_targets_side_by_side(void)
{
	static const struct target_class *const classes[] = {&target_null, &target_aio};
	unsigned char *buf = eng_buffer(64, 0x66);
	struct target *other[2];
	struct eng_op ops[64];

	eng_fill_file(64, 0x11);
	for (unsigned k = 0; k < 2; k++) {
		REQUIRE_OK(target_open(classes[k], &other[k], eng.reactor));
		REQUIRE_EQ(target_get_file(other[k], eng.fd, 0), 0);
	}
	for (unsigned i = 0; i < 64; i++) {
		ops[i] = eng_transfer(IO_WRITE, 0, buf + (size_t)i * BLOCK, BLOCK,
				      (uint64_t)i * BLOCK);
		ops[i].io.iov = &ops[i].iov;
		ops[i].io.done = eng_complete;
		target_submit(i % 4 < 2 ? eng.target : other[i % 2], &ops[i].io);
	}
	RUN_UNTIL(eng.completed >= 64);
	eng_run_a_while();
	CHECK_EQ(eng.completed, 64);
	for (unsigned i = 0; i < 64; i++) {
		const bool null = i % 4 < 2 ? eng_is_null() : i % 2 == 0;

		CHECK_EQ(ops[i].done, 1);
		CHECK_EQ(ops[i].io.result, BLOCK);
		CHECK(eng_file_is(null ? 0x11 : 0x66, (off_t)i * BLOCK, BLOCK));
	}
	for (unsigned k = 0; k < 2; k++)
		target_close(other[k]);
	/* The first one is not disturbed. */
	eng.completed = 0;
	ops[0].done = 0;
	CHECK_EQ(eng_run(&ops[0]), BLOCK);
	free(buf);
}

/* That of io_uring is the reactor's own. */
static void test_one_uring_target(void)
{
	struct target *other;

	CHECK_EQ(target_open(&target_uring, &other, eng.reactor),
		 eng.engine->reactor != &reactor_uring ? -EINVAL
		 : eng.target->class == &target_uring  ? -EBUSY
						       : 0);
	if (eng.engine->reactor == &reactor_uring && eng.target->class != &target_uring)
		target_close(other);
	else
		CHECK(!other);
}

/* ---- timers ---- */

static struct {
	struct reactor_timer timer;
	int64_t fired;
	unsigned n;
} timers[4];

static void fire(struct reactor_timer *timer)
{
	for (unsigned i = 0; i < 4; i++) {
		if (timer != &timers[i].timer)
			continue;
		timers[i].fired = eng_now();
		timers[i].n++;
	}
}

static void set(unsigned i, int64_t in_ns)
{
	timers[i].timer.fire = fire;
	reactor_set_timer(eng.reactor, &timers[i].timer, in_ns);
}

/* In order of time, whatever that of setting was; and the sleep is no longer than needed. */
static void test_timers(void)
{
	const int64_t start = eng_now();

	set(0, 30 * MS);
	set(1, 10 * MS);
	set(2, 20 * MS);
	set(3, 5 * MS);
	reactor_clear_timer(eng.reactor, &timers[3].timer);
	reactor_clear_timer(eng.reactor, &timers[3].timer);
	while (!timers[0].n)
		REQUIRE(reactor_run(eng.reactor, -1) >= 0);
	CHECK_EQ(timers[1].n, 1);
	CHECK_EQ(timers[2].n, 1);
	CHECK_EQ(timers[3].n, 0);
	CHECK(timers[1].fired >= start + 10 * MS);
	CHECK(timers[2].fired >= start + 20 * MS && timers[2].fired >= timers[1].fired);
	CHECK(timers[0].fired >= start + 30 * MS);
	CHECK(eng_now() - start < (int64_t)tap_stretch(1) * S);
	/* Each fires once; and one that is set again, at its new time only. */
	set(0, MS);
	set(0, 3600 * S);
	for (int64_t end = eng_now() + 10 * MS; eng_now() < end;)
		reactor_run(eng.reactor, 0);
	CHECK_EQ(timers[0].n, 1);
	set(0, MS);
	for (int64_t end = eng_now() + 10 * S; timers[0].n < 2 && eng_now() < end;)
		reactor_run(eng.reactor, 0);
	CHECK_EQ(timers[0].n, 2);
}

static void fire_again(struct reactor_timer *timer)
{
	timers[0].n++;
	reactor_set_timer(eng.reactor, timer, MS);
}

/* Besides I/O, which goes on; and nobody counts it as something delivered. */
static void test_timer_that_sets_itself(void)
{
	unsigned char *buf = eng_buffer(1, 1);
	struct eng_op op = eng_transfer(IO_WRITE, eng.file, buf, BLOCK, 0);
	unsigned n;

	eng_run_a_while();
	timers[0].timer.fire = fire_again;
	reactor_set_timer(eng.reactor, &timers[0].timer, MS);
	CHECK_EQ(reactor_run(eng.reactor, -1), 0);
	CHECK_EQ(timers[0].n, 1);
	while (timers[0].n < 20)
		CHECK_EQ(eng_run(&op), BLOCK);
	reactor_clear_timer(eng.reactor, &timers[0].timer);
	n = timers[0].n;
	eng_run_a_while();
	CHECK_EQ(timers[0].n, n);
	free(buf);
}

/* ---- results of other threads ---- */

static void *post(void *arg)
{
	struct inbox *inbox = arg;
	static struct eng_op ops[1000];

	for (unsigned i = 0; i < 1000; i++) {
		ops[i].io.done = eng_complete;
		ops[i].io.result = i;
		inbox_post(inbox, &ops[i].io);
	}
	return NULL;
}

static void test_inbox(void)
{
	struct inbox inbox;
	pthread_t thread[1];

	eng_need_others_awake();
	REQUIRE_OK(inbox_open(&inbox, eng.target));
	REQUIRE_OK(pthread_create(thread, NULL, post, &inbox));
	RUN_UNTIL(eng.completed >= 1000);
	pthread_join(*thread, NULL);
	eng_run_a_while();
	CHECK_EQ(eng.completed, 1000);
	inbox_close(&inbox);
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
		REQUIRE_EQ(op.io.file = target_get_file(eng.target, locked, 0), 2);
		CHECK_EQ(eng_run(&op), BLOCK);
		CHECK(!lock_is_free());
		if (removed)
			target_put_file(eng.target, op.io.file);
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
	struct reactor_config config = {.depth = 0};
	struct reactor *none = eng.reactor;

	CHECK_EQ(reactor_open(eng.engine->reactor, &none, &config), -EINVAL);
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

/* Takes one back that was submitted and that no reactor_run() has seen. */
static bool cancel(struct eng_op *op)
{
	bool taken;

	eng.inside = true;
	taken = target_cancel(eng.target, &op->io);
	eng.inside = false;
	return taken;
}

/* More than the depth: what the kernel has no room for can be taken back, wherever it is. */
static void test_cancel(void)
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
			taken[i] = cancel(&ops[i]);
			n_taken += taken[i];
			/* Once only. */
			CHECK(!taken[i] || !cancel(&ops[i]));
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
		CHECK(!cancel(&ops[i]));
	}
	free(buf);
}

/* What was taken back is its owner's, and can be submitted again; the rest goes on in order. */
static void test_cancel_and_submit(void)
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
			if (cancel(&ops[i]))
				eng_submit(&ops[i]);
		for (unsigned i = 0; i < 20; i++)
			if (cancel(&ops[i]))
				eng_submit(&ops[i]);
		RUN_UNTIL(eng.completed >= 20);
		eng_run_a_while();
		CHECK_EQ(eng.completed, 20);
	}
	CHECK(eng_is_null() || eng_file_is(0x44, 0, (size_t)20 * BLOCK));
	free(buf);
}

/* What a helper thread would do. */
static void test_cancel_offloaded(void)
{
	struct eng_op ops[4];
	unsigned n_taken = 0;

	eng_fill_file(4, 0x55);
	for (unsigned i = 0; i < 4; i++) {
		ops[i] = eng_range(IO_PUNCH_HOLE, (uint64_t)i * BLOCK, BLOCK);
		eng_submit(&ops[i]);
	}
	for (unsigned i = 1; i < 4; i += 2) {
		const bool taken = cancel(&ops[i]);

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
static void test_cancel_too_late(void)
{
	unsigned char *buf = eng_buffer(1, 0);
	struct eng_op op = eng_transfer(IO_READ, eng.file, buf, BLOCK, 0), other = op;

	eng_fill_file(1, 1);
	other.io.iov = &other.iov;
	CHECK(!cancel(&other));
	CHECK_EQ(eng_run(&op), BLOCK);
	CHECK(!cancel(&op));
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
	{"short_of_memory", test_short_of_memory},
	{"files", test_files},
	{"file_of_many", test_file_of_many},
	{"targets_side_by_side", test_targets_side_by_side},
	{"one_uring_target", test_one_uring_target},
	{"timers", test_timers},
	{"timer_that_sets_itself", test_timer_that_sets_itself},
	{"inbox", test_inbox},
	{"file_let_go", test_file_let_go},
	{"depths", test_depths},
	{"no_helper_thread", test_no_helper_thread},
	{"cancel", test_cancel},
	{"cancel_and_submit", test_cancel_and_submit},
	{"cancel_offloaded", test_cancel_offloaded},
	{"cancel_too_late", test_cancel_too_late},
	{0},
};

int main(int argc, char **argv)
{
	return eng_main(argc, argv, cases);
}
