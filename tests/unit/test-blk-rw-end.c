/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/request/rw.c: the end of the file, which may have moved, and short transfers that are not at
 * the end.
 */
#include "tests/unit/support/blk-rw.h"
#include "tests/unit/support/capture.h"

#define DISK (BLK_CAPACITY * 512ull)
#define LAST (BLK_CAPACITY - 1) /* sector */

/* The file ends `tail` bytes before the disk does. */
static void end_file_early(uint64_t tail)
{
	blk.image.end = DISK - tail;
	image_end_init(&blk_disk_end, &blk.image, "test");
}

/* A read has stopped, and the engine is asked for the size. */
static void answer_size(uint64_t size)
{
	REQUIRE(blk.io);
	REQUIRE_EQ(blk.io->op, IO_SIZE);
	blk_complete((int64_t)size);
}

static void begin_last(uint32_t type, uint64_t sector, void *data, size_t size)
{
	blk_begin(type, sector);
	if (type == VIRTIO_BLK_T_IN)
		blk_in(data, size);
	else
		blk_out(data, size);
	blk_go();
}

static void tail_reads_as_zeros(void)
{
	end_file_early(100);
	memset(blk_buffer, 'x', sizeof(blk_buffer));
	begin_last(VIRTIO_BLK_T_IN, LAST - 7, blk_buffer, SIZE);
	blk_complete_read('a', SIZE - 100);
	blk_check_io(IO_READ, DISK - 100, 100);
	blk_complete(0);
	answer_size(DISK - 100);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(blk_is_all(blk_buffer, 'a', SIZE - 100));
	CHECK(blk_is_all(blk_buffer + SIZE - 100, 0, 100));
	CHECK_EQ(blk_buffer[SIZE], 'x');
}

/* O_DIRECT ends in the middle of a block only with the file, and cannot go on from there. */
static void direct_tail_reads_as_zeros(void)
{
	blk_make_direct();
	end_file_early(100);
	memset(blk_buffer, 'x', sizeof(blk_buffer));
	begin_last(VIRTIO_BLK_T_IN, LAST - 7, blk_buffer, SIZE);
	blk_complete_read('a', SIZE - 100);
	blk_check_io(IO_READ, DISK - 512, 512);
	blk_complete_read('b', 412);
	answer_size(DISK - 100);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(blk_is_all(blk_buffer, 'a', SIZE - 512));
	CHECK(blk_is_all(blk_buffer + SIZE - 512, 'b', 412));
	CHECK(blk_is_all(blk_buffer + SIZE - 100, 0, 100));
	CHECK_EQ(blk_buffer[SIZE], 'x');
}

static void bounced_tail_reads_as_zeros(void)
{
	blk_make_direct();
	end_file_early(100);
	memset(blk_buffer, 'x', sizeof(blk_buffer));
	begin_last(VIRTIO_BLK_T_IN, LAST, blk_buffer + 1, 512);
	memset(blk.bounce, 'y', sizeof(blk.bounce));
	blk_complete_read('a', 412);
	answer_size(DISK - 100);
	blk_check_done(VIRTIO_BLK_S_OK, 512 + 1);
	CHECK(blk_is_all(blk_buffer + 1, 'a', 412));
	CHECK(blk_is_all(blk_buffer + 1 + 412, 0, 100));
	CHECK_EQ(blk_buffer[513], 'x');
}

/* Somebody else has written into the last sector meanwhile: that is data. */
static void tail_that_has_grown_is_read(void)
{
	end_file_early(100);
	begin_last(VIRTIO_BLK_T_IN, LAST, blk_buffer, 512);
	blk_complete_read('a', 412);
	blk_complete_read('b', 0);
	answer_size(DISK);
	blk_check_io(IO_READ, DISK - 100, 100);
	blk_complete_read('b', 100);
	blk_check_done(VIRTIO_BLK_S_OK, 512 + 1);
	CHECK(blk_is_all(blk_buffer + 412, 'b', 100));
}

/* ---- a truncated file ---- */

static void check_truncated(uint64_t from, uint64_t to)
{
	const char *words = capture_end(),
		   *told = strstr(words, "truncated under the running disk");
	char sizes[64];

	snprintf(sizes, sizeof(sizes), "from %llu to %llu bytes", (unsigned long long)from,
		 (unsigned long long)to);
	REQUIRE(told != NULL);
	CHECK(strstr(words, sizes) != NULL);
	CHECK(!strstr(told + 1, "truncated")); /* once */
	capture_begin(STDERR_FILENO);
}

/* Nothing of it is zeros, and what lies below is served as before. */
static void read_of_what_was_cut_off(void)
{
	blk_begin_read(blk_buffer, SIZE);
	blk_complete(0);
	answer_size(START);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
	begin_last(VIRTIO_BLK_T_IN, 15, blk_buffer, 512);
	blk_complete_read('a', 512);
	blk_check_done(VIRTIO_BLK_S_OK, 513);
	check_truncated(DISK, START);
}

