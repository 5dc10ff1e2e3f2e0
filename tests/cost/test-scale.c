/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many disks in one process: what one that is at rest costs, and that there can be many. Counted is
 * what the kernel has counted: time slices and switches of each thread, bytes that are the
 * process's own; so the guests' memory is none of it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define CONNECTED  256u
#define CONFIGURED 1000u
#define REST_MS    3000u
/*
 * So long after a session's beginning the control thread looks, once if all is well, whether the
 * guest's memory is shared (FIRST_PAUSE_NS, src/disk/sharing.c).
 */
#define LOOK_MS 2500u
/*
 * Own memory of a disk, in KiB: 256 rings that a front-end might use (96), the session (27) and
 * what it was told are had by all; with a front-end comes a queue with its lease and the first page
 * of its slots. More would mean that something is touched that is only reserved.
 */
#define MOST_KIB 192u

struct disk {
	char socket[100];
	struct fe_dev dev;
	struct fe_blk blk;
};

static struct disk *disks;
static uint8_t data[4096];

/* ---- the daemon ---- */

static void set_limit(rlim_t soft)
{
	struct rlimit limit;

	REQUIRE_OK(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = soft && soft < limit.rlim_max ? soft : limit.rlim_max;
	REQUIRE_OK(setrlimit(RLIMIT_NOFILE, &limit));
}

/* Do so many descriptors go? */
static void needs_descriptors(unsigned n)
{
	struct rlimit limit;

	REQUIRE_OK(getrlimit(RLIMIT_NOFILE, &limit));
	if (limit.rlim_max < n)
		tap_skip("the hard limit of descriptors is %llu",
			 (unsigned long long)limit.rlim_max);
}

static void make_directory(void)
{
	char path[320];

	snprintf(path, sizeof(path), "%s/conf", dir);
	REQUIRE(!mkdir(path, 0700));
}

/* Images, and files that tell the daemon of them. */
static void configure(unsigned n)
{
	char path[320], image[300];

	disks = calloc(n, sizeof(*disks));
	REQUIRE(disks);
	for (unsigned i = 0; i < n; i++) {
		FILE *file;

		REQUIRE(snprintf(disks[i].socket, sizeof(disks[i].socket), "%s/s%u", dir, i) <
			(int)sizeof(disks[i].socket));
		snprintf(image, sizeof(image), "%s/%u.img", dir, i);
		/* Cached, so that reading it is nothing for the kernel's own threads. */
		REQUIRE_OK(fe_image_make(image, MIB));
		fe_pattern(data, 0, sizeof(data), i);
		REQUIRE_OK(fe_image_write(image, 0, data, sizeof(data)));
		snprintf(path, sizeof(path), "%s/conf/d%u.conf", dir, i);
		file = fopen(path, "we");
		REQUIRE(file);
		fprintf(file, "blk-file = %s\nsocket-path = %s\ncache = writeback\n", image,
			disks[i].socket);
		REQUIRE(!fclose(file));
	}
}

/* As the log says. */
static int are_served(void *wanted)
{
	static char line[1024];
	unsigned n = 0;
	FILE *log = fopen(server.err_path, "re");

	while (log && fgets(line, sizeof(line), log))
		n += strstr(line, ": serving d") != NULL;
	if (log)
		fclose(log);
	return n >= *(unsigned *)wanted || !fe_daemon_alive(&server);
}

/* With the usual limit, and until all are served; ms. */
static unsigned start(unsigned n)
{
	static char conf[320];
	const char *const args[] = {conf, "--num-workers=2", NULL};
	const uint64_t begin = fe_now_ns();

	needs_vublkd();
	snprintf(conf, sizeof(conf), "--config-dir=%s/conf", dir);
	set_limit(1024);
	REQUIRE_OK(fe_daemon_spawn(&server, args, NULL, NULL));
	set_limit(0);
	REQUIRE(fe_wait_for(are_served, &n, fe_deadline(60000)) > 0);
	REQUIRE(fe_daemon_alive(&server));
	return (unsigned)((fe_now_ns() - begin) / 1000000);
}

/* The usual limit is for other programs. */
static void check_limit(void)
{
	struct rlimit limit;

	REQUIRE_OK(prlimit(server.pid, RLIMIT_NOFILE, NULL, &limit));
	CHECK(limit.rlim_cur == limit.rlim_max);
}

/* Bytes that are its own. */
static uint64_t own_memory(void)
{
	char path[64], line[256];
	uint64_t sum = 0, kib;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", server.pid);
	file = fopen(path, "re");
	REQUIRE(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Private_Clean: %lu", &kib) == 1 ||
		    sscanf(line, "Private_Dirty: %lu", &kib) == 1)
			sum += kib * KIB;
	fclose(file);
	return sum;
}

/* A sanitizer's memory is its own affair. */
static bool is_sanitized(void)
{
	return strstr(getenv("VUBLKD"), "sanitized") != NULL;
}

/* Of `n` disks, when the process had so much before. */
static void check_memory(uint64_t before, unsigned n)
{
	const uint64_t each = (own_memory() - before) / n / KIB;

	tap_diag("%llu KiB of memory for each disk, at most %u", (unsigned long long)each,
		 MOST_KIB);
	if (!is_sanitized())
		CHECK(each <= MOST_KIB);
}

/* ---- rest ---- */

/* All that its threads have run so far: ns, time slices, and how often they slept. */
static void snapshot(char *text, size_t size)
{
	char path[300], line[256];
	size_t at = 0;
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", server.pid);
	tasks = opendir(path);
	REQUIRE(tasks);
	while ((entry = readdir(tasks))) {
		static const char *const names[] = {"schedstat", "status"};

		for (unsigned i = 0; i < 2 && *entry->d_name != '.'; i++) {
			FILE *file;

			snprintf(path, sizeof(path), "/proc/%d/task/%s/%s", server.pid,
				 entry->d_name, names[i]);
			file = fopen(path, "re");
			while (file && fgets(line, sizeof(line), file))
				if ((!i || strstr(line, "ctxt_switches")) && at < size)
					at += (size_t)snprintf(text + at, size - at, "%s", line);
			if (file)
				fclose(file);
		}
	}
	closedir(tasks);
}

static char then[8192], now[8192];

static int settles(void *unused)
{
	(void)unused;
	strcpy(then, now);
	usleep(200000);
	snapshot(now, sizeof(now));
	return !strcmp(then, now);
}

static void check_rests(void)
{
	usleep(LOOK_MS * 1000);
	snapshot(now, sizeof(now));
	REQUIRE(fe_wait_for(settles, NULL, fe_deadline(20000)) > 0);
	usleep(REST_MS * 1000);
	strcpy(then, now);
	snapshot(now, sizeof(now));
	CHECK(!strcmp(then, now));
	if (strcmp(then, now) != 0)
		tap_diag("before:\n%.1500s\nafter:\n%.1500s", then, now);
}

/* ---- cases ---- */

/* And reads what is there, once. */
static void connect_one(unsigned i)
{
	struct disk *disk = &disks[i];

	REQUIRE_OK(fe_dev_start(&disk->dev, disk->socket,
				&(struct fe_dev_options){.mem_size = 256 * KIB}));
	REQUIRE_OK(fe_blk_init(&disk->blk, &disk->dev, 0, 1, sizeof(data)));
	REQUIRE_EQ(fe_blk_read(&disk->blk, 0, data, sizeof(data)), 0);
	CHECK_EQ(fe_pattern_differs(data, 0, sizeof(data), i), -1);
}

static void hang_up(struct disk *disk)
{
	fe_blk_free(&disk->blk);
	fe_dev_close(&disk->dev);
}

/* What the process has without a disk. */
static uint64_t memory_of_none(void)
{
	uint64_t bytes;

	start(0);
	REQUIRE_OK(fe_daemon_await_log(&server, " 0 disks, "));
	bytes = own_memory();
	REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	return bytes;
}

static void connected(void)
{
	uint64_t none;

	needs_descriptors(CONNECTED * 16);
	make_directory();
	none = memory_of_none();
	configure(CONNECTED);
	start(CONNECTED);
	for (unsigned i = 0; i < CONNECTED; i++)
		connect_one(i);
	check_memory(none, CONNECTED);
	check_rests();
	for (unsigned i = 0; i < CONNECTED; i++)
		hang_up(&disks[i]);
}

static void configured(void)
{
	unsigned ms_start, ms_stop;
	uint64_t none;

	needs_descriptors(CONFIGURED * 4);
	make_directory();
	none = memory_of_none();
	configure(CONFIGURED);
	ms_start = start(CONFIGURED);
	check_limit();
	check_memory(none, CONFIGURED);
	check_rests();
	/* Who comes is served. */
	connect_one(CONFIGURED - 1);
	hang_up(&disks[CONFIGURED - 1]);
	CHECK_EQ(n_logged("error:"), 0);
	REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, &ms_stop), 0);
	tap_diag("%u disks: start in %u ms, stop in %u ms", CONFIGURED, ms_start, ms_stop);
	for (unsigned i = 0; i < CONFIGURED; i++)
		CHECK(access(disks[i].socket, F_OK) != 0);
}

static const struct tap_case cases[] = {
	{"connected", connected},
	{"configured", configured},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "scale",
	 .setup = proto_setup,
	 .teardown = proto_teardown,
	 .seconds = 120,
	 .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
