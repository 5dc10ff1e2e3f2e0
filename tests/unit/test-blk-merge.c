/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/blk_merge.c: which requests of a round become one operation, and who gets which answer when
 * that operation was not done in full. That a round ends is tested in test-worker.c.
 */
#include <errno.h>

#include "tests/unit/blks-check.h"

#define IN  VIRTIO_BLK_T_IN
#define OUT VIRTIO_BLK_T_OUT
#define OK  VIRTIO_BLK_S_OK
#define ERR VIRTIO_BLK_S_IOERR
#define KIB 1024u

#define SHAPE(its_type, its_offset, its_size, ...) \
	{ \
		.type = its_type, .offset = its_offset, .size = its_size, __VA_ARGS__ \
	}

#define N(array) (sizeof(array) / sizeof(*(array)))

/* ---- made into one ---- */

/* Adjacent requests of several sizes and framings, `n` of them from byte 4096 on. */
static uint32_t add_run(uint32_t type, unsigned n)
{
	static const struct {
		uint32_t size;
		unsigned pieces;
	} step[] = {{512, 1}, {1024, 3}, {4096, 1}, {1536, 2}, {512, 7}};
	uint32_t done = 0;

	for (unsigned i = 0; i < n; i++) {
		add(.type = type, .offset = 4096 + done, .size = step[i % N(step)].size,
		    .pieces = step[i % N(step)].pieces);
		done += step[i % N(step)].size;
	}
	return done;
}

static void check_run(uint32_t type, uint8_t flags)
{
	const unsigned n = 10;
	uint32_t size = add_run(type, n);

	blks_go();
	CHECK_EQ(blks.n_ops, 1);
	check_op(0, 0, n - 1);
	CHECK_EQ(blks.op[0]->flags, flags);
	CHECK(blks.queue[0].sequential);
	for (unsigned i = 0; i < n; i++)
		check_open(i);
	blks_complete(0, size);
	CHECK_EQ(blks.n_ops, 0);
	check_answered(OK);
}

static void adjacent_reads(void)
{
	check_run(IN, 0);
}

static void adjacent_writes(void)
{
	check_run(OUT, 0);
}

static void adjacent_durable_writes(void)
{
	atomic_store(&blks.disk.wce, false);
	check_run(OUT, IO_F_DSYNC);
}

/* The same slots serve other requests afterwards. */
static void slots_are_used_again(void)
{
	check_run(IN, 0);
	blks_restart();
	check_run(OUT, 0);
	blks_restart();
	for (unsigned i = 0; i < 10; i++)
		add(.type = IN, .offset = 8192 * i, .size = 512);
	blks_go();
	CHECK_EQ(blks.n_ops, 10);
	blks_complete_all();
	check_answered(OK);
}

static void one_alone(void)
{
	add(.type = IN, .offset = 4096, .size = 4096, .pieces = 2);
	blks_go();
	CHECK_EQ(blks.n_ops, 1);
	check_op(0, 0, 0);
	CHECK(!blks.queue[0].sequential);
	blks_complete_all();
	check_answered(OK);
}

/* A run ends where another one begins. */
static void two_runs(void)
{
	add(.type = IN, .offset = 0, .size = 512);
	add(.type = IN, .offset = 512, .size = 512);
	add(.type = IN, .offset = 65536, .size = 512);
	add(.type = IN, .offset = 66048, .size = 512);
	add(.type = IN, .offset = 66560, .size = 512);
	blks_go();
	CHECK_EQ(blks.n_ops, 2);
	check_op(0, 0, 1);
	check_op(1, 2, 4);
	blks_complete_all();
	check_answered(OK);
}

/* ---- held back, but not for long ---- */

