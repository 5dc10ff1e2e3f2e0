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

/* What only io_uring does cannot be tried with another engine. */
static void need_io_uring(void)
{
	const char *variant = getenv("VUBLKD_VARIANT");

	needs_vublkd();
	if (variant && (!strcmp(variant, "libaio") || !strcmp(variant, "nouring")))
		tap_skip("this variant is without io_uring");
}

static void serve_fixed(void)
{
	need_io_uring();
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

/* A request of a megabyte for each slot, of pattern `seed`. */
static void submit_writes(unsigned int seed)
{
	struct fe_blk_slot *slot;

	for (unsigned int i = 0; (slot = fe_blk_get(&blk)); i++) {
		fe_pattern(slot->data, i * MIB, MIB, seed);
		REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_OUT, i * MIB / FE_SECTOR, MIB));
	}
	fe_vq_kick(blk.vq);
}

static void slots_come_and_go_under_io(void)
{
	uint64_t before;

	serve_fixed();
	attach(.mem_slots = true);
	before = memory_size();

	unsigned int extra = add_region(FE_BIT(33), 1 * MIB, 0);

	for (unsigned int i = 0; i < 20; i++) {
		submit_writes(i);
		CHECK_OK(fe_dev_add_region(&dev, extra));
		CHECK_EQ(fe_blk_drain(&blk), 0);
		check_region(extra);
		submit_writes(i + 100);
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
		submit_writes(i);
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

static void too_little_may_be_locked(void)
{
	char said[1024];

	limit_locked_memory();
	serve_fixed();
	greet();
	add_region(0, 8 * MIB, 0);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	CHECK_EQ(fe_dev_start_vq(&dev, 0), FE_REFUSED);
	/* The ring does not start, and the limit is named. */
	CHECK_OK(fe_daemon_await_log(&server, "LimitMEMLOCK="));
	fe_daemon_stderr(&server, said, sizeof(said));
	CHECK(strstr(said, "queue 0: cannot register the guest's memory: 8388608 bytes are to be "
			   "locked, and RLIMIT_MEMLOCK, for all of this user's processes, is "
			   "4194304 bytes") != NULL);
	check_pinned(0);
	detach();
	/* A front-end with less memory is served. */
	greet();
	add_region(0, 2 * MIB, 0);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 2, 256 * KIB));
	check_region(0);
	check_pinned(2 * MIB);
}

/* A running ring goes on, with plain operations, when a change is too much. */
static void more_memory_than_may_be_locked(void)
{
	limit_locked_memory();
	serve_fixed();
	greet(.mem_slots = true);
	add_region(0, 2 * MIB, 0);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 2, 256 * KIB));
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
	refused("processor", "--blk-file=x", "--engine=io_uring", "--sqpoll", "--sqpoll-cpu=one");
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
