/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --fixed-buffers: guest memory that is registered with io_uring comes and goes under I/O, and what
 * cannot be registered. The kernel tells in /proc how much a process has pinned.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define PAGE        4096ull
#define TMPFS_MAGIC 0x01021994

static void serve_fixed(void)
{
	needs_vublkd();
	needs_io_uring();
	fe_mem_prealloc = true;
	serve(16 * MIB, "--engine=io_uring", "--fixed-buffers");
}

/* ---- what is pinned ---- */

static uint64_t pinned(void)
{
	char path[64], line[256];
	unsigned long long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", server.pid);
	f = fopen(path, "re");
	REQUIRE(f != NULL);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPin: %llu kB", &kib) == 1)
			break;
	fclose(f);
	return kib * KIB;
}

static int is_pinned(void *bytes)
{
	return pinned() == *(uint64_t *)bytes;
}

/* The kernel may let go a moment after it has answered. */
static void check_pinned(uint64_t bytes)
{
	if (fe_wait_for(is_pinned, &bytes, fe_deadline(FE_TIMEOUT_MS)) < 0)
		CHECK_EQ(pinned(), bytes);
}

static uint64_t memory_size(void)
{
	uint64_t size = 0;

	for (unsigned int i = 0; i < dev.mem.n_regions; i++)
		size += dev.mem.region[i].size;
	return size;
}

/* ---- cases ---- */

static void memory_is_pinned_while_rings_run(void)
{
	serve_fixed();
	attach(.n_queues = 4);
	check_pinned(memory_size());
	check_round_trip(&blk, 0, 4096);
	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
	check_pinned(memory_size()); /* the other queues' still */
	for (unsigned int i = 1; i < 4; i++)
		REQUIRE_OK(fe_dev_stop_vq(&dev, i));
	check_pinned(0);
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	check_round_trip(&blk, 0, 4096);
	check_pinned(memory_size());
}

static void a_new_front_end(void)
{
	serve_fixed();
	for (unsigned int i = 0; i < 3; i++) {
		attach(.mem_size = (16 + 8 * i) * MIB);
		check_pinned(memory_size());
		check_round_trip(&blk, 8 * i, 8192);
		detach();
		check_pinned(0);
	}
}

static void the_same_front_end_comes_back(void)
{
	serve_fixed();
	attach();
	check_round_trip(&blk, 0, 4096);
	fe_dev_hang_up(&dev);
	check_pinned(0);
	REQUIRE_OK(fe_dev_reconnect(&dev, server.socket));
	check_pinned(memory_size());
	check_round_trip(&blk, 0, 4096);
}

static void slots_come_and_go_under_io(void)
{
	uint64_t before;

	serve_fixed();
	attach(.mem_slots = true);
	before = memory_size();

	unsigned int extra = add_region(FE_BIT(33), 1 * MIB, 0);

	for (unsigned int i = 0; i < 20; i++) {
		write_all_slots(i);
		CHECK_OK(fe_dev_add_region(&dev, extra));
		CHECK_EQ(fe_blk_drain(&blk), 0);
		check_region(extra);
		write_all_slots(i + 100);
		CHECK_OK(fe_dev_remove_region(&dev, extra));
		CHECK_EQ(fe_blk_drain(&blk), 0);
	}
	check_pinned(before);
	CHECK_OK(fe_dev_add_region(&dev, extra));
	check_pinned(before + 1 * MIB);
}

static void new_tables_under_io(void)
{
	static uint8_t data[MIB];

	serve_fixed();
	attach();
	for (unsigned int i = 0; i < 20; i++) {
		write_all_slots(i);
		CHECK_OK(fe_dev_share_memory(&dev));
		CHECK_EQ(fe_blk_drain(&blk), 0);
	}
	check_pinned(memory_size());
	for (unsigned int i = 0; i < 4; i++) {
		REQUIRE_OK(fe_image_read(server.image, i * MIB, data, MIB));
		CHECK_EQ(fe_pattern_differs(data, i * MIB, MIB, 19), -1);
	}
}

/* Puts the region on a file in place of its memfd. */
static void move_to_file(unsigned int region)
{
	struct fe_region *r = &dev.mem.region[region];
	char path[300];
	struct statfs fs;
	int fd;

	snprintf(path, sizeof(path), "%s/memory", dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	REQUIRE(fd >= 0);
	REQUIRE_OK(ftruncate(fd, (off_t)r->size));
	REQUIRE_OK(fstatfs(fd, &fs));
	if (fs.f_type == TMPFS_MAGIC)
		tap_skip("TMPDIR is on tmpfs, whose files can be registered");
	REQUIRE(mmap(r->host, r->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
		r->host);
	REQUIRE(dup2(fd, r->fd) == r->fd);
	close(fd);
}

static void memory_on_a_file_system(void)
{
	uint64_t memfds;

	serve_fixed();
	greet(.mem_slots = true);
	add_region(0, 8 * MIB, 0);
	memfds = memory_size();
	move_to_file(add_region(FE_BIT(32), 4 * MIB, 0));
	REQUIRE_OK(fe_dev_share_memory(&dev));
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 2, 256 * KIB));
	check_region(0);
	check_region(1);
	check_pinned(memfds);
	CHECK_OK(fe_daemon_await_log(&server, "4194304 bytes of the guest's memory cannot be "
					      "registered"));
}

