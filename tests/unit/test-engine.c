/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O engines: every case on every class, and on io_uring as older kernels have it. What an
 * operation does to the file is compared with plain system calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../tap.h"
#include "io/internal.h"
#include "io/offload.h"

#define BLOCK 4096
#define MS    INT64_C(1000000)
#define S     (1000 * MS)

/* ---- the engine under test ---- */

static const struct engine_class *class;
static struct engine_options options;
static struct engine *engine;
static char path[300];
static int fd, direct_fd, file, direct_file; /* one file, opened twice */
static unsigned completed;
static bool inside; /* a call into the engine that must not call back */

struct op {
	struct io io;
	struct iovec iov;
	unsigned done;
	void (*then)(struct op *op);
};

static void complete(struct io *io)
{
	struct op *op = container_of(io, struct op, io);

	CHECK(!inside);
	op->done++;
	completed++;
	if (op->then)
		op->then(op);
}

static void submit(struct op *op)
{
	op->io.done = complete;
	inside = true;
	engine_submit(engine, &op->io);
	inside = false;
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * S + ts.tv_nsec;
}

/* Runs the engine until `condition`, for 10 s at most. */
#define RUN_UNTIL(condition) \
	do { \
		int64_t end = now() + (int64_t)tap_stretch(10) * S; \
		while (!(condition) && now() < end) \
			REQUIRE(engine_run(engine, 100 * MS) >= 0); \
		REQUIRE(condition); \
	} while (0)

/* Runs it for a while, to see that something does not happen. */
static void run_a_while(void)
{
	for (int64_t end = now() + 30 * MS; now() < end;)
		REQUIRE(engine_run(engine, MS) >= 0);
}

static bool is_null(void)
{
	return class == &engine_null;
}

static void need_io(void)
{
	if (is_null())
		tap_skip("the null engine does no I/O");
}

/*
 * Valgrind 3.19 takes io_uring_enter(2) for a call that does not sleep: while one thread is in it
 * no other has its turn, and no signal arrives.
 */
static void need_others_awake(void)
{
	const char *preload = getenv("LD_PRELOAD");

	if (class == &engine_uring && preload && strstr(preload, "vgpreload"))
		tap_skip("valgrind stops other threads during io_uring_enter");
}

static void open_engine(unsigned depth)
{
	struct engine_config config = {.depth = depth, .options = options};

	REQUIRE_OK(engine_open(class, &engine, &config));
	REQUIRE_EQ(file = engine_add_file(engine, fd), 0);
	REQUIRE_EQ(direct_file = engine_add_file(engine, direct_fd), 1);
}

static void setup(const struct engine_class *c, unsigned without)
{
	const char *dir = getenv("TMPDIR");

	class = c;
	engine_uring_without = without;
	completed = 0;
	snprintf(path, sizeof(path), "%s/image", dir ? dir : "/var/tmp");
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	direct_fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (engine_probe(class))
		return; /* its first case says so */
	open_engine(8);
}

static void setup_null(void)
{
	setup(&engine_null, 0);
}

static void setup_aio(void)
{
	setup(&engine_aio, 0);
}

static void setup_uring(void)
{
	setup(&engine_uring, 0);
}

static void setup_uring_5_19(void)
{
	setup(&engine_uring, URING_WITHOUT_DEFER_TASKRUN);
}

static void setup_uring_5_11(void)
{
	setup(&engine_uring, ~URING_WITHOUT_LARGE_RINGS);
}

static void setup_uring_small(void)
{
	setup(&engine_uring, URING_WITHOUT_LARGE_RINGS);
}

/* Nothing depends on what an entry held before, whatever liburing clears. */
static void setup_uring_poisoned(void)
{
	engine_uring_faults = URING_FAULT_POISON;
	setup(&engine_uring, 0);
}

static void setup_uring_sqpoll(void)
{
	options = (struct engine_options){.sqpoll = true, .sqpoll_cpu = -1};
	setup(&engine_uring, 0);
}

static void setup_uring_sqpoll_5_11(void)
{
	options = (struct engine_options){.sqpoll = true, .sqpoll_cpu = -1};
	setup(&engine_uring, ~0u);
}

/* Where the device cannot be polled this is about the change to waiting. */
static void setup_uring_iopoll(void)
{
	options = (struct engine_options){.iopoll = true};
	setup(&engine_uring, 0);
}

static void teardown(void)
{
	if (engine)
		engine_close(engine);
	engine = NULL;
	close(fd);
	close(direct_fd);
}

static void reopen_engine(unsigned depth)
{
	engine_close(engine);
	engine = NULL;
	open_engine(depth);
}

/* ---- operations ---- */

static struct op transfer(enum io_op op, int handle, void *buf, size_t len, uint64_t offset)
{
	return (struct op){.io = {.op = (uint8_t)op, .file = handle, .niov = 1, .offset = offset},
			   .iov = {buf, len}};
}

static struct op range(enum io_op op, uint64_t offset, uint64_t length)
{
	return (struct op){
		.io = {.op = (uint8_t)op, .file = file, .offset = offset, .length = length}};
}

/* Submits one operation and waits for it. Returns its result. */
static int64_t run_op(struct op *op)
{
	if (!op->io.iov)
		op->io.iov = &op->iov;
	op->done = 0;
	submit(op);
	CHECK_EQ(op->done, 0);
	RUN_UNTIL(op->done);
	CHECK_EQ(op->done, 1);
	return op->io.result;
}

