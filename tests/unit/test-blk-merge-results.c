/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/request/merge.c: who gets which answer when the operation of several requests was not done in
 * full, and what becomes of them when their queue is abandoned.
 */
#include <errno.h>
#include <string.h>

#include "tests/unit/support/blks-check.h"
#include "tests/unit/support/capture.h"

#define IN  VIRTIO_BLK_T_IN
#define OUT VIRTIO_BLK_T_OUT
#define OK  VIRTIO_BLK_S_OK
#define ERR VIRTIO_BLK_S_IOERR

/* ---- not done in full ---- */

/*
 * The operation of a run moves `done` bytes: those requests that lie within are answered, all
 * others go again from where they are, each by itself.
 */
static void check_short(uint32_t type, uint32_t done)
{
	unsigned op = 0;
	uint32_t at = 0;

	blks_restart();
	blks_add_run(type, 4);
	blks_go();
	REQUIRE_EQ(blks.n_ops, 1);
	blks_complete(0, done);
	for (unsigned i = 0; i < blks.n; i++) {
		const uint32_t size = blks.guest[i].shape.size;

		if (at + size <= done) {
			blks_check_one(i, OK);
		} else {
			blks_check_open(i);
			blks_check_rest(op++, i, at < done ? done - at : 0);
		}
		at += size;
	}
	CHECK_EQ(blks.n_ops, op);
	blks_complete_all();
	blks_check_answered(OK);
}

static void short_reads(void)
{
	for (uint32_t done = 0; done <= 512 + 1024 + 4096 + 1536; done++)
		check_short(IN, done);
}

static void short_writes(void)
{
	for (uint32_t done = 0; done <= 512 + 1024 + 4096 + 1536; done++)
		check_short(OUT, done);
}

/* What went again comes back short as well. */
static void short_again(void)
{
	for (uint32_t step = 1; step < 600; step += 37) {
		blks_restart();
		blks_add_run(IN, 4);
		blks_go();
		for (unsigned i = 0; blks.n_ops && i < 100000; i++) {
			const int64_t all = blks_all_of(blks.op[0]);

			blks_complete(0, all < step ? all : step);
		}
		blks_check_answered(OK);
	}
}

/* The first one is head with the most pieces that it may have; its own are as they were. */
static void short_with_many_pieces(void)
{
	for (uint32_t done = 0; done < 65536; done += 509) {
		blks_restart();
		BLKS_ADD(.type = OUT, .offset = 0, .size = 32256, .pieces = 63);
		BLKS_ADD(.type = OUT, .offset = 32256, .size = 1024);
		blks_go();
		REQUIRE_EQ(blks.n_ops, 1);
		blks_complete(0, done < 33280 ? done : 33280);
		blks_complete_all();
		blks_check_answered(OK);
	}
}

/* Neither an error nor progress is an error, of each of them by itself. */
static void writes_of_nothing(void)
{
	blks_add_run(OUT, 3);
	blks_go();
	blks_complete(0, 0);
	REQUIRE_EQ(blks.n_ops, 3);
	blks_complete(1, 0);
	blks_check_one(1, ERR);
	blks_check_open(0);
	blks_check_open(2);
	blks_complete_all();
	blks_check_one(0, OK);
	blks_check_one(2, OK);
}

static unsigned n_lines(const char *text)
{
	unsigned n = 0;

	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}
	return n;
}

/* Each goes again by itself; only the one that fails again has failed. */
static void check_error(uint32_t type, unsigned bad, int err)
{
	const char *log;

	blks_restart();
	capture_end();
	capture_begin(STDERR_FILENO);
	blks.env[0].io_errors = (struct log_limit){0};
	blks_add_run(type, 4);
	blks_go();
	REQUIRE_EQ(blks.n_ops, 1);
	blks_complete(0, err);
	REQUIRE_EQ(blks.n_ops, 4);
	for (unsigned i = 0; i < 4; i++) {
		blks_check_open(i);
		blks_check_op(i, i, i);
	}
	if (bad < 4)
		blks_complete(bad, err);
	blks_complete_all();
	for (unsigned i = 0; i < 4; i++)
		blks_check_one(i, i == bad ? ERR : OK);
	log = capture_end();
	CHECK_EQ(n_lines(log), bad < 4 ? 1 : 0);
	if (bad == 1)
		CHECK(strstr(log, "of 1024 bytes at sector 9 failed"));
	capture_begin(STDERR_FILENO);
}