static void read_across_the_new_end(void)
{
	blk_make_direct();
	blk_begin_read(blk_buffer, SIZE);
	blk_complete_read('a', 1000);
	blk_complete_read('a', 488);
	answer_size(START + 1000);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
	check_truncated(DISK, START + 1000);
	/* Where it ends now is no tail of the disk's, but a ruin. */
	CHECK_EQ(image_end_limit(&blk_disk_end), START + 512);
}

/* Once it is known nothing reaches the engine any more, be it of whatever kind. */
static void nothing_goes_beyond_the_new_end(void)
{
	struct virtio_blk_discard_write_zeroes segment = {.sector = 16, .num_sectors = 8};

	image_end_found(&blk_disk_end, DISK, START + SIZE - 512);
	blk_begin_read(blk_buffer, SIZE);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
	blk_begin_write(blk_buffer, SIZE);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	for (int i = 0; i < 2; i++) {
		blk_begin(i ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES, 0);
		blk_out(&segment, sizeof(segment));
		blk_go();
		blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	}
	CHECK_EQ(blk.n_submitted, 0);
	blk_begin_write(blk_buffer, SIZE - 512);
	blk_complete(SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
	/* Shorter still counts, longer does not: what was lost does not come back. */
	image_end_found(&blk_disk_end, DISK, START);
	image_end_found(&blk_disk_end, DISK, DISK);
	CHECK_EQ(image_end_limit(&blk_disk_end), START);
	check_truncated(DISK, START + SIZE - 512);
}

/* The last write of the disk would give a truncated file its size back. */
static void last_write_asks_first(void)
{
	blk_disk_end.ask_at = DISK;
	begin_last(VIRTIO_BLK_T_OUT, LAST, blk_buffer, 512);
	answer_size(DISK);
	blk_check_io(IO_WRITE, DISK - 512, 512);
	blk_complete(512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
	begin_last(VIRTIO_BLK_T_OUT, LAST - 1, blk_buffer, 512);
	blk_check_io(IO_WRITE, DISK - 1024, 512);
	blk_complete(512);
	begin_last(VIRTIO_BLK_T_OUT, LAST - 1, blk_buffer, 1024);
	answer_size(START);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	check_truncated(DISK, START);
}

static void last_write_may_be_bounced(void)
{
	blk_make_direct();
	blk_disk_end.ask_at = DISK;
	memset(blk_buffer, 'a', 513);
	begin_last(VIRTIO_BLK_T_OUT, LAST, blk_buffer + 1, 512);
	answer_size(DISK);
	blk_check_io(IO_WRITE, DISK - 512, 512);
	CHECK(blk.io->iov->iov_base == blk.bounce);
	CHECK(blk_is_all(blk.bounce, 'a', 512));
	blk_complete(512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void size_that_cannot_be_asked_for(void)
{
	blk_begin_read(blk_buffer, SIZE);
	blk_complete(0);
	REQUIRE_EQ(blk.io->op, IO_SIZE);
	blk_complete(-ESTALE);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
}

/* ---- short, but not at the end ---- */

/* Nothing is the end but the end: the data goes on, or it is an error. */
static void reads_of_nothing_are_no_end(void)
{
	blk_begin_read(blk_buffer, SIZE);
	blk_complete_read('a', 1000);
	blk_complete(0);
	answer_size(DISK);
	blk_check_io(IO_READ, START + 1000, SIZE - 1000);
	blk_complete_read('b', SIZE - 1000);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(blk_is_all(blk_buffer + 1000, 'b', SIZE - 1000));
	blk_begin_read(blk_buffer, SIZE);
	blk_complete(0);
	answer_size(DISK);
	blk_complete(0);
	answer_size(DISK);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
}

/* Within a block, over and over: from the start of it. */
static void direct_read_stops_at_any_byte(void)
{
	blk_make_direct();
	memset(blk_buffer, 'x', sizeof(blk_buffer));
	blk_begin_read(blk_buffer, SIZE);
	blk_complete_read('a', 1000);
	blk_check_io(IO_READ, START + 512, SIZE - 512);
	CHECK(blk.io->iov->iov_base == blk_buffer + 512);
	blk_complete_read('b', 1000);
	blk_check_io(IO_READ, START + 1024, SIZE - 1024);
	blk_complete_read('c', SIZE - 1024);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(blk_is_all(blk_buffer, 'a', 512));
	CHECK(blk_is_all(blk_buffer + 512, 'b', 512));
	CHECK(blk_is_all(blk_buffer + 1024, 'c', SIZE - 1024));
	CHECK_EQ(blk_buffer[SIZE], 'x');
}

static void bounced_read_stops_at_any_byte(void)
{
	blk_make_direct();
	blk_begin_read(blk_buffer + 1, SIZE);
	blk_complete_read('a', 1000);
	blk_check_io(IO_READ, START + 512, SIZE - 512);
	blk_complete_read('b', SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(blk_is_all(blk_buffer + 1, 'a', 512));
	CHECK(blk_is_all(blk_buffer + 1 + 512, 'b', SIZE - 512));
}

/* Less than a block each time: only from the very byte is there progress, if that is taken. */
static void direct_read_of_less_than_a_block(void)
{
	blk_make_direct();
	blk_begin_read(blk_buffer, 512);
	blk_complete_read('a', 300);
	answer_size(DISK);
	blk_check_io(IO_READ, START, 512);
	blk_complete_read('a', 300);
	answer_size(DISK);
	blk_check_io(IO_READ, START + 300, 212);
	CHECK(blk.io->iov->iov_base == blk.bounce);
	blk_complete_read('b', 212);
	blk_check_done(VIRTIO_BLK_S_OK, 513);
	CHECK(blk_is_all(blk_buffer, 'a', 300));
	CHECK(blk_is_all(blk_buffer + 300, 'b', 212));
}

static void direct_write_stops_at_any_byte(void)
{
	blk_make_direct();
	blk_begin_write(blk_buffer, SIZE);
	blk_complete(1000);
	blk_check_io(IO_WRITE, START + 512, SIZE - 512);
	CHECK(blk.io->iov->iov_base == blk_buffer + 512);
	blk_complete(511);
	blk_check_io(IO_WRITE, START + 512, SIZE - 512);
	blk_complete(SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void bounced_write_stops_at_any_byte(void)
{
	blk_make_direct();
	memset(blk_buffer + 1, 'a', 512);
	memset(blk_buffer + 513, 'b', SIZE - 512);
	blk_begin_write(blk_buffer + 1, SIZE);
	blk_complete(1000);
	blk_check_io(IO_WRITE, START + 512, SIZE - 512);
	CHECK(blk_is_all(blk.bounce, 'b', SIZE - 512));
	blk_complete(SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void direct_write_of_less_than_a_block(void)
{
	blk_make_direct();
	memset(blk_buffer, 'a', 300);
	memset(blk_buffer + 300, 'b', 212);
	blk_begin_write(blk_buffer, 512);
	blk_complete(300);
	blk_check_io(IO_WRITE, START, 512);
	blk_complete(300);
	blk_check_io(IO_WRITE, START + 300, 212);
	CHECK(blk_is_all(blk.bounce, 'b', 212));
	blk_complete(212);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* Where memory must be aligned more than offsets the rest may need a bounce buffer. */
static void rest_of_a_direct_read_is_bounced(void)
{
	blk_make_direct();
	blk.image.mem_align = 4096;
	blk_begin_read(blk_buffer, SIZE);
	CHECK(blk.io->iov->iov_base == blk_buffer);
	blk_complete_read('a', 512);
	blk_check_io(IO_READ, START + 512, SIZE - 512);
	CHECK(blk.io->iov->iov_base == blk.bounce);
	blk_complete_read('b', SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(blk_is_all(blk_buffer + 512, 'b', SIZE - 512));
}

/* Stopped at a block: for another reason, and the data goes on. */
static void direct_short_read_goes_on(void)
{
	blk_make_direct();
	blk_begin_read(blk_buffer, SIZE);
	blk_complete_read('a', 1024);
	blk_check_io(IO_READ, START + 1024, SIZE - 1024);
	blk_complete_read('b', SIZE - 1024);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(blk_is_all(blk_buffer, 'a', 1024));
	CHECK(blk_is_all(blk_buffer + 1024, 'b', SIZE - 1024));
}

static const struct tap_case cases[] = {
	{"tail_reads_as_zeros", tail_reads_as_zeros},
	{"direct_tail_reads_as_zeros", direct_tail_reads_as_zeros},
	{"bounced_tail_reads_as_zeros", bounced_tail_reads_as_zeros},
	{"tail_that_has_grown_is_read", tail_that_has_grown_is_read},
	{"read_of_what_was_cut_off", read_of_what_was_cut_off},
	{"read_across_the_new_end", read_across_the_new_end},
	{"nothing_goes_beyond_the_new_end", nothing_goes_beyond_the_new_end},
	{"last_write_asks_first", last_write_asks_first},
	{"last_write_may_be_bounced", last_write_may_be_bounced},
	{"size_that_cannot_be_asked_for", size_that_cannot_be_asked_for},
	{"reads_of_nothing_are_no_end", reads_of_nothing_are_no_end},
	{"direct_read_stops_at_any_byte", direct_read_stops_at_any_byte},
	{"bounced_read_stops_at_any_byte", bounced_read_stops_at_any_byte},
	{"direct_read_of_less_than_a_block", direct_read_of_less_than_a_block},
	{"direct_write_stops_at_any_byte", direct_write_stops_at_any_byte},
	{"bounced_write_stops_at_any_byte", bounced_write_stops_at_any_byte},
	{"direct_write_of_less_than_a_block", direct_write_of_less_than_a_block},
	{"rest_of_a_direct_read_is_bounced", rest_of_a_direct_read_is_bounced},
	{"direct_short_read_goes_on", direct_short_read_goes_on},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "blk rw", .setup = blk_setup, .teardown = blk_teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
