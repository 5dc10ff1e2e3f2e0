/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/image/lock.c, first against itself and against single bytes held by hand, then against
 * QEMU's own tools, in both directions. An OFD lock belongs to an open file, so two open() calls
 * in one process are as good as two processes.
 */
#include "src/image/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/tap.h"

static char path[4096];
static int a, b; /* two open files of the image */

static int open_image(void)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	REQUIRE(fd >= 0);
	return fd;
}

static void setup(void)
{
	int fd;

	snprintf(path, sizeof(path), "%s/image", getenv("TMPDIR"));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	REQUIRE(fd >= 0);
	REQUIRE_OK(ftruncate(fd, 1 << 20));
	close(fd);
	a = open_image();
	b = open_image();
}

static void teardown(void)
{
	close(a);
	close(b);
}

/* image_lock() that also checks what it says about the holder. */
static int lock(int fd, bool write)
{
	const char *holder = "unset";
	int r = image_lock(fd, write, &holder);

	CHECK((r == -EAGAIN) == (holder != NULL));
	return r;
}

/* Takes one byte by hand, as another program would. */
static void hold(int fd, short type, off_t byte)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	REQUIRE_OK(fcntl(fd, F_OFD_SETLK, &fl));
}

/* Does an open file other than `fd` hold the byte? */
static bool held(int fd, off_t byte)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	REQUIRE_OK(fcntl(fd, F_OFD_GETLK, &fl));
	return fl.l_type != F_UNLCK;
}

/* Are exactly these bytes (ended by -1) held, as seen from b? */
static void check_held(const int *bytes)
{
	for (int i = 0; i < 512; i++) {
		bool expected = *bytes == i;

		bytes += expected;
		tap_check(held(b, i) == expected, false, __FILE__, __LINE__, "byte %d is %sheld", i,
			  expected ? "not " : "");
	}
}

#define CHECK_HELD(...) check_held((const int[]){__VA_ARGS__ __VA_OPT__(, ) - 1})

/* ---- against itself ---- */

static void writer_holds_its_bytes(void)
{
	CHECK_OK(lock(a, true));
	CHECK_HELD(100, 101, 201, 203);
	image_unlock(a);
	CHECK_HELD();
}

static void reader_holds_its_bytes(void)
{
	CHECK_OK(lock(a, false));
	CHECK_HELD(100, 201, 203);
	image_unlock(a);
	CHECK_HELD();
}

static void read_only_file_can_be_locked(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	CHECK_OK(lock(fd, false));
	CHECK_HELD(100, 201, 203);
	close(fd);
	CHECK_HELD();
}

static void writers_exclude_each_other(void)
{
	CHECK_OK(lock(a, true));
	CHECK_EQ(lock(b, true), -EAGAIN);
	image_unlock(a);
	CHECK_OK(lock(b, true));
	CHECK_EQ(lock(a, true), -EAGAIN);
}

static void writer_and_reader_exclude_each_other(void)
{
	CHECK_OK(lock(a, true));
	CHECK_EQ(lock(b, false), -EAGAIN);
	image_unlock(a);
	CHECK_OK(lock(b, false));
	CHECK_EQ(lock(a, true), -EAGAIN);
}

static void readers_share(void)
{
	CHECK_OK(lock(a, false));
	CHECK_OK(lock(b, false));
	CHECK_EQ(held(a, 100), true);
}

static void refused_lock_leaves_nothing(void)
{
	hold(b, F_RDLCK, 101);
	CHECK_EQ(lock(a, true), -EAGAIN);
	CHECK_HELD();
	hold(b, F_UNLCK, 101);
	hold(b, F_WRLCK, 203); /* refused in the middle of taking */
	CHECK_EQ(lock(a, true), -EAGAIN);
	CHECK_HELD();
}

static void same_file_can_lock_again(void)
{
	CHECK_OK(lock(a, true));
	CHECK_OK(lock(a, true));
	CHECK_HELD(100, 101, 201, 203);
}

static void duplicate_keeps_the_lock(void)
{
	int copy = fcntl(a, F_DUPFD_CLOEXEC, 0);

	CHECK_OK(lock(a, true));
	close(a);
	CHECK_EQ(lock(b, true), -EAGAIN);
	close(copy);
	CHECK_OK(lock(b, true));
	a = open_image(); /* for the teardown */
}

