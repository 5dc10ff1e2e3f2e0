/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only the io_uring engine does: polled completions, the kernel's submission thread,
 * reactor_run() that finds nothing to do, and watches that the kernel does not carry. (What all
 * engines do: test-engine.c; registered memory: test-engine-uring-memory.c.)
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/image/iopoll.h"
#include "tests/unit/support/try-engine.h"
#include "tests/unit/support/uring.h"

/* ---- the kernel's thread ---- */

/* It goes to sleep after a while, and is woken up. */
static void test_sqpoll(void)
{
	unsigned char page[PAGE];

	ur_open((struct uring_options){.sqpoll = true, .sqpoll_cpu = 0});
	for (unsigned i = 0; i < 5; i++) {
		CHECK_EQ(ur_run(ur_transfer(IO_READ, page, PAGE, 0)), PAGE);
		for (int64_t end = eng_now() + 60 * MS; eng_now() < end;)
			REQUIRE(reactor_run(ur.reactor, end - eng_now()) >= 0);
	}
}

/* Completions come without a system call that waits. */
static void test_sqpoll_without_waiting(void)
{
	unsigned char page[PAGE];

	ur_open((struct uring_options){.sqpoll = true, .sqpoll_cpu = -1});
	for (unsigned i = 0; i < 100; i++) {
		struct ur_op op = ur_transfer(IO_READ, page, PAGE, 0);

		ur_submit(&op);
		UR_RUN_UNTIL(op.done, 0);
		CHECK_EQ(op.io.result, PAGE);
	}
}

static void test_sqpoll_no_cpu(void)
{
	if (try_engine(&engine_uring))
		tap_skip("there is no io_uring here");
	CHECK_EQ(ur_try_open((struct uring_options){.sqpoll = true, .sqpoll_cpu = 1 << 20}),
		 -EINVAL);
	CHECK(!ur.reactor);
}

static void test_one_thread_polls(void)
{
	CHECK_EQ(ur_try_open((struct uring_options){.sqpoll = true, .iopoll = true}), -EINVAL);
	CHECK(!ur.reactor);
}

/* ---- polled completions ---- */

/* Nothing but O_DIRECT on a device can be polled for; the engine goes on without. */
static void test_iopoll_refused(void)
{
	unsigned char page[PAGE];
	struct ur_op op = ur_transfer(IO_WRITE, page, PAGE, 0);

	ur_open((struct uring_options){.iopoll = true});
	op.io.flags = IO_F_DSYNC;
	memset(page, 9, PAGE);
	CHECK_EQ(ur_run(op), PAGE);
	CHECK_EQ(ur_run(ur_transfer(IO_READ, page, PAGE, 0)), PAGE);
	CHECK_EQ(page[0], 9);
	CHECK_EQ(ur_run(ur_transfer(IO_READ, page, PAGE, 0)), PAGE);
}

static void test_iopoll_probe(void)
{
	struct image image = {.fd = ur.fd, .direct = false, .block_size = 512};

	CHECK_EQ(image_iopoll_probe(&image), -EOPNOTSUPP);
	/* A file in memory has no device. */
	image.direct = true;
	image.fd = memfd_create("image", MFD_CLOEXEC);
	REQUIRE_OK(ftruncate(image.fd, 1 << 20));
	if (try_engine(&engine_uring))
		tap_skip("there is no io_uring here");
	CHECK_EQ(image_iopoll_probe(&image), -EOPNOTSUPP);
	close(image.fd);
}

/* ---- nothing to do ---- */

static unsigned n_runs, n_ready;

static int count_run(struct reactor *reactor, int64_t timeout_ns)
{
	n_runs++;
	return reactor_uring.run(reactor, timeout_ns);
}

static void drain(struct reactor_watch *watch)
{
	uint64_t value;

	REQUIRE_OK(eventfd_read(watch->fd, &value));
	n_ready++;
}