static void last_one_is_held_until_the_round_ends(void)
{
	add(.type = OUT, .offset = 0, .size = 512);
	add(.type = OUT, .offset = 4096, .size = 512);
	blk_req_begin(&blks.req[0]);
	CHECK_EQ(blks.n_ops, 0);
	blk_req_begin(&blks.req[1]);
	CHECK_EQ(blks.n_ops, 1);
	check_op(0, 0, 0);
	blks_end_round();
	CHECK_EQ(blks.n_ops, 2);
	check_op(1, 1, 1);
	blks_end_round(); /* nothing twice */
	CHECK_EQ(blks.n_ops, 2);
	blks_complete_all();
	check_answered(OK);
}

/* The next round's go on where the last one's ended, and are too late. */
static void next_round_is_another_operation(void)
{
	add(.type = IN, .offset = 0, .size = 512);
	add(.type = IN, .offset = 512, .size = 512);
	blk_req_begin(&blks.req[0]);
	blks_end_round();
	blk_req_begin(&blks.req[1]);
	blks_end_round();
	CHECK_EQ(blks.n_ops, 2);
	check_op(0, 0, 0);
	check_op(1, 1, 1);
	blks_complete_all();
	check_answered(OK);
}

/* ---- not made into one ---- */

static void check_pair(const char *what, const struct blks_shape *first,
		       const struct blks_shape *second, bool merged)
{
	blks_restart();
	blks_add(first);
	blks_add(second);
	blks_go();
	tap_check(blks.n_ops == (merged ? 1 : 2), true, __FILE__, __LINE__,
		  "%s: %u operations, of %u and %u pieces", what, blks.n_ops, first->pieces,
		  second->pieces);
	check_op(0, 0, merged ? 1 : 0);
	if (!merged)
		check_op(1, 1, 1);
	CHECK_EQ(blks.queue[0].sequential, merged);
	blks_complete_all();
	check_answered(OK);
}

static void pairs_that_are_not_adjacent(void)
{
	static const struct {
		const char *name;
		struct blks_shape first, second;
	} pairs[] = {
		{"a gap", SHAPE(IN, 4096, 4096), SHAPE(IN, 8704, 512)},
		{"they overlap", SHAPE(IN, 4096, 4096), SHAPE(IN, 7680, 1024)},
		{"the same range", SHAPE(IN, 4096, 4096), SHAPE(IN, 4096, 4096)},
		{"the other way round", SHAPE(IN, 8192, 4096), SHAPE(IN, 4096, 4096)},
		{"a write after a read", SHAPE(IN, 4096, 4096), SHAPE(OUT, 8192, 4096)},
		{"a read after a write", SHAPE(OUT, 4096, 4096), SHAPE(IN, 8192, 4096)},
	};

	for (unsigned i = 0; i < N(pairs); i++)
		check_pair(pairs[i].name, &pairs[i].first, &pairs[i].second, false);
}

static void pairs_at_the_limit_of_bytes(void)
{
	static const struct {
		uint32_t first, second;
		bool merged;
	} pairs[] = {
		{128 * KIB, 128 * KIB, true},
		{128 * KIB, 128 * KIB + 512, false},
		{256 * KIB - 512, 512, true},
		{512, 256 * KIB - 512, true},
		{512, 256 * KIB, false},
		{256 * KIB, 512, false},
		{256 * KIB - 512, 1024, false},
		{300 * KIB, 512, false},
		{256 * KIB + 512, 256 * KIB, false},
	};

	for (unsigned i = 0; i < N(pairs); i++) {
		const uint32_t first = pairs[i].first;

		check_pair("bytes", &(struct blks_shape)SHAPE(OUT, 0, first),
			   &(struct blks_shape)SHAPE(OUT, first, pairs[i].second), pairs[i].merged);
	}
}

