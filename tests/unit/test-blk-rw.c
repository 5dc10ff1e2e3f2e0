/* SPDX-License-Identifier: BSD-3-Clause */
/* src/request/rw.c: reads and writes in parts, short ones, the end of the file, bounce buffers. */
#include <limits.h>

#include "tests/unit/blk.h"

#define SIZE 4096u

static _Alignas(4096) uint8_t buffer[4 * BOUNCE_SIZE];

static void begin_read(void *data, size_t size)
{
	blk_begin(VIRTIO_BLK_T_IN, 16);
	blk_in(data, size);
	blk_go();
}

static void begin_write(const void *data, size_t size)
{
	blk_begin(VIRTIO_BLK_T_OUT, 16);
	blk_out(data, size);
	blk_go();
}

#define START (16 * 512u)

/* Is all of it this byte? */
static bool is_all(const uint8_t *data, uint8_t byte, size_t size)
{
	while (size--)
		if (data[size] != byte)
			return false;
	return true;
}

/* What the engine puts into a read: `size` bytes of this value. */
static void complete_read(uint8_t byte, size_t size)
{
	for (size_t i = 0; i < size; i++)
		vublk_iov_write(blk.io->iov, blk.io->niov, i, &byte, 1);
	blk_complete((int64_t)size);
}

/* ---- parts ---- */

static void short_read_goes_on(void)
{
	begin_read(buffer, SIZE);
	complete_read('a', 1000);
	blk_check_io(IO_READ, START + 1000, SIZE - 1000);
	complete_read('b', 1);
	blk_check_io(IO_READ, START + 1001, SIZE - 1001);
	complete_read('c', SIZE - 1001);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(is_all(buffer, 'a', 1000));
	CHECK_EQ(buffer[1000], 'b');
	CHECK(is_all(buffer + 1001, 'c', SIZE - 1001));
}