/* reactor_run() without waiting enters the engine only when there is something for it. */
static void check_quiet(struct uring_options options)
{
	struct reactor_watch watch = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = drain};
	struct reactor_class counting = reactor_uring;
	unsigned char page[PAGE];

	ur_open(options);
	counting.run = count_run;
	ur.reactor->class = &counting;
	REQUIRE_OK(reactor_watch(ur.reactor, &watch));
	for (unsigned round = 0; round < 3; round++) {
		struct ur_op op = ur_transfer(IO_READ, page, PAGE, 0);

		/* The watch is armed; an operation more completes. */
		ur_submit(&op);
		UR_RUN_UNTIL(op.done, 0);
		REQUIRE(reactor_run(ur.reactor, MS) >= 0);
		n_runs = 0;
		for (unsigned i = 0; i < 1000; i++)
			CHECK_EQ(reactor_run(ur.reactor, 0), 0);
		CHECK_EQ(n_runs, 0);
		n_ready = 0;
		REQUIRE_OK(eventfd_write(watch.fd, 1));
		UR_RUN_UNTIL(n_ready, 0);
		CHECK_EQ(n_ready, 1);
	}
	reactor_unwatch(ur.reactor, &watch);
	REQUIRE(reactor_run(ur.reactor, MS) >= 0);
	close(watch.fd);
	ur.reactor->class = &reactor_uring;
}

static void test_quiet(void)
{
	check_quiet((struct uring_options){0});
}

static void test_quiet_sqpoll(void)
{
	check_quiet((struct uring_options){.sqpoll = true, .sqpoll_cpu = -1});
}

static void test_quiet_5_19(void)
{
	uring_without = URING_WITHOUT_DEFER_TASKRUN;
	check_quiet((struct uring_options){0});
}

static void test_quiet_5_11(void)
{
	uring_without = ~URING_WITHOUT_LARGE_RINGS;
	check_quiet((struct uring_options){0});
}

/* ---- watches that the kernel does not carry ---- */

struct deaf {
	struct reactor_watch watch;
	unsigned n_failed, n_looks, n_kicks;
	int err;
};

static void deaf_ready(struct reactor_watch *watch)
{
	struct deaf *deaf = container_of(watch, struct deaf, watch);
	eventfd_t count;

	deaf->n_looks++;
	deaf->n_kicks += !eventfd_read(watch->fd, &count);
}

static void deaf_failed(struct reactor_watch *watch, int err)
{
	struct deaf *deaf = container_of(watch, struct deaf, watch);

	deaf->n_failed++;
	deaf->err = err;
}

static struct deaf make_deaf(void)
{
	struct deaf deaf = {.watch = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				      .ready = deaf_ready,
				      .failed = deaf_failed}};

	REQUIRE(deaf.watch.fd >= 0);
	return deaf;
}

/* It is said once, what comes is seen all the same, also by one who sleeps, and it has an end. */
static void check_deaf_watch(int64_t timeout)
{
	struct deaf deaf = make_deaf();

	REQUIRE_OK(reactor_watch(ur.reactor, &deaf.watch));
	for (unsigned i = 1; i <= 5; i++) {
		REQUIRE_OK(eventfd_write(deaf.watch.fd, 1));
		UR_RUN_UNTIL(deaf.n_kicks == i, timeout);
	}
	CHECK_EQ(deaf.n_failed, 1);
	CHECK_EQ(deaf.err, -EBADF);
	reactor_unwatch(ur.reactor, &deaf.watch);
	deaf.n_looks = 0;
	for (unsigned i = 0; i < 5; i++)
		REQUIRE(reactor_run(ur.reactor, MS) >= 0);
	CHECK_EQ(deaf.n_looks, 0);
	close(deaf.watch.fd);
}

static void test_deaf_watch(void)
{
	uring_faults = URING_FAULT_WATCHES;
	ur_open((struct uring_options){0});
	check_deaf_watch(-1);
	check_deaf_watch(100 * MS);
	check_deaf_watch(0);
}