static void killed_process_holds_nothing(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	REQUIRE_OK(pipe2(ready, O_CLOEXEC));
	pid = fork();
	if (!pid) {
		int fd = open(path, O_RDWR);
		const char *holder;

		_exit(close(a) || close(b) || image_lock(fd, true, &holder) ||
		      write(ready[1], "", 1) != 1 || pause());
	}
	close(ready[1]);
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	CHECK_EQ(lock(b, true), -EAGAIN);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK_OK(lock(b, true));
	close(ready[0]);
}

static void unlock_without_lock_does_nothing(void)
{
	CHECK_OK(lock(b, true));
	image_unlock(a);
	CHECK(held(a, 101));
	image_unlock(-1);
}

static void bad_descriptor_is_reported(void)
{
	CHECK_EQ(lock(-1, true), -EBADF);
}

static const struct tap_case own_cases[] = {
	{"writer_holds_its_bytes", writer_holds_its_bytes},
	{"reader_holds_its_bytes", reader_holds_its_bytes},
	{"read_only_file_can_be_locked", read_only_file_can_be_locked},
	{"writers_exclude_each_other", writers_exclude_each_other},
	{"writer_and_reader_exclude_each_other", writer_and_reader_exclude_each_other},
	{"readers_share", readers_share},
	{"refused_lock_leaves_nothing", refused_lock_leaves_nothing},
	{"same_file_can_lock_again", same_file_can_lock_again},
	{"duplicate_keeps_the_lock", duplicate_keeps_the_lock},
	{"killed_process_holds_nothing", killed_process_holds_nothing},
	{"unlock_without_lock_does_nothing", unlock_without_lock_does_nothing},
	{"bad_descriptor_is_reported", bad_descriptor_is_reported},
	{0},
};

/* ---- against every byte, held by hand ---- */

/* Which bytes of another's shut us out? All others must not. */
static void check_refusals(bool write, const int *refused)
{
	for (int byte = 0; byte < 300; byte++) {
		bool expected = *refused == byte;
		int r;

		refused += expected;
		hold(b, F_RDLCK, byte);
		r = lock(a, write);
		tap_check(r == (expected ? -EAGAIN : 0), false, __FILE__, __LINE__,
			  "byte %d held, lock is %d", byte, r);
		image_unlock(a);
		hold(b, F_UNLCK, byte);
	}
}

static void bytes_that_refuse_a_writer(void)
{
	check_refusals(true, (const int[]){101, 103, 200, 201, -1});
}

static void bytes_that_refuse_a_reader(void)
{
	check_refusals(false, (const int[]){101, 103, 200, -1});
}

static void exclusive_lock_of_the_file_refuses(void)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	const char *holder;

	REQUIRE_OK(fcntl(b, F_OFD_SETLK, &whole));
	CHECK_EQ(lock(a, true), -EAGAIN);
	CHECK_EQ(lock(a, false), -EAGAIN);
	CHECK_EQ(image_lock(a, false, &holder), -EAGAIN);
	CHECK(holder && strstr(holder, "locked"));
}

static void holder_is_told(void)
{
	const char *holder;

	hold(b, F_RDLCK, 101);
	CHECK_EQ(image_lock(a, false, &holder), -EAGAIN);
	CHECK(holder && strstr(holder, "for writing"));
	hold(b, F_UNLCK, 101);
	hold(b, F_RDLCK, 201);
	CHECK_EQ(image_lock(a, true, &holder), -EAGAIN);
	CHECK(holder && strstr(holder, "from other writers"));
}

static const struct tap_case byte_cases[] = {
	{"bytes_that_refuse_a_writer", bytes_that_refuse_a_writer},
	{"bytes_that_refuse_a_reader", bytes_that_refuse_a_reader},
	{"exclusive_lock_of_the_file_refuses", exclusive_lock_of_the_file_refuses},
	{"holder_is_told", holder_is_told},
	{0},
};

/* ---- against QEMU ---- */

__attribute__((format(printf, 1, 2))) static int run(const char *format, ...)
{
	char command[8192];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	return system(command);
}

static void require_tool(const char *name)
{
	if (run("command -v %s >/dev/null", name))
		tap_skip("no %s", name);
}

/* One qemu-io command on the image. True: done. False: refused, and for the lock's sake. */
static bool qemu_io(const char *options, const char *command)
{
	if (!run("qemu-io -f raw %s -c '%s' '%s' >'%s.log' 2>&1", options, command, path, path))
		return true;
	CHECK_OK(run("grep -q 'Failed to get .* lock' '%s.log' || ! cat '%s.log' >&2", path, path));
	return false;
}