/* Pieces of both, and of the headers: the list is in the slot's array, with the chain. */
static void pairs_at_the_limit_of_pieces(void)
{
	static const struct {
		unsigned header, first, second;
		bool merged;
	} pairs[] = {
		{1, 63, 1, true},   {1, 1, 63, true},   {1, 63, 2, false}, {1, 64, 1, false},
		{1, 32, 33, false}, {1, 1, 64, false},  {2, 63, 1, false}, {16, 48, 16, true},
		{16, 49, 1, false}, {16, 63, 1, false}, {9, 55, 9, true},  {9, 60, 1, false},
		{1, 126, 1, false}, {1, 1, 126, false},
	};

	for (unsigned i = 0; i < N(pairs); i++)
		for (unsigned type = IN; type <= OUT; type++) {
			const struct blks_shape first =
				SHAPE(type, 0, 64512, .pieces = pairs[i].first,
				      .header_cut = pairs[i].header);
			const struct blks_shape second =
				SHAPE(type, 64512, 64512, .pieces = pairs[i].second);

			check_pair("pieces", &first, &second, pairs[i].merged);
		}
}

/* A chain that does not fit into its slot has its elements elsewhere. */
static void chains_longer_than_the_slot(void)
{
	const struct blks_shape small = SHAPE(IN, 0, 65536);
	const struct blks_shape after = SHAPE(IN, 65536, 65536);
	const struct blks_shape long_first = SHAPE(IN, 0, 65536, .pieces = 127);
	const struct blks_shape long_after = SHAPE(IN, 65536, 65536, .pieces = 127);
	/* Long by what the request makes no use of. */
	const struct blks_shape odd = SHAPE(IN, 0, 65536, .pieces = 3, .elsewhere = true);
	const struct blks_shape odd_after = SHAPE(IN, 65536, 65536, .pieces = 3, .elsewhere = true);

	check_pair("long after small", &small, &long_after, false);
	check_pair("small after long", &long_first, &after, false);
	check_pair("long after long", &long_first, &long_after, false);
	check_pair("small after odd", &odd, &after, false);
	check_pair("odd after small", &small, &odd_after, true);
}

static void durable_and_other_writes(void)
{
	for (unsigned first = 0; first < 2; first++) {
		blks_restart();
		for (unsigned i = 0; i < 4; i++) {
			add(.type = OUT, .offset = i * 512, .size = 512);
			atomic_store(&blks.disk.wce, first ? i < 2 : i >= 2);
			blk_req_begin(&blks.req[i]);
		}
		blks_end_round();
		CHECK_EQ(blks.n_ops, 2);
		check_op(0, 0, 1);
		check_op(1, 2, 3);
		CHECK_EQ(blks.op[0]->flags, first ? 0 : IO_F_DSYNC);
		CHECK_EQ(blks.op[1]->flags, first ? IO_F_DSYNC : 0);
		blks_complete_all();
		check_answered(OK);
	}
}

/* What bounces goes by itself; others may still meet over it. */
static void unaligned_ones(void)
{
	blk_disk_make_direct(&blks.image);
	add(.type = OUT, .offset = 0, .size = 512);
	add(.type = OUT, .offset = 512, .size = 512, .shift = 1);
	add(.type = OUT, .offset = 1024, .size = 512);
	add(.type = OUT, .offset = 65536, .size = 512, .shift = 8);
	add(.type = OUT, .offset = 1536, .size = 512);
	blks_go();
	CHECK_EQ(blks.n_ops, 4);
	CHECK(blks.op[0] == &blks.req[1].io);
	check_op(1, 0, 0);
	CHECK(blks.op[2] == &blks.req[3].io);
	CHECK(blks.op[3] == &blks.req[2].io);
	CHECK_EQ(blks.op[3]->niov, 2);
	blks_complete_all();
	check_answered(OK);
}

static void other_queues_have_their_own(void)
{
	add(.type = IN, .offset = 0, .size = 512);
	add(.type = IN, .offset = 512, .size = 512, .queue = 1);
	add(.type = IN, .offset = 512, .size = 512);
	add(.type = IN, .offset = 1024, .size = 512, .queue = 1);
	for (unsigned i = 0; i < blks.n; i++)
		blk_req_begin(&blks.req[i]);
	CHECK_EQ(blks.n_ops, 0);
	blk_merge_flush(&blks.queue[1]);
	CHECK_EQ(blks.n_ops, 1);
	CHECK(blks.op[0] == &blks.req[1].io);
	CHECK_EQ(vublk_iov_size(blks.op[0]->iov, blks.op[0]->niov), 1024);
	blk_merge_flush(&blks.queue[0]);
	CHECK_EQ(blks.n_ops, 2);
	CHECK(blks.op[1] == &blks.req[0].io);
	blks_complete_all();
	check_answered(OK);
}

