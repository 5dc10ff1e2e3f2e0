/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The io_uring engine: registered memory.
 *
 * That an operation uses it is seen by taking its mapping away: one that does not then fails with
 * -EFAULT. What it moved is seen through a second mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/support/try-engine.h"
#include "tests/unit/support/uring.h"

#define MIB (1ul << 20)

/* Memory as a guest's is: a memfd, mapped by the front-end and by us. */
struct memory {
	int fd;
	size_t size;
	unsigned char *theirs, *ours;
};

static void *map(int from, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, from, 0);

	REQUIRE(at != MAP_FAILED);
	return at;
}

static struct memory make_memory(size_t size)
{
	struct memory memory = {.fd = memfd_create("guest", MFD_CLOEXEC), .size = size};

	REQUIRE(memory.fd >= 0);
	REQUIRE_OK(ftruncate(memory.fd, (off_t)size));
	memory.theirs = map(memory.fd, size);
	memory.ours = map(memory.fd, size);
	return memory;
}

static struct iovec range_of(const struct memory *memory)
{
	return (struct iovec){memory->ours, memory->size};
}

/* Our addresses are still what operations name, but nothing is there any more. */
static void take_mapping_away(const struct memory *memory)
{
	REQUIRE_OK(munmap(memory->ours, memory->size));
	/* Nor may anything else get there. */
	REQUIRE(mmap(memory->ours, memory->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		     -1, 0) == memory->ours);
}

static void open_with_buffers(void)
{
	ur_open((struct uring_options){.fixed_buffers = true});
}

/* Is a page there read into, and written from, as registered memory? */
static bool is_registered(const struct memory *memory, size_t at)
{
	unsigned char page[PAGE];

	memset(page, 0x7e, PAGE);
	REQUIRE_EQ(pwrite(ur.fd, page, PAGE, 0), PAGE);
	if (ur_run(ur_transfer(IO_READ, memory->ours + at, PAGE, 0)) != (int64_t)PAGE)
		return false;
	CHECK(!memcmp(memory->theirs + at, page, PAGE));
	memset(memory->theirs + at, 0x42, PAGE);
	CHECK_EQ(ur_run(ur_transfer(IO_WRITE, memory->ours + at, PAGE, PAGE)), PAGE);
	REQUIRE_EQ(pread(ur.fd, page, PAGE, PAGE), PAGE);
	CHECK(!memcmp(memory->theirs + at, page, PAGE));
	return true;
}

static void test_registered(void)
{
	struct memory memory = make_memory(16 * PAGE);
	struct iovec range = range_of(&memory);

	open_with_buffers();
	CHECK(target_wants_memory(ur.target));
	CHECK_EQ(target_set_memory(ur.target, &ur, &range, 1), 0);
	take_mapping_away(&memory);
	CHECK(is_registered(&memory, 0));
	CHECK(is_registered(&memory, 15 * PAGE));
	/* Of a length that is not a multiple of anything, and with data durable at once. */
	CHECK_EQ(ur_run(ur_transfer(IO_READ, memory.ours + 100, 3000, 7)), 3000);

	struct ur_op op = ur_transfer(IO_WRITE, memory.ours, PAGE, 0);

	op.io.flags = IO_F_DSYNC;
	CHECK_EQ(ur_run(op), PAGE);
}

static void test_unregistered(void)
{
	struct memory memory = make_memory(16 * PAGE);
	struct iovec range = range_of(&memory);

	open_with_buffers();
	CHECK_EQ(target_set_memory(ur.target, &ur, &range, 1), 0);
	CHECK_EQ(target_set_memory(ur.target, &ur, NULL, 0), 0);
	CHECK(is_registered(&memory, 0)); /* as plain memory */
	take_mapping_away(&memory);
	CHECK(!is_registered(&memory, 0));
}

/* Without the option nothing is registered, and nobody need ask. */
static void test_not_wanted(void)
{
	struct memory memory = make_memory(16 * PAGE);
	struct iovec range = range_of(&memory);

	ur_open((struct uring_options){0});
	CHECK(!target_wants_memory(ur.target));
	CHECK_EQ(target_set_memory(ur.target, &ur, &range, 1), 0);
	take_mapping_away(&memory);
	CHECK(!is_registered(&memory, 0));
}