static void short_write_goes_on(void)
{
	begin_write(buffer, SIZE);
	blk_check_io(IO_WRITE, START, SIZE);
	blk_complete(512);
	blk_check_io(IO_WRITE, START + 512, SIZE - 512);
	CHECK(blk.io->iov->iov_base == buffer + 512);
	blk_complete(SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* Short transfers may end in any element. */
static void short_transfers_across_elements(void)
{
	blk_begin(VIRTIO_BLK_T_OUT, 16);
	for (unsigned i = 0; i < 8; i++)
		blk_out(buffer + i * 1024, 512);
	blk_go();
	for (unsigned done = 0; done < SIZE; done += 128) {
		blk_check_io(IO_WRITE, START + done, SIZE - done);
		CHECK_EQ(blk.io->niov, 8 - done / 512);
		CHECK(blk.io->iov->iov_base == buffer + done / 512 * 1024 + done % 512);
		blk_complete(128);
	}
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void error_after_a_part(void)
{
	begin_read(buffer, SIZE);
	complete_read('a', 1024);
	blk_complete(-EIO);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
	begin_write(buffer, SIZE);
	blk_complete(1024);
	blk_complete(-ENOSPC);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
}

/* Neither an error nor progress: not for ever. */
static void write_of_nothing_is_an_error(void)
{
	begin_write(buffer, SIZE);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	begin_write(buffer, SIZE);
	blk_complete(512);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
}

/* More elements than one system call takes. */
static void more_elements_than_iov_max(void)
{
	const unsigned n = IOV_MAX + 512;

	blk_begin(VIRTIO_BLK_T_IN, 16);
	for (unsigned i = 0; i < n; i++)
		blk_in(buffer + i, 1);
	blk_go();
	blk_check_io(IO_READ, START, IOV_MAX);
	CHECK_EQ(blk.io->niov, IOV_MAX);
	complete_read('a', IOV_MAX);
	blk_check_io(IO_READ, START + IOV_MAX, 512);
	complete_read('b', 512);
	blk_check_done(VIRTIO_BLK_S_OK, n + 1);
	CHECK(is_all(buffer, 'a', IOV_MAX));
	CHECK(is_all(buffer + IOV_MAX, 'b', 512));
}

/* ---- durable ---- */

/* A sync follows the last part, and the answer that. */
static void check_durable(bool expected)
{
	begin_write(buffer, SIZE);
	CHECK_EQ(blk.io->flags, 0);
	blk_complete(512);
	blk_complete(SIZE - 512);
	if (expected) {
		CHECK_EQ(blk.io->op, IO_SYNC);
		blk_complete(0);
	}
	blk_check_done(VIRTIO_BLK_S_OK, 1);
	begin_read(buffer, SIZE);
	CHECK_EQ(blk.io->flags, 0);
	complete_read('x', SIZE);
	CHECK(!blk.io);
}

/* Past the page cache to a device each write has its own error, and needs no sync. */
static void durable_write_to_a_device(void)
{
	blk_make_direct();
	blk.image.is_device = true;
	atomic_store(&blk.disk.wce, false);
	begin_write(buffer, SIZE);
	CHECK_EQ(blk.io->flags, IO_F_DSYNC);
	blk_complete(512);
	CHECK_EQ(blk.io->flags, IO_F_DSYNC); /* every part of it */
	blk_complete(SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void durable_write_whose_sync_fails(void)
{
	atomic_store(&blk.disk.wce, false);
	begin_write(buffer, SIZE);
	blk_complete(SIZE);
	blk_complete(-EIO);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
}

static void write_is_durable_only_when_it_must(void)
{
	check_durable(false);
	atomic_store(&blk.disk.wce, false);
	check_durable(true);
	atomic_store(&blk.disk.wce, true);
	check_durable(false);
	blk.disk.features &= ~(1ull << VIRTIO_BLK_F_FLUSH);
	check_durable(true);
}

static void bounced_write_is_durable_too(void)
{
	blk_make_direct();
	atomic_store(&blk.disk.wce, false);
	begin_write(buffer + 1, SIZE);
	blk_complete(SIZE);
	CHECK_EQ(blk.io->op, IO_SYNC);
	CHECK(!blk_bounces()); /* others may have it meanwhile */
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* ---- the end of the file ---- */

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
	memset(buffer, 'x', sizeof(buffer));
	begin_last(VIRTIO_BLK_T_IN, LAST - 7, buffer, SIZE);
	complete_read('a', SIZE - 100);
	blk_check_io(IO_READ, DISK - 100, 100);
	blk_complete(0);
	answer_size(DISK - 100);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(is_all(buffer, 'a', SIZE - 100));
	CHECK(is_all(buffer + SIZE - 100, 0, 100));
	CHECK_EQ(buffer[SIZE], 'x');
}

/* O_DIRECT ends in the middle of a block only with the file, and cannot go on from there. */
static void direct_tail_reads_as_zeros(void)
{
	blk_make_direct();
	end_file_early(100);
	memset(buffer, 'x', sizeof(buffer));
	begin_last(VIRTIO_BLK_T_IN, LAST - 7, buffer, SIZE);
	complete_read('a', SIZE - 100);
	blk_check_io(IO_READ, DISK - 512, 512);
	complete_read('b', 412);
	answer_size(DISK - 100);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(is_all(buffer, 'a', SIZE - 512));
	CHECK(is_all(buffer + SIZE - 512, 'b', 412));
	CHECK(is_all(buffer + SIZE - 100, 0, 100));
	CHECK_EQ(buffer[SIZE], 'x');
}

static void bounced_tail_reads_as_zeros(void)
{
	blk_make_direct();
	end_file_early(100);
	memset(buffer, 'x', sizeof(buffer));
	begin_last(VIRTIO_BLK_T_IN, LAST, buffer + 1, 512);
	memset(blk.bounce, 'y', sizeof(blk.bounce));
	complete_read('a', 412);
	answer_size(DISK - 100);
	blk_check_done(VIRTIO_BLK_S_OK, 512 + 1);
	CHECK(is_all(buffer + 1, 'a', 412));
	CHECK(is_all(buffer + 1 + 412, 0, 100));
	CHECK_EQ(buffer[513], 'x');
}

/* Somebody else has written into the last sector meanwhile: that is data. */
static void tail_that_has_grown_is_read(void)
{
	end_file_early(100);
	begin_last(VIRTIO_BLK_T_IN, LAST, buffer, 512);
	complete_read('a', 412);
	complete_read('b', 0);
	answer_size(DISK);
	blk_check_io(IO_READ, DISK - 100, 100);
	complete_read('b', 100);
	blk_check_done(VIRTIO_BLK_S_OK, 512 + 1);
	CHECK(is_all(buffer + 412, 'b', 100));
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
	begin_read(buffer, SIZE);
	blk_complete(0);
	answer_size(START);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
	begin_last(VIRTIO_BLK_T_IN, 15, buffer, 512);
	complete_read('a', 512);
	blk_check_done(VIRTIO_BLK_S_OK, 513);
	check_truncated(DISK, START);
}

static void read_across_the_new_end(void)
{
	blk_make_direct();
	begin_read(buffer, SIZE);
	complete_read('a', 1000);
	complete_read('a', 488);
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

	image_end_found(&blk_disk_end, START + SIZE - 512);
	begin_read(buffer, SIZE);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
	begin_write(buffer, SIZE);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	for (int i = 0; i < 2; i++) {
		blk_begin(i ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES, 0);
		blk_out(&segment, sizeof(segment));
		blk_go();
		blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	}
	CHECK_EQ(blk.n_submitted, 0);
	begin_write(buffer, SIZE - 512);
	blk_complete(SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
	/* Shorter still counts, longer does not: what was lost does not come back. */
	image_end_found(&blk_disk_end, START);
	image_end_found(&blk_disk_end, DISK);
	CHECK_EQ(image_end_limit(&blk_disk_end), START);
	check_truncated(DISK, START + SIZE - 512);
}

/* The last write of the disk would give a truncated file its size back. */
static void last_write_asks_first(void)
{
	blk_disk_end.ask_at = DISK;
	begin_last(VIRTIO_BLK_T_OUT, LAST, buffer, 512);
	answer_size(DISK);
	blk_check_io(IO_WRITE, DISK - 512, 512);
	blk_complete(512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
	begin_last(VIRTIO_BLK_T_OUT, LAST - 1, buffer, 512);
	blk_check_io(IO_WRITE, DISK - 1024, 512);
	blk_complete(512);
	begin_last(VIRTIO_BLK_T_OUT, LAST - 1, buffer, 1024);
	answer_size(START);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	check_truncated(DISK, START);
}

static void last_write_may_be_bounced(void)
{
	blk_make_direct();
	blk_disk_end.ask_at = DISK;
	memset(buffer, 'a', 513);
	begin_last(VIRTIO_BLK_T_OUT, LAST, buffer + 1, 512);
	answer_size(DISK);
	blk_check_io(IO_WRITE, DISK - 512, 512);
	CHECK(blk.io->iov->iov_base == blk.bounce);
	CHECK(is_all(blk.bounce, 'a', 512));
	blk_complete(512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void size_that_cannot_be_asked_for(void)
{
	begin_read(buffer, SIZE);
	blk_complete(0);
	REQUIRE_EQ(blk.io->op, IO_SIZE);
	blk_complete(-ESTALE);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
}

/* ---- short, but not at the end ---- */

/* Nothing is the end but the end: the data goes on, or it is an error. */
static void reads_of_nothing_are_no_end(void)
{
	begin_read(buffer, SIZE);
	complete_read('a', 1000);
	blk_complete(0);
	answer_size(DISK);
	blk_check_io(IO_READ, START + 1000, SIZE - 1000);
	complete_read('b', SIZE - 1000);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(is_all(buffer + 1000, 'b', SIZE - 1000));
	begin_read(buffer, SIZE);
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
	memset(buffer, 'x', sizeof(buffer));
	begin_read(buffer, SIZE);
	complete_read('a', 1000);
	blk_check_io(IO_READ, START + 512, SIZE - 512);
	CHECK(blk.io->iov->iov_base == buffer + 512);
	complete_read('b', 1000);
	blk_check_io(IO_READ, START + 1024, SIZE - 1024);
	complete_read('c', SIZE - 1024);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(is_all(buffer, 'a', 512));
	CHECK(is_all(buffer + 512, 'b', 512));
	CHECK(is_all(buffer + 1024, 'c', SIZE - 1024));
	CHECK_EQ(buffer[SIZE], 'x');
}

static void bounced_read_stops_at_any_byte(void)
{
	blk_make_direct();
	begin_read(buffer + 1, SIZE);
	complete_read('a', 1000);
	blk_check_io(IO_READ, START + 512, SIZE - 512);
	complete_read('b', SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(is_all(buffer + 1, 'a', 512));
	CHECK(is_all(buffer + 1 + 512, 'b', SIZE - 512));
}

/* Less than a block each time: only from the very byte is there progress, if that is taken. */
static void direct_read_of_less_than_a_block(void)
{
	blk_make_direct();
	begin_read(buffer, 512);
	complete_read('a', 300);
	answer_size(DISK);
	blk_check_io(IO_READ, START, 512);
	complete_read('a', 300);
	answer_size(DISK);
	blk_check_io(IO_READ, START + 300, 212);
	CHECK(blk.io->iov->iov_base == blk.bounce);
	complete_read('b', 212);
	blk_check_done(VIRTIO_BLK_S_OK, 513);
	CHECK(is_all(buffer, 'a', 300));
	CHECK(is_all(buffer + 300, 'b', 212));
}

static void direct_write_stops_at_any_byte(void)
{
	blk_make_direct();
	begin_write(buffer, SIZE);
	blk_complete(1000);
	blk_check_io(IO_WRITE, START + 512, SIZE - 512);
	CHECK(blk.io->iov->iov_base == buffer + 512);
	blk_complete(511);
	blk_check_io(IO_WRITE, START + 512, SIZE - 512);
	blk_complete(SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void bounced_write_stops_at_any_byte(void)
{
	blk_make_direct();
	memset(buffer + 1, 'a', 512);
	memset(buffer + 513, 'b', SIZE - 512);
	begin_write(buffer + 1, SIZE);
	blk_complete(1000);
	blk_check_io(IO_WRITE, START + 512, SIZE - 512);
	CHECK(is_all(blk.bounce, 'b', SIZE - 512));
	blk_complete(SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void direct_write_of_less_than_a_block(void)
{
	blk_make_direct();
	memset(buffer, 'a', 300);
	memset(buffer + 300, 'b', 212);
	begin_write(buffer, 512);
	blk_complete(300);
	blk_check_io(IO_WRITE, START, 512);
	blk_complete(300);
	blk_check_io(IO_WRITE, START + 300, 212);
	CHECK(is_all(blk.bounce, 'b', 212));
	blk_complete(212);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* Where memory must be aligned more than offsets the rest may need a bounce buffer. */
static void rest_of_a_direct_read_is_bounced(void)
{
	blk_make_direct();
	blk.image.mem_align = 4096;
	begin_read(buffer, SIZE);
	CHECK(blk.io->iov->iov_base == buffer);
	complete_read('a', 512);
	blk_check_io(IO_READ, START + 512, SIZE - 512);
	CHECK(blk.io->iov->iov_base == blk.bounce);
	complete_read('b', SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(is_all(buffer + 512, 'b', SIZE - 512));
}

/* Stopped at a block: for another reason, and the data goes on. */
static void direct_short_read_goes_on(void)
{
	blk_make_direct();
	begin_read(buffer, SIZE);
	complete_read('a', 1024);
	blk_check_io(IO_READ, START + 1024, SIZE - 1024);
	complete_read('b', SIZE - 1024);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(is_all(buffer, 'a', 1024));
	CHECK(is_all(buffer + 1024, 'b', SIZE - 1024));
}

/* ---- bounce buffers ---- */

static bool bounces(size_t address, size_t size)
{
	bool bounced;

	blk_begin(VIRTIO_BLK_T_IN, 16);
	blk_in(buffer + address, size);
	blk_in(buffer + sizeof(buffer) / 2, SIZE - size);
	blk_go();
	REQUIRE(blk.io);
	bounced = blk.io->iov->iov_base == blk.bounce;
	CHECK_EQ(blk_bounces(), bounced);
	complete_read('x', SIZE);
	CHECK(blk.finished);
	CHECK(!blk_bounces());
	return bounced;
}

static void only_what_o_direct_refuses_is_bounced(void)
{
	blk_make_direct();
	CHECK(!bounces(0, 2048));
	CHECK(!bounces(512, 512));
	CHECK(bounces(1, 2048));
	CHECK(bounces(256, 2048));
	CHECK(bounces(0, 100));
	CHECK(bounces(0, 2048 + 256));
	/* Memory may be aligned less than offsets. */
	blk.image.mem_align = 4;
	CHECK(!bounces(4, 2048));
	CHECK(bounces(2, 2048));
	CHECK(bounces(4, 2044));
}

static void without_o_direct_nothing_is_bounced(void)
{
	blk.image.mem_align = blk.image.offset_align = 512;
	CHECK(!bounces(1, 100));
}

static void bounced_read_is_copied(void)
{
	blk_make_direct();
	memset(buffer, 'x', sizeof(buffer));
	begin_read(buffer + 1, SIZE);
	blk_check_io(IO_READ, START, SIZE);
	complete_read('a', SIZE);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK_EQ(buffer[0], 'x');
	CHECK(is_all(buffer + 1, 'a', SIZE));
	CHECK_EQ(buffer[SIZE + 1], 'x');
}

static void bounced_write_is_gathered(void)
{
	blk_make_direct();
	memset(buffer, 'a', 100);
	memset(buffer + 200, 'b', SIZE - 100);
	blk_begin(VIRTIO_BLK_T_OUT, 16);
	blk_out(buffer, 100);
	blk_out(buffer + 200, SIZE - 100);
	blk_go();
	blk_check_io(IO_WRITE, START, SIZE);
	CHECK(is_all(blk.bounce, 'a', 100));
	CHECK(is_all(blk.bounce + 100, 'b', SIZE - 100));
	blk_complete(SIZE);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void bounced_read_larger_than_the_buffer(void)
{
	const size_t size = 2 * BOUNCE_SIZE + 1024;

	blk_make_direct();
	begin_read(buffer + 1, size);
	blk_check_io(IO_READ, START, BOUNCE_SIZE);
	complete_read('a', BOUNCE_SIZE);
	blk_check_io(IO_READ, START + BOUNCE_SIZE, BOUNCE_SIZE);
	complete_read('b', BOUNCE_SIZE);
	blk_check_io(IO_READ, START + 2 * BOUNCE_SIZE, 1024);
	CHECK(blk_bounces());
	complete_read('c', 1024);
	blk_check_done(VIRTIO_BLK_S_OK, size + 1);
	CHECK(is_all(buffer + 1, 'a', BOUNCE_SIZE));
	CHECK(is_all(buffer + 1 + BOUNCE_SIZE, 'b', BOUNCE_SIZE));
	CHECK(is_all(buffer + 1 + 2 * BOUNCE_SIZE, 'c', 1024));
}

static void bounced_write_in_parts(void)
{
	blk_make_direct();
	memset(buffer + 1, 'a', 512);
	memset(buffer + 513, 'b', BOUNCE_SIZE);
	begin_write(buffer + 1, BOUNCE_SIZE + 512);
	blk_complete(512); /* short */
	blk_check_io(IO_WRITE, START + 512, BOUNCE_SIZE);
	CHECK(is_all(blk.bounce, 'b', BOUNCE_SIZE));
	blk_complete(BOUNCE_SIZE);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void bounced_error_gives_the_buffer_back(void)
{
	blk_make_direct();
	begin_read(buffer + 1, SIZE);
	blk_complete(-EIO);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
	CHECK(!blk_bounces());
}

static void waits_for_a_bounce_buffer(void)
{
	blk_make_direct();
	blk_take_bounce();
	memset(buffer, 'a', SIZE + 1);
	begin_write(buffer + 1, SIZE);
	CHECK(!blk.finished);
	CHECK_EQ(blk.n_submitted, 0);
	blk_give_bounce();
	blk_check_io(IO_WRITE, START, SIZE);
	CHECK(is_all(blk.bounce, 'a', SIZE));
	blk_complete(SIZE);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void *make_none(void)
{
	return NULL;
}

static void no_memory_for_a_bounce_buffer(void)
{
	blk_make_direct();
	blk_take_bounce();
	blk.pool.n = 0;
	blk.pool.make = make_none;
	begin_read(buffer + 1, SIZE);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
	CHECK_EQ(blk.n_submitted, 0);
	blk_give_bounce();
}

static const struct tap_case cases[] = {
	{"short_read_goes_on", short_read_goes_on},
	{"short_write_goes_on", short_write_goes_on},
	{"short_transfers_across_elements", short_transfers_across_elements},
	{"error_after_a_part", error_after_a_part},
	{"write_of_nothing_is_an_error", write_of_nothing_is_an_error},
	{"more_elements_than_iov_max", more_elements_than_iov_max},
	{"write_is_durable_only_when_it_must", write_is_durable_only_when_it_must},
	{"bounced_write_is_durable_too", bounced_write_is_durable_too},
	{"durable_write_to_a_device", durable_write_to_a_device},
	{"durable_write_whose_sync_fails", durable_write_whose_sync_fails},
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
	{"only_what_o_direct_refuses_is_bounced", only_what_o_direct_refuses_is_bounced},
	{"without_o_direct_nothing_is_bounced", without_o_direct_nothing_is_bounced},
	{"bounced_read_is_copied", bounced_read_is_copied},
	{"bounced_write_is_gathered", bounced_write_is_gathered},
	{"bounced_read_larger_than_the_buffer", bounced_read_larger_than_the_buffer},
	{"bounced_write_in_parts", bounced_write_in_parts},
	{"bounced_error_gives_the_buffer_back", bounced_error_gives_the_buffer_back},
	{"waits_for_a_bounce_buffer", waits_for_a_bounce_buffer},
	{"no_memory_for_a_bounce_buffer", no_memory_for_a_bounce_buffer},
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