/* From now on, for the daemon as well: 4 MiB may be locked, no more. */
static void limit_locked_memory(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0);
	REQUIRE_OK(syscall(SYS_capget, &header, data));
	data[0].effective &= ~(1u << CAP_IPC_LOCK);
	data[0].permitted &= ~(1u << CAP_IPC_LOCK);
	data[0].inheritable &= ~(1u << CAP_IPC_LOCK);
	REQUIRE_OK(syscall(SYS_capset, &header, data));
	REQUIRE_OK(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){4 * MIB, 4 * MIB}));
}

/*
 * Starts with 2 MiB of memory. The limit is that of all processes of this user: what other tests
 * have locked, or dead daemons whose rings the kernel has not yet taken down, goes away in time.
 */
static void start_within_the_limit(bool mem_slots)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);

	for (;;) {
		greet(.mem_slots = mem_slots);
		make_rings(2 * MIB);

		const int ret = fe_dev_start_vq(&dev, 0);

		if (ret != FE_REFUSED || !fe_left_ms(deadline)) {
			REQUIRE_OK(ret);
			break;
		}
		detach();
		usleep(20000);
	}
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 2, 256 * KIB));
}

static void too_little_may_be_locked(void)
{
	limit_locked_memory();
	serve_fixed();
	greet();
	make_rings(8 * MIB);
	CHECK_EQ(fe_dev_start_vq(&dev, 0), FE_REFUSED);
	/* The ring does not start, and the limit is named. */
	CHECK_OK(fe_daemon_await_log(&server, "LimitMEMLOCK="));
	CHECK(n_logged("queue 0: cannot register the guest's memory: 8388608 bytes are to be "
		       "locked, and RLIMIT_MEMLOCK, for all of this user's processes, is 4194304 "
		       "bytes") > 0);
	check_pinned(0);
	detach();
	/* A front-end with less memory is served. */
	start_within_the_limit(false);
	check_region(0);
	check_pinned(2 * MIB);
}

/* A running ring goes on, with plain operations, when a change is too much. */
static void more_memory_than_may_be_locked(void)
{
	limit_locked_memory();
	serve_fixed();
	start_within_the_limit(true);
	check_pinned(2 * MIB);

	unsigned int extra = add_region(FE_BIT(33), 8 * MIB, 0);

	CHECK_OK(fe_dev_add_region(&dev, extra));
	CHECK_OK(fe_daemon_await_log(&server, "RLIMIT_MEMLOCK"));
	check_region(0);
	check_region(extra);
	CHECK_OK(fe_dev_remove_region(&dev, extra));
	check_pinned(2 * MIB);
	check_region(0);
}

/* ---- holes ---- */

#define BLOCK (64 * KIB)

/* What QEMU does with memory that a balloon has taken, or by MADV_REMOVE. */
static void punch(void *at, size_t size, bool by_address)
{
	struct fe_region *r = dev.mem.region;

	while (!((uint8_t *)at >= r->host && (uint8_t *)at < r->host + r->size))
		r++;
	if (by_address)
		REQUIRE_OK(madvise(at, size, MADV_REMOVE));
	else
		REQUIRE_OK(fallocate(
			r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)(r->wire.mmap_offset + (uint64_t)((uint8_t *)at - r->host)),
			(off_t)size));
}

/* A request with the data of this slot, which is the next one that is given out. */
static void exchange(uint32_t type, uint64_t sector)
{
	struct fe_blk_slot *slot = fe_blk_get(&blk);

	REQUIRE_OK(fe_blk_submit(&blk, slot, type, sector, BLOCK));
	REQUIRE_EQ(fe_blk_drain(&blk), 0);
}

static uint8_t *next_data(void)
{
	struct fe_blk_slot *slot = fe_blk_get(&blk);

	fe_blk_put(&blk, slot);
	return slot->data;
}

static void attach_fixed(void)
{
	serve_fixed();
	attach();
	fe_blk_free(&blk);
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 1, BLOCK));
	check_round_trip(&blk, 0, BLOCK);
	check_pinned(memory_size());
}

