/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only the io_uring engine does: registered memory, polled completions, the kernel's
 * submission thread, and engine_run() that finds nothing to do. (test-engine.c has what all engines
 * do, on these, too.)
 *
 * That an operation uses registered memory is seen by taking its mapping away: one that does not
 * then fails with -EFAULT. What it moved is seen through a second mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../tap.h"
#include "image/iopoll.h"
#include "io/internal.h"

#define PAGE 4096ul
#define MIB  (1ul << 20)
#define MS   INT64_C(1000000)

static struct engine *engine;
static int fd = -1, file;

struct op {
	struct io io;
	struct iovec iov;
	unsigned done;
};

static void complete(struct io *io)
{
	container_of(io, struct op, io)->done++;
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 * MS + ts.tv_nsec;
}

#define RUN_UNTIL(condition, timeout) \
	do { \
		int64_t end = now() + (int64_t)tap_stretch(10) * 1000 * MS; \
		while (!(condition) && now() < end) \
			REQUIRE(engine_run(engine, timeout) >= 0); \
		REQUIRE(condition); \
	} while (0)

static int try_open(struct engine_options options)
{
	return engine_open(&engine_uring, &engine,
			   &(struct engine_config){.depth = 8, .options = options});
}

static void open_engine(struct engine_options options)
{
	if (engine_probe(&engine_uring))
		tap_skip("there is no io_uring here");
	REQUIRE_OK(try_open(options));
	REQUIRE_EQ(file = engine_add_file(engine, fd), 0);
}

static void setup(void)
{
	const char *dir = getenv("TMPDIR");
	char path[300];

	engine_uring_without = engine_uring_faults = 0;
	snprintf(path, sizeof(path), "%s/image", dir ? dir : "/var/tmp");
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	REQUIRE(fd >= 0);
	REQUIRE_OK(ftruncate(fd, 1 << 20));
}

static void teardown(void)
{
	if (engine)
		engine_close(engine);
	engine = NULL;
	close(fd);
}

static struct op transfer(enum io_op op, void *at, size_t size, uint64_t offset)
{
	return (struct op){.io = {.op = (uint8_t)op, .file = file, .niov = 1, .offset = offset},
			   .iov = {at, size}};
}

static void submit(struct op *op)
{
	op->io.iov = &op->iov;
	op->io.done = complete;
	engine_submit(engine, &op->io);
}

static int64_t run_op(struct op op)
{
	submit(&op);
	RUN_UNTIL(op.done, 100 * MS);
	CHECK_EQ(op.done, 1);
	return op.io.result;
}

/* ---- registered memory ---- */

/* Memory as a guest's is: a memfd, mapped by the front-end and by us. */
struct memory {
	int fd;
	size_t size;
	unsigned char *theirs, *ours;
};

static void *map(int from, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, from, 0);

	REQUIRE(at != MAP_FAILED);
	return at;
}

static struct memory make_memory(size_t size)
{
	struct memory memory = {.fd = memfd_create("guest", MFD_CLOEXEC), .size = size};

	REQUIRE(memory.fd >= 0);
	REQUIRE_OK(ftruncate(memory.fd, (off_t)size));
	memory.theirs = map(memory.fd, size);
	memory.ours = map(memory.fd, size);
	return memory;
}

static struct iovec range_of(const struct memory *memory)
{
	return (struct iovec){memory->ours, memory->size};
}

/* Our addresses are still what operations name, but nothing is there any more. */
static void take_mapping_away(const struct memory *memory)
{
	REQUIRE_OK(munmap(memory->ours, memory->size));
	/* Nor may anything else get there. */
	REQUIRE(mmap(memory->ours, memory->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		     -1, 0) == memory->ours);
}

static void open_with_buffers(void)
{
	open_engine((struct engine_options){.fixed_buffers = true});
}

/* Is a page there read into, and written from, as registered memory? */
static bool is_registered(const struct memory *memory, size_t at)
{
	unsigned char page[PAGE];

	memset(page, 0x7e, PAGE);
	REQUIRE_EQ(pwrite(fd, page, PAGE, 0), PAGE);
	if (run_op(transfer(IO_READ, memory->ours + at, PAGE, 0)) != (int64_t)PAGE)
		return false;
	CHECK(!memcmp(memory->theirs + at, page, PAGE));
	memset(memory->theirs + at, 0x42, PAGE);
	CHECK_EQ(run_op(transfer(IO_WRITE, memory->ours + at, PAGE, PAGE)), PAGE);
	REQUIRE_EQ(pread(fd, page, PAGE, PAGE), PAGE);
	CHECK(!memcmp(memory->theirs + at, page, PAGE));
	return true;
}

