/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O engines: what one operation does to the file, compared with plain system calls, and how
 * it fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/io/offload.h"
#include "tests/frontend/fe_loop.h"
#include "tests/unit/support/engines.h"

static void check_read_write(int handle)
{
	unsigned char *out = eng_buffer(4, 0x5a), *in = eng_buffer(4, 0);
	struct eng_op write_op = eng_transfer(IO_WRITE, handle, out, 4 * BLOCK, 3 * BLOCK);
	struct eng_op read_op = eng_transfer(IO_READ, handle, in, 4 * BLOCK, 3 * BLOCK);

	CHECK_EQ(eng_run(&write_op), 4 * BLOCK);
	CHECK_EQ(eng_run(&read_op), 4 * BLOCK);
	if (eng_is_null()) {
		CHECK_EQ(in[0], 0);
	} else {
		CHECK(eng_file_is(0x5a, 3 * BLOCK, 4 * BLOCK));
		CHECK(eng_file_is(0, 0, 3 * BLOCK));
		CHECK(!memcmp(in, out, 4 * BLOCK));
	}
	free(out);
	free(in);
}

static void test_read_write_buffered(void)
{
	check_read_write(eng.file);
}

static void test_read_write_direct(void)
{
	check_read_write(eng.direct_file);
}

static void test_vectors(void)
{
	unsigned char *out = eng_buffer(6, 1), *in = eng_buffer(6, 0);
	struct iovec three[] = {
		{out, BLOCK}, {out + BLOCK, 3 * BLOCK}, {out + 4 * BLOCK, 2 * BLOCK}};
	struct iovec two[] = {{in, 5 * BLOCK}, {in + 5 * BLOCK, BLOCK}};
	struct eng_op op = eng_transfer(IO_WRITE, eng.direct_file, NULL, 0, BLOCK);

	for (int i = 0; i < 6 * BLOCK; i++)
		out[i] = (unsigned char)(i / 7);
	op.io.iov = three;
	op.io.niov = 3;
	CHECK_EQ(eng_run(&op), 6 * BLOCK);
	op = eng_transfer(IO_READ, eng.direct_file, NULL, 0, BLOCK);
	op.io.iov = two;
	op.io.niov = 2;
	CHECK_EQ(eng_run(&op), 6 * BLOCK);
	CHECK(eng_is_null() || !memcmp(in, out, 6 * BLOCK));
	free(out);
	free(in);
}

/* A 32-bit length of 4 GiB is none at all; the kernel moves what there is. */
static void test_huge_iovec(void)
{
	size_t size = (size_t)4 << 30;
	void *buf = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct eng_op op = eng_transfer(IO_READ, eng.file, buf, size, 0);

	eng_need_io();
	if (buf == MAP_FAILED)
		tap_skip("no 4 GiB of address space");
	eng_fill_file(3, 7);
	CHECK_EQ(eng_run(&op), 3 * BLOCK);
	munmap(buf, size);
}

/* Pages of the file that are not on the medium yet; cachestat(2), Linux 6.5. */
static int64_t dirty_pages(void)
{
	struct {
		uint64_t off, len;
	} all = {0, 0};
	struct {
		uint64_t cache, dirty, writeback, evicted, recently_evicted;
	} stat;

	if (syscall(451, eng.fd, &all, &stat, 0))
		tap_skip("no cachestat(2)");
	return (int64_t)(stat.dirty + stat.writeback);
}

static void check_dsync(void)
{
	unsigned char *buf = eng_buffer(8, 1);
	struct iovec two[] = {{buf, BLOCK}, {buf + BLOCK, 7 * BLOCK}};
	struct eng_op op = eng_transfer(IO_WRITE, eng.file, buf, 8 * BLOCK, 0);

	CHECK_EQ(eng_run(&op), 8 * BLOCK);
	CHECK(dirty_pages() > 0);
	op.io.flags = IO_F_DSYNC;
	CHECK_EQ(eng_run(&op), 8 * BLOCK);
	CHECK_EQ(dirty_pages(), 0);

	op.io.iov = two;
	op.io.niov = 2;
	op.io.flags = 0;
	CHECK_EQ(eng_run(&op), 8 * BLOCK);
	CHECK(dirty_pages() > 0);
	op.io.flags = IO_F_DSYNC;
	CHECK_EQ(eng_run(&op), 8 * BLOCK);
	CHECK_EQ(dirty_pages(), 0);
	free(buf);
}

static void test_dsync(void)
{
	eng_need_io();
	check_dsync();
}

static void check_sync(void)
{
	unsigned char *buf = eng_buffer(8, 1);
	struct eng_op write_op = eng_transfer(IO_WRITE, eng.file, buf, 8 * BLOCK, 0);
	struct eng_op sync_op = eng_range(IO_SYNC, 0, 0);

	CHECK_EQ(eng_run(&write_op), 8 * BLOCK);
	CHECK(dirty_pages() > 0);
	CHECK_EQ(eng_run(&sync_op), 0);
	CHECK_EQ(dirty_pages(), 0);
	free(buf);
}