static unsigned char *buffer(size_t blocks, int byte)
{
	void *buf = aligned_alloc(BLOCK, blocks * BLOCK);

	REQUIRE(buf != NULL);
	return memset(buf, byte, blocks * BLOCK);
}

static void fill_file(size_t blocks, int byte)
{
	unsigned char *buf = buffer(blocks, byte);

	REQUIRE_EQ(pwrite(fd, buf, blocks * BLOCK, 0), blocks * BLOCK);
	REQUIRE_OK(fsync(fd));
	free(buf);
}

/* Is all of [offset, offset + len) of the file that byte? */
static bool file_is(int byte, off_t offset, size_t len)
{
	unsigned char *buf = malloc(len);
	bool same = pread(fd, buf, len, offset) == (ssize_t)len;

	for (size_t i = 0; same && i < len; i++)
		same = buf[i] == byte;
	free(buf);
	return same;
}

static void check_read_write(int handle)
{
	unsigned char *out = buffer(4, 0x5a), *in = buffer(4, 0);
	struct op write_op = transfer(IO_WRITE, handle, out, 4 * BLOCK, 3 * BLOCK);
	struct op read_op = transfer(IO_READ, handle, in, 4 * BLOCK, 3 * BLOCK);

	CHECK_EQ(run_op(&write_op), 4 * BLOCK);
	CHECK_EQ(run_op(&read_op), 4 * BLOCK);
	if (is_null()) {
		CHECK_EQ(in[0], 0);
	} else {
		CHECK(file_is(0x5a, 3 * BLOCK, 4 * BLOCK));
		CHECK(file_is(0, 0, 3 * BLOCK));
		CHECK(!memcmp(in, out, 4 * BLOCK));
	}
	free(out);
	free(in);
}

static void test_read_write_buffered(void)
{
	check_read_write(file);
}

static void test_read_write_direct(void)
{
	check_read_write(direct_file);
}

static void test_vectors(void)
{
	unsigned char *out = buffer(6, 1), *in = buffer(6, 0);
	struct iovec three[] = {
		{out, BLOCK}, {out + BLOCK, 3 * BLOCK}, {out + 4 * BLOCK, 2 * BLOCK}};
	struct iovec two[] = {{in, 5 * BLOCK}, {in + 5 * BLOCK, BLOCK}};
	struct op op = transfer(IO_WRITE, direct_file, NULL, 0, BLOCK);

	for (int i = 0; i < 6 * BLOCK; i++)
		out[i] = (unsigned char)(i / 7);
	op.io.iov = three;
	op.io.niov = 3;
	CHECK_EQ(run_op(&op), 6 * BLOCK);
	op = transfer(IO_READ, direct_file, NULL, 0, BLOCK);
	op.io.iov = two;
	op.io.niov = 2;
	CHECK_EQ(run_op(&op), 6 * BLOCK);
	CHECK(is_null() || !memcmp(in, out, 6 * BLOCK));
	free(out);
	free(in);
}

/* A 32-bit length of 4 GiB is none at all; the kernel moves what there is. */
static void test_huge_iovec(void)
{
	size_t size = (size_t)4 << 30;
	void *buf = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct op op = transfer(IO_READ, file, buf, size, 0);

	need_io();
	if (buf == MAP_FAILED)
		tap_skip("no 4 GiB of address space");
	fill_file(3, 7);
	CHECK_EQ(run_op(&op), 3 * BLOCK);
	munmap(buf, size);
}

#define MANY 1000

/* Far more than the depth of 8, each exactly once. */
static void test_more_than_depth(void)
{
	struct op *ops = calloc(MANY, sizeof(*ops));
	unsigned char *buf = buffer(MANY, 0), *back = buffer(MANY, 0);
	ssize_t size = (ssize_t)MANY * BLOCK;

	for (int i = 0; i < MANY; i++) {
		memset(buf + i * BLOCK, i % 251, BLOCK);
		ops[i] = transfer(IO_WRITE, i % 2 ? file : direct_file, buf + i * BLOCK, BLOCK,
				  (uint64_t)i * BLOCK);
		ops[i].io.iov = &ops[i].iov;
		submit(&ops[i]);
	}
	CHECK_EQ(completed, 0);
	RUN_UNTIL(completed >= MANY);
	run_a_while();
	CHECK_EQ(completed, MANY);
	for (int i = 0; i < MANY; i++) {
		CHECK_EQ(ops[i].done, 1);
		CHECK_EQ(ops[i].io.result, BLOCK);
	}
	if (!is_null()) {
		REQUIRE_EQ(pread(fd, back, (size_t)size, 0), size);
		CHECK(!memcmp(back, buf, (size_t)size));
	}
	free(ops);
	free(buf);
	free(back);
}

/* What the kernel is not asked to do itself mixes with what it is. */
static void test_mixed(void)
{
	struct op ops[64] = {0};
	unsigned char *buf = buffer(64, 3);

	fill_file(64, 9);
	for (int i = 0; i < 64; i++) {
		uint64_t offset = (uint64_t)i * BLOCK;

		ops[i] = i % 4 == 0   ? range(IO_PUNCH_HOLE, offset, BLOCK)
			 : i % 4 == 1 ? range(IO_ZERO_RANGE, offset, BLOCK)
			 : i % 4 == 2 ? range(IO_SYNC, 0, 0)
				      : transfer(IO_WRITE, file, buf, BLOCK, offset);
		ops[i].io.iov = &ops[i].iov;
		submit(&ops[i]);
	}
	RUN_UNTIL(completed == 64);
	for (int i = 0; i < 64; i++) {
		static const int left[] = {0, 0, 9, 3};

		CHECK_EQ(ops[i].done, 1);
		CHECK_EQ(ops[i].io.result, i % 4 == 3 ? BLOCK : 0);
		CHECK(is_null() || file_is(left[i % 4], (off_t)i * BLOCK, BLOCK));
	}
	free(buf);
}

