/* SPDX-License-Identifier: BSD-3-Clause */
/* See engines.h. */
#include "tests/unit/support/engines.h"
#include "tests/unit/support/try-engine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct eng eng;

int64_t eng_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * S + ts.tv_nsec;
}

void eng_run_a_while(void)
{
	for (int64_t end = eng_now() + 30 * MS; eng_now() < end;)
		REQUIRE(reactor_run(eng.reactor, MS) >= 0);
}

bool eng_is_null(void)
{
	return eng.engine->target == &target_null;
}

void eng_need_io(void)
{
	if (eng_is_null())
		tap_skip("the null engine does no I/O");
}

void eng_need_others_awake(void)
{
	const char *preload = getenv("LD_PRELOAD");

	if (eng.engine->reactor == &reactor_uring && preload && strstr(preload, "vgpreload"))
		tap_skip("valgrind stops other threads during io_uring_enter");
}

/* ---- life ---- */

int eng_try(const struct engine *engine, const struct reactor_config *config,
	    struct reactor **reactor, struct target **target)
{
	int err = reactor_open(engine->reactor, reactor, config);

	*target = NULL;
	if (!err) {
		err = target_open(engine->target, target, *reactor);
		if (err)
			reactor_close(*reactor);
	}
	return err;
}

void eng_close(struct reactor *reactor, struct target *target)
{
	target_close(target);
	reactor_close(reactor);
}

void eng_open(unsigned depth)
{
	struct reactor_config config = {.depth = depth, .options = eng.options};

	REQUIRE_OK(eng_try(eng.engine, &config, &eng.reactor, &eng.target));
	REQUIRE_EQ(eng.file = target_get_file(eng.target, eng.fd, 0), 0);
	REQUIRE_EQ(eng.direct_file = target_get_file(eng.target, eng.direct_fd, 0), 1);
}

void eng_reopen(unsigned depth)
{
	eng_close(eng.reactor, eng.target);
	eng.reactor = NULL;
	eng_open(depth);
}

static void setup(const struct engine *engine, unsigned without)
{
	const char *dir = getenv("TMPDIR");

	eng.engine = engine;
	uring_without = without;
	eng.completed = 0;
	snprintf(eng.path, sizeof(eng.path), "%s/image", dir ? dir : "/var/tmp");
	eng.fd = open(eng.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	eng.direct_fd = open(eng.path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (try_engine(eng.engine))
		return; /* find_and_probe says so */
	eng_open(8);
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
	uring_faults = URING_FAULT_POISON;
	setup(&engine_uring, 0);
}

static void setup_uring_sqpoll(void)
{
	eng.options = (struct uring_options){.sqpoll = true, .sqpoll_cpu = -1};
	setup(&engine_uring, 0);
}

static void setup_uring_sqpoll_5_11(void)
{
	eng.options = (struct uring_options){.sqpoll = true, .sqpoll_cpu = -1};
	setup(&engine_uring, ~0u);
}

/* Where the device cannot be polled this is about the change to waiting. */
static void setup_uring_iopoll(void)
{
	eng.options = (struct uring_options){.iopoll = true};
	setup(&engine_uring, 0);
}

/* Other targets on the same reactor, as for an image with which io_uring does not go along. */
static const struct engine aio_on_uring = {"libaio", &reactor_uring, &target_aio};
static const struct engine null_on_uring = {"null", &reactor_uring, &target_null};

static void setup_aio_on_uring(void)
{
	setup(&aio_on_uring, 0);
}

static void setup_null_on_uring(void)
{
	setup(&null_on_uring, 0);
}

static void teardown(void)
{
	if (eng.reactor)
		eng_close(eng.reactor, eng.target);
	eng.reactor = NULL;
	close(eng.fd);
	close(eng.direct_fd);
}

int eng_main(int argc, char **argv, const struct tap_case *cases)
{
	const struct tap_suite suites[] = {
		{"null", setup_null, teardown, 0, cases},
		{"libaio", setup_aio, teardown, 0, cases},
		{"io_uring", setup_uring, teardown, 0, cases},
		{"io_uring as in 5.19", setup_uring_5_19, teardown, 0, cases},
		{"io_uring as in 5.11", setup_uring_5_11, teardown, 0, cases},
		{"io_uring, small rings", setup_uring_small, teardown, 0, cases},
		{"io_uring, poisoned entries", setup_uring_poisoned, teardown, 0, cases},
		{"io_uring, sqpoll", setup_uring_sqpoll, teardown, 0, cases},
		{"io_uring, sqpoll as in 5.11, small rings", setup_uring_sqpoll_5_11, teardown, 0,
		 cases},
		{"io_uring, iopoll", setup_uring_iopoll, teardown, 0, cases},
		{"libaio on io_uring", setup_aio_on_uring, teardown, 0, cases},
		{"null on io_uring", setup_null_on_uring, teardown, 0, cases},
		{0},
	};

	return tap_main(argc, argv, suites);
}

/* ---- operations ---- */

struct eng_op eng_transfer(enum io_op op, int handle, void *buf, size_t len, uint64_t offset)
{
	return (struct eng_op){
		.io = {.op = (uint8_t)op, .file = handle, .niov = 1, .offset = offset},
		.iov = {buf, len}};
}

struct eng_op eng_range(enum io_op op, uint64_t offset, uint64_t length)
{
	return (struct eng_op){
		.io = {.op = (uint8_t)op, .file = eng.file, .offset = offset, .length = length}};
}

void eng_complete(struct io *io)
{
	struct eng_op *op = container_of(io, struct eng_op, io);

	CHECK(!eng.inside);
	op->done++;
	eng.completed++;
	if (op->then)
		op->then(op);
}

void eng_submit(struct eng_op *op)
{
	op->io.done = eng_complete;
	eng.inside = true;
	target_submit(eng.target, &op->io);
	eng.inside = false;
}

int64_t eng_run(struct eng_op *op)
{
	if (!op->io.iov)
		op->io.iov = &op->iov;
	op->done = 0;
	eng_submit(op);
	CHECK_EQ(op->done, 0);
	RUN_UNTIL(op->done);
	CHECK_EQ(op->done, 1);
	return op->io.result;
}

unsigned char *eng_buffer(size_t blocks, int byte)
{
	void *buf = aligned_alloc(BLOCK, blocks * BLOCK);

	REQUIRE(buf != NULL);
	return memset(buf, byte, blocks * BLOCK);
}

void eng_fill_file(size_t blocks, int byte)
{
	unsigned char *buf = eng_buffer(blocks, byte);

	REQUIRE_EQ(pwrite(eng.fd, buf, blocks * BLOCK, 0), blocks * BLOCK);
	REQUIRE_OK(fsync(eng.fd));
	free(buf);
}

bool eng_file_is(int byte, off_t offset, size_t len)
{
	unsigned char *buf = malloc(len);
	bool same = pread(eng.fd, buf, len, offset) == (ssize_t)len;

	for (size_t i = 0; same && i < len; i++)
		same = buf[i] == byte;
	free(buf);
	return same;
}