static void test_registered(void)
{
	struct memory memory = make_memory(16 * PAGE);
	struct iovec range = range_of(&memory);

	open_with_buffers();
	CHECK(engine_wants_memory(engine));
	CHECK_EQ(engine_set_memory(engine, &range, 1), 0);
	take_mapping_away(&memory);
	CHECK(is_registered(&memory, 0));
	CHECK(is_registered(&memory, 15 * PAGE));
	/* Of a length that is not a multiple of anything, and with data durable at once. */
	CHECK_EQ(run_op(transfer(IO_READ, memory.ours + 100, 3000, 7)), 3000);

	struct op op = transfer(IO_WRITE, memory.ours, PAGE, 0);

	op.io.flags = IO_F_DSYNC;
	CHECK_EQ(run_op(op), PAGE);
}

static void test_unregistered(void)
{
	struct memory memory = make_memory(16 * PAGE);
	struct iovec range = range_of(&memory);

	open_with_buffers();
	CHECK_EQ(engine_set_memory(engine, &range, 1), 0);
	CHECK_EQ(engine_set_memory(engine, NULL, 0), 0);
	CHECK(is_registered(&memory, 0)); /* as plain memory */
	take_mapping_away(&memory);
	CHECK(!is_registered(&memory, 0));
}

/* Without the option nothing is registered, and nobody need ask. */
static void test_not_wanted(void)
{
	struct memory memory = make_memory(16 * PAGE);
	struct iovec range = range_of(&memory);

	open_engine((struct engine_options){0});
	CHECK(!engine_wants_memory(engine));
	CHECK_EQ(engine_set_memory(engine, &range, 1), 0);
	take_mapping_away(&memory);
	CHECK(!is_registered(&memory, 0));
}

/* A buffer that lies in no piece, or across two, is a plain one. So are several. */
static void test_plain_beside_registered(void)
{
	struct memory memory = make_memory(16 * PAGE);
	struct iovec halves[2] = {{memory.ours, 8 * PAGE}, {memory.ours + 8 * PAGE, 4 * PAGE}};
	struct op op = transfer(IO_READ, NULL, 0, 0);

	open_with_buffers();
	CHECK_EQ(engine_set_memory(engine, halves, 2), 0);
	CHECK_EQ(run_op(transfer(IO_READ, memory.ours + 7 * PAGE, 2 * PAGE, 0)), 2 * PAGE);
	CHECK_EQ(run_op(transfer(IO_READ, memory.ours + 11 * PAGE, 2 * PAGE, 0)), 2 * PAGE);
	CHECK_EQ(run_op(transfer(IO_READ, memory.ours + 12 * PAGE, PAGE, 0)), PAGE);
	op.io.done = complete;
	op.io.niov = 2;
	op.io.iov = halves;
	engine_submit(engine, &op.io);
	RUN_UNTIL(op.done, 100 * MS);
	CHECK_EQ(op.io.result, 12 * PAGE);
	take_mapping_away(&memory);
	CHECK(is_registered(&memory, 7 * PAGE));
	CHECK(is_registered(&memory, 8 * PAGE));
	CHECK(!is_registered(&memory, 12 * PAGE));
	CHECK_EQ(run_op(transfer(IO_READ, memory.ours + 7 * PAGE, 2 * PAGE, 0)), -EFAULT);
}

/* What is in both the old and the new set is not touched: its mapping is gone already. */
static void test_change(void)
{
	struct memory a = make_memory(4 * PAGE), b = make_memory(4 * PAGE), c = make_memory(PAGE);
	struct iovec first[] = {range_of(&a), range_of(&b)};
	struct iovec second[] = {range_of(&c), range_of(&a)};

	open_with_buffers();
	CHECK_EQ(engine_set_memory(engine, first, 2), 0);
	take_mapping_away(&a);
	CHECK_EQ(engine_set_memory(engine, first, 2), 0);
	CHECK_EQ(engine_set_memory(engine, second, 2), 0);
	take_mapping_away(&b);
	take_mapping_away(&c);
	CHECK(is_registered(&a, 0));
	CHECK(!is_registered(&b, 0));
	CHECK(is_registered(&c, 0));
	/* The same place with another size is another piece. */
	first[0].iov_len = 2 * PAGE;
	CHECK_EQ(engine_set_memory(engine, first, 1), 2 * PAGE);
	CHECK(!is_registered(&a, 0));
}