static void check_read_into_hole(bool by_address)
{
	static uint8_t data[BLOCK];

	attach_fixed();
	for (unsigned int i = 1; i < 8; i++) {
		fe_pattern(data, 0, BLOCK, i);
		REQUIRE_OK(fe_image_write(server.image, i * BLOCK, data, BLOCK));
		punch(next_data(), BLOCK, by_address);
		exchange(VIRTIO_BLK_T_IN, i * BLOCK / FE_SECTOR);
		CHECK_EQ(fe_pattern_differs(next_data(), 0, BLOCK, i), -1);
	}
	check_pinned(0);
	CHECK_OK(fe_daemon_await_log(&server, "holes have been punched into the guest's memory"));
	/* That is for the session. */
	detach();
	attach();
	check_pinned(memory_size());
}

static void read_into_a_hole(void)
{
	check_read_into_hole(false);
}

static void read_into_removed_memory(void)
{
	check_read_into_hole(true);
}

/* As much as before is present when the daemon looks, but other pages. */
static void hole_that_is_filled_again(void)
{
	static uint8_t data[BLOCK];

	attach_fixed();
	for (unsigned int i = 1; i < 8; i++) {
		punch(next_data(), BLOCK, i % 2);
		fe_pattern(next_data(), 0, BLOCK, i);
		exchange(VIRTIO_BLK_T_OUT, i * BLOCK / FE_SECTOR);
		REQUIRE_OK(fe_image_read(server.image, i * BLOCK, data, BLOCK));
		CHECK_EQ(fe_pattern_differs(data, 0, BLOCK, i), -1);
	}
	CHECK(fe_daemon_alive(&server));
}

/* A driver that touches its memory little by little, as one without prealloc=on does. */
static void memory_that_is_not_there_yet(void)
{
	static uint8_t data[BLOCK];

	needs_vublkd();
	needs_io_uring();
	serve(16 * MIB, "--engine=io_uring", "--fixed-buffers");
	attach();
	for (unsigned int i = 0; i < 32; i++) {
		const uint64_t gpa = fe_alloc(&dev.mem, BLOCK, PAGE);
		const struct fe_seg seg = {.addr = gpa, .len = BLOCK};

		REQUIRE(gpa != FE_NO_ADDR);
		fe_pattern(fe_ptr(&dev.mem, gpa, BLOCK), 0, BLOCK, i);
		REQUIRE_EQ(fe_blk_segs(&blk, VIRTIO_BLK_T_OUT, 0, &seg, 1), VIRTIO_BLK_S_OK);
		REQUIRE_OK(fe_image_read(server.image, 0, data, BLOCK));
		CHECK_EQ(fe_pattern_differs(data, 0, BLOCK, i), -1);
	}
}

static int is_pinned_after_a_request(void *bytes)
{
	check_round_trip(&blk, 0, BLOCK);
	return is_pinned(bytes);
}

/* Left alone, what has only been touched is registered again, and is right. */
static void touched_memory_is_registered_again(void)
{
	uint64_t size;
	uint8_t *page;

	attach_fixed();
	size = memory_size();
	page = next_data();
	punch(page, PAGE, false);
	page[0] = 1;
	check_round_trip(&blk, 0, BLOCK);
	check_pinned(0);
	CHECK_EQ(fe_wait_for(is_pinned_after_a_request, &size, fe_deadline(FE_TIMEOUT_MS)), 1);
	check_round_trip(&blk, 0, BLOCK);
}

/* Holes in huge pages do not show: such memory is served, but not registered. */
static void huge_pages(void)
{
	static uint8_t data[BLOCK];
	struct fe_region *r;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	void *there;

	serve_fixed();
	greet(.mem_slots = true);
	add_region(0, 8 * MIB, 0);
	r = &dev.mem.region[add_region(FE_BIT(33), 2 * MIB, 0)];
	if (fd < 0 || ftruncate(fd, 2 * MIB) < 0)
		tap_skip("there is no hugetlbfs");
	there = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (there == MAP_FAILED)
		tap_skip("no huge pages are set aside");
	REQUIRE(dup2(fd, r->fd) == r->fd);
	r->wire.user_addr = (uintptr_t)there;
	REQUIRE_OK(munmap(r->host, r->size));
	r->host = there;
	REQUIRE_OK(fe_dev_share_memory(&dev));
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 2, 256 * KIB));
	CHECK_OK(fe_daemon_await_log(&server, "2097152 bytes of the guest's memory cannot be "
					      "registered"));
	check_pinned(8 * MIB);
	for (unsigned int i = 1; i < 4; i++) {
		const struct fe_seg seg = {.addr = FE_BIT(33), .len = BLOCK, .write = true};

		fe_pattern(data, 0, BLOCK, i);
		REQUIRE_OK(fe_image_write(server.image, 0, data, BLOCK));
		REQUIRE_OK(madvise(there, 2 * MIB, MADV_REMOVE));
		REQUIRE_EQ(fe_blk_segs(&blk, VIRTIO_BLK_T_IN, 0, &seg, 1), VIRTIO_BLK_S_OK);
		CHECK_EQ(fe_pattern_differs(there, 0, BLOCK, i), -1);
	}
	close(fd);
}