/* Pages of the file that are not on the medium yet; cachestat(2), Linux 6.5. */
static int64_t dirty_pages(void)
{
	struct {
		uint64_t off, len;
	} all = {0, 0};
	struct {
		uint64_t cache, dirty, writeback, evicted, recently_evicted;
	} stat;

	if (syscall(451, fd, &all, &stat, 0))
		tap_skip("no cachestat(2)");
	return (int64_t)(stat.dirty + stat.writeback);
}

static void check_dsync(void)
{
	unsigned char *buf = buffer(8, 1);
	struct iovec two[] = {{buf, BLOCK}, {buf + BLOCK, 7 * BLOCK}};
	struct op op = transfer(IO_WRITE, file, buf, 8 * BLOCK, 0);

	CHECK_EQ(run_op(&op), 8 * BLOCK);
	CHECK(dirty_pages() > 0);
	op.io.flags = IO_F_DSYNC;
	CHECK_EQ(run_op(&op), 8 * BLOCK);
	CHECK_EQ(dirty_pages(), 0);

	op.io.iov = two;
	op.io.niov = 2;
	op.io.flags = 0;
	CHECK_EQ(run_op(&op), 8 * BLOCK);
	CHECK(dirty_pages() > 0);
	op.io.flags = IO_F_DSYNC;
	CHECK_EQ(run_op(&op), 8 * BLOCK);
	CHECK_EQ(dirty_pages(), 0);
	free(buf);
}

static void test_dsync(void)
{
	need_io();
	check_dsync();
}

static void check_sync(void)
{
	unsigned char *buf = buffer(8, 1);
	struct op write_op = transfer(IO_WRITE, file, buf, 8 * BLOCK, 0);
	struct op sync_op = range(IO_SYNC, 0, 0);

	CHECK_EQ(run_op(&write_op), 8 * BLOCK);
	CHECK(dirty_pages() > 0);
	CHECK_EQ(run_op(&sync_op), 0);
	CHECK_EQ(dirty_pages(), 0);
	free(buf);
}

static void test_sync(void)
{
	need_io();
	check_sync();
}

static struct stat status(void)
{
	struct stat st;

	REQUIRE_OK(fstat(fd, &st));
	return st;
}

static void test_punch_hole(void)
{
	struct op inside_op = range(IO_PUNCH_HOLE, 2 * BLOCK, 3 * BLOCK);
	struct op beyond = range(IO_PUNCH_HOLE, 7 * BLOCK, 100 * BLOCK);
	blkcnt_t blocks;

	need_io();
	fill_file(8, 0xaa);
	blocks = status().st_blocks;
	CHECK_EQ(run_op(&inside_op), 0);
	CHECK_EQ(status().st_blocks, blocks - 3 * BLOCK / 512);
	CHECK(file_is(0xaa, 0, 2 * BLOCK));
	CHECK(file_is(0, 2 * BLOCK, 3 * BLOCK));
	CHECK(file_is(0xaa, 5 * BLOCK, 3 * BLOCK));
	CHECK_EQ(run_op(&beyond), 0);
	CHECK_EQ(status().st_size, 8 * BLOCK);
	CHECK(file_is(0, 7 * BLOCK, BLOCK));
}

static void test_zero_range(void)
{
	struct op inside_op = range(IO_ZERO_RANGE, 2 * BLOCK, 3 * BLOCK);
	struct op beyond = range(IO_ZERO_RANGE, 7 * BLOCK, 100 * BLOCK);
	blkcnt_t blocks;

	need_io();
	fill_file(8, 0xaa);
	blocks = status().st_blocks;
	CHECK_EQ(run_op(&inside_op), 0);
	CHECK(status().st_blocks >= blocks);
	CHECK(file_is(0xaa, 0, 2 * BLOCK));
	CHECK(file_is(0, 2 * BLOCK, 3 * BLOCK));
	CHECK(file_is(0xaa, 5 * BLOCK, 3 * BLOCK));
	CHECK_EQ(run_op(&beyond), 0);
	CHECK_EQ(status().st_size, 8 * BLOCK);
}

/* A loop device passes a discard on to its file, where it makes a hole. */
static void test_discard_device(void)
{
	struct op op = range(IO_DISCARD, 2 * BLOCK, 3 * BLOCK);
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, loop;
	char name[32];

	need_others_awake();
	need_io();
	if (control < 0)
		tap_skip("no loop devices");
	number = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	snprintf(name, sizeof(name), "/dev/loop%d", number);
	loop = open(name, O_RDWR | O_DIRECT | O_CLOEXEC);
	fill_file(256, 0xaa);
	if (loop < 0 || ioctl(loop, LOOP_SET_FD, fd))
		tap_skip("no loop device can be had");
	REQUIRE_EQ(op.io.file = engine_add_file(engine, loop), 2);
	CHECK_EQ(run_op(&op), 0);
	op.io.offset = 1; /* no multiple of a sector */
	CHECK_EQ(run_op(&op), -EINVAL);
	engine_remove_file(engine, op.io.file);
	ioctl(loop, LOOP_CLR_FD, 0);
	close(loop);
	CHECK(file_is(0xaa, 0, 2 * BLOCK));
	CHECK(file_is(0, 2 * BLOCK, 3 * BLOCK));
	CHECK(file_is(0xaa, 5 * BLOCK, 3 * BLOCK));
	CHECK_EQ(status().st_blocks, 253 * BLOCK / 512);
}

