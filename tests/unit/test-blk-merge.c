/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/request/merge.c: which requests of a round become one operation. That a round ends is tested
 * in test-worker.c.
 */
#include <string.h>

#include "src/request/merge.h"
#include "tests/unit/support/blks-check.h"

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

static void check_run(uint32_t type, bool synced)
{
	const unsigned n = 10;
	uint32_t size = blks_add_run(type, n);

	blks_go();
	CHECK_EQ(blks.n_ops, 1);
	blks_check_op(0, 0, n - 1);
	CHECK(blks.env[0].sequential);
	for (unsigned i = 0; i < n; i++)
		blks_check_open(i);
	blks_complete(0, size);
	/* The first one's, and then one for all others together. */
	for (unsigned i = 0; i < (synced ? 2 : 0); i++) {
		REQUIRE_EQ(blks.n_ops, 1);
		CHECK_EQ(blks.op[0]->op, IO_SYNC);
		blks_complete(0, 0);
	}
	CHECK_EQ(blks.n_ops, 0);
	blks_check_answered(OK);
}

static void adjacent_reads(void)
{
	check_run(IN, false);
}

static void adjacent_writes(void)
{
	check_run(OUT, false);
}

static void adjacent_durable_writes(void)
{
	atomic_store(&blks.disk.wce, false);
	check_run(OUT, true);
}

/* The same slots serve other requests afterwards. */
static void slots_are_used_again(void)
{
	check_run(IN, false);
	blks_restart();
	check_run(OUT, false);
	blks_restart();
	for (unsigned i = 0; i < 10; i++)
		BLKS_ADD(.type = IN, .offset = 8192 * i, .size = 512);
	blks_go();
	CHECK_EQ(blks.n_ops, 10);
	blks_complete_all();
	blks_check_answered(OK);
}

static void one_alone(void)
{
	BLKS_ADD(.type = IN, .offset = 4096, .size = 4096, .pieces = 2);
	blks_go();
	CHECK_EQ(blks.n_ops, 1);
	blks_check_op(0, 0, 0);
	CHECK(!blks.env[0].sequential);
	blks_complete_all();
	blks_check_answered(OK);
}

/* A run ends where another one begins. */
static void two_runs(void)
{
	BLKS_ADD(.type = IN, .offset = 0, .size = 512);
	BLKS_ADD(.type = IN, .offset = 512, .size = 512);
	BLKS_ADD(.type = IN, .offset = 65536, .size = 512);
	BLKS_ADD(.type = IN, .offset = 66048, .size = 512);
	BLKS_ADD(.type = IN, .offset = 66560, .size = 512);
	blks_go();
	CHECK_EQ(blks.n_ops, 2);
	blks_check_op(0, 0, 1);
	blks_check_op(1, 2, 4);
	blks_complete_all();
	blks_check_answered(OK);
}

/* ---- held back, but not for long ---- */

static void last_one_is_held_until_the_round_ends(void)
{
	BLKS_ADD(.type = OUT, .offset = 0, .size = 512);
	BLKS_ADD(.type = OUT, .offset = 4096, .size = 512);
	blk_req_begin(&blks.req[0]);
	CHECK_EQ(blks.n_ops, 0);
	blk_req_begin(&blks.req[1]);
	CHECK_EQ(blks.n_ops, 1);
	blks_check_op(0, 0, 0);
	blks_end_round();
	CHECK_EQ(blks.n_ops, 2);
	blks_check_op(1, 1, 1);
	blks_end_round(); /* nothing twice */
	CHECK_EQ(blks.n_ops, 2);
	blks_complete_all();
	blks_check_answered(OK);
}

/* The next round's go on where the last one's ended, and are too late. */
static void next_round_is_another_operation(void)
{
	BLKS_ADD(.type = IN, .offset = 0, .size = 512);
	BLKS_ADD(.type = IN, .offset = 512, .size = 512);
	blk_req_begin(&blks.req[0]);
	blks_end_round();
	blk_req_begin(&blks.req[1]);
	blks_end_round();
	CHECK_EQ(blks.n_ops, 2);
	blks_check_op(0, 0, 0);
	blks_check_op(1, 1, 1);
	blks_complete_all();
	blks_check_answered(OK);
}

