/* SPDX-License-Identifier: BSD-3-Clause */
/* src/request/parse.c and exec.c: framing, every check, the status byte and the used length. */
#include "src/request/merge.h"
#include "tests/unit/support/blk.h"
#include "tests/unit/support/capture.h"

static uint8_t buffer[8192];

/* Is the request refused with this status at once, without any I/O? */
static void check_refused(uint8_t status, uint32_t written)
{
	blk_go();
	CHECK_EQ(blk.n_submitted, 0);
	blk_check_done(status, written);
}

/* ---- framing ---- */

static void read_in_the_usual_form(void)
{
	blk_begin(VIRTIO_BLK_T_IN, 8);
	blk_in(buffer, 512);
	blk_go();
	blk_check_io(IO_READ, 4096, 512);
	CHECK(blk.io->iov->iov_base == buffer);
	blk_complete(512);
	blk_check_done(VIRTIO_BLK_S_OK, 513);
}

static void status_shares_a_range_with_the_data(void)
{
	blk_begin(VIRTIO_BLK_T_IN, 0);
	blk_in(buffer, 1024);
	blk_in(buffer + 2048, 512 + 1);
	blk_req_begin(&blk.req);
	blk_merge_flush(&blk.env);
	blk_check_io(IO_READ, 0, 1536);
	buffer[2048 + 512] = BLK_NO_STATUS;
	blk_complete(1536);
	CHECK_EQ(buffer[2048 + 512], VIRTIO_BLK_S_OK);
	CHECK_EQ(blk.written, 1537);
}

static void data_byte_by_byte(void)
{
	blk_begin(VIRTIO_BLK_T_IN, 0);
	for (unsigned i = 0; i < 512; i++)
		blk_in(buffer + 2 * i, 1);
	blk_go();
	blk_check_io(IO_READ, 0, 512);
	CHECK_EQ(blk.io->niov, 512);
	blk_complete(512);
	blk_check_done(VIRTIO_BLK_S_OK, 513);
}

static void header_shares_a_range_with_the_data(void)
{
	static struct {
		struct virtio_blk_outhdr header;
		uint8_t data[1024];
	} both = {.header = {.type = VIRTIO_BLK_T_OUT, .sector = 3}};

	blk_begin_raw();
	blk_out(&both, sizeof(both));
	blk_go();
	blk_check_io(IO_WRITE, 3 * 512, 1024);
	CHECK(blk.io->iov->iov_base == both.data);
	blk_complete(1024);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void header_byte_by_byte(void)
{
	static const struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_OUT, .sector = 0x1234};

	blk_begin_raw();
	for (unsigned i = 0; i < sizeof(header); i++)
		blk_out((const char *)&header + i, 1);
	blk_out(buffer, 512);
	blk_go();
	blk_check_io(IO_WRITE, 0x1234 * 512, 512);
	blk_complete(512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void header_too_short(void)
{
	for (size_t size = 1; size < sizeof(blk.header); size++) {
		blk_begin_raw();
		blk_out(&blk.header, size);
		check_refused(VIRTIO_BLK_S_IOERR, 1);
	}
}

static void no_header(void)
{
	blk_begin_raw();
	check_refused(VIRTIO_BLK_S_IOERR, 1);
	blk_begin_raw();
	blk_in(buffer, 16); /* a header that is writable is none */
	check_refused(VIRTIO_BLK_S_IOERR, 0);
}

/* Not even an error can be said; but the chain goes back. */
static void no_status_byte(void)
{
	blk_begin(VIRTIO_BLK_T_OUT, 0);
	blk_out(buffer, 512);
	blk_req_begin(&blk.req);
	blk_merge_flush(&blk.env);
	CHECK(blk.malformed);
	CHECK_EQ(blk.n_submitted, 0);
	CHECK(blk.finished);
	CHECK_EQ(blk.written, 0);
}

static void empty_chain(void)
{
	blk_begin_raw();
	blk_req_begin(&blk.req);
	blk_merge_flush(&blk.env);
	CHECK(blk.malformed);
	CHECK(blk.finished);
}

/* The guest may change it at any time. */
static void header_is_read_once(void)
{
	blk_begin(VIRTIO_BLK_T_IN, 8);
	blk_in(buffer, 512);
	blk_go();
	blk.header = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_OUT, .sector = UINT64_MAX};
	blk_complete(256);
	blk_check_io(IO_READ, 4096 + 256, 256);
	blk_complete(256);
	blk_check_done(VIRTIO_BLK_S_OK, 513);
}

/* ---- types ---- */

static void unknown_types_are_unsupported(void)
{
	static const uint32_t types[] = {2, 3, 6, 9, 10, 12, 14, 15, 26, 0x80000000, UINT32_MAX};

	for (unsigned i = 0; i < sizeof(types) / sizeof(*types); i++) {
		blk_begin(types[i], 0);
		check_refused(VIRTIO_BLK_S_UNSUPP, 1);
		blk_begin(types[i], 0);
		blk_in(buffer, 512);
		check_refused(VIRTIO_BLK_S_UNSUPP, 0);
	}
}

static void flush_syncs_the_file(void)
{
	blk_begin(VIRTIO_BLK_T_FLUSH, 0);
	blk_go();
	REQUIRE(blk.io);
	CHECK_EQ(blk.io->op, IO_SYNC);
	CHECK_EQ(blk.n_submitted, 1);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* Type 5: VIRTIO_BLK_T_FLUSH_OUT of drivers from before the specification. */
static void flush_of_old_drivers(void)
{
	blk_begin(5, 0);
	blk_go();
	REQUIRE(blk.io);
	CHECK_EQ(blk.io->op, IO_SYNC);
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
	blk_begin(5, 0);
	blk_go();
	blk_complete(-EIO);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
}

/* Without asking the host: squashfs has no fsync, others say EROFS. */
static void flush_of_a_read_only_disk(void)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_FLUSH, 5};

	blk.image.read_only = true;
	for (unsigned i = 0; i < 2; i++) {
		blk_begin(types[i], 0);
		blk_go();
		CHECK_EQ(blk.n_submitted, 0);
		blk_check_done(VIRTIO_BLK_S_OK, 1);
	}
}