static void check_size(int handle, uint64_t size)
{
	struct op op = range(IO_SIZE, 0, 0);

	op.io.file = handle;
	CHECK_EQ(run_op(&op), size);
}

/* As it is now, whatever it was when the file was made known. */
static void test_size(void)
{
	need_others_awake();
	need_io();
	fill_file(8, 0xaa);
	check_size(file, 8 * BLOCK);
	REQUIRE_OK(ftruncate(fd, 1000));
	check_size(file, 1000);
	check_size(direct_file, 1000);
}

/* A block device, which shrinks when its file has. */
static void test_size_of_device(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, loop, handle;
	char name[32];

	need_others_awake();
	need_io();
	if (control < 0)
		tap_skip("no loop devices");
	number = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	snprintf(name, sizeof(name), "/dev/loop%d", number);
	loop = open(name, O_RDWR | O_DIRECT | O_CLOEXEC);
	fill_file(256, 0xaa);
	if (loop < 0 || ioctl(loop, LOOP_SET_FD, fd))
		tap_skip("no loop device can be had");
	REQUIRE((handle = engine_add_file(engine, loop)) >= 0);
	check_size(handle, 256 * BLOCK);
	REQUIRE_OK(ftruncate(fd, 8 * BLOCK));
	CHECK_OK(ioctl(loop, LOOP_SET_CAPACITY, 0));
	check_size(handle, 8 * BLOCK);
	engine_remove_file(engine, handle);
	ioctl(loop, LOOP_CLR_FD, 0);
	close(loop);
}

/* ---- errors ---- */

static void expect_error(struct op op, int handle_fd, int error)
{
	op.io.iov = &op.iov;
	CHECK_EQ(run_op(&op), error);
	CHECK_EQ(io_execute(handle_fd, &op.io), error);
}

static void check_errors(void)
{
	unsigned char *buf = buffer(2, 0);
	int read_only = open(path, O_RDONLY | O_CLOEXEC), handle;

	fill_file(4, 1);
	handle = engine_add_file(engine, read_only);
	REQUIRE(handle >= 0);
	expect_error(transfer(IO_WRITE, handle, buf, BLOCK, 0), read_only, -EBADF);
	expect_error(transfer(IO_READ, direct_file, buf + 1, BLOCK, 0), direct_fd, -EINVAL);
	expect_error(transfer(IO_READ, direct_file, buf, BLOCK, 1), direct_fd, -EINVAL);
	expect_error(transfer(IO_READ, direct_file, buf, BLOCK - 1, 0), direct_fd, -EINVAL);
	/* The offset -1 is the current position to some system calls. */
	expect_error(transfer(IO_WRITE, file, buf, BLOCK, UINT64_MAX), fd, -EINVAL);
	expect_error(transfer(IO_READ, file, buf, BLOCK, UINT64_MAX), fd, -EINVAL);
	expect_error(transfer(IO_READ, file, buf, BLOCK, UINT64_C(1) << 63), fd, -EINVAL);
	expect_error(range(IO_PUNCH_HOLE, UINT64_MAX, BLOCK), fd, -EINVAL);
	expect_error(range(IO_PUNCH_HOLE, 0, UINT64_MAX), fd, -EINVAL);
	expect_error(range(IO_ZERO_RANGE, 0, 0), fd, -EINVAL);
	expect_error(range(IO_DISCARD, 0, BLOCK), fd, -ENOTTY);
	expect_error(range((enum io_op)200, 0, BLOCK), fd, -EINVAL);
	CHECK(file_is(1, 0, 4 * BLOCK));
	close(read_only);
	free(buf);
}

static void test_errors(void)
{
	need_others_awake();
	need_io();
	check_errors();
}

static void test_unknown_file(void)
{
	static const int bad[] = {-1, 2, ENGINE_FILES - 1, ENGINE_FILES, 1 << 30};
	unsigned char *buf = buffer(1, 0);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (int op = IO_READ; op <= IO_SIZE; op++) {
			struct op bad_op = transfer((enum io_op)op, bad[i], buf, BLOCK, 0);

			CHECK_EQ(run_op(&bad_op), -EBADF);
		}
	}
	free(buf);
}

static void check_end_of_file(void)
{
	unsigned char *buf = buffer(4, 0xee);
	struct op across = transfer(IO_READ, file, buf, 4 * BLOCK, 2 * BLOCK);
	struct op behind = transfer(IO_READ, file, buf, BLOCK, 100 * BLOCK);

	fill_file(3, 0x11);
	REQUIRE_OK(ftruncate(fd, 2 * BLOCK + 100));
	CHECK_EQ(run_op(&across), 100);
	CHECK(buf[99] == 0x11 && buf[100] == 0xee);
	CHECK_EQ(run_op(&behind), 0);
	free(buf);
}

/* A descriptor that would block is tried again, not failed. */

static void test_end_of_file(void)
{
	need_io();
	check_end_of_file();
}