/* ---- others in between ---- */

/* Two reads become one, whatever is between them; it goes, or is answered, at once. */
static void check_between(uint32_t type, uint32_t size, unsigned n_ops, uint8_t status)
{
	blks_restart();
	add(.type = IN, .offset = 0, .size = 512);
	add(.type = type, .offset = type == OUT ? BLK_CAPACITY * 512ull : 0, .size = size);
	add(.type = IN, .offset = 512, .size = 512);
	blks_go();
	CHECK_EQ(blks.n_ops, n_ops + 1);
	for (unsigned i = 0; i < n_ops; i++)
		CHECK(blks.op[i] == &blks.req[1].io);
	CHECK(blks.op[n_ops] == &blks.req[0].io);
	CHECK_EQ(blks.op[n_ops]->niov, 2);
	CHECK_EQ(blks.guest[1].answered, !n_ops);
	blks_complete_all();
	check_one(0, OK);
	CHECK_EQ(blks.guest[1].answered, 1);
	CHECK_EQ(blks.guest[1].status, status);
	check_one(2, OK);
}

static void others_in_between(void)
{
	check_between(VIRTIO_BLK_T_FLUSH, 0, 1, OK);
	check_between(VIRTIO_BLK_T_GET_ID, 0, 0, OK);
	check_between(99, 0, 0, VIRTIO_BLK_S_UNSUPP);
	check_between(OUT, 512, 0, ERR); /* beyond the end of the disk */
	check_between(IN, 0, 0, OK);
}

static void discard_in_between(void)
{
	struct virtio_blk_discard_write_zeroes segment = {.sector = 800, .num_sectors = 8};

	add(.type = OUT, .offset = 0, .size = 512);
	add(.type = VIRTIO_BLK_T_DISCARD, .size = sizeof(segment));
	add(.type = OUT, .offset = 512, .size = 512);
	memcpy(blks.guest[1].piece[0].iov_base, &segment, sizeof(segment));
	blks.req[1].chain.n_out++; /* the device reads it */
	blks.req[1].chain.out_size += sizeof(segment);
	blks.req[1].chain.in++;
	blks.req[1].chain.n_in--;
	blks.req[1].chain.in_size -= sizeof(segment);
	blks_go();
	CHECK_EQ(blks.n_ops, 2);
	CHECK_EQ(blks.op[0]->op, IO_PUNCH_HOLE);
	CHECK(blks.op[1] == &blks.req[0].io);
	CHECK_EQ(blks.op[1]->niov, 2);
	blks_complete_all();
	check_one(0, OK);
	CHECK_EQ(blks.guest[1].status, OK);
	check_one(2, OK);
}

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
	add_run(type, 4);
	blks_go();
	REQUIRE_EQ(blks.n_ops, 1);
	blks_complete(0, done);
	for (unsigned i = 0; i < blks.n; i++) {
		const uint32_t size = blks.guest[i].shape.size;

		if (at + size <= done) {
			check_one(i, OK);
		} else {
			check_open(i);
			check_rest(op++, i, at < done ? done - at : 0);
		}
		at += size;
	}
	CHECK_EQ(blks.n_ops, op);
	blks_complete_all();
	check_answered(OK);
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
		add_run(IN, 4);
		blks_go();
		for (unsigned i = 0; blks.n_ops && i < 100000; i++) {
			const int64_t all = blks_all_of(blks.op[0]);

			blks_complete(0, all < step ? all : step);
		}
		check_answered(OK);
	}
}