/* A buffer that lies in no piece, or across two, is a plain one. So are several. */
static void test_plain_beside_registered(void)
{
	struct memory memory = make_memory(16 * PAGE);
	struct iovec halves[2] = {{memory.ours, 8 * PAGE}, {memory.ours + 8 * PAGE, 4 * PAGE}};
	struct ur_op op = ur_transfer(IO_READ, NULL, 0, 0);

	open_with_buffers();
	CHECK_EQ(target_set_memory(ur.target, &ur, halves, 2), 0);
	CHECK_EQ(ur_run(ur_transfer(IO_READ, memory.ours + 7 * PAGE, 2 * PAGE, 0)), 2 * PAGE);
	CHECK_EQ(ur_run(ur_transfer(IO_READ, memory.ours + 11 * PAGE, 2 * PAGE, 0)), 2 * PAGE);
	CHECK_EQ(ur_run(ur_transfer(IO_READ, memory.ours + 12 * PAGE, PAGE, 0)), PAGE);
	op.io.done = ur_complete;
	op.io.niov = 2;
	op.io.iov = halves;
	target_submit(ur.target, &op.io);
	UR_RUN_UNTIL(op.done, 100 * MS);
	CHECK_EQ(op.io.result, 12 * PAGE);
	take_mapping_away(&memory);
	CHECK(is_registered(&memory, 7 * PAGE));
	CHECK(is_registered(&memory, 8 * PAGE));
	CHECK(!is_registered(&memory, 12 * PAGE));
	CHECK_EQ(ur_run(ur_transfer(IO_READ, memory.ours + 7 * PAGE, 2 * PAGE, 0)), -EFAULT);
}

/* What is in both the old and the new set is not touched: its mapping is gone already. */
static void test_change(void)
{
	struct memory a = make_memory(4 * PAGE), b = make_memory(4 * PAGE), c = make_memory(PAGE);
	struct iovec first[] = {range_of(&a), range_of(&b)};
	struct iovec second[] = {range_of(&c), range_of(&a)};

	open_with_buffers();
	CHECK_EQ(target_set_memory(ur.target, &ur, first, 2), 0);
	take_mapping_away(&a);
	CHECK_EQ(target_set_memory(ur.target, &ur, first, 2), 0);
	CHECK_EQ(target_set_memory(ur.target, &ur, second, 2), 0);
	take_mapping_away(&b);
	take_mapping_away(&c);
	CHECK(is_registered(&a, 0));
	CHECK(!is_registered(&b, 0));
	CHECK(is_registered(&c, 0));
	/* The same place with another size is another piece. */
	first[0].iov_len = 2 * PAGE;
	CHECK_EQ(target_set_memory(ur.target, &ur, first, 1), 2 * PAGE);
	CHECK(!is_registered(&a, 0));
}

/* Several owners: what one registers, changes and lets go of does not concern the others. */
static void test_owners(void)
{
	struct memory a = make_memory(4 * PAGE), b = make_memory(4 * PAGE), c = make_memory(PAGE);
	const struct iovec of_a = range_of(&a), of_b = range_of(&b), of_c = range_of(&c);
	const int owner[2] = {0};

	open_with_buffers();
	CHECK_EQ(target_set_memory(ur.target, &owner[0], &of_a, 1), 0);
	CHECK_EQ(target_set_memory(ur.target, &owner[1], &of_b, 1), 0);
	take_mapping_away(&a);
	CHECK(is_registered(&a, 0));
	/* Another set of the second one's, and none. */
	CHECK_EQ(target_set_memory(ur.target, &owner[1], &of_c, 1), 0);
	take_mapping_away(&b);
	take_mapping_away(&c);
	CHECK(is_registered(&a, 3 * PAGE));
	CHECK(!is_registered(&b, 0));
	CHECK(is_registered(&c, 0));
	CHECK_EQ(target_set_memory(ur.target, &owner[1], NULL, 0), 0);
	CHECK(is_registered(&a, 0));
	CHECK(!is_registered(&c, 0));
	/* Nor what goes wrong with one: there is nothing to be registered there. */
	CHECK(target_set_memory(ur.target, &owner[1], &of_b, 1) == (int64_t)of_b.iov_len);
	CHECK(is_registered(&a, 0));
	CHECK_EQ(target_set_memory(ur.target, &owner[0], NULL, 0), 0);
	CHECK(!is_registered(&a, 0));
}