static void test_try_again(void)
{
	char buf[4] = "";
	struct op op = transfer(IO_READ, -1, buf, 4, 0);
	int ends[2];

	need_io();
	REQUIRE_OK(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
	REQUIRE_EQ(op.io.file = engine_add_file(engine, ends[0]), 2);
	op.io.iov = &op.iov;
	submit(&op);
	run_a_while();
	CHECK_EQ(op.done, 0);
	REQUIRE_EQ(write(ends[1], "abc", 3), 3);
	RUN_UNTIL(op.done);
	CHECK_EQ(op.io.result, 3);
	CHECK(!memcmp(buf, "abc", 3));
	engine_remove_file(engine, op.io.file);
	close(ends[0]);
	close(ends[1]);
}

/* ---- callbacks ---- */

static void again(struct op *op)
{
	if (op->done < 500)
		submit(op);
}

static void test_resubmit(void)
{
	unsigned char *buf = buffer(16, 4);
	struct op ops[16];

	fill_file(16, 4);
	for (int i = 0; i < 16; i++) {
		ops[i] = transfer(i % 2 ? IO_WRITE : IO_READ, file, buf + i * BLOCK, BLOCK,
				  (uint64_t)i * BLOCK);
		ops[i].io.iov = &ops[i].iov;
		ops[i].then = again;
		submit(&ops[i]);
	}
	RUN_UNTIL(completed >= 16 * 500);
	run_a_while();
	for (int i = 0; i < 16; i++)
		CHECK_EQ(ops[i].done, 500);
	free(buf);
}

struct watched {
	struct engine_watch watch;
	unsigned calls;
	bool drain;
	struct watched *end;   /* to be unwatched from ready() */
	struct watched *begin; /* and what to watch then */
};

static void ready(struct engine_watch *watch)
{
	struct watched *w = container_of(watch, struct watched, watch);
	eventfd_t count;

	CHECK(!inside);
	w->calls++;
	if (w->drain)
		CHECK_OK(eventfd_read(watch->fd, &count));
	if (w->end)
		engine_unwatch(engine, &w->end->watch);
	if (w->begin)
		CHECK_OK(engine_watch(engine, &w->begin->watch));
}

static struct watched watched_eventfd(unsigned count)
{
	struct watched w = {
		.watch = {.fd = eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC), .ready = ready},
		.drain = true,
	};

	REQUIRE(w.watch.fd >= 0);
	return w;
}

static void start_watch(struct watched *w)
{
	inside = true;
	REQUIRE_OK(engine_watch(engine, &w->watch));
	inside = false;
}

static void stop_watch(struct watched *w)
{
	engine_unwatch(engine, &w->watch);
	close(w->watch.fd);
}

static void test_watch(void)
{
	struct watched w = watched_eventfd(0);

	start_watch(&w);
	run_a_while();
	CHECK_EQ(w.calls, 0);
	for (unsigned i = 1; i <= 5; i++) {
		eventfd_write(w.watch.fd, 1);
		RUN_UNTIL(w.calls == i);
	}
	w.drain = false; /* one more call may come, but there is nothing to read */
	run_a_while();
	CHECK(w.calls <= 6);
	stop_watch(&w);
}

static void test_watch_readable_already(void)
{
	struct watched w = watched_eventfd(1);

	start_watch(&w);
	RUN_UNTIL(w.calls == 1);
	stop_watch(&w);
}

/* A kick from another thread ends a wait without limit. */
static void *kick_later(void *arg)
{
	usleep(20000);
	eventfd_write(*(int *)arg, 1);
	return NULL;
}

static void test_watch_wakes(void)
{
	struct watched w = watched_eventfd(0);
	pthread_t thread;

	need_others_awake();
	start_watch(&w);
	run_a_while();
	REQUIRE_OK(pthread_create(&thread, NULL, kick_later, &w.watch.fd));
	while (!w.calls)
		REQUIRE(engine_run(engine, -1) >= 0);
	CHECK_EQ(w.calls, 1);
	pthread_join(thread, NULL);
	stop_watch(&w);
}

static void test_watch_refused(void)
{
	struct watched w = {.watch = {.fd = fd, .ready = ready}};

	CHECK_EQ(engine_watch(engine, &w.watch), -EPERM);
	w.watch.fd = 12345;
	CHECK_EQ(engine_watch(engine, &w.watch), -EBADF);
	run_a_while();
	CHECK_EQ(w.calls, 0);
	engine_unwatch(engine, &w.watch); /* never was: no effect */
}

static void test_watch_hang_up(void)
{
	struct watched end_of_pipe = {.watch.ready = ready}, end_of_socket = {.watch.ready = ready};
	int pipe_fds[2], sockets[2];

	REQUIRE_OK(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC));
	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
	end_of_pipe.watch.fd = pipe_fds[0];
	end_of_socket.watch.fd = sockets[0];
	start_watch(&end_of_pipe);
	start_watch(&end_of_socket);
	run_a_while();
	CHECK_EQ(end_of_pipe.calls + end_of_socket.calls, 0);
	close(pipe_fds[1]);
	close(sockets[1]);
	RUN_UNTIL(end_of_pipe.calls && end_of_socket.calls);
	stop_watch(&end_of_pipe);
	stop_watch(&end_of_socket);
}

/* Two events of one batch: whichever comes first ends the other watch. */
static void test_unwatch_other_from_ready(void)
{
	struct watched a = watched_eventfd(0), b = watched_eventfd(0);

	a.end = &b;
	b.end = &a;
	start_watch(&a);
	start_watch(&b);
	run_a_while();
	eventfd_write(a.watch.fd, 1);
	eventfd_write(b.watch.fd, 1);
	RUN_UNTIL(a.calls + b.calls);
	run_a_while();
	CHECK_EQ(a.calls + b.calls, 1);
	stop_watch(&a);
	stop_watch(&b);
}