/* An operation that the kernel has keeps the pages it needs. */
static void test_change_in_flight(void)
{
	struct memory a = make_memory(PAGE), b = make_memory(PAGE);
	struct iovec range = range_of(&a), other = range_of(&b);
	struct op op = transfer(IO_READ, a.ours, 5, 0), early = transfer(IO_READ, a.ours, PAGE, 0);
	int ends[2];

	open_with_buffers();
	REQUIRE_OK(pipe2(ends, O_CLOEXEC));
	REQUIRE((op.io.file = engine_add_file(engine, ends[0])) >= 0);
	CHECK_EQ(engine_set_memory(engine, &range, 1), 0);
	submit(&op);
	REQUIRE(engine_run(engine, 0) >= 0);
	submit(&early); /* an entry that no enter has taken yet */
	CHECK_EQ(engine_set_memory(engine, &other, 1), 0);
	take_mapping_away(&a);
	RUN_UNTIL(early.done, 100 * MS);
	CHECK_EQ(early.io.result, PAGE);
	CHECK_EQ(op.done, 0);
	/* With nothing left registered, too; this waits for nobody. */
	CHECK_EQ(engine_set_memory(engine, NULL, 0), 0);
	REQUIRE_EQ(write(ends[1], "hello", 5), 5);
	RUN_UNTIL(op.done, 100 * MS);
	CHECK_EQ(op.io.result, 5);
	CHECK(!memcmp(a.theirs, "hello", 5));
}

/* A gigabyte and more, made of the same 2 MiB again and again. */
static void test_large_range(void)
{
	struct memory small = make_memory(2 * MIB), large = small;
	const size_t boundary = 1024 * MIB;
	struct iovec range;

	large.size = boundary + 4 * MIB;
	large.ours = mmap(NULL, large.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(large.ours != MAP_FAILED);
	for (size_t at = 0; at < large.size; at += 2 * MIB)
		REQUIRE(mmap(large.ours + at, 2 * MIB, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED, small.fd, 0) != MAP_FAILED);
	range = range_of(&large);
	open_with_buffers();
	CHECK_EQ(engine_set_memory(engine, &range, 1), 0);
	CHECK_EQ(run_op(transfer(IO_READ, large.ours + boundary - PAGE, 2 * PAGE, 0)), 2 * PAGE);
	take_mapping_away(&large);
	CHECK_EQ(run_op(transfer(IO_READ, large.ours, PAGE, 0)), PAGE);
	CHECK_EQ(run_op(transfer(IO_READ, large.ours + boundary - PAGE, PAGE, 0)), PAGE);
	CHECK_EQ(run_op(transfer(IO_READ, large.ours + boundary, 3 * MIB, 0)), MIB);
	CHECK_EQ(run_op(transfer(IO_READ, large.ours + boundary - PAGE, 2 * PAGE, 0)), -EFAULT);
}

/* More ranges than a map has. */
static void test_many_ranges(void)
{
	enum {
		N = 512
	};
	struct memory memory = make_memory(2 * N * PAGE);
	struct iovec ranges[N];

	for (unsigned i = 0; i < N; i++) /* backwards, with holes */
		ranges[i] = (struct iovec){memory.ours + (2 * (N - 1 - i)) * PAGE, PAGE};
	open_with_buffers();
	CHECK_EQ(engine_set_memory(engine, ranges, N), 0);
	CHECK_EQ(engine_set_memory(engine, ranges, N / 2), 0);
	CHECK_EQ(engine_set_memory(engine, ranges, N), 0);
	take_mapping_away(&memory);
	for (unsigned i = 0; i < N; i += 73) {
		CHECK(is_registered(&memory, 2 * i * PAGE));
		CHECK(!is_registered(&memory, (2 * i + 1) * PAGE));
	}
}

/* A mapping of a file on a disk is not taken by the kernel; it is no error. */
static void test_memory_on_disk(void)
{
	struct memory memory = make_memory(4 * PAGE);
	struct iovec ranges[2] = {range_of(&memory), {map(fd, 8 * PAGE), 8 * PAGE}};

	open_with_buffers();
	if (engine_set_memory(engine, ranges, 2) == 0)
		tap_skip("TMPDIR is on tmpfs, whose files can be registered");
	CHECK_EQ(engine_set_memory(engine, ranges, 2), 8 * PAGE);
	CHECK_EQ(run_op(transfer(IO_READ, ranges[1].iov_base, PAGE, 16 * PAGE)), PAGE);
	take_mapping_away(&memory);
	CHECK(is_registered(&memory, 0));
}

/* Without the privilege to lock what one likes. */
static void drop_ipc_lock(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	REQUIRE_OK(syscall(SYS_capget, &header, data));
	data[0].effective &= ~(1u << CAP_IPC_LOCK);
	REQUIRE_OK(syscall(SYS_capset, &header, data));
}

static void test_memlock(void)
{
	struct memory memory = make_memory(8 * MIB), little = make_memory(PAGE);
	struct iovec ranges[2] = {range_of(&little), range_of(&memory)};

	drop_ipc_lock();
	REQUIRE_OK(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){4 * MIB, 4 * MIB}));
	open_with_buffers();
	CHECK_EQ(engine_set_memory(engine, ranges, 2), -ENOMEM);
	CHECK(is_registered(&memory, 0)); /* as plain memory */
	take_mapping_away(&little);
	CHECK(!is_registered(&little, 0));
}