/* The first one is head with the most pieces that it may have; its own are as they were. */
static void short_with_many_pieces(void)
{
	for (uint32_t done = 0; done < 65536; done += 509) {
		blks_restart();
		add(.type = OUT, .offset = 0, .size = 32256, .pieces = 63);
		add(.type = OUT, .offset = 32256, .size = 1024);
		blks_go();
		REQUIRE_EQ(blks.n_ops, 1);
		blks_complete(0, done < 33280 ? done : 33280);
		blks_complete_all();
		check_answered(OK);
	}
}

/* Neither an error nor progress is an error, of each of them by itself. */
static void writes_of_nothing(void)
{
	add_run(OUT, 3);
	blks_go();
	blks_complete(0, 0);
	REQUIRE_EQ(blks.n_ops, 3);
	blks_complete(1, 0);
	check_one(1, ERR);
	check_open(0);
	check_open(2);
	blks_complete_all();
	check_one(0, OK);
	check_one(2, OK);
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
	blks.queue[0].io_errors = (struct log_limit){0};
	add_run(type, 4);
	blks_go();
	REQUIRE_EQ(blks.n_ops, 1);
	blks_complete(0, err);
	REQUIRE_EQ(blks.n_ops, 4);
	for (unsigned i = 0; i < 4; i++) {
		check_open(i);
		check_op(i, i, i);
	}
	if (bad < 4)
		blks_complete(bad, err);
	blks_complete_all();
	for (unsigned i = 0; i < 4; i++)
		check_one(i, i == bad ? ERR : OK);
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
	add_run(OUT, 4);
	blks_go();
	blks_complete(0, 1000); /* into the second */
	check_one(0, OK);
	REQUIRE_EQ(blks.n_ops, 3);
	blks_complete(0, -EIO);
	check_one(1, ERR);
	blks_complete_all();
	check_one(2, OK);
	check_one(3, OK);
}

/* The file ends in one of the requests: zeros are beyond, as if each had been alone. */
static void check_end(uint64_t end)
{
	blks_restart();
	blks.end = end;
	add_run(IN, 4);
	blks_go();
	REQUIRE_EQ(blks.n_ops, 1);
	blks_complete_all();
	check_answered(OK);
}

static void end_of_the_file(void)
{
	for (uint64_t end = 4000; end <= 4096 + 7168; end += 3)
		check_end(end);
}

/* With O_DIRECT a read that stops within a block is at the end; none may begin there. */
static void end_of_the_file_with_o_direct(void)
{
	blk_disk_make_direct(&blks.image);
	for (uint64_t end = 4000; end <= 4096 + 7168; end += 3) {
		blks_restart();
		blks.end = end;
		add(.type = IN, .offset = 4096, .size = 1024, .pieces = 2);
		add(.type = IN, .offset = 5120, .size = 512);
		add(.type = IN, .offset = 5632, .size = 5632);
		blks_go();
		REQUIRE_EQ(blks.n_ops, 1);
		for (unsigned i = 0; blks.n_ops && i < 100; i++) {
			CHECK_EQ(blks.op[0]->offset % 512, 0);
			blks_complete(0, blks_all_of(blks.op[0]));
		}
		check_answered(OK);
	}
}

/* ---- suspended ---- */

/* As queue_suspend() does; returns how many were withdrawn. */
static unsigned suspend(void)
{
	unsigned n = 0;

	blks.queue[0].suspending = true;
	for (unsigned i = 0; i < blks.n; i++)
		if (blks.req[i].active)
			n += blk_req_withdraw(&blks.req[i]);
	return n;
}

static void check_dropped(unsigned i)
{
	CHECK_EQ(blks.guest[i].answered, 0);
	CHECK_EQ(blks.guest[i].dropped, 1);
	CHECK(!blks.req[i].active);
	CHECK(!blks.req[i].merged);
}