static void errors(void)
{
	for (unsigned bad = 0; bad <= 4; bad++) { /* 4: none of them, the second time */
		check_error(IN, bad, -EIO);
		check_error(OUT, bad, -ENOSPC);
		check_error(OUT, bad, -EOPNOTSUPP);
	}
}

static void error_after_a_short_one(void)
{
	blks_add_run(OUT, 4);
	blks_go();
	blks_complete(0, 1000); /* into the second */
	blks_check_one(0, OK);
	REQUIRE_EQ(blks.n_ops, 3);
	blks_complete(0, -EIO);
	blks_check_one(1, ERR);
	blks_complete_all();
	blks_check_one(2, OK);
	blks_check_one(3, OK);
}

/* Adjacent ones whose pieces O_DIRECT takes, from 4096 to RUN_END. */
#define RUN_END (4096 + 7168)
static void add_aligned_run(uint32_t type)
{
	BLKS_ADD(.type = type, .offset = 4096, .size = 1024, .pieces = 2);
	BLKS_ADD(.type = type, .offset = 5120, .size = 512);
	BLKS_ADD(.type = type, .offset = 5632, .size = 5632);
}

/* As a file system does it that stops within blocks, for which O_DIRECT has to begin anew. */
static void short_again_with_o_direct(void)
{
	blk_disk_make_direct(&blks.image);
	for (uint32_t type = IN; type <= OUT; type++)
		for (uint32_t step = 1; step < 2000; step += 37) {
			blks_restart();
			add_aligned_run(type);
			blks_go();
			for (unsigned i = 0; blks.n_ops && i < 100000; i++) {
				const int64_t all = blks_all_of(blks.op[0]);
				const bool asked = blks.op[0]->op == IO_SIZE;

				blks_complete(0, asked || all < step ? all : step);
			}
			blks_check_answered(OK);
		}
}

/* The file ends inside the last sector: zeros are beyond, as if each had been alone. */
static void check_tail(uint64_t end)
{
	blks_restart();
	blks_end_at(end, end);
	blks_add_run(IN, 4);
	blks_go();
	REQUIRE_EQ(blks.n_ops, 1);
	blks_complete_all();
	blks_check_answered(OK);
}

static void tail_of_the_file(void)
{
	for (uint64_t end = RUN_END - 511; end <= RUN_END; end++)
		check_tail(end);
}

/* The file ends in one of the requests, and did not: those before that are read, no others. */
static void check_truncated(uint64_t end)
{
	const char *log;

	blks_restart();
	blks_end_at(end, RUN_END);
	if (blks.image.direct)
		add_aligned_run(IN);
	else
		blks_add_run(IN, 4);
	blks_go();
	REQUIRE_EQ(blks.n_ops, 1);
	blks_complete_all();
	for (unsigned i = 0; i < blks.n; i++) {
		const struct blks_shape *shape = &blks.guest[i].shape;

		blks_check_one(i, shape->offset + shape->size <= end ? OK : ERR);
	}
	log = strstr(capture_end(), "truncated under the running disk");
	CHECK(log && !strstr(log + 1, "truncated"));
	capture_begin(STDERR_FILENO);
}

static void truncated_file(void)
{
	for (uint64_t end = 4000; end < RUN_END; end += 3)
		check_truncated(end);
}

static void truncated_file_with_o_direct(void)
{
	blk_disk_make_direct(&blks.image);
	for (uint64_t end = 4000; end < RUN_END; end += 3)
		check_truncated(end);
}