static void test_deaf_watch_sqpoll(void)
{
	uring_faults = URING_FAULT_WATCHES;
	ur_open((struct uring_options){.sqpoll = true, .sqpoll_cpu = -1});
	check_deaf_watch(100 * MS);
}

/* It can be watched when it is armed, and no more when it is to be armed again. */
static void test_watch_not_armed_again(void)
{
	struct deaf deaf = make_deaf();

	uring_without = URING_WITHOUT_MULTISHOT;
	ur_open((struct uring_options){0});
	REQUIRE_OK(reactor_watch(ur.reactor, &deaf.watch));
	REQUIRE(reactor_run(ur.reactor, 0) >= 0);
	uring_faults = URING_FAULT_WATCHES;
	for (unsigned i = 1; i <= 5; i++) {
		REQUIRE_OK(eventfd_write(deaf.watch.fd, 1));
		UR_RUN_UNTIL(deaf.n_kicks == i, -1);
	}
	CHECK_EQ(deaf.n_failed, 1);
	reactor_unwatch(ur.reactor, &deaf.watch);
	close(deaf.watch.fd);
}

/* The helper thread's results come, too. */
static void test_deaf_helper(void)
{
	struct ur_op op = {.io = {.op = IO_SYNC, .done = ur_complete, .offset = UINT64_MAX}};

	uring_faults = URING_FAULT_WATCHES;
	ur_open((struct uring_options){0});
	target_submit(ur.target, &op.io);
	UR_RUN_UNTIL(op.done, -1);
	CHECK_EQ(op.io.result, -EINVAL);
}

/* A watch that ends, or begins another, while it is looked at. */
static struct deaf chain_next;

static void chain_ready(struct reactor_watch *watch)
{
	reactor_unwatch(ur.reactor, watch);
	if (!chain_next.watch.ready) {
		chain_next = make_deaf();
		REQUIRE_OK(reactor_watch(ur.reactor, &chain_next.watch));
	}
}

static void test_deaf_watches_come_and_go(void)
{
	struct deaf deaf[40];

	uring_faults = URING_FAULT_WATCHES;
	ur_open((struct uring_options){0});
	for (unsigned i = 0; i < 40; i++) {
		deaf[i] = make_deaf();
		deaf[i].watch.ready = chain_ready;
		REQUIRE_OK(reactor_watch(ur.reactor, &deaf[i].watch));
	}
	UR_RUN_UNTIL(chain_next.n_looks >= 2, -1);
	CHECK_EQ(chain_next.n_failed, 1);
	reactor_unwatch(ur.reactor, &chain_next.watch);
	for (unsigned i = 0; i < 40; i++)
		close(deaf[i].watch.fd);
	close(chain_next.watch.fd);
}

static const struct tap_case cases[] = {
	{"sqpoll", test_sqpoll},
	{"sqpoll_without_waiting", test_sqpoll_without_waiting},
	{"sqpoll_no_cpu", test_sqpoll_no_cpu},
	{"one_thread_polls", test_one_thread_polls},
	{"iopoll_refused", test_iopoll_refused},
	{"iopoll_probe", test_iopoll_probe},
	{"deaf_watch", test_deaf_watch},
	{"deaf_watch_sqpoll", test_deaf_watch_sqpoll},
	{"watch_not_armed_again", test_watch_not_armed_again},
	{"deaf_helper", test_deaf_helper},
	{"deaf_watches_come_and_go", test_deaf_watches_come_and_go},
	{"quiet", test_quiet},
	{"quiet_sqpoll", test_quiet_sqpoll},
	{"quiet_5_19", test_quiet_5_19},
	{"quiet_5_11", test_quiet_5_11},
	{0},
};

static const struct tap_suite suites[] = {
	{"io_uring alone", ur_setup, ur_teardown, 0, cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