/* The same, and the slot of the one that ended goes to a third at once. */
static void test_replace_other_from_ready(void)
{
	struct watched a = watched_eventfd(0), b = watched_eventfd(0), c = watched_eventfd(0);

	a.end = &b;
	b.end = &a;
	a.begin = b.begin = &c;
	start_watch(&a);
	start_watch(&b);
	run_a_while();
	eventfd_write(a.watch.fd, 1);
	eventfd_write(b.watch.fd, 1);
	RUN_UNTIL(a.calls + b.calls);
	run_a_while();
	CHECK_EQ(a.calls + b.calls, 1);
	CHECK_EQ(c.calls, 0);
	eventfd_write(c.watch.fd, 1);
	RUN_UNTIL(c.calls == 1);
	stop_watch(&a);
	stop_watch(&b);
	stop_watch(&c);
}

static void test_unwatch_self_from_ready(void)
{
	struct watched w = watched_eventfd(1);

	w.end = &w;
	start_watch(&w);
	RUN_UNTIL(w.calls == 1);
	eventfd_write(w.watch.fd, 1);
	run_a_while();
	CHECK_EQ(w.calls, 1);
	start_watch(&w);
	RUN_UNTIL(w.calls == 2);
	stop_watch(&w);
}

/* An event that the kernel holds already is not given to the next user of slot or fd. */
static void test_unwatch_with_event(void)
{
	for (int i = 0; i < 20; i++) {
		struct watched *gone = malloc(sizeof(*gone)), next;
		int number;

		*gone = watched_eventfd(0);
		number = gone->watch.fd;
		start_watch(gone);
		REQUIRE(engine_run(engine, 0) >= 0);
		eventfd_write(number, 1);
		if (i % 2) /* io_uring: the completion is in memory by now, or nearly */
			usleep(100);
		stop_watch(gone);
		free(gone);
		next = watched_eventfd(0);
		CHECK_EQ(next.watch.fd, number);
		start_watch(&next);
		for (int j = 0; j < 40; j++)
			REQUIRE(engine_run(engine, MS / 10) >= 0);
		CHECK_EQ(next.calls, 0);
		eventfd_write(number, 1);
		RUN_UNTIL(next.calls == 1);
		stop_watch(&next);
	}
}

/* Between watch() and unwatch() no engine_run(): nothing has reached the kernel yet. */
static void test_unwatch_at_once(void)
{
	struct watched w = watched_eventfd(1);

	for (int i = 0; i < 100; i++) {
		start_watch(&w);
		engine_unwatch(engine, &w.watch);
	}
	run_a_while();
	CHECK_EQ(w.calls, 0);
	start_watch(&w);
	RUN_UNTIL(w.calls == 1);
	stop_watch(&w);
}

#define WATCHES 300

static void test_many_watches(void)
{
	struct watched *w = calloc(WATCHES, sizeof(*w));
	unsigned calls = 0;

	for (int i = 0; i < WATCHES; i++) {
		w[i] = watched_eventfd(i % 2);
		start_watch(&w[i]);
	}
	for (int round = 1; round <= 3; round++) {
		for (int i = 0; i < WATCHES; i++)
			if (round > 1 || i % 2 == 0)
				eventfd_write(w[i].watch.fd, 1);
		for (int64_t end = now() + (int64_t)tap_stretch(10) * S; now() < end;) {
			REQUIRE(engine_run(engine, 100 * MS) >= 0);
			calls = 0;
			for (int i = 0; i < WATCHES; i++)
				calls += w[i].calls >= (unsigned)round;
			if (calls == WATCHES)
				break;
		}
		CHECK_EQ(calls, WATCHES);
		/* A spurious call would find nothing to drain: settle first. */
		for (int i = 0; i < WATCHES; i++)
			w[i].drain = false;
		run_a_while();
		for (int i = 0; i < WATCHES; i++) {
			w[i].drain = true;
			w[i].calls = (unsigned)round;
		}
	}
	for (int i = 0; i < WATCHES; i++)
		stop_watch(&w[i]);
	free(w);
}

static void forever(struct op *op)
{
	if (op->then)
		submit(op);
}

static void run_until_called(const struct watched *w, unsigned calls, int64_t timeout)
{
	const int64_t until = now() + (int64_t)tap_stretch(5) * S;

	while (w->calls < calls && now() < until)
		REQUIRE(engine_run(engine, timeout) >= 0);
	CHECK_EQ(w->calls, calls);
}

static void test_watch_not_starved(void)
{
	unsigned char *buf = buffer(1, 0);
	struct watched w = watched_eventfd(0);
	struct op op = transfer(IO_WRITE, file, buf, BLOCK, 0);

	op.io.iov = &op.iov;
	op.then = forever;
	submit(&op);
	start_watch(&w);
	run_a_while();
	eventfd_write(w.watch.fd, 1);
	run_until_called(&w, 1, 0);
	/* Nor with nothing to do and no wait. */
	op.then = NULL;
	run_a_while();
	eventfd_write(w.watch.fd, 1);
	run_until_called(&w, 2, options.sqpoll ? MS : 0);
	stop_watch(&w);
	free(buf);
}

/* ---- waiting ---- */

static void test_timeout(void)
{
	int64_t start;

	run_a_while();
	start = now();
	for (int i = 0; i < 100; i++)
		CHECK_EQ(engine_run(engine, 0), 0);
	CHECK(now() - start < 50 * (int64_t)tap_stretch(1) * MS);
	start = now();
	CHECK_EQ(engine_run(engine, 20 * MS + 500), 0);
	CHECK(now() - start >= 20 * MS);
	CHECK(now() - start < (int64_t)tap_stretch(1) * S);
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

	need_others_awake();
	run_a_while();
	start = now();
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	CHECK_EQ(engine_run(engine, -1), 0);
	CHECK(now() - start >= 25 * MS);
}