static void test_sync(void)
{
	eng_need_io();
	check_sync();
}

static struct stat status(void)
{
	struct stat st;

	REQUIRE_OK(fstat(eng.fd, &st));
	return st;
}

static void test_punch_hole(void)
{
	struct eng_op inside_op = eng_range(IO_PUNCH_HOLE, 2 * BLOCK, 3 * BLOCK);
	struct eng_op beyond = eng_range(IO_PUNCH_HOLE, 7 * BLOCK, 100 * BLOCK);
	blkcnt_t blocks;

	eng_need_io();
	eng_fill_file(8, 0xaa);
	blocks = status().st_blocks;
	CHECK_EQ(eng_run(&inside_op), 0);
	CHECK_EQ(status().st_blocks, blocks - 3 * BLOCK / 512);
	CHECK(eng_file_is(0xaa, 0, 2 * BLOCK));
	CHECK(eng_file_is(0, 2 * BLOCK, 3 * BLOCK));
	CHECK(eng_file_is(0xaa, 5 * BLOCK, 3 * BLOCK));
	CHECK_EQ(eng_run(&beyond), 0);
	CHECK_EQ(status().st_size, 8 * BLOCK);
	CHECK(eng_file_is(0, 7 * BLOCK, BLOCK));
}

static void test_zero_range(void)
{
	struct eng_op inside_op = eng_range(IO_ZERO_RANGE, 2 * BLOCK, 3 * BLOCK);
	struct eng_op beyond = eng_range(IO_ZERO_RANGE, 7 * BLOCK, 100 * BLOCK);
	blkcnt_t blocks;

	eng_need_io();
	eng_fill_file(8, 0xaa);
	blocks = status().st_blocks;
	CHECK_EQ(eng_run(&inside_op), 0);
	CHECK(status().st_blocks >= blocks);
	CHECK(eng_file_is(0xaa, 0, 2 * BLOCK));
	CHECK(eng_file_is(0, 2 * BLOCK, 3 * BLOCK));
	CHECK(eng_file_is(0xaa, 5 * BLOCK, 3 * BLOCK));
	CHECK_EQ(eng_run(&beyond), 0);
	CHECK_EQ(status().st_size, 8 * BLOCK);
}

/* A loop device passes a discard on to its file, where it makes a hole. */
/* A loop device on the file, which the engine knows as *handle; its descriptor. */
static int open_loop(int *handle)
{
	char name[32];
	int loop;

	eng_need_others_awake();
	eng_need_io();
	eng_fill_file(256, 0xaa);
	loop = fe_loop_make(eng.path, 512, 0, name, sizeof(name));
	if (loop < 0)
		tap_skip("no loop device can be had");
	REQUIRE_EQ(*handle = target_get_file(eng.target, loop, 0), 2);
	return loop;
}

static void close_loop(int loop, int handle)
{
	target_put_file(eng.target, handle);
	close(loop);
}

static void test_discard_device(void)
{
	struct eng_op op = eng_range(IO_DISCARD, 2 * BLOCK, 3 * BLOCK);
	const int loop = open_loop(&op.io.file);

	CHECK_EQ(eng_run(&op), 0);
	op.io.offset = 1; /* no multiple of a sector */
	CHECK_EQ(eng_run(&op), -EINVAL);
	close_loop(loop, op.io.file);
	CHECK(eng_file_is(0xaa, 0, 2 * BLOCK));
	CHECK(eng_file_is(0, 2 * BLOCK, 3 * BLOCK));
	CHECK(eng_file_is(0xaa, 5 * BLOCK, 3 * BLOCK));
	CHECK_EQ(status().st_blocks, 253 * BLOCK / 512);
}

static void check_size(int handle, uint64_t size)
{
	struct eng_op op = eng_range(IO_SIZE, 0, 0);

	op.io.file = handle;
	CHECK_EQ(eng_run(&op), size);
}

/* As it is now, whatever it was when the file was made known. */
static void test_size(void)
{
	eng_need_others_awake();
	eng_need_io();
	eng_fill_file(8, 0xaa);
	check_size(eng.file, 8 * BLOCK);
	REQUIRE_OK(ftruncate(eng.fd, 1000));
	check_size(eng.file, 1000);
	check_size(eng.direct_file, 1000);
}

/* A block device, which shrinks when its file has. */
static void test_size_of_device(void)
{
	int handle;
	const int loop = open_loop(&handle);

	check_size(handle, 256 * BLOCK);
	REQUIRE_OK(ftruncate(eng.fd, 8 * BLOCK));
	CHECK_OK(ioctl(loop, LOOP_SET_CAPACITY, 0));
	check_size(handle, 8 * BLOCK);
	close_loop(loop, handle);
}

/* ---- errors ---- */

static void expect_error(struct eng_op op, int handle_fd, int error)
{
	op.io.iov = &op.iov;
	CHECK_EQ(eng_run(&op), error);
	CHECK_EQ(io_execute(handle_fd, &op.io), error);
}