/* ---- abandoned ---- */

/* As queue_abandon() does; returns how many were cancelled. */
static unsigned abandon(void)
{
	unsigned n = 0;

	blks.env[0].abandoning = true;
	for (unsigned i = 0; i < blks.n; i++)
		if (blks.req[i].active)
			n += blk_req_cancel(&blks.req[i]);
	return n;
}

static void check_dropped(unsigned i)
{
	CHECK_EQ(blks.guest[i].answered, 0);
	CHECK_EQ(blks.guest[i].abandoned, 1);
	CHECK(!blks.req[i].active);
	CHECK(!blks.req[i].merged);
}

static void cancelled_as_a_whole(void)
{
	blks_add_run(OUT, 4);
	BLKS_ADD(.type = IN, .offset = 0, .size = 512);
	blks_go();
	CHECK_EQ(blks.n_ops, 2);
	CHECK_EQ(abandon(), 2); /* through the head of each */
	CHECK_EQ(blks.n_ops, 0);
	for (unsigned i = 0; i < blks.n; i++)
		check_dropped(i);
}

/* The kernel has it: what it says in the end is for those it has done, and no more is begun. */
static void check_abandoned(int64_t result, unsigned n_done)
{
	blks_restart();
	blks_add_run(OUT, 4);
	blks_go();
	blks.too_late = true;
	CHECK_EQ(abandon(), 0);
	for (unsigned i = 0; i < 4; i++)
		blks_check_open(i);
	blks_complete(0, result);
	CHECK_EQ(blks.n_ops, 0);
	for (unsigned i = 0; i < 4; i++) {
		if (i < n_done)
			blks_check_one(i, OK);
		else
			check_dropped(i);
	}
}

static void abandoned_with_the_kernel(void)
{
	check_abandoned(7168, 4);
	check_abandoned(7167, 3);
	check_abandoned(512 + 1024, 2);
	check_abandoned(512 + 1000, 1);
	check_abandoned(512, 1);
	check_abandoned(1, 0);
	check_abandoned(0, 0);
	check_abandoned(-EIO, 0);
}

/* Sorted out already, and then abandoned. */
static void abandoned_after_a_short_one(void)
{
	blks_add_run(IN, 4);
	blks_go();
	blks_complete(0, 600);
	REQUIRE_EQ(blks.n_ops, 3);
	CHECK_EQ(abandon(), 3);
	blks_check_one(0, OK);
	for (unsigned i = 1; i < 4; i++)
		check_dropped(i);
}

static void abandoned_while_held_back(void)
{
	blks_add_run(IN, 4);
	for (unsigned i = 0; i < 4; i++)
		blk_req_begin(&blks.req[i]);
	blks.env[0].abandoning = true;
	blks_end_round();
	CHECK_EQ(blks.n_ops, 0);
	for (unsigned i = 0; i < 4; i++)
		check_dropped(i);
}

#define CASE(name) \
	{ \
#name, name \
	}

static const struct tap_case result_cases[] = {
	CASE(short_reads),
	CASE(short_writes),
	CASE(short_again),
	CASE(short_with_many_pieces),
	CASE(writes_of_nothing),
	CASE(errors),
	CASE(error_after_a_short_one),
	CASE(short_again_with_o_direct),
	CASE(tail_of_the_file),
	CASE(truncated_file),
	CASE(truncated_file_with_o_direct),
	{0},
};

static const struct tap_case abandon_cases[] = {
	CASE(cancelled_as_a_whole),
	CASE(abandoned_with_the_kernel),
	CASE(abandoned_after_a_short_one),
	CASE(abandoned_while_held_back),
	{0},
};

#define SUITE(suite_name, suite_cases) \
	{ \
		.name = suite_name, .setup = blks_setup, .teardown = blks_teardown, \
		.cases = suite_cases \
	}

static const struct tap_suite suites[] = {
	SUITE("merge results", result_cases),
	SUITE("merge abandoned", abandon_cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
