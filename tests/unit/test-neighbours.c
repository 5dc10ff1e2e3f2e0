/* SPDX-License-Identifier: BSD-3-Clause */
/* src/worker/neighbours.h: who is quiet, for whom, how long; and that a worker serves it first. */
#include "src/worker/neighbours.h"

#include <semaphore.h>

#include "src/base/container.h"
#include "src/io/epoll.h"
#include "src/worker/worker.h"
#include "tests/tap.h"

static struct neighbours neighbours;
static struct worker_task quiet, busy;

static bool busy_has_quiet_at(int64_t now)
{
	struct step_clock clock = {now};

	return neighbours_has_quiet(&neighbours, &busy, &clock);
}

static void nobody_is_quiet_at_first(void)
{
	neighbours = (struct neighbours){0};
	CHECK(!busy_has_quiet_at(1));
}

static void see_quiet_at(int64_t now)
{
	struct step_clock clock = {now};

	neighbours_saw_quiet(&neighbours, &quiet, &clock);
}

static void quiet_one_is_remembered_for_a_while(void)
{
	struct step_clock clock = {1000};

	see_quiet_at(1000);
	CHECK(busy_has_quiet_at(1000));
	CHECK(busy_has_quiet_at(1000 + NEIGHBOURS_REMEMBER));
	CHECK(!neighbours_has_quiet(&neighbours, &quiet, &clock)); /* no neighbour of its own */
	CHECK(!busy_has_quiet_at(1001 + NEIGHBOURS_REMEMBER));
	CHECK(!busy_has_quiet_at(1000)); /* forgotten */
}

static void quiet_one_is_at_work_in_its_own_iteration(void)
{
	struct step_clock clock = {1000};

	see_quiet_at(1000);
	CHECK(neighbours_quiet_is_at_work(&neighbours, &clock));
	clock.now++;
	CHECK(!neighbours_quiet_is_at_work(&neighbours, &clock));
}

static void task_that_ends_is_forgotten(void)
{
	see_quiet_at(1000);
	neighbours_forget(&neighbours, &busy);
	CHECK(busy_has_quiet_at(1000));
	neighbours_forget(&neighbours, &quiet);
	CHECK(!busy_has_quiet_at(1000));
}

/* ---- a worker ---- */

#define ITERATIONS 1000

static struct {
	struct worker *worker;
	unsigned quiet_turns, busy_turns, busy_was_first;
	struct call call;
	sem_t done;
} run;

static enum task_state quiet_service(struct worker_task *task)
{
	run.quiet_turns++;
	neighbours_saw_quiet(worker_neighbours(run.worker), task, worker_clock(run.worker));
	return TASK_WORKED;
}

/* Both have a turn in each iteration, so it is behind if it has had as many. */
static enum task_state busy_service(struct worker_task *task)
{
	(void)task;
	if (run.quiet_turns <= run.busy_turns)
		run.busy_was_first++;
	if (++run.busy_turns < ITERATIONS)
		return TASK_WORKED;
	worker_forget(run.worker, &quiet);
	sem_post(&run.done);
	return TASK_RESTS;
}

static void begin(struct call *call)
{
	(void)call;
	worker_schedule(run.worker, &quiet);
	worker_schedule(run.worker, &busy);
}

static bool never_idle(struct worker_task *task)
{
	(void)task;
	return true;
}

static void worker_serves_the_quiet_one_first(void)
{
	const struct worker_config config = {
		.reactor = &reactor_epoll, .target = &target_null, .poll_ns = POLL_OFF, .cpu = -1};

	sem_init(&run.done, 0, 0);
	quiet = (struct worker_task){.service = quiet_service, .idle = never_idle};
	busy = (struct worker_task){.service = busy_service, .idle = never_idle};
	REQUIRE_OK(worker_create(&run.worker, &config));
	run.call.run = begin;
	worker_call(run.worker, &run.call);
	while (sem_wait(&run.done))
		; /* EINTR */
	worker_destroy(run.worker);
	/* Before it was seen to be quiet nobody knew. */
	CHECK(run.busy_was_first <= 1);
	CHECK_EQ(run.busy_turns, ITERATIONS);
	sem_destroy(&run.done);
}

static const struct tap_case cases[] = {
	{"nobody_is_quiet_at_first", nobody_is_quiet_at_first},
	{"quiet_one_is_remembered_for_a_while", quiet_one_is_remembered_for_a_while},
	{"quiet_one_is_at_work_in_its_own_iteration", quiet_one_is_at_work_in_its_own_iteration},
	{"task_that_ends_is_forgotten", task_that_ends_is_forgotten},
	{"worker_serves_the_quiet_one_first", worker_serves_the_quiet_one_first},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "neighbours", .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