/* Not even for our own table: then nothing is registered, neither what was before. */
static void test_no_memory(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	tap_skip("a sanitizer does not live with a limit of the address space");
#endif
	struct memory memory = make_memory(16 * PAGE);
	struct iovec range = range_of(&memory);
	struct rlimit limit, none;
	void *volatile last;

	open_with_buffers();
	CHECK_EQ(engine_set_memory(engine, &range, 1), 0);
	take_mapping_away(&memory);
	REQUIRE_OK(getrlimit(RLIMIT_AS, &limit));
	none = (struct rlimit){0, limit.rlim_max};
	REQUIRE_OK(setrlimit(RLIMIT_AS, &none));
	do
		last = malloc(16 * PAGE);
	while (last);
	CHECK_EQ(engine_set_memory(engine, &range, 1), -ENOMEM);
	REQUIRE_OK(setrlimit(RLIMIT_AS, &limit));
	CHECK(!is_registered(&memory, 0));
}

static void test_no_sparse_table(void)
{
	if (engine_probe(&engine_uring))
		tap_skip("there is no io_uring here");
	engine_uring_without = URING_WITHOUT_FIXED_BUFFERS;
	CHECK_EQ(try_open((struct engine_options){.fixed_buffers = true}), -EOPNOTSUPP);
	CHECK_OK(try_open((struct engine_options){0}));
}

static void test_buffers_with_sqpoll(void)
{
	struct memory memory = make_memory(16 * PAGE);
	struct iovec range = range_of(&memory);

	open_engine(
		(struct engine_options){.fixed_buffers = true, .sqpoll = true, .sqpoll_cpu = -1});
	for (unsigned i = 0; i < 20; i++) {
		struct op op = transfer(IO_READ, memory.ours, PAGE, 0);

		CHECK_EQ(engine_set_memory(engine, &range, 1), 0);
		submit(&op);
		CHECK_EQ(engine_set_memory(engine, NULL, 0), 0);
		RUN_UNTIL(op.done, 100 * MS);
		CHECK_EQ(op.io.result, PAGE);
	}
}

/* ---- the kernel's thread ---- */

/* It goes to sleep after a while, and is woken up. */
static void test_sqpoll(void)
{
	unsigned char page[PAGE];

	open_engine((struct engine_options){.sqpoll = true, .sqpoll_cpu = 0});
	for (unsigned i = 0; i < 5; i++) {
		CHECK_EQ(run_op(transfer(IO_READ, page, PAGE, 0)), PAGE);
		for (int64_t end = now() + 60 * MS; now() < end;)
			REQUIRE(engine_run(engine, end - now()) >= 0);
	}
}

/* Completions come without a system call that waits. */
static void test_sqpoll_without_waiting(void)
{
	unsigned char page[PAGE];

	open_engine((struct engine_options){.sqpoll = true, .sqpoll_cpu = -1});
	for (unsigned i = 0; i < 100; i++) {
		struct op op = transfer(IO_READ, page, PAGE, 0);

		submit(&op);
		RUN_UNTIL(op.done, 0);
		CHECK_EQ(op.io.result, PAGE);
	}
}

