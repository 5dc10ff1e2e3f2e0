/* SPDX-License-Identifier: BSD-3-Clause */
/* src/request/zeroes.c: discard and write-zeroes, what may be asked for, and every fall-back. */
#include <endian.h>

#include "tests/unit/support/blk.h"

#define UNMAP   VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP
#define DISCARD VIRTIO_BLK_T_DISCARD
#define ZEROES  VIRTIO_BLK_T_WRITE_ZEROES
#define SIZE    (64u * 512)
#define START   (8u * 512)

static struct virtio_blk_discard_write_zeroes segment;

/* A request with one segment. */
static void begin(uint32_t type, uint64_t sector, uint32_t num_sectors, uint32_t flags)
{
	segment = (struct virtio_blk_discard_write_zeroes){
		.sector = htole64(sector),
		.num_sectors = htole32(num_sectors),
		.flags = htole32(flags),
	};
	blk_begin(type, 0);
	blk_out(&segment, sizeof(segment));
	blk_go();
}

/* The same range in most cases. */
static void begin_type(uint32_t type, uint32_t flags)
{
	begin(type, START / 512, SIZE / 512, flags);
}

static void check_refused(uint8_t status)
{
	CHECK_EQ(blk.n_submitted, 0);
	blk_check_done(status, 1);
}

/* ---- what may be asked for ---- */

static void check_range(uint64_t sector, uint32_t num_sectors, bool good)
{
	static const uint32_t types[] = {DISCARD, ZEROES};

	for (unsigned i = 0; i < 2; i++) {
		begin(types[i], sector, num_sectors, 0);
		CHECK_EQ(blk.n_submitted, good);
		if (blk.io)
			blk_complete(0);
		blk_check_done(good ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR, 1);
	}
}

static void ranges_are_checked(void)
{
	check_range(0, 1, true);
	check_range(BLK_CAPACITY - 1, 1, true);
	check_range(BLK_CAPACITY, 1, false);
	check_range(BLK_CAPACITY - 1, 2, false);
	check_range(UINT64_MAX, 1, false);
	check_range(UINT64_MAX / 512 + 1, 1, false);
	check_range(0, UINT32_MAX, false);
}

static void sizes_are_bounded(void)
{
	blk.image.max_discard = blk.image.max_write_zeroes = 1 << 20;
	check_range(0, 2048, true);
	check_range(0, 2049, false);
}

static void whole_blocks_only(void)
{
	blk.image.block_size = 4096;
	check_range(8, 8, true);
	check_range(4, 8, false);
	check_range(8, 4, false);
}

static void nothing_is_done_at_once(void)
{
	begin(DISCARD, 5, 0, 0);
	check_refused(VIRTIO_BLK_S_OK);
	begin(ZEROES, BLK_CAPACITY, 0, UNMAP);
	check_refused(VIRTIO_BLK_S_OK);
}

/* virtio 5.2.6.2: UNSUPP for a discard with the unmap flag, and for flags that are not known. */
static void flags_are_checked(void)
{
	begin_type(DISCARD, UNMAP);
	check_refused(VIRTIO_BLK_S_UNSUPP);
	for (unsigned bit = 1; bit < 32; bit++) {
		begin_type(DISCARD, 1u << bit);
		check_refused(VIRTIO_BLK_S_UNSUPP);
		begin_type(ZEROES, 1u << bit);
		check_refused(VIRTIO_BLK_S_UNSUPP);
		begin_type(ZEROES, 1u << bit | UNMAP);
		check_refused(VIRTIO_BLK_S_UNSUPP);
	}
}

static void only_one_segment(void)
{
	static const struct virtio_blk_discard_write_zeroes two[2] = {{.num_sectors = 8},
								      {.num_sectors = 8}};

	for (uint32_t type = DISCARD; type <= ZEROES; type += ZEROES - DISCARD) {
		blk_begin(type, 0);
		blk_out(two, sizeof(two));
		blk_go();
		check_refused(VIRTIO_BLK_S_UNSUPP);
	}
}

static void segment_too_short(void)
{
	for (size_t size = 0; size < sizeof(segment); size++) {
		blk_begin(ZEROES, 0);
		if (size)
			blk_out(&segment, size);
		blk_go();
		check_refused(VIRTIO_BLK_S_IOERR);
	}
}