/* An operation that the kernel has keeps the pages it needs. */
static void test_change_in_flight(void)
{
	struct memory a = make_memory(PAGE), b = make_memory(PAGE);
	struct iovec range = range_of(&a), other = range_of(&b);
	struct ur_op op = ur_transfer(IO_READ, a.ours, 5, 0),
		     early = ur_transfer(IO_READ, a.ours, PAGE, 0);
	int ends[2];

	open_with_buffers();
	REQUIRE_OK(pipe2(ends, O_CLOEXEC));
	REQUIRE((op.io.file = target_get_file(ur.target, ends[0], 0)) >= 0);
	CHECK_EQ(target_set_memory(ur.target, &ur, &range, 1), 0);
	ur_submit(&op);
	REQUIRE(reactor_run(ur.reactor, 0) >= 0);
	ur_submit(&early); /* an entry that no enter has taken yet */
	CHECK_EQ(target_set_memory(ur.target, &ur, &other, 1), 0);
	take_mapping_away(&a);
	UR_RUN_UNTIL(early.done, 100 * MS);
	CHECK_EQ(early.io.result, PAGE);
	CHECK_EQ(op.done, 0);
	/* With nothing left registered, too; this waits for nobody. */
	CHECK_EQ(target_set_memory(ur.target, &ur, NULL, 0), 0);
	REQUIRE_EQ(write(ends[1], "hello", 5), 5);
	UR_RUN_UNTIL(op.done, 100 * MS);
	CHECK_EQ(op.io.result, 5);
	CHECK(!memcmp(a.theirs, "hello", 5));
}

/* A gigabyte and more, made of the same 2 MiB again and again. */
static void test_large_range(void)
{
	struct memory small = make_memory(2 * MIB), large = small;
	const size_t boundary = 1024 * MIB;
	struct iovec range;

	large.size = boundary + 4 * MIB;
	large.ours = mmap(NULL, large.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(large.ours != MAP_FAILED);
	for (size_t at = 0; at < large.size; at += 2 * MIB)
		REQUIRE(mmap(large.ours + at, 2 * MIB, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED, small.fd, 0) != MAP_FAILED);
	range = range_of(&large);
	open_with_buffers();
	CHECK_EQ(target_set_memory(ur.target, &ur, &range, 1), 0);
	CHECK_EQ(ur_run(ur_transfer(IO_READ, large.ours + boundary - PAGE, 2 * PAGE, 0)), 2 * PAGE);
	take_mapping_away(&large);
	CHECK_EQ(ur_run(ur_transfer(IO_READ, large.ours, PAGE, 0)), PAGE);
	CHECK_EQ(ur_run(ur_transfer(IO_READ, large.ours + boundary - PAGE, PAGE, 0)), PAGE);
	CHECK_EQ(ur_run(ur_transfer(IO_READ, large.ours + boundary, 3 * MIB, 0)), MIB);
	CHECK_EQ(ur_run(ur_transfer(IO_READ, large.ours + boundary - PAGE, 2 * PAGE, 0)), -EFAULT);
}

/* More ranges than a map has. */
static void test_many_ranges(void)
{
	enum {
		N = 512
	};
	struct memory memory = make_memory(2 * N * PAGE);
	struct iovec ranges[N];

	for (unsigned i = 0; i < N; i++) /* backwards, with holes */
		ranges[i] = (struct iovec){memory.ours + (2 * (N - 1 - i)) * PAGE, PAGE};
	open_with_buffers();
	CHECK_EQ(target_set_memory(ur.target, &ur, ranges, N), 0);
	CHECK_EQ(target_set_memory(ur.target, &ur, ranges, N / 2), 0);
	CHECK_EQ(target_set_memory(ur.target, &ur, ranges, N), 0);
	take_mapping_away(&memory);
	for (unsigned i = 0; i < N; i += 73) {
		CHECK(is_registered(&memory, 2 * i * PAGE));
		CHECK(!is_registered(&memory, (2 * i + 1) * PAGE));
	}
}

/* A mapping of a file on a disk is not taken by the kernel; it is no error. */
static void test_memory_on_disk(void)
{
	struct memory memory = make_memory(4 * PAGE);
	struct iovec ranges[2] = {range_of(&memory), {map(ur.fd, 8 * PAGE), 8 * PAGE}};

	open_with_buffers();
	if (target_set_memory(ur.target, &ur, ranges, 2) == 0)
		tap_skip("TMPDIR is on tmpfs, whose files can be registered");
	CHECK_EQ(target_set_memory(ur.target, &ur, ranges, 2), 8 * PAGE);
	CHECK_EQ(ur_run(ur_transfer(IO_READ, ranges[1].iov_base, PAGE, 16 * PAGE)), PAGE);
	take_mapping_away(&memory);
	CHECK(is_registered(&memory, 0));
}

/* Without the privilege to lock what one likes. */
static void drop_ipc_lock(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	REQUIRE_OK(syscall(SYS_capget, &header, data));
	data[0].effective &= ~(1u << CAP_IPC_LOCK);
	REQUIRE_OK(syscall(SYS_capset, &header, data));
}

static void test_memlock(void)
{
	struct memory memory = make_memory(8 * MIB), little = make_memory(PAGE);
	struct iovec ranges[2] = {range_of(&little), range_of(&memory)};

	drop_ipc_lock();
	REQUIRE_OK(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){4 * MIB, 4 * MIB}));
	open_with_buffers();
	CHECK_EQ(target_set_memory(ur.target, &ur, ranges, 2), -ENOMEM);
	CHECK(is_registered(&memory, 0)); /* as plain memory */
	take_mapping_away(&little);
	CHECK(!is_registered(&little, 0));
}