static void test_sqpoll_no_cpu(void)
{
	if (engine_probe(&engine_uring))
		tap_skip("there is no io_uring here");
	CHECK_EQ(try_open((struct engine_options){.sqpoll = true, .sqpoll_cpu = 1 << 20}), -EINVAL);
	CHECK(!engine);
}

static void test_one_thread_polls(void)
{
	CHECK_EQ(try_open((struct engine_options){.sqpoll = true, .iopoll = true}), -EINVAL);
	CHECK(!engine);
}

/* ---- polled completions ---- */

/* Nothing but O_DIRECT on a device can be polled for; the engine goes on without. */
static void test_iopoll_refused(void)
{
	unsigned char page[PAGE];
	struct op op = transfer(IO_WRITE, page, PAGE, 0);

	open_engine((struct engine_options){.iopoll = true});
	op.io.flags = IO_F_DSYNC;
	memset(page, 9, PAGE);
	CHECK_EQ(run_op(op), PAGE);
	CHECK_EQ(run_op(transfer(IO_READ, page, PAGE, 0)), PAGE);
	CHECK_EQ(page[0], 9);
	CHECK_EQ(run_op(transfer(IO_READ, page, PAGE, 0)), PAGE);
}

static void test_iopoll_probe(void)
{
	struct image image = {.fd = fd, .direct = false, .block_size = 512};

	CHECK_EQ(image_iopoll_probe(&image), -EOPNOTSUPP);
	/* A file in memory has no device. */
	image.direct = true;
	image.fd = memfd_create("image", MFD_CLOEXEC);
	REQUIRE_OK(ftruncate(image.fd, 1 << 20));
	if (engine_probe(&engine_uring))
		tap_skip("there is no io_uring here");
	CHECK_EQ(image_iopoll_probe(&image), -EOPNOTSUPP);
	close(image.fd);
}

/* ---- nothing to do ---- */

static unsigned n_runs, n_ready;

static int count_run(struct engine *e, int64_t timeout_ns)
{
	n_runs++;
	return engine_uring.run(e, timeout_ns);
}

static void drain(struct engine_watch *watch)
{
	uint64_t value;

	REQUIRE_OK(eventfd_read(watch->fd, &value));
	n_ready++;
}

/* engine_run() without waiting enters the engine only when there is something for it. */
static void check_quiet(struct engine_options options)
{
	struct engine_watch watch = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = drain};
	struct engine_class counting = engine_uring;
	unsigned char page[PAGE];

	open_engine(options);
	counting.run = count_run;
	engine->class = &counting;
	REQUIRE_OK(engine_watch(engine, &watch));
	for (unsigned round = 0; round < 3; round++) {
		struct op op = transfer(IO_READ, page, PAGE, 0);

		/* The watch is armed; an operation more completes. */
		submit(&op);
		RUN_UNTIL(op.done, 0);
		REQUIRE(engine_run(engine, MS) >= 0);
		n_runs = 0;
		for (unsigned i = 0; i < 1000; i++)
			CHECK_EQ(engine_run(engine, 0), 0);
		CHECK_EQ(n_runs, 0);
		n_ready = 0;
		REQUIRE_OK(eventfd_write(watch.fd, 1));
		RUN_UNTIL(n_ready, 0);
		CHECK_EQ(n_ready, 1);
	}
	engine_unwatch(engine, &watch);
	REQUIRE(engine_run(engine, MS) >= 0);
	close(watch.fd);
	engine->class = &engine_uring;
}

static void test_quiet(void)
{
	check_quiet((struct engine_options){0});
}

static void test_quiet_sqpoll(void)
{
	check_quiet((struct engine_options){.sqpoll = true, .sqpoll_cpu = -1});
}

static void test_quiet_5_19(void)
{
	engine_uring_without = URING_WITHOUT_DEFER_TASKRUN;
	check_quiet((struct engine_options){0});
}

static void test_quiet_5_11(void)
{
	engine_uring_without = ~URING_WITHOUT_LARGE_RINGS;
	check_quiet((struct engine_options){0});
}

/* ---- watches that the kernel does not carry ---- */

struct deaf {
	struct engine_watch watch;
	unsigned n_failed, n_looks, n_kicks;
	int err;
};

static void deaf_ready(struct engine_watch *watch)
{
	struct deaf *deaf = container_of(watch, struct deaf, watch);
	eventfd_t count;

	deaf->n_looks++;
	deaf->n_kicks += !eventfd_read(watch->fd, &count);
}

