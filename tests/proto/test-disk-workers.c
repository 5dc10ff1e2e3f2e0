/* SPDX-License-Identifier: BSD-3-Clause */
/* Many disks in one process: which workers serve them, and whether these poll for them. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/proto/disks.h"

/* A figure of the first worker's: as "load", how much of its time it has worked lately, percent. */
static unsigned long long figure_of_worker(const char *name)
{
	unsigned long long figure;
	char what[32];
	const char *at;

	ask("/v1/workers");
	snprintf(what, sizeof(what), "\"%s\": ", name);
	at = strstr(text, what);
	REQUIRE(at && sscanf(at + strlen(what), "%llu", &figure) == 1);
	return figure;
}

/* A process that has the disk read without an end, from the page cache, by one queue. */
static pid_t hammer(struct disk *disk)
{
	const pid_t pid = fork();

	if (!pid) {
		static uint8_t data[MIB];

		start_queues(disk, 1);
		while (!fe_blk_read(&disk->blk, 0, data, sizeof(data)))
			;
		_exit(1);
	}
	REQUIRE(pid > 0);
	return pid;
}

static int look_whether_on_first(void *disk)
{
	return queues_on(disk, 0) == 1;
}

/* By numbers it would go to the first worker each time, and by load whenever that gets to work. */
static bool is_placed_by_load(struct disk *disk, uint64_t deadline, bool *was_busy)
{
	bool found = false;

	while (!found && fe_left_ms(deadline)) {
		*was_busy = *was_busy || figure_of_worker("load") >= 50;
		start_queues(disk, 1);
		found = queues_on(disk, 1);
		hang_up(disk);
	}
	return found;
}

static void queues_go_where_little_is_done(void)
{
	bool was_busy = false, found;
	pid_t pid;

	for (unsigned i = 0; i < 3; i++)
		tell(&disks[i], i ? "" : "cache = writeback\n");
	start_with("--num-workers=2");
	await_listening(&disks[0], true);
	pid = hammer(&disks[0]);
	REQUIRE(fe_wait_for(look_whether_on_first, &disks[0], fe_deadline(FE_TIMEOUT_MS)) > 0);
	start_queues(&disks[1], 1);
	CHECK_EQ(queues_on(&disks[1], 1), 1);
	found = is_placed_by_load(&disks[2], fe_deadline(FE_TIMEOUT_MS), &was_busy);
	kill(pid, SIGKILL);
	REQUIRE_EQ(waitpid(pid, NULL, 0), pid);
	hang_up(&disks[1]);
	if (!found && !was_busy)
		tap_skip("the machine has no time for a worker");
	CHECK(found);
}

static void queues_go_where_there_are_fewest(void)
{
	for (unsigned i = 0; i < 4; i++)
		tell(&disks[i], "");
	start_with("--num-workers=2");
	start_queues(&disks[0], 1);
	start_queues(&disks[1], 1);
	start_queues(&disks[2], 4);
	start_queues(&disks[3], 1);
	CHECK_EQ(queues_on(&disks[0], 0), 1);
	CHECK_EQ(queues_on(&disks[1], 1), 1);
	CHECK_EQ(queues_on(&disks[2], 0), 2);
	CHECK_EQ(queues_on(&disks[2], 1), 2);
	CHECK_EQ(queues_on(&disks[3], 0), 1);
	/* Where two have left there is room; they listen again once their queues have ended. */
	leave(&disks[0]);
	leave(&disks[3]);
	await_listening(&disks[0], true);
	await_listening(&disks[3], true);
	start_queues(&disks[0], 1);
	CHECK_EQ(queues_on(&disks[0], 0), 1);
	for (unsigned i = 0; i < 3; i++)
		check_works(&disks[i], i);
	for (unsigned i = 0; i < 3; i++)
		hang_up(&disks[i]);
}

/* With --poll=always a worker that is polling never sleeps, whatever it has to do. */
static int look_whether_polled_for(void *disk)
{
	const unsigned long long before = figure_of_worker("sleeps");

	check_works(disk, 1);
	return figure_of_worker("sleeps") == before;
}

static int look_whether_not_polled_for(void *disk)
{
	return !look_whether_polled_for(disk);
}

static void polling_for_a_disk_may_end(void)
{
	struct disk *disk = &disks[0];

	tell(disk, "");
	start_with("--poll=always");
	start_queues(disk, 2);
	REQUIRE(fe_wait_for(look_whether_polled_for, disk, fe_deadline(FE_TIMEOUT_MS)) > 0);
	for (unsigned i = 0; i < 2; i++) {
		tell(disk, "no-poll = true\n");
		reload();
		REQUIRE(fe_wait_for(look_whether_not_polled_for, disk, fe_deadline(FE_TIMEOUT_MS)) >
			0);
		tell(disk, "");
		reload();
		REQUIRE(fe_wait_for(look_whether_polled_for, disk, fe_deadline(FE_TIMEOUT_MS)) > 0);
	}
	CHECK_EQ(n_logged("d0: changed: no-poll"), 4);
	hang_up(disk);
}

/* What is changed counts for queues that start from then on; those that run stay. */
static void a_disk_is_kept_to_its_workers(void)
{
	tell(&disks[0], "workers = 1,3\n");
	tell(&disks[1], "workers = 4\n");
	start_with("--num-workers=4");
	await_log("d1.conf: workers names 4, but there are 4");
	start_queues(&disks[0], 5);
	CHECK_EQ(queues_on(&disks[0], 1), 3);
	CHECK_EQ(queues_on(&disks[0], 3), 2);
	tell(&disks[0], "workers = 2\n");
	reload();
	await_log("d0: changed: workers");
	CHECK_EQ(queues_on(&disks[0], 1), 3);
	check_works(&disks[0], 1);
	leave(&disks[0]);
	start_queues(&disks[0], 5);
	CHECK_EQ(queues_on(&disks[0], 2), 5);
	check_works(&disks[0], 2);
	hang_up(&disks[0]);
}

static const struct tap_case cases[] = {
	{"queues go where there are fewest", queues_go_where_there_are_fewest},
	{"queues go where little is done", queues_go_where_little_is_done},
	{"polling for a disk may end", polling_for_a_disk_may_end},
	{"a disk is kept to its workers", a_disk_is_kept_to_its_workers},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "workers of disks",
	 .setup = disks_setup,
	 .teardown = proto_teardown,
	 .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