/* Waits until somebody else holds the byte, or no longer does. */
static void await_byte(off_t byte, bool wanted)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	unsigned tries = tap_stretch(10000) / 5;

	while (held(b, byte) != wanted && tries--)
		nanosleep(&pause, NULL);
	REQUIRE_EQ(held(b, byte), wanted);
}

static void our_writer_shuts_out_qemu_writer(void)
{
	require_tool("qemu-io");
	REQUIRE_OK(lock(a, true));
	CHECK(!qemu_io("", "write 0 512"));
	image_unlock(a);
	CHECK(qemu_io("", "write 0 512"));
}

static void our_writer_admits_qemu_reader(void)
{
	require_tool("qemu-io");
	require_tool("qemu-img");
	REQUIRE_OK(lock(a, true));
	CHECK(qemu_io("-r", "read 0 512"));
	CHECK_OK(run("qemu-img info -f raw '%s' >/dev/null", path));
}

static void our_reader_shuts_out_qemu_writer(void)
{
	require_tool("qemu-io");
	REQUIRE_OK(lock(a, false));
	CHECK(!qemu_io("", "write 0 512"));
	CHECK(qemu_io("-r", "read 0 512"));
}

static void our_writer_shuts_out_qemu_img_resize(void)
{
	require_tool("qemu-img");
	REQUIRE_OK(lock(a, true));
	CHECK(run("qemu-img resize -f raw '%s' 2M >/dev/null 2>&1", path) != 0);
	image_unlock(a);
	CHECK_OK(run("qemu-img resize -f raw '%s' 2M >/dev/null", path));
}

/* A shell that reads its commands from us, so it holds the image as long as we like. */
static FILE *qemu_io_holding(const char *options)
{
	char command[8192];
	FILE *shell;

	snprintf(command, sizeof(command), "exec qemu-io -f raw %s '%s' >/dev/null", options, path);
	shell = popen(command, "we");
	REQUIRE(shell != NULL);
	await_byte(100, true);
	return shell;
}

static void qemu_writer_shuts_us_out(void)
{
	FILE *shell;

	require_tool("qemu-io");
	shell = qemu_io_holding("");
	await_byte(101, true);
	CHECK_EQ(lock(a, true), -EAGAIN);
	CHECK_EQ(lock(a, false), -EAGAIN);
	CHECK_EQ(pclose(shell), 0);
	CHECK_OK(lock(a, true));
}

static void qemu_reader_admits_us(void)
{
	FILE *shell;

	require_tool("qemu-io");
	shell = qemu_io_holding("-r");
	CHECK_OK(lock(a, true));
	image_unlock(a);
	CHECK_OK(lock(a, false));
	CHECK_EQ(pclose(shell), 0);
}

/* qemu-storage-daemon with an export of the image; share-rw off as a guest's disk has it. */
static void qemu_storage_daemon_shuts_us_out(void)
{
	char blockdev[4200], export[4200];
	pid_t pid;

	require_tool("qemu-storage-daemon");
	snprintf(blockdev, sizeof(blockdev), "file,node-name=disk,filename=%s", path);
	snprintf(export, sizeof(export),
		 "vhost-user-blk,id=e,node-name=disk,writable=on,addr.type=unix,addr.path=%s.sock",
		 path);
	pid = fork();
	if (!pid) {
		execlp("qemu-storage-daemon", "qemu-storage-daemon", "--blockdev", blockdev,
		       "--export", export, NULL);
		_exit(127);
	}
	await_byte(101, true);
	CHECK_EQ(lock(a, true), -EAGAIN);
	CHECK_EQ(lock(a, false), -EAGAIN);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	CHECK_OK(lock(a, true));
}

static const struct tap_case qemu_cases[] = {
	{"our_writer_shuts_out_qemu_writer", our_writer_shuts_out_qemu_writer},
	{"our_writer_admits_qemu_reader", our_writer_admits_qemu_reader},
	{"our_reader_shuts_out_qemu_writer", our_reader_shuts_out_qemu_writer},
	{"our_writer_shuts_out_qemu_img_resize", our_writer_shuts_out_qemu_img_resize},
	{"qemu_writer_shuts_us_out", qemu_writer_shuts_us_out},
	{"qemu_reader_admits_us", qemu_reader_admits_us},
	{"qemu_storage_daemon_shuts_us_out", qemu_storage_daemon_shuts_us_out},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "image_lock", .setup = setup, .teardown = teardown, .cases = own_cases},
	{.name = "image_lock bytes", .setup = setup, .teardown = teardown, .cases = byte_cases},
	{.name = "image_lock and QEMU", .setup = setup, .teardown = teardown, .cases = qemu_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