/* ---- files, opening and closing ---- */

static void test_files(void)
{
	unsigned char *buf = buffer(1, 0x77);
	struct op op = transfer(IO_WRITE, 100, buf, BLOCK, 0);

	for (int i = 2; i < ENGINE_FILES; i++)
		REQUIRE_EQ(engine_add_file(engine, fd), i);
	CHECK_EQ(engine_add_file(engine, fd), -ENFILE);
	CHECK_EQ(run_op(&op), BLOCK);
	engine_remove_file(engine, 100);
	CHECK_EQ(run_op(&op), -EBADF);
	if (!is_null())
		CHECK_EQ(engine_add_file(engine, 12345), -EBADF);
	CHECK_EQ(engine_add_file(engine, fd), 100);
	CHECK_EQ(run_op(&op), BLOCK);
	free(buf);
}

static bool lock_is_free(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int other = open(path, O_RDWR | O_CLOEXEC);

	REQUIRE_OK(fcntl(other, F_OFD_GETLK, &lock));
	close(other);
	return lock.l_type == F_UNLCK;
}

/* The image's lock goes when it is closed: nothing may hold the file on. */
static void test_file_let_go(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	unsigned char *buf = buffer(1, 0);
	struct op op = transfer(IO_WRITE, -1, buf, BLOCK, 0);

	for (int removed = 0; removed < 2; removed++) {
		int locked = open(path, O_RDWR | O_CLOEXEC);

		REQUIRE_OK(fcntl(locked, F_OFD_SETLK, &lock));
		REQUIRE_EQ(op.io.file = engine_add_file(engine, locked), 2);
		CHECK_EQ(run_op(&op), BLOCK);
		CHECK(!lock_is_free());
		if (removed)
			engine_remove_file(engine, op.io.file);
		else
			reopen_engine(8);
		close(locked);
		RUN_UNTIL(!options.sqpoll || lock_is_free());
		CHECK(lock_is_free());
	}
	free(buf);
}