/* Not even for our own table: then nothing is registered, neither what was before. */
static void test_no_memory(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	tap_skip("a sanitizer does not live with a limit of the address space");
#endif
	struct memory memory = make_memory(16 * PAGE);
	struct iovec range = range_of(&memory);
	struct rlimit limit, none;
	void *volatile last;

	open_with_buffers();
	CHECK_EQ(target_set_memory(ur.target, &ur, &range, 1), 0);
	take_mapping_away(&memory);
	REQUIRE_OK(getrlimit(RLIMIT_AS, &limit));
	none = (struct rlimit){0, limit.rlim_max};
	REQUIRE_OK(setrlimit(RLIMIT_AS, &none));
	do
		last = malloc(16 * PAGE);
	while (last);
	CHECK_EQ(target_set_memory(ur.target, &ur, &range, 1), -ENOMEM);
	REQUIRE_OK(setrlimit(RLIMIT_AS, &limit));
	CHECK(!is_registered(&memory, 0));
}

static void test_no_sparse_table(void)
{
	if (try_engine(&engine_uring))
		tap_skip("there is no io_uring here");
	uring_without = URING_WITHOUT_FIXED_BUFFERS;
	CHECK_EQ(ur_try_open((struct uring_options){.fixed_buffers = true}), -EOPNOTSUPP);
	CHECK_OK(ur_try_open((struct uring_options){0}));
}

static void test_buffers_with_sqpoll(void)
{
	struct memory memory = make_memory(16 * PAGE);
	struct iovec range = range_of(&memory);

	ur_open((struct uring_options){.fixed_buffers = true, .sqpoll = true, .sqpoll_cpu = -1});
	for (unsigned i = 0; i < 20; i++) {
		struct ur_op op = ur_transfer(IO_READ, memory.ours, PAGE, 0);

		CHECK_EQ(target_set_memory(ur.target, &ur, &range, 1), 0);
		ur_submit(&op);
		CHECK_EQ(target_set_memory(ur.target, &ur, NULL, 0), 0);
		UR_RUN_UNTIL(op.done, 100 * MS);
		CHECK_EQ(op.io.result, PAGE);
	}
}

static const struct tap_case cases[] = {
	{"registered", test_registered},
	{"unregistered", test_unregistered},
	{"not_wanted", test_not_wanted},
	{"plain_beside_registered", test_plain_beside_registered},
	{"change", test_change},
	{"owners", test_owners},
	{"change_in_flight", test_change_in_flight},
	{"large_range", test_large_range},
	{"many_ranges", test_many_ranges},
	{"memory_on_disk", test_memory_on_disk},
	{"memlock", test_memlock},
	{"no_memory", test_no_memory},
	{"no_sparse_table", test_no_sparse_table},
	{"buffers_with_sqpoll", test_buffers_with_sqpoll},
	{0},
};

static const struct tap_suite suites[] = {
	{"io_uring alone", ur_setup, ur_teardown, 0, cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