static void check_errors(void)
{
	unsigned char *buf = eng_buffer(2, 0);
	int read_only = open(eng.path, O_RDONLY | O_CLOEXEC), handle;

	eng_fill_file(4, 1);
	handle = target_get_file(eng.target, read_only, 0);
	REQUIRE(handle >= 0);
	expect_error(eng_transfer(IO_WRITE, handle, buf, BLOCK, 0), read_only, -EBADF);
	expect_error(eng_transfer(IO_READ, eng.direct_file, buf + 1, BLOCK, 0), eng.direct_fd,
		     -EINVAL);
	expect_error(eng_transfer(IO_READ, eng.direct_file, buf, BLOCK, 1), eng.direct_fd, -EINVAL);
	expect_error(eng_transfer(IO_READ, eng.direct_file, buf, BLOCK - 1, 0), eng.direct_fd,
		     -EINVAL);
	/* The offset -1 is the current position to some system calls. */
	expect_error(eng_transfer(IO_WRITE, eng.file, buf, BLOCK, UINT64_MAX), eng.fd, -EINVAL);
	expect_error(eng_transfer(IO_READ, eng.file, buf, BLOCK, UINT64_MAX), eng.fd, -EINVAL);
	expect_error(eng_transfer(IO_READ, eng.file, buf, BLOCK, UINT64_C(1) << 63), eng.fd,
		     -EINVAL);
	expect_error(eng_range(IO_PUNCH_HOLE, UINT64_MAX, BLOCK), eng.fd, -EINVAL);
	expect_error(eng_range(IO_PUNCH_HOLE, 0, UINT64_MAX), eng.fd, -EINVAL);
	expect_error(eng_range(IO_ZERO_RANGE, 0, 0), eng.fd, -EINVAL);
	expect_error(eng_range(IO_DISCARD, 0, BLOCK), eng.fd, -ENOTTY);
	expect_error(eng_range((enum io_op)200, 0, BLOCK), eng.fd, -EINVAL);
	CHECK(eng_file_is(1, 0, 4 * BLOCK));
	close(read_only);
	free(buf);
}

static void test_errors(void)
{
	eng_need_others_awake();
	eng_need_io();
	check_errors();
}

static void test_unknown_file(void)
{
	static const int bad[] = {-1, 2, TARGET_FILES - 1, TARGET_FILES, 1 << 30};
	unsigned char *buf = eng_buffer(1, 0);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (int op = IO_READ; op <= IO_SIZE; op++) {
			struct eng_op bad_op = eng_transfer((enum io_op)op, bad[i], buf, BLOCK, 0);

			CHECK_EQ(eng_run(&bad_op), -EBADF);
		}
	}
	free(buf);
}

static void check_end_of_file(void)
{
	unsigned char *buf = eng_buffer(4, 0xee);
	struct eng_op across = eng_transfer(IO_READ, eng.file, buf, 4 * BLOCK, 2 * BLOCK);
	struct eng_op behind = eng_transfer(IO_READ, eng.file, buf, BLOCK, 100 * BLOCK);

	eng_fill_file(3, 0x11);
	REQUIRE_OK(ftruncate(eng.fd, 2 * BLOCK + 100));
	CHECK_EQ(eng_run(&across), 100);
	CHECK(buf[99] == 0x11 && buf[100] == 0xee);
	CHECK_EQ(eng_run(&behind), 0);
	free(buf);
}

static void test_end_of_file(void)
{
	eng_need_io();
	check_end_of_file();
}

/* A descriptor that would block is tried again, not failed. */
static void test_try_again(void)
{
	char buf[4] = "";
	struct eng_op op = eng_transfer(IO_READ, -1, buf, 4, 0);
	int ends[2];

	eng_need_io();
	REQUIRE_OK(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
	REQUIRE_EQ(op.io.file = target_get_file(eng.target, ends[0], 0), 2);
	op.io.iov = &op.iov;
	eng_submit(&op);
	eng_run_a_while();
	CHECK_EQ(op.done, 0);
	REQUIRE_EQ(write(ends[1], "abc", 3), 3);
	RUN_UNTIL(op.done);
	CHECK_EQ(op.io.result, 3);
	CHECK(!memcmp(buf, "abc", 3));
	target_put_file(eng.target, op.io.file);
	close(ends[0]);
	close(ends[1]);
}

static const struct tap_case cases[] = {
	{"read_write_buffered", test_read_write_buffered},
	{"read_write_direct", test_read_write_direct},
	{"vectors", test_vectors},
	{"huge_iovec", test_huge_iovec},
	{"dsync", test_dsync},
	{"sync", test_sync},
	{"punch_hole", test_punch_hole},
	{"zero_range", test_zero_range},
	{"discard_device", test_discard_device},
	{"size", test_size},
	{"size_of_device", test_size_of_device},
	{"errors", test_errors},
	{"unknown_file", test_unknown_file},
	{"end_of_file", test_end_of_file},
	{"try_again", test_try_again},
	{0},
};

int main(int argc, char **argv)
{
	return eng_main(argc, argv, cases);
}