static void deaf_failed(struct engine_watch *watch, int err)
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

	REQUIRE_OK(engine_watch(engine, &deaf.watch));
	for (unsigned i = 1; i <= 5; i++) {
		REQUIRE_OK(eventfd_write(deaf.watch.fd, 1));
		RUN_UNTIL(deaf.n_kicks == i, timeout);
	}
	CHECK_EQ(deaf.n_failed, 1);
	CHECK_EQ(deaf.err, -EBADF);
	engine_unwatch(engine, &deaf.watch);
	deaf.n_looks = 0;
	for (unsigned i = 0; i < 5; i++)
		REQUIRE(engine_run(engine, MS) >= 0);
	CHECK_EQ(deaf.n_looks, 0);
	close(deaf.watch.fd);
}

static void test_deaf_watch(void)
{
	engine_uring_faults = URING_FAULT_WATCHES;
	open_engine((struct engine_options){0});
	check_deaf_watch(-1);
	check_deaf_watch(100 * MS);
	check_deaf_watch(0);
}

static void test_deaf_watch_sqpoll(void)
{
	engine_uring_faults = URING_FAULT_WATCHES;
	open_engine((struct engine_options){.sqpoll = true, .sqpoll_cpu = -1});
	check_deaf_watch(100 * MS);
}

/* It can be watched when it is armed, and no more when it is to be armed again. */
static void test_watch_not_armed_again(void)
{
	struct deaf deaf = make_deaf();

	engine_uring_without = URING_WITHOUT_MULTISHOT;
	open_engine((struct engine_options){0});
	REQUIRE_OK(engine_watch(engine, &deaf.watch));
	REQUIRE(engine_run(engine, 0) >= 0);
	engine_uring_faults = URING_FAULT_WATCHES;
	for (unsigned i = 1; i <= 5; i++) {
		REQUIRE_OK(eventfd_write(deaf.watch.fd, 1));
		RUN_UNTIL(deaf.n_kicks == i, -1);
	}
	CHECK_EQ(deaf.n_failed, 1);
	engine_unwatch(engine, &deaf.watch);
	close(deaf.watch.fd);
}

/* The helper thread's results come, too. */
static void test_deaf_helper(void)
{
	struct op op = {.io = {.op = IO_SYNC, .done = complete, .offset = UINT64_MAX}};

	engine_uring_faults = URING_FAULT_WATCHES;
	open_engine((struct engine_options){0});
	engine_submit(engine, &op.io);
	RUN_UNTIL(op.done, -1);
	CHECK_EQ(op.io.result, -EINVAL);
}

/* A watch that ends, or begins another, while it is looked at. */
static struct deaf chain_next;

static void chain_ready(struct engine_watch *watch)
{
	engine_unwatch(engine, watch);
	if (!chain_next.watch.ready) {
		chain_next = make_deaf();
		REQUIRE_OK(engine_watch(engine, &chain_next.watch));
	}
}

static void test_deaf_watches_come_and_go(void)
{
	struct deaf deaf[40];

	engine_uring_faults = URING_FAULT_WATCHES;
	open_engine((struct engine_options){0});
	for (unsigned i = 0; i < 40; i++) {
		deaf[i] = make_deaf();
		deaf[i].watch.ready = chain_ready;
		REQUIRE_OK(engine_watch(engine, &deaf[i].watch));
	}
	RUN_UNTIL(chain_next.n_looks >= 2, -1);
	CHECK_EQ(chain_next.n_failed, 1);
	engine_unwatch(engine, &chain_next.watch);
	for (unsigned i = 0; i < 40; i++)
		close(deaf[i].watch.fd);
	close(chain_next.watch.fd);
}

static const struct tap_case cases[] = {
	{"registered", test_registered},
	{"unregistered", test_unregistered},
	{"not_wanted", test_not_wanted},
	{"plain_beside_registered", test_plain_beside_registered},
	{"change", test_change},
	{"change_in_flight", test_change_in_flight},
	{"large_range", test_large_range},
	{"many_ranges", test_many_ranges},
	{"memory_on_disk", test_memory_on_disk},
	{"memlock", test_memlock},
	{"no_memory", test_no_memory},
	{"no_sparse_table", test_no_sparse_table},
	{"buffers_with_sqpoll", test_buffers_with_sqpoll},
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
	{"io_uring alone", setup, teardown, 0, cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