static void flush_that_fails_is_an_error(void)
{
	blk_begin(VIRTIO_BLK_T_FLUSH, 0);
	blk_go();
	blk_complete(-EIO);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
}

/*
 * The kernel tells of a write-back that failed once: the next sync would say that all is well, and
 * the data is gone.
 */
static void flush_that_failed_is_remembered(void)
{
	blk_begin(VIRTIO_BLK_T_FLUSH, 0);
	blk_go();
	blk_complete(-ENOSPC);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	for (unsigned i = 0; i < 3; i++) {
		blk_begin(VIRTIO_BLK_T_FLUSH, 0);
		blk_go();
		CHECK_EQ(blk.n_submitted, 0);
		blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	}
	CHECK(strstr(capture_so_far(), "restart vublkd"));
	/* Writes that need not be durable go on; those that must are written, and fail. */
	for (unsigned durable = 0; durable < 2; durable++) {
		atomic_store(&blk.disk.wce, !durable);
		blk_begin(VIRTIO_BLK_T_OUT, 8);
		blk_out(buffer, 512);
		blk_go();
		blk_complete(512);
		blk_check_done(durable ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK, 1);
	}
}

/* A write past the page cache to a device has told of its error itself. */
static void flush_of_a_device_that_failed_is_not_remembered(void)
{
	blk_make_direct();
	blk.image.is_device = true;
	blk_begin(VIRTIO_BLK_T_FLUSH, 0);
	blk_go();
	blk_complete(-EIO);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	blk_begin(VIRTIO_BLK_T_FLUSH, 0);
	blk_go();
	blk_complete(0);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

/* FUSE may have a file system without a sync. */
static void flush_where_there_is_none(void)
{
	for (unsigned i = 0; i < 2; i++) {
		blk_begin(VIRTIO_BLK_T_FLUSH, 0);
		blk_go();
		blk_complete(-ENOSYS);
		blk_check_done(VIRTIO_BLK_S_OK, 1);
	}
}

/* "Not supported" by the host is an I/O error to the guest, who has been offered it. */
static void host_that_does_not_support_it(void)
{
	blk_begin(VIRTIO_BLK_T_FLUSH, 0);
	blk_go();
	blk_complete(-EOPNOTSUPP);
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
}

static void errors_are_logged_and_limited(void)
{
	unsigned lines = 0;
	const char *text;

	for (unsigned i = 0; i < 100; i++) {
		blk_begin(VIRTIO_BLK_T_OUT, 8);
		blk_out(buffer, 512);
		blk_go();
		blk_complete(-ENOSPC);
		blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	}
	text = capture_end();
	CHECK(!strncmp(
		text, "vublkd: error: test: queue 3: write of 512 bytes at sector 8 failed: ",
		strlen("vublkd: error: test: queue 3: write of 512 bytes at sector 8 failed: ")));
	CHECK(strstr(text, "No space left on device\n"));
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	CHECK_EQ(lines, LOG_LIMIT_BURST);
	capture_begin(STDERR_FILENO);
}

/* But the first that reaches beyond the disk: the guest may believe in a larger one. */
static void refusals_are_not_logged(void)
{
	const char *text, *told;

	blk_begin(VIRTIO_BLK_T_IN, 0);
	blk_in(buffer, 511);
	check_refused(VIRTIO_BLK_S_IOERR, 0);
	CHECK_TEXT(capture_end(), "");
	capture_begin(STDERR_FILENO);
	for (int i = 0; i < 3; i++) {
		blk_begin(VIRTIO_BLK_T_IN, BLK_CAPACITY - 1);
		blk_in(buffer, 1024);
		check_refused(VIRTIO_BLK_S_IOERR, 0);
	}
	text = capture_end();
	told = strstr(text, "reaches beyond the end of the disk");
	CHECK(told && !strstr(told + 1, "error"));
	capture_begin(STDERR_FILENO);
}

/* ---- GET_ID ---- */

static void check_id(const char *serial, size_t room, const char *expected, uint32_t written)
{
	blk.disk.serial = serial;
	memset(buffer, 'x', sizeof(buffer));
	blk_begin(VIRTIO_BLK_T_GET_ID, 0);
	if (room)
		blk_in(buffer, room);
	check_refused(VIRTIO_BLK_S_OK, written);
	CHECK(!memcmp(buffer, expected, room < 20 ? room : 20));
	CHECK_EQ(buffer[room < 20 ? room : 20], 'x');
}

static void id_is_padded_with_zeros(void)
{
	check_id("disk1", 20, "disk1\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 21);
	check_id("", 20, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 21);
	check_id("12345678901234567890", 20, "12345678901234567890", 21);
}

static void id_is_cut_to_the_room_there_is(void)
{
	check_id("disk1", 3, "dis", 4);
	check_id("disk1", 0, "", 1);
	/* The status is beyond what was written, so it does not count. */
	check_id("disk1", 512, "disk1\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
}

static void id_of_another_length_is_cut(void)
{
	check_id("123456789012345678901234", 20, "12345678901234567890", 21);
}

/* ---- ranges ---- */

static void begin_io(uint32_t type, uint64_t sector, size_t size)
{
	blk_begin(type, sector);
	if (type == VIRTIO_BLK_T_OUT)
		blk_out(buffer, size);
	else
		blk_in(buffer, size);
}

static void check_good(uint64_t sector, size_t size)
{
	begin_io(VIRTIO_BLK_T_IN, sector, size);
	blk_go();
	blk_check_io(IO_READ, sector * 512, size);
	blk_complete((int64_t)size);
	blk_check_done(VIRTIO_BLK_S_OK, size + 1);
	begin_io(VIRTIO_BLK_T_OUT, sector, size);
	blk_go();
	blk_check_io(IO_WRITE, sector * 512, size);
	blk_complete((int64_t)size);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
}

static void check_bad(uint64_t sector, size_t size)
{
	begin_io(VIRTIO_BLK_T_IN, sector, size);
	check_refused(VIRTIO_BLK_S_IOERR, 0);
	begin_io(VIRTIO_BLK_T_OUT, sector, size);
	check_refused(VIRTIO_BLK_S_IOERR, 1);
}

static void ranges_on_the_disk(void)
{
	check_good(0, 512);
	check_good(0, 8192);
	check_good(BLK_CAPACITY - 1, 512);
	check_good(BLK_CAPACITY - 16, 8192);
}

static void ranges_beyond_the_disk(void)
{
	check_bad(BLK_CAPACITY, 512);
	check_bad(BLK_CAPACITY - 1, 1024);
	check_bad(BLK_CAPACITY + 1, 512);
}

static void ranges_that_overflow(void)
{
	check_bad(UINT64_MAX, 512);
	check_bad(UINT64_MAX, 1024);
	check_bad(UINT64_MAX / 512, 512);
	check_bad(UINT64_MAX / 512 + 1, 512); /* times 512 is 0 */
	check_bad(1ull << 63, 512);
}

static void fractions_of_a_sector(void)
{
	check_bad(0, 511);
	check_bad(0, 513);
	check_bad(0, 1);
	check_bad(0, 8191);
}

static void fractions_of_a_block(void)
{
	blk.image.block_size = 4096;
	check_good(8, 4096);
	check_bad(1, 4096);
	check_bad(7, 4096);
	check_bad(8, 512);
	check_bad(8, 4096 + 512);
}

static void nothing_is_done_at_once(void)
{
	blk_begin(VIRTIO_BLK_T_IN, 0);
	check_refused(VIRTIO_BLK_S_OK, 1);
	blk_begin(VIRTIO_BLK_T_OUT, BLK_CAPACITY);
	check_refused(VIRTIO_BLK_S_OK, 1);
	blk_begin(VIRTIO_BLK_T_OUT, BLK_CAPACITY + 1);
	check_refused(VIRTIO_BLK_S_IOERR, 1);
}

static void read_only_refuses_writes_alone(void)
{
	blk.image.read_only = true;
	begin_io(VIRTIO_BLK_T_OUT, 0, 512);
	check_refused(VIRTIO_BLK_S_IOERR, 1);
	blk_begin(VIRTIO_BLK_T_OUT, 0);
	check_refused(VIRTIO_BLK_S_IOERR, 1);
	begin_io(VIRTIO_BLK_T_IN, 0, 512);
	blk_go();
	blk_check_io(IO_READ, 0, 512);
	blk_complete(512);
	blk_check_done(VIRTIO_BLK_S_OK, 513);
}

/* What a read did not fill must not be said to be written. */
static void failed_read_says_nothing_was_written(void)
{
	begin_io(VIRTIO_BLK_T_IN, 0, 512);
	blk_go();
	blk_complete(-EIO);
	blk_check_done(VIRTIO_BLK_S_IOERR, 0);
}

/* A write may come with writable bytes before its status. */
static void write_with_room_before_the_status(void)
{
	begin_io(VIRTIO_BLK_T_OUT, 0, 512);
	blk_in(buffer, 10);
	blk_go();
	blk_complete(512);
	blk_check_done(VIRTIO_BLK_S_OK, 0);
}

/* ---- taking back ---- */

static uint8_t cancel_data[1024] __attribute__((aligned(4096)));

static void begin_write(size_t size)
{
	blk_begin(VIRTIO_BLK_T_OUT, 8);
	blk_out(cancel_data, size);
	blk_go();
}

static void cancelled_before_the_kernel_saw_it(void)
{
	begin_write(512);
	CHECK(blk.req.active);
	CHECK(blk_req_cancel(&blk.req));
	CHECK(blk.abandoned && !blk.finished);
	CHECK(!blk.req.active);
}

static void cancelled_too_late(void)
{
	begin_write(512);
	blk.too_late = true;
	CHECK(!blk_req_cancel(&blk.req));
	CHECK(!blk.abandoned && blk.req.active);
	/* All of it is done: it is answered. */
	blk.env.abandoning = true;
	blk_complete(512);
	blk_check_done(VIRTIO_BLK_S_OK, 1);
	CHECK(!blk.req.active);
}

static void rest_is_not_submitted_any_more(void)
{
	begin_write(1024);
	blk.env.abandoning = true;
	blk_complete(512);
	CHECK(blk.abandoned && !blk.finished);
	CHECK(!blk.req.active);
	CHECK_EQ(blk.n_submitted, 1);
}

static void cancelled_with_its_bounce_buffer(void)
{
	blk_make_direct();
	blk_begin(VIRTIO_BLK_T_OUT, 8);
	blk_out(cancel_data + 1, 512);
	blk_go();
	CHECK(blk_bounces());
	CHECK(blk_req_cancel(&blk.req));
	CHECK(blk.abandoned);
	CHECK(!blk_bounces());
}

static void cancelled_while_it_waits_for_a_bounce_buffer(void)
{
	blk_make_direct();
	blk_take_bounce();
	blk_begin(VIRTIO_BLK_T_OUT, 8);
	blk_out(cancel_data + 1, 512);
	blk_go();
	CHECK(!blk.io);
	CHECK(blk_req_cancel(&blk.req));
	CHECK(blk.abandoned && !blk.bounce_user.waiting);
	blk_give_bounce();
}

static void answered_request_is_not_active(void)
{
	blk_begin(VIRTIO_BLK_T_OUT, 1ull << 50);
	blk_out(cancel_data, 512);
	blk_go();
	blk_check_done(VIRTIO_BLK_S_IOERR, 1);
	CHECK(!blk.req.active);
}

static const struct tap_case cases[] = {
	{"read_in_the_usual_form", read_in_the_usual_form},
	{"status_shares_a_range_with_the_data", status_shares_a_range_with_the_data},
	{"data_byte_by_byte", data_byte_by_byte},
	{"header_shares_a_range_with_the_data", header_shares_a_range_with_the_data},
	{"header_byte_by_byte", header_byte_by_byte},
	{"header_too_short", header_too_short},
	{"no_header", no_header},
	{"no_status_byte", no_status_byte},
	{"empty_chain", empty_chain},
	{"header_is_read_once", header_is_read_once},
	{"unknown_types_are_unsupported", unknown_types_are_unsupported},
	{"flush_syncs_the_file", flush_syncs_the_file},
	{"flush_of_old_drivers", flush_of_old_drivers},
	{"flush_of_a_read_only_disk", flush_of_a_read_only_disk},
	{"flush_that_fails_is_an_error", flush_that_fails_is_an_error},
	{"flush_that_failed_is_remembered", flush_that_failed_is_remembered},
	{"flush_of_a_device_that_failed_is_not_remembered",
	 flush_of_a_device_that_failed_is_not_remembered},
	{"flush_where_there_is_none", flush_where_there_is_none},
	{"host_that_does_not_support_it", host_that_does_not_support_it},
	{"errors_are_logged_and_limited", errors_are_logged_and_limited},
	{"refusals_are_not_logged", refusals_are_not_logged},
	{"id_is_padded_with_zeros", id_is_padded_with_zeros},
	{"id_is_cut_to_the_room_there_is", id_is_cut_to_the_room_there_is},
	{"id_of_another_length_is_cut", id_of_another_length_is_cut},
	{"ranges_on_the_disk", ranges_on_the_disk},
	{"ranges_beyond_the_disk", ranges_beyond_the_disk},
	{"ranges_that_overflow", ranges_that_overflow},
	{"fractions_of_a_sector", fractions_of_a_sector},
	{"fractions_of_a_block", fractions_of_a_block},
	{"nothing_is_done_at_once", nothing_is_done_at_once},
	{"read_only_refuses_writes_alone", read_only_refuses_writes_alone},
	{"failed_read_says_nothing_was_written", failed_read_says_nothing_was_written},
	{"write_with_room_before_the_status", write_with_room_before_the_status},
	{"cancelled_before_the_kernel_saw_it", cancelled_before_the_kernel_saw_it},
	{"cancelled_too_late", cancelled_too_late},
	{"rest_is_not_submitted_any_more", rest_is_not_submitted_any_more},
	{"cancelled_with_its_bounce_buffer", cancelled_with_its_bounce_buffer},
	{"cancelled_while_it_waits_for_a_bounce_buffer",
	 cancelled_while_it_waits_for_a_bounce_buffer},
	{"answered_request_is_not_active", answered_request_is_not_active},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "blk req", .setup = blk_setup, .teardown = blk_teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