/* What stays in the map keeps its registration, whose holes must not be forgotten. */
static void hole_before_the_map_changes(void)
{
	static uint8_t data[BLOCK];
	unsigned int extra;

	serve_fixed();
	attach(.mem_slots = true);
	fe_blk_free(&blk);
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 1, BLOCK));
	extra = add_region(FE_BIT(33), 1 * MIB, 0);
	for (unsigned int i = 1; i < 4; i++) {
		fe_pattern(data, 0, BLOCK, i);
		REQUIRE_OK(fe_image_write(server.image, i * BLOCK, data, BLOCK));
		punch(next_data(), BLOCK, false);
		memset(next_data(), 0, BLOCK);
		REQUIRE_OK(fe_dev_add_region(&dev, extra));
		exchange(VIRTIO_BLK_T_IN, i * BLOCK / FE_SECTOR);
		CHECK_EQ(fe_pattern_differs(next_data(), 0, BLOCK, i), -1);
		REQUIRE_OK(fe_dev_remove_region(&dev, extra));
	}
}

/* ---- the command line ---- */

static void check_refused(const char *const args[], const char *why)
{
	char said[1024];

	CHECK_EQ(proto_run(args), 2);
	fe_daemon_stderr(&server, said, sizeof(said));
	CHECK(one_clear_line(said));
	CHECK(strstr(said, why) != NULL);
}

#define refused(why, ...) check_refused((const char *const[]){__VA_ARGS__, NULL}, why)

static void options_that_do_not_go_together(void)
{
	needs_vublkd();
	refused("--engine=io_uring", "--blk-file=x", "--engine=libaio", "--fixed-buffers");
	refused("--engine=io_uring", "--blk-file=x", "--engine=libaio", "--sqpoll");
	refused("--engine=io_uring", "--size=1M", "--engine=null", "--iopoll");
	refused("--cache=none", "--blk-file=x", "--engine=io_uring", "--iopoll",
		"--cache=writeback");
	refused("--cache=none", "--blk-file=x", "--engine=io_uring", "--iopoll",
		"--cache=writethrough");
	refused("exclude", "--blk-file=x", "--engine=io_uring", "--iopoll", "--sqpoll");
	refused("--sqpoll", "--blk-file=x", "--engine=io_uring", "--sqpoll-cpu=0");
	refused("CPU", "--blk-file=x", "--engine=io_uring", "--sqpoll", "--sqpoll-cpu=one");
}

/* What was asked for by name is not done without. */
static void no_fall_back(void)
{
	const char *variant = getenv("VUBLKD_VARIANT");
	static const char *const asked[] = {"--fixed-buffers", "--sqpoll"};

	needs_vublkd();
	if (!variant || strcmp(variant, "nouring") != 0)
		tap_skip("for the variant nouring");
	REQUIRE_OK(fe_image_make(server.image, 1 * MIB));
	for (unsigned int i = 0; i < 2; i++) {
		CHECK_EQ(run(option("--blk-file", server.image), "--fd=0", asked[i]), 1);
		CHECK_OK(fe_daemon_await_log(&server, "the io_uring engine cannot be used"));
	}
}

static const struct tap_case cases[] = {
	{"memory_is_pinned_while_rings_run", memory_is_pinned_while_rings_run},
	{"a_new_front_end", a_new_front_end},
	{"the_same_front_end_comes_back", the_same_front_end_comes_back},
	{"slots_come_and_go_under_io", slots_come_and_go_under_io},
	{"new_tables_under_io", new_tables_under_io},
	{"memory_on_a_file_system", memory_on_a_file_system},
	{"too_little_may_be_locked", too_little_may_be_locked},
	{"more_memory_than_may_be_locked", more_memory_than_may_be_locked},
	{"read_into_a_hole", read_into_a_hole},
	{"read_into_removed_memory", read_into_removed_memory},
	{"hole_that_is_filled_again", hole_that_is_filled_again},
	{"memory_that_is_not_there_yet", memory_that_is_not_there_yet},
	{"touched_memory_is_registered_again", touched_memory_is_registered_again},
	{"huge_pages", huge_pages},
	{"hole_before_the_map_changes", hole_before_the_map_changes},
	{"options_that_do_not_go_together", options_that_do_not_go_together},
	{"no_fall_back", no_fall_back},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("fixed buffers", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