static void withdrawn_as_a_whole(void)
{
	add_run(OUT, 4);
	add(.type = IN, .offset = 0, .size = 512);
	blks_go();
	CHECK_EQ(blks.n_ops, 2);
	CHECK_EQ(suspend(), 2); /* through the head of each */
	CHECK_EQ(blks.n_ops, 0);
	for (unsigned i = 0; i < blks.n; i++)
		check_dropped(i);
}

/* The kernel has it: what it says in the end is for those it has done, and no more is begun. */
static void check_suspended(int64_t result, unsigned n_done)
{
	blks_restart();
	add_run(OUT, 4);
	blks_go();
	blks.too_late = true;
	CHECK_EQ(suspend(), 0);
	for (unsigned i = 0; i < 4; i++)
		check_open(i);
	blks_complete(0, result);
	CHECK_EQ(blks.n_ops, 0);
	for (unsigned i = 0; i < 4; i++) {
		if (i < n_done)
			check_one(i, OK);
		else
			check_dropped(i);
	}
}

static void suspended_with_the_kernel(void)
{
	check_suspended(7168, 4);
	check_suspended(7167, 3);
	check_suspended(512 + 1024, 2);
	check_suspended(512 + 1000, 1);
	check_suspended(512, 1);
	check_suspended(1, 0);
	check_suspended(0, 0);
	check_suspended(-EIO, 0);
}

/* Sorted out already, and then suspended. */
static void suspended_after_a_short_one(void)
{
	add_run(IN, 4);
	blks_go();
	blks_complete(0, 600);
	REQUIRE_EQ(blks.n_ops, 3);
	CHECK_EQ(suspend(), 3);
	check_one(0, OK);
	for (unsigned i = 1; i < 4; i++)
		check_dropped(i);
}

static void suspended_while_held_back(void)
{
	add_run(IN, 4);
	for (unsigned i = 0; i < 4; i++)
		blk_req_begin(&blks.req[i]);
	blks.queue[0].suspending = true;
	blks_end_round();
	CHECK_EQ(blks.n_ops, 0);
	for (unsigned i = 0; i < 4; i++)
		check_dropped(i);
}

#define CASE(name) \
	{ \
#name, name \
	}

static const struct tap_case one_cases[] = {
	CASE(adjacent_reads),
	CASE(adjacent_writes),
	CASE(adjacent_durable_writes),
	CASE(slots_are_used_again),
	CASE(one_alone),
	CASE(two_runs),
	CASE(last_one_is_held_until_the_round_ends),
	CASE(next_round_is_another_operation),
	CASE(others_in_between),
	CASE(discard_in_between),
	{0},
};

static const struct tap_case apart_cases[] = {
	CASE(pairs_that_are_not_adjacent),  CASE(pairs_at_the_limit_of_bytes),
	CASE(pairs_at_the_limit_of_pieces), CASE(chains_longer_than_the_slot),
	CASE(durable_and_other_writes),     CASE(unaligned_ones),
	CASE(other_queues_have_their_own),  {0},
};

static const struct tap_case result_cases[] = {
	CASE(short_reads),
	CASE(short_writes),
	CASE(short_again),
	CASE(short_with_many_pieces),
	CASE(writes_of_nothing),
	CASE(errors),
	CASE(error_after_a_short_one),
	CASE(end_of_the_file),
	CASE(end_of_the_file_with_o_direct),
	{0},
};

static const struct tap_case suspend_cases[] = {
	CASE(withdrawn_as_a_whole),
	CASE(suspended_with_the_kernel),
	CASE(suspended_after_a_short_one),
	CASE(suspended_while_held_back),
	{0},
};

#define SUITE(suite_name, suite_cases) \
	{ \
		.name = suite_name, .setup = blks_setup, .teardown = blks_teardown, \
		.cases = suite_cases \
	}

static const struct tap_suite suites[] = {
	SUITE("merge", one_cases),
	SUITE("merge not", apart_cases),
	SUITE("merge results", result_cases),
	SUITE("merge suspended", suspend_cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
