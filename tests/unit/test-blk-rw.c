/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/request/rw.c: reads and writes in parts, durable ones, bounce buffers. (The end of the file:
 * test-blk-rw-end.c.)
 */
#include <limits.h>

#include "tests/unit/support/blk-rw.h"

/* ---- parts ---- */

static void short_read_goes_on(void)
{
	blk_begin_read(blk_buffer, SIZE);
	blk_complete_read('a', 1000);
	blk_check_io(IO_READ, START + 1000, SIZE - 1000);
	blk_complete_read('b', 1);
	blk_check_io(IO_READ, START + 1001, SIZE - 1001);
	blk_complete_read('c', SIZE - 1001);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK(blk_is_all(blk_buffer, 'a', 1000));
	CHECK_EQ(blk_buffer[1000], 'b');
	CHECK(blk_is_all(blk_buffer + 1001, 'c', SIZE - 1001));
}

static void short_write_goes_on(void)
{
	blk_begin_write(blk_buffer, SIZE);
	blk_check_io(IO_WRITE, START, SIZE);
	blk_complete(512);
	blk_check_io(IO_WRITE, START + 512, SIZE - 512);
	CHECK(blk.io->iov->iov_base == blk_buffer + 512);
	blk_complete(SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* Short transfers may end in any element. */
static void short_transfers_across_elements(void)
{
	blk_begin(VIRTIO_BLK_T_OUT, 16);
	for (unsigned i = 0; i < 8; i++)
		blk_out(blk_buffer + i * 1024, 512);
	blk_go();
	for (unsigned done = 0; done < SIZE; done += 128) {
		blk_check_io(IO_WRITE, START + done, SIZE - done);
		CHECK_EQ(blk.io->niov, 8 - done / 512);
		CHECK(blk.io->iov->iov_base == blk_buffer + done / 512 * 1024 + done % 512);
		blk_complete(128);
	}
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void error_after_a_part(void)
{
	blk_begin_read(blk_buffer, SIZE);
	blk_complete_read('a', 1024);
	blk_complete(-EIO);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
	blk_begin_write(blk_buffer, SIZE);
	blk_complete(1024);
	blk_complete(-ENOSPC);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
}

/* Neither an error nor progress: not for ever. */
static void write_of_nothing_is_an_error(void)
{
	blk_begin_write(blk_buffer, SIZE);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	blk_begin_write(blk_buffer, SIZE);
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
		blk_in(blk_buffer + i, 1);
	blk_go();
	blk_check_io(IO_READ, START, IOV_MAX);
	CHECK_EQ(blk.io->niov, IOV_MAX);
	blk_complete_read('a', IOV_MAX);
	blk_check_io(IO_READ, START + IOV_MAX, 512);
	blk_complete_read('b', 512);
	blk_check_done(VIRTIO_BLK_S_OK, n + 1);
	CHECK(blk_is_all(blk_buffer, 'a', IOV_MAX));
	CHECK(blk_is_all(blk_buffer + IOV_MAX, 'b', 512));
}

/* ---- durable ---- */

/* A sync follows the last part, and the answer that. */
static void check_durable(bool expected)
{
	blk_begin_write(blk_buffer, SIZE);
	CHECK_EQ(blk.io->flags, 0);
	blk_complete(512);
	blk_complete(SIZE - 512);
	if (expected) {
		CHECK_EQ(blk.io->op, IO_SYNC);
		blk_complete(0);
	}
	blk_check_done(VIRTIO_BLK_S_OK, 1);
	blk_begin_read(blk_buffer, SIZE);
	CHECK_EQ(blk.io->flags, 0);
	blk_complete_read('x', SIZE);
	CHECK(!blk.io);
}

/* Past the page cache to a device each write has its own error, and needs no sync. */
static void durable_write_to_a_device(void)
{
	blk_make_direct();
	blk.image.is_device = true;
	atomic_store(&blk.disk.wce, false);
	blk_begin_write(blk_buffer, SIZE);
	CHECK_EQ(blk.io->flags, IO_F_DSYNC);
	blk_complete(512);
	CHECK_EQ(blk.io->flags, IO_F_DSYNC); /* every part of it */
	blk_complete(SIZE - 512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void durable_write_whose_sync_fails(void)
{
	atomic_store(&blk.disk.wce, false);
	blk_begin_write(blk_buffer, SIZE);
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
	blk_begin_write(blk_buffer + 1, SIZE);
	blk_complete(SIZE);
	CHECK_EQ(blk.io->op, IO_SYNC);
	CHECK(!blk_bounces()); /* others may have it meanwhile */
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* ---- bounce buffers ---- */

static bool bounces(size_t address, size_t size)
{
	bool bounced;

	blk_begin(VIRTIO_BLK_T_IN, 16);
	blk_in(blk_buffer + address, size);
	blk_in(blk_buffer + sizeof(blk_buffer) / 2, SIZE - size);
	blk_go();
	REQUIRE(blk.io);
	bounced = blk.io->iov->iov_base == blk.bounce;
	CHECK_EQ(blk_bounces(), bounced);
	blk_complete_read('x', SIZE);
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
	memset(blk_buffer, 'x', sizeof(blk_buffer));
	blk_begin_read(blk_buffer + 1, SIZE);
	blk_check_io(IO_READ, START, SIZE);
	blk_complete_read('a', SIZE);
	blk_check_done(VIRTIO_BLK_S_OK, SIZE + 1);
	CHECK_EQ(blk_buffer[0], 'x');
	CHECK(blk_is_all(blk_buffer + 1, 'a', SIZE));
	CHECK_EQ(blk_buffer[SIZE + 1], 'x');
}

static void bounced_write_is_gathered(void)
{
	blk_make_direct();
	memset(blk_buffer, 'a', 100);
	memset(blk_buffer + 200, 'b', SIZE - 100);
	blk_begin(VIRTIO_BLK_T_OUT, 16);
	blk_out(blk_buffer, 100);
	blk_out(blk_buffer + 200, SIZE - 100);
	blk_go();
	blk_check_io(IO_WRITE, START, SIZE);
	CHECK(blk_is_all(blk.bounce, 'a', 100));
	CHECK(blk_is_all(blk.bounce + 100, 'b', SIZE - 100));
	blk_complete(SIZE);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void bounced_read_larger_than_the_buffer(void)
{
	const size_t size = 2 * BOUNCE_SIZE + 1024;

	blk_make_direct();
	blk_begin_read(blk_buffer + 1, size);
	blk_check_io(IO_READ, START, BOUNCE_SIZE);
	blk_complete_read('a', BOUNCE_SIZE);
	blk_check_io(IO_READ, START + BOUNCE_SIZE, BOUNCE_SIZE);
	blk_complete_read('b', BOUNCE_SIZE);
	blk_check_io(IO_READ, START + 2 * BOUNCE_SIZE, 1024);
	CHECK(blk_bounces());
	blk_complete_read('c', 1024);
	blk_check_done(VIRTIO_BLK_S_OK, size + 1);
	CHECK(blk_is_all(blk_buffer + 1, 'a', BOUNCE_SIZE));
	CHECK(blk_is_all(blk_buffer + 1 + BOUNCE_SIZE, 'b', BOUNCE_SIZE));
	CHECK(blk_is_all(blk_buffer + 1 + 2 * BOUNCE_SIZE, 'c', 1024));
}

static void bounced_write_in_parts(void)
{
	blk_make_direct();
	memset(blk_buffer + 1, 'a', 512);
	memset(blk_buffer + 513, 'b', BOUNCE_SIZE);
	blk_begin_write(blk_buffer + 1, BOUNCE_SIZE + 512);
	blk_complete(512); /* short */
	blk_check_io(IO_WRITE, START + 512, BOUNCE_SIZE);
	CHECK(blk_is_all(blk.bounce, 'b', BOUNCE_SIZE));
	blk_complete(BOUNCE_SIZE);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void bounced_error_gives_the_buffer_back(void)
{
	blk_make_direct();
	blk_begin_read(blk_buffer + 1, SIZE);
	blk_complete(-EIO);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
	CHECK(!blk_bounces());
}

static void waits_for_a_bounce_buffer(void)
{
	blk_make_direct();
	blk_take_bounce();
	memset(blk_buffer, 'a', SIZE + 1);
	blk_begin_write(blk_buffer + 1, SIZE);
	CHECK(!blk.finished);
	CHECK_EQ(blk.n_submitted, 0);
	blk_give_bounce();
	blk_check_io(IO_WRITE, START, SIZE);
	CHECK(blk_is_all(blk.bounce, 'a', SIZE));
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
	blk_begin_read(blk_buffer + 1, SIZE);
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
