/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O engines: files that hang do not keep others waiting. A file that hangs is a pipe that
 * nothing is in: with io_uring its reads stay in the kernel, with libaio they are tried for ever.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/support/engines.h"

#define DEPTH 32u
#define PIPES 3u
#define READS (2 * DEPTH) /* of a pipe: more than there is room for */
#define FILES 40u

static struct {
	int ends[2], file;
	struct eng_op ops[READS];
	char byte[READS];
	unsigned done;
} pipes[PIPES];

static void pipe_done(struct eng_op *op)
{
	for (unsigned i = 0; i < PIPES; i++)
		pipes[i].done += op >= pipes[i].ops && op < pipes[i].ops + READS;
}

/* Its reads do not end before release(). */
static void hang(unsigned i)
{
	const int flags = eng.target->class == &target_aio ? O_NONBLOCK : 0;

	REQUIRE_OK(pipe2(pipes[i].ends, flags | O_CLOEXEC));
	REQUIRE((pipes[i].file = target_get_file(eng.target, pipes[i].ends[0], 0)) >= 0);
	for (unsigned k = 0; k < READS; k++) {
		struct eng_op *op = &pipes[i].ops[k];

		*op = eng_transfer(IO_READ, pipes[i].file, &pipes[i].byte[k], 1, 0);
		op->io.iov = &op->iov;
		op->then = pipe_done;
		eng_submit(op);
	}
}

static void release(unsigned i, unsigned reads)
{
	static const char bytes[READS];

	REQUIRE_EQ(write(pipes[i].ends[1], bytes, reads), reads);
	RUN_UNTIL(pipes[i].done == reads);
	target_put_file(eng.target, pipes[i].file);
	close(pipes[i].ends[0]);
	close(pipes[i].ends[1]);
}

/* A file that does not hang: one at a time, and many together. */
static void check_goes_on(void)
{
	unsigned char *buf = eng_buffer(READS, 0x21);
	struct eng_op ops[READS];
	unsigned before;

	for (unsigned i = 0; i < READS; i++) {
		ops[i] = eng_transfer(IO_WRITE, eng.file, buf + i * BLOCK, BLOCK,
				      (uint64_t)i * BLOCK);
		CHECK_EQ(eng_run(&ops[i]), BLOCK);
	}
	before = eng.completed;
	for (unsigned i = 0; i < READS; i++) {
		ops[i].io.iov = &ops[i].iov;
		ops[i].io.op = i % 8 ? IO_READ : IO_SYNC;
		eng_submit(&ops[i]);
	}
	RUN_UNTIL(eng.completed == before + READS);
	for (unsigned i = 0; i < READS; i++)
		CHECK_EQ(ops[i].io.result, i % 8 ? BLOCK : 0);
	free(buf);
}

static void a_file_that_hangs(void)
{
	eng_need_io();
	eng_reopen(DEPTH);
	hang(0);
	check_goes_on();
	CHECK_EQ(pipes[0].done, 0);
	release(0, READS);
	check_goes_on();
}

static void several_that_hang(void)
{
	eng_need_io();
	eng_reopen(DEPTH);
	for (unsigned i = 0; i < PIPES; i++)
		hang(i);
	check_goes_on();
	for (unsigned i = 0; i < PIPES; i++) {
		CHECK_EQ(pipes[i].done, 0);
		release(i, READS);
		check_goes_on();
	}
}

/* What waits for its turn can be taken back; what is not does not get lost. */
static void taken_back_while_it_hangs(void)
{
	unsigned n_taken = 0;

	eng_need_io();
	eng_reopen(DEPTH);
	hang(0);
	eng_run_a_while();
	for (unsigned k = READS; k--;)
		n_taken += target_cancel(eng.target, &pipes[0].ops[k].io);
	CHECK(n_taken >= READS - DEPTH);
	/* libaio has none of them: it says that they are to be tried again. */
	CHECK(n_taken < READS || eng.target->class == &target_aio);
	check_goes_on();
	release(0, READS - n_taken);
	eng_run_a_while();
	CHECK_EQ(pipes[0].done, READS - n_taken);
	check_goes_on();
}

static struct eng_op flood[FILES];

static void again(struct eng_op *op)
{
	eng_submit(op);
}

/* More files than there is room for operations, and who has had one asks for the next at once. */
static void turns_of_many_files(void)
{
	unsigned char *buf;
	int fds[FILES];
	unsigned least = UINT32_MAX, most = 0;

	eng_need_io();
	buf = eng_buffer(1, 0);
	eng_reopen(4);
	eng_fill_file(1, 1);
	for (unsigned i = 0; i < FILES; i++) {
		const int file =
			target_get_file(eng.target, fds[i] = open(eng.path, O_RDWR | O_CLOEXEC), 0);

		REQUIRE(file >= 0);
		flood[i] = eng_transfer(IO_READ, file, buf, BLOCK, 0);
		flood[i].io.iov = &flood[i].iov;
		flood[i].then = again;
		eng_submit(&flood[i]);
	}
	RUN_UNTIL(eng.completed >= FILES * 50);
	for (unsigned i = 0; i < FILES; i++) {
		least = flood[i].done < least ? flood[i].done : least;
		most = flood[i].done > most ? flood[i].done : most;
		flood[i].then = NULL;
	}
	tap_diag("%u to %u of each", least, most);
	CHECK(least >= 25);
	CHECK(most <= 100);
	eng_run_a_while();
	for (unsigned i = 0; i < FILES; i++)
		close(fds[i]);
	free(buf);
}

static const struct tap_case cases[] = {
	{"a_file_that_hangs", a_file_that_hangs},
	{"several_that_hang", several_that_hang},
	{"taken_back_while_it_hangs", taken_back_while_it_hangs},
	{"turns_of_many_files", turns_of_many_files},
	{0},
};

int main(int argc, char **argv)
{
	return eng_main(argc, argv, cases);
}