static void segment_byte_by_byte(void)
{
	segment = (struct virtio_blk_discard_write_zeroes){.sector = htole64(8),
							   .num_sectors = htole32(64)};
	blk_begin(DISCARD, 0);
	for (unsigned i = 0; i < sizeof(segment); i++)
		blk_out((const char *)&segment + i, 1);
	blk_go();
	blk_check_io(IO_PUNCH_HOLE, START, SIZE);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void segment_is_read_once(void)
{
	begin_type(ZEROES, 0);
	memset(&segment, 0xff, sizeof(segment));
	blk_complete(-EOPNOTSUPP);
	blk_check_io(IO_WRITE, START, SIZE);
	blk_complete(SIZE);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void not_negotiated(void)
{
	blk.disk.features = 0;
	begin_type(DISCARD, 0);
	check_refused(VIRTIO_BLK_S_UNSUPP);
	begin_type(ZEROES, 0);
	check_refused(VIRTIO_BLK_S_UNSUPP);
}

static void read_only(void)
{
	blk.image.read_only = true;
	begin_type(DISCARD, 0);
	check_refused(VIRTIO_BLK_S_IOERR);
	begin_type(ZEROES, UNMAP);
	check_refused(VIRTIO_BLK_S_IOERR);
}

/* ---- discard ---- */

static const int missing[] = {-EOPNOTSUPP, -ENOSYS, -ENOTTY, -ENODEV, -EINVAL, -EPERM};

static void discard_of_a_file_punches_a_hole(void)
{
	begin_type(DISCARD, 0);
	blk_check_io(IO_PUNCH_HOLE, START, SIZE);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void discard_of_a_device(void)
{
	blk.image.is_device = true;
	begin_type(DISCARD, 0);
	blk_check_io(IO_DISCARD, START, SIZE);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* It is a hint: no error, and never zeros written. */
static void discard_that_the_host_lacks_is_done(void)
{
	for (unsigned i = 0; i < sizeof(missing) / sizeof(*missing); i++) {
		begin_type(DISCARD, 0);
		blk_complete(missing[i]);
		blk_check_done(VIRTIO_BLK_S_OK, 1);
		CHECK_EQ(blk.n_submitted, 1);
	}
}

/* What the device's own blocks, larger than the disk's, are not multiples of. */
static void check_fractions(uint32_t type, uint32_t flags)
{
	blk.image.is_device = true;
	blk.image.range_align = 4096;
	for (unsigned i = 0; i < 2; i++) {
		begin(type, 8 + i, 8 + !i, flags);
		if (type == ZEROES) {
			blk_check_io(IO_WRITE, (8 + i) * 512, (8u + !i) * 512);
			blk_complete((8 + !i) * 512);
		}
		blk_check_done(VIRTIO_BLK_S_OK, 1);
		CHECK_EQ(blk.n_submitted, type == ZEROES);
	}
}

static void discard_of_fractions_of_a_device_s_blocks(void)
{
	check_fractions(DISCARD, 0);
	begin(DISCARD, 8, 8, 0);
	blk_check_io(IO_DISCARD, 4096, 4096);
	blk_complete(0);
}

static void zeroes_on_fractions_of_a_device_s_blocks(void)
{
	check_fractions(ZEROES, 0);
	check_fractions(ZEROES, UNMAP);
	begin(ZEROES, 8, 8, UNMAP);
	blk_check_io(IO_PUNCH_HOLE, 4096, 4096);
	blk_complete(0);
	/* That nothing else would do says nothing about the device. */
	CHECK(!blk.env.punch_hole_missing && !blk.env.zero_range_missing);
}

static void discard_that_fails(void)
{
	begin_type(DISCARD, 0);
	blk_complete(-EIO);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
}

static void discard_is_not_synced(void)
{
	atomic_store(&blk.disk.wce, false);
	begin_type(DISCARD, 0);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* ---- write zeroes ---- */

static void zeroes_without_unmap(void)
{
	begin_type(ZEROES, 0);
	blk_check_io(IO_ZERO_RANGE, START, SIZE);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void zeroes_with_unmap(void)
{
	begin_type(ZEROES, UNMAP);
	blk_check_io(IO_PUNCH_HOLE, START, SIZE);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void zeroes_with_unmap_where_it_is_not_wanted(void)
{
	blk.image.unmap_zeroes = false;
	begin_type(ZEROES, UNMAP);
	blk_check_io(IO_ZERO_RANGE, START, SIZE);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void zeroes_fall_back_step_by_step(void)
{
	for (unsigned i = 0; i < sizeof(missing) / sizeof(*missing); i++) {
		blk.env.punch_hole_missing = blk.env.zero_range_missing = false;
		begin_type(ZEROES, UNMAP);
		blk_check_io(IO_PUNCH_HOLE, START, SIZE);
		blk_complete(missing[i]);
		blk_check_io(IO_ZERO_RANGE, START, SIZE);
		blk_complete(missing[i]);
		blk_check_io(IO_WRITE, START, SIZE);
		blk_complete(SIZE);
		blk_check_done(VIRTIO_BLK_S_OK, 1);
		CHECK_EQ(blk.n_submitted, 3);
	}
}

static void zeroes_remember_what_is_missing(void)
{
	begin_type(ZEROES, UNMAP);
	blk_complete(-EOPNOTSUPP);
	blk_complete(0);
	begin_type(ZEROES, UNMAP);
	blk_check_io(IO_ZERO_RANGE, START, SIZE);
	blk_complete(-EOPNOTSUPP);
	blk_complete(SIZE);
	begin_type(ZEROES, UNMAP);
	blk_check_io(IO_WRITE, START, SIZE);
	blk_complete(SIZE);
	begin_type(ZEROES, 0);
	blk_check_io(IO_WRITE, START, SIZE);
	blk_complete(SIZE);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* These may be about this range, or about now. */
static void zeroes_do_not_remember_what_may_not_last(void)
{
	begin_type(ZEROES, UNMAP);
	blk_complete(-EINVAL);
	blk_complete(-EPERM);
	blk_complete(SIZE);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
	begin_type(ZEROES, UNMAP);
	blk_check_io(IO_PUNCH_HOLE, START, SIZE);
	blk_complete(-EINVAL);
	blk_check_io(IO_ZERO_RANGE, START, SIZE);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void hole_is_still_tried_where_zero_range_is_missing(void)
{
	begin_type(ZEROES, 0);
	blk_complete(-EOPNOTSUPP);
	blk_complete(SIZE);
	begin_type(ZEROES, UNMAP);
	blk_check_io(IO_PUNCH_HOLE, START, SIZE);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* An error is one, at every step; only "there is no such thing" leads on. */
static void zeroes_that_fail_at_each_step(void)
{
	for (unsigned step = 0; step < 3; step++) {
		blk.env.punch_hole_missing = blk.env.zero_range_missing = false;
		begin_type(ZEROES, UNMAP);
		for (unsigned i = 0; i < step; i++)
			blk_complete(-EOPNOTSUPP);
		blk_complete(-EIO);
		blk_check_done(VIRTIO_BLK_S_IOERR, 1);
		CHECK_EQ(blk.env.punch_hole_missing, step > 0);
		CHECK_EQ(blk.env.zero_range_missing, step > 1);
	}
}

static void begin_writing(uint32_t num_sectors)
{
	blk.env.zero_range_missing = true;
	begin(ZEROES, START / 512, num_sectors, 0);
}

static void zeros_are_written(void)
{
	uint8_t byte;

	begin_writing(SIZE / 512);
	blk_check_io(IO_WRITE, START, SIZE);
	CHECK_EQ((uintptr_t)blk.io->iov->iov_base % 4096, 0);
	for (unsigned i = 0; i < SIZE; i++) {
		REQUIRE_EQ(vublk_iov_read(blk.io->iov, blk.io->niov, i, &byte, 1), 1);
		REQUIRE_EQ(byte, 0);
	}
	blk_complete(SIZE);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* Much more than one operation takes. */
static void many_zeros_are_written_in_parts(void)
{
	const uint64_t size = 0x8000000;
	uint64_t done = 0;

	begin_writing((uint32_t)(size / 512));
	while (blk.io) {
		const uint64_t part = blk_io_size();

		blk_check_io(IO_WRITE, START + done, part);
		REQUIRE(part > 0 && part <= size - done);
		CHECK(blk.io->niov <= BLK_REQ_IOVS);
		done += part;
		blk_complete((int64_t)part);
	}
	CHECK_EQ(done, size);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void short_write_of_zeros_goes_on(void)
{
	begin_writing(SIZE / 512);
	blk_complete(512);
	blk_check_io(IO_WRITE, START + 512, SIZE - 512);
	blk_complete(SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void write_of_no_zeros_is_an_error(void)
{
	begin_writing(SIZE / 512);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
}

static void zeroes_are_synced_when_they_must_be_durable(void)
{
	atomic_store(&blk.disk.wce, false);
	for (unsigned step = 0; step < 3; step++) {
		blk.env.punch_hole_missing = blk.env.zero_range_missing = false;
		begin_type(ZEROES, UNMAP);
		for (unsigned i = 0; i < step; i++)
			blk_complete(-EOPNOTSUPP);
		blk_complete(step == 2 ? SIZE : 0);
		REQUIRE(blk.io);
		CHECK_EQ(blk.io->op, IO_SYNC);
		blk_complete(0);
		blk_check_done(VIRTIO_BLK_S_OK, 1);
	}
}

static void sync_that_fails(void)
{
	atomic_store(&blk.disk.wce, false);
	begin_type(ZEROES, 0);
	blk_complete(0);
	blk_complete(-EIO);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
}

static const struct tap_case segment_cases[] = {
	{"ranges_are_checked", ranges_are_checked},
	{"sizes_are_bounded", sizes_are_bounded},
	{"whole_blocks_only", whole_blocks_only},
	{"nothing_is_done_at_once", nothing_is_done_at_once},
	{"flags_are_checked", flags_are_checked},
	{"only_one_segment", only_one_segment},
	{"segment_too_short", segment_too_short},
	{"segment_byte_by_byte", segment_byte_by_byte},
	{"segment_is_read_once", segment_is_read_once},
	{"not_negotiated", not_negotiated},
	{"read_only", read_only},
	{0},
};

static const struct tap_case discard_cases[] = {
	{"discard_of_a_file_punches_a_hole", discard_of_a_file_punches_a_hole},
	{"discard_of_a_device", discard_of_a_device},
	{"discard_that_the_host_lacks_is_done", discard_that_the_host_lacks_is_done},
	{"discard_of_fractions_of_a_device_s_blocks", discard_of_fractions_of_a_device_s_blocks},
	{"discard_that_fails", discard_that_fails},
	{"discard_is_not_synced", discard_is_not_synced},
	{0},
};

static const struct tap_case zeroes_cases[] = {
	{"zeroes_without_unmap", zeroes_without_unmap},
	{"zeroes_with_unmap", zeroes_with_unmap},
	{"zeroes_with_unmap_where_it_is_not_wanted", zeroes_with_unmap_where_it_is_not_wanted},
	{"zeroes_fall_back_step_by_step", zeroes_fall_back_step_by_step},
	{"zeroes_remember_what_is_missing", zeroes_remember_what_is_missing},
	{"zeroes_do_not_remember_what_may_not_last", zeroes_do_not_remember_what_may_not_last},
	{"hole_is_still_tried_where_zero_range_is_missing",
	 hole_is_still_tried_where_zero_range_is_missing},
	{"zeroes_that_fail_at_each_step", zeroes_that_fail_at_each_step},
	{"zeros_are_written", zeros_are_written},
	{"many_zeros_are_written_in_parts", many_zeros_are_written_in_parts},
	{"short_write_of_zeros_goes_on", short_write_of_zeros_goes_on},
	{"write_of_no_zeros_is_an_error", write_of_no_zeros_is_an_error},
	{"zeroes_are_synced_when_they_must_be_durable",
	 zeroes_are_synced_when_they_must_be_durable},
	{"zeroes_on_fractions_of_a_device_s_blocks", zeroes_on_fractions_of_a_device_s_blocks},
	{"sync_that_fails", sync_that_fails},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "blk segment",
	 .setup = blk_setup,
	 .teardown = blk_teardown,
	 .cases = segment_cases},
	{.name = "blk discard",
	 .setup = blk_setup,
	 .teardown = blk_teardown,
	 .cases = discard_cases},
	{.name = "blk zeroes", .setup = blk_setup, .teardown = blk_teardown, .cases = zeroes_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