/* What cannot be longer is not held back. */
static void full_ones_go_at_once(void)
{
	BLKS_ADD(.type = OUT, .offset = 0, .size = 512);
	BLKS_ADD(.type = OUT, .offset = 65536, .size = 32768, .pieces = 64);
	BLKS_ADD(.type = OUT, .offset = 131072, .size = 256 * KIB);
	blk_req_begin(&blks.req[0]);
	CHECK_EQ(blks.n_ops, 0);
	for (unsigned i = 1; i < 3; i++) {
		blk_req_begin(&blks.req[i]);
		CHECK_EQ(blks.n_ops, i + 1);
		blks_check_op(i, i, i);
	}
	blks_check_op(0, 0, 0);
	blks_complete_all();
	blks_check_answered(OK);
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
	blks_check_op(0, 0, merged ? 1 : 0);
	if (!merged)
		blks_check_op(1, 1, 1);
	CHECK_EQ(blks.env[0].sequential, merged);
	blks_complete_all();
	blks_check_answered(OK);
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

/* Pieces of both, and of the headers: the list is in the slot's array, behind the chain. */
static void pairs_at_the_limit_of_pieces(void)
{
	static const struct {
		unsigned header, first, second;
		bool merged;
	} pairs[] = {
		{1, 63, 1, true},   {1, 1, 63, true},   {1, 63, 2, false},  {1, 64, 1, false},
		{1, 32, 33, false}, {1, 1, 64, false},  {8, 63, 1, true},   {9, 63, 1, false},
		{16, 48, 16, true}, {16, 55, 1, true},  {16, 56, 1, false}, {9, 62, 2, true},
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
	check_pair("small after odd", &odd, &after, true);
	check_pair("odd after small", &small, &odd_after, true);
}

/* One operation all the same; the sync is those's who need it. */
static void durable_and_other_writes(void)
{
	for (unsigned first = 0; first < 2; first++) {
		blks_restart();
		for (unsigned i = 0; i < 4; i++) {
			BLKS_ADD(.type = OUT, .offset = i * 512, .size = 512);
			atomic_store(&blks.disk.wce, first ? i < 2 : i >= 2);
			blk_req_begin(&blks.req[i]);
		}
		blks_end_round();
		CHECK_EQ(blks.n_ops, 1);
		blks_check_op(0, 0, 3);
		blks_complete(0, 4 * 512);
		for (unsigned i = 0; i < 4; i++)
			CHECK_EQ(blks.guest[i].answered, first ? i < 2 : i >= 2);
		blks_complete_all();
		blks_check_answered(OK);
	}
}

/* What bounces goes by itself; others may still meet over it. */
static void unaligned_ones(void)
{
	blk_disk_make_direct(&blks.image);
	BLKS_ADD(.type = OUT, .offset = 0, .size = 512);
	BLKS_ADD(.type = OUT, .offset = 512, .size = 512, .shift = 1);
	BLKS_ADD(.type = OUT, .offset = 1024, .size = 512);
	BLKS_ADD(.type = OUT, .offset = 65536, .size = 512, .shift = 8);
	BLKS_ADD(.type = OUT, .offset = 1536, .size = 512);
	blks_go();
	CHECK_EQ(blks.n_ops, 4);
	CHECK(blks.op[0] == &blks.req[1].io);
	blks_check_op(1, 0, 0);
	CHECK(blks.op[2] == &blks.req[3].io);
	CHECK(blks.op[3] == &blks.req[2].io);
	CHECK_EQ(blks.op[3]->niov, 2);
	blks_complete_all();
	blks_check_answered(OK);
}

static void other_queues_have_their_own(void)
{
	BLKS_ADD(.type = IN, .offset = 0, .size = 512);
	BLKS_ADD(.type = IN, .offset = 512, .size = 512, .queue = 1);
	BLKS_ADD(.type = IN, .offset = 512, .size = 512);
	BLKS_ADD(.type = IN, .offset = 1024, .size = 512, .queue = 1);
	for (unsigned i = 0; i < blks.n; i++)
		blk_req_begin(&blks.req[i]);
	CHECK_EQ(blks.n_ops, 0);
	blk_merge_flush(&blks.env[1]);
	CHECK_EQ(blks.n_ops, 1);
	CHECK(blks.op[0] == &blks.req[1].io);
	CHECK_EQ(vublk_iov_size(blks.op[0]->iov, blks.op[0]->niov), 1024);
	blk_merge_flush(&blks.env[0]);
	CHECK_EQ(blks.n_ops, 2);
	CHECK(blks.op[1] == &blks.req[0].io);
	blks_complete_all();
	blks_check_answered(OK);
}

/* ---- others in between ---- */

/* Two reads become one, whatever is between them; it goes, or is answered, at once. */
static void check_between(uint32_t type, uint32_t size, unsigned n_ops, uint8_t status)
{
	blks_restart();
	BLKS_ADD(.type = IN, .offset = 0, .size = 512);
	BLKS_ADD(.type = type, .offset = type == OUT ? BLK_CAPACITY * 512ull : 0, .size = size);
	BLKS_ADD(.type = IN, .offset = 512, .size = 512);
	blks_go();
	CHECK_EQ(blks.n_ops, n_ops + 1);
	for (unsigned i = 0; i < n_ops; i++)
		CHECK(blks.op[i] == &blks.req[1].io);
	CHECK(blks.op[n_ops] == &blks.req[0].io);
	CHECK_EQ(blks.op[n_ops]->niov, 2);
	CHECK_EQ(blks.guest[1].answered, !n_ops);
	blks_complete_all();
	blks_check_one(0, OK);
	CHECK_EQ(blks.guest[1].answered, 1);
	CHECK_EQ(blks.guest[1].status, status);
	blks_check_one(2, OK);
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

	BLKS_ADD(.type = OUT, .offset = 0, .size = 512);
	BLKS_ADD(.type = VIRTIO_BLK_T_DISCARD, .size = sizeof(segment));
	BLKS_ADD(.type = OUT, .offset = 512, .size = 512);
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
	blks_check_one(0, OK);
	CHECK_EQ(blks.guest[1].status, OK);
	blks_check_one(2, OK);
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
	CASE(full_ones_go_at_once),
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

#define SUITE(suite_name, suite_cases) \
	{ \
		.name = suite_name, .setup = blks_setup, .teardown = blks_teardown, \
		.cases = suite_cases \
	}

static const struct tap_suite suites[] = {
	SUITE("merge", one_cases),
	SUITE("merge not", apart_cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