/* The same of a watched descriptor, by the next engine_run(), or by close. */
static void test_watch_let_go(void)
{
	for (int closed = 0; closed < 2; closed++) {
		struct watched w = {.watch.ready = ready};
		int ends[2];

		REQUIRE_OK(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
		w.watch.fd = ends[0];
		start_watch(&w);
		run_a_while();
		REQUIRE_EQ(write(ends[1], "", 1), 1);
		stop_watch(&w);
		if (closed)
			reopen_engine(8);
		else
			run_a_while();
		RUN_UNTIL(!options.sqpoll || write(ends[1], "", 1) < 0);
		CHECK_EQ(write(ends[1], "", 1), -1);
		CHECK_EQ(errno, EPIPE);
		CHECK_EQ(w.calls, 0);
		close(ends[1]);
	}
}

static void test_depths(void)
{
	struct engine_config config = {.depth = 0};
	struct engine *none = engine;

	CHECK_EQ(engine_open(class, &none, &config), -EINVAL);
	CHECK(none == NULL);
	reopen_engine(1);
	test_more_than_depth();
	/* More than fs.aio-max-nr, usually 65536, and than io_uring's largest queues. */
	completed = 0;
	reopen_engine(70000);
	test_more_than_depth();
}

/* Without a thread for it the work is done all the same. */
static void test_no_helper_thread(void)
{
	struct op op = range(IO_PUNCH_HOLE, 0, BLOCK), wrong = range((enum io_op)99, 0, 0);
	pthread_attr_t attr;

	fill_file(2, 5);
	pthread_attr_init(&attr);
	REQUIRE_OK(pthread_attr_setstacksize(&attr, (size_t)1 << 46));
	REQUIRE_OK(pthread_setattr_default_np(&attr));
	CHECK_EQ(run_op(&op), 0);
	CHECK_EQ(run_op(&wrong), -EINVAL);
	CHECK(is_null() || file_is(0, 0, BLOCK));
}

/* Takes one back that was submitted and that no engine_run() has seen. */
static bool withdraw(struct op *op)
{
	bool taken;

	inside = true;
	taken = engine_cancel(engine, &op->io);
	inside = false;
	return taken;
}

/* More than the depth: what the kernel has no room for can be taken back, wherever it is. */
static void test_withdraw(void)
{
	unsigned char *buf = buffer(40, 0x33);
	struct op ops[40];
	unsigned n_taken = 0;
	bool taken[40];

	fill_file(40, 0x11);
	for (unsigned i = 0; i < 40; i++) {
		ops[i] = transfer(IO_WRITE, file, buf + i * BLOCK, BLOCK, (uint64_t)i * BLOCK);
		ops[i].io.iov = &ops[i].iov;
		submit(&ops[i]);
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
	RUN_UNTIL(completed >= 40 - n_taken);
	run_a_while();
	CHECK_EQ(completed, 40 - n_taken);
	for (unsigned i = 0; i < 40; i++) {
		CHECK_EQ(ops[i].done, !taken[i]);
		CHECK(is_null() || file_is(taken[i] ? 0x11 : 0x33, (off_t)i * BLOCK, BLOCK));
		/* Done with: too late. */
		CHECK(!withdraw(&ops[i]));
	}
	free(buf);
}

/* What was taken back is its owner's, and can be submitted again; the rest goes on in order. */
static void test_withdraw_and_submit(void)
{
	unsigned char *buf = buffer(1, 0x44);
	struct op ops[20];

	fill_file(20, 0x11);
	for (unsigned round = 0; round < 3; round++) {
		completed = 0;
		for (unsigned i = 0; i < 20; i++) {
			ops[i] = transfer(IO_WRITE, file, buf, BLOCK, (uint64_t)i * BLOCK);
			ops[i].io.iov = &ops[i].iov;
			submit(&ops[i]);
		}
		/* All that waits, so that the list is empty, and then something again. */
		for (unsigned i = 20; i--;)
			if (withdraw(&ops[i]))
				submit(&ops[i]);
		for (unsigned i = 0; i < 20; i++)
			if (withdraw(&ops[i]))
				submit(&ops[i]);
		RUN_UNTIL(completed >= 20);
		run_a_while();
		CHECK_EQ(completed, 20);
	}
	CHECK(is_null() || file_is(0x44, 0, (size_t)20 * BLOCK));
	free(buf);
}

/* What a helper thread would do. */
static void test_withdraw_offloaded(void)
{
	struct op ops[4];
	unsigned n_taken = 0;

	fill_file(4, 0x55);
	for (unsigned i = 0; i < 4; i++) {
		ops[i] = range(IO_PUNCH_HOLE, (uint64_t)i * BLOCK, BLOCK);
		submit(&ops[i]);
	}
	for (unsigned i = 1; i < 4; i += 2) {
		const bool taken = withdraw(&ops[i]);

		n_taken += taken;
		ops[i].done = taken ? 2 : 0;
	}
	RUN_UNTIL(completed >= 4 - n_taken);
	run_a_while();
	CHECK_EQ(completed, 4 - n_taken);
	for (unsigned i = 0; i < 4; i++)
		CHECK(is_null() || file_is(ops[i].done == 2 ? 0x55 : 0, (off_t)i * BLOCK, BLOCK));
}

/* One that was never submitted, and one that the kernel has. */
static void test_withdraw_too_late(void)
{
	unsigned char *buf = buffer(1, 0);
	struct op op = transfer(IO_READ, file, buf, BLOCK, 0), other = op;

	fill_file(1, 1);
	other.io.iov = &other.iov;
	CHECK(!withdraw(&other));
	CHECK_EQ(run_op(&op), BLOCK);
	CHECK(!withdraw(&op));
	CHECK_EQ(op.done, 1);
	free(buf);
}

static void test_find_and_probe(void)
{
	CHECK(engine_find(class->name) == class);
	CHECK(engine_find("") == NULL);
	CHECK(engine_find("posix") == NULL);
	CHECK_OK(engine_probe(class));
}

static const struct tap_case cases[] = {
	{"find_and_probe", test_find_and_probe},
	{"read_write_buffered", test_read_write_buffered},
	{"read_write_direct", test_read_write_direct},
	{"vectors", test_vectors},
	{"huge_iovec", test_huge_iovec},
	{"more_than_depth", test_more_than_depth},
	{"mixed", test_mixed},
	{"dsync", test_dsync},
	{"sync", test_sync},
	{"punch_hole", test_punch_hole},
	{"zero_range", test_zero_range},
	{"discard_device", test_discard_device},
	{"size", test_size},
	{"size_of_device", test_size_of_device},
	{"errors", test_errors},
	{"unknown_file", test_unknown_file},
	{"end_of_file", test_end_of_file},
	{"try_again", test_try_again},
	{"resubmit", test_resubmit},
	{"watch", test_watch},
	{"watch_readable_already", test_watch_readable_already},
	{"watch_wakes", test_watch_wakes},
	{"watch_refused", test_watch_refused},
	{"watch_hang_up", test_watch_hang_up},
	{"unwatch_other_from_ready", test_unwatch_other_from_ready},
	{"replace_other_from_ready", test_replace_other_from_ready},
	{"unwatch_self_from_ready", test_unwatch_self_from_ready},
	{"unwatch_with_event", test_unwatch_with_event},
	{"unwatch_at_once", test_unwatch_at_once},
	{"many_watches", test_many_watches},
	{"watch_not_starved", test_watch_not_starved},
	{"timeout", test_timeout},
	{"signal", test_signal},
	{"files", test_files},
	{"file_let_go", test_file_let_go},
	{"watch_let_go", test_watch_let_go},
	{"depths", test_depths},
	{"no_helper_thread", test_no_helper_thread},
	{"withdraw", test_withdraw},
	{"withdraw_and_submit", test_withdraw_and_submit},
	{"withdraw_offloaded", test_withdraw_offloaded},
	{"withdraw_too_late", test_withdraw_too_late},
	{0},
};

static const struct tap_suite suites[] = {
	{"null", setup_null, teardown, 0, cases},
	{"libaio", setup_aio, teardown, 0, cases},
	{"io_uring", setup_uring, teardown, 0, cases},
	{"io_uring as in 5.19", setup_uring_5_19, teardown, 0, cases},
	{"io_uring as in 5.11", setup_uring_5_11, teardown, 0, cases},
	{"io_uring, small rings", setup_uring_small, teardown, 0, cases},
	{"io_uring, poisoned entries", setup_uring_poisoned, teardown, 0, cases},
	{"io_uring, sqpoll", setup_uring_sqpoll, teardown, 0, cases},
	{"io_uring, sqpoll as in 5.11, small rings", setup_uring_sqpoll_5_11, teardown, 0, cases},
	{"io_uring, iopoll", setup_uring_iopoll, teardown, 0, cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
