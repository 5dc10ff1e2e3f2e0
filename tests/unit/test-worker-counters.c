/* SPDX-License-Identifier: BSD-3-Clause */
/* src/worker/worker.c and src/base/counter.h: what a worker counts, and the times that it stops. */
#include "src/base/counter.h"

#include <semaphore.h>

#include "src/base/clock.h"
#include "src/io/engine.h"
#include "tests/frontend/fe_time.h"
#include "tests/unit/support/one-queue.h"

#define MS 1000000

/* ---- stopwatches ---- */

static struct stopwatch watch;

static void stopwatch_adds_up(void)
{
	CHECK(!stopwatch_runs(&watch));
	CHECK_EQ(stopwatch_read(&watch, 12345), 0);
	stopwatch_start(&watch, 1000);
	CHECK(stopwatch_runs(&watch));
	CHECK_EQ(stopwatch_read(&watch, 1000), 0);
	CHECK_EQ(stopwatch_read(&watch, 1007), 7);
	stopwatch_stop(&watch, 1010);
	CHECK(!stopwatch_runs(&watch));
	CHECK_EQ(stopwatch_read(&watch, 5000), 10);
	stopwatch_start(&watch, 6000);
	CHECK_EQ(stopwatch_read(&watch, 6001), 11);
	stopwatch_stop(&watch, 6500);
	CHECK_EQ(stopwatch_read(&watch, 0), 510);
}

static void stopwatch_is_started_and_stopped_once(void)
{
	stopwatch_stop(&watch, 77);
	CHECK_EQ(stopwatch_read(&watch, 100), 0);
	stopwatch_start(&watch, 100);
	stopwatch_start(&watch, 200);
	stopwatch_stop(&watch, 300);
	stopwatch_stop(&watch, 400);
	CHECK_EQ(stopwatch_read(&watch, 500), 200);
}

/* As if the machine were up for a century. */
static void stopwatch_knows_large_times(void)
{
	const int64_t century = INT64_C(3155760000) * 1000 * MS;

	stopwatch_start(&watch, century);
	stopwatch_stop(&watch, 2 * century);
	stopwatch_start(&watch, 2 * century);
	CHECK_EQ(stopwatch_read(&watch, 2 * century + 5), century + 5);
}

/* ---- workers ---- */

static struct worker *worker;
static struct worker_counters counted;

static void open_worker(int64_t poll)
{
	static struct worker_config config;

	config = (struct worker_config){
		.reactor = &reactor_epoll, .target = &target_null, .poll_ns = poll, .cpu = -1};
	REQUIRE_OK(worker_create(&worker, &config));
}

/* What it counts in so many ms, and how long that was by our clock. */
static int64_t count_for(unsigned ms)
{
	struct worker_counters before;
	int64_t begun = now_ns(), between;

	worker_counters(worker, &before);
	between = now_ns();
	while (now_ns() - between < (int64_t)ms * MS)
		;
	worker_counters(worker, &counted);
	counted.iterations -= before.iterations;
	counted.sleeps -= before.sleeps;
	counted.polling_ns -= before.polling_ns;
	counted.asleep_ns -= before.asleep_ns;
	counted.cpu_ns -= before.cpu_ns;
	return now_ns() - begun;
}

/* Waits until it has slept for 5 ms, which it need not do at once on a busy machine; as above. */
static int64_t await_rest(void)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	int64_t all;

	do {
		all = count_for(5);
	} while ((counted.iterations || counted.polling_ns || counted.asleep_ns < 5 * MS) &&
		 fe_left_ms(deadline));
	return all;
}

static void at_rest_it_sleeps(void)
{
	int64_t all;

	open_worker(POLL_AUTO);
	all = await_rest();
	CHECK_EQ(counted.iterations, 0);
	CHECK_EQ(counted.sleeps, 0); /* the one that began before has not ended */
	CHECK_EQ(counted.polling_ns, 0);
	CHECK(counted.asleep_ns >= 5 * MS && counted.asleep_ns <= (uint64_t)all);
	CHECK_EQ(counted.cpu_ns, 0);
	CHECK_EQ(counted.tasks, 0);
	worker_destroy(worker);
}

static void who_always_polls_never_sleeps(void)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	int64_t all;

	open_worker(POLL_ALWAYS);
	do {
		all = count_for(5);
	} while ((counted.polling_ns < 5 * MS || !counted.iterations || !counted.cpu_ns) &&
		 fe_left_ms(deadline)); /* it may not have run at once */
	CHECK(counted.iterations > 0);
	CHECK_EQ(counted.sleeps, 0);
	CHECK_EQ(counted.asleep_ns, 0);
	CHECK(counted.polling_ns >= 5 * MS && counted.polling_ns <= (uint64_t)all);
	CHECK(counted.cpu_ns > 0);
	worker_destroy(worker);
}

static void nothing(struct call *call)
{
	(void)call;
}

/* A window of 2 ms after each call, and not longer. */
static void polling_ends_with_the_window(void)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	static struct call call = {.run = nothing};
	struct worker_counters before;

	open_worker(2 * MS);
	await_rest();
	worker_counters(worker, &before);
	worker_call(worker, &call);
	do {
		worker_counters(worker, &counted);
	} while (counted.polling_ns - before.polling_ns < 1 * MS && fe_left_ms(deadline));
	await_rest();
	CHECK_EQ(counted.polling_ns, 0);
	worker_counters(worker, &counted);
	CHECK(counted.sleeps > before.sleeps);
	CHECK(counted.polling_ns - before.polling_ns >= 2 * MS);
	CHECK(counted.asleep_ns > before.asleep_ns);
	worker_destroy(worker);
}

/* ---- load ---- */

static sem_t done;
static bool enough; /* of work */
static bool has_work;
static struct call more, end;

/* A millisecond of work, now and then, as a queue has it. */
static enum task_state service(struct worker_task *task)
{
	const int64_t begun = clock_read(worker_clock(worker));

	(void)task;
	if (!has_work)
		return TASK_EMPTY;
	has_work = false;
	while (now_ns() - begun < MS)
		;
	if (__atomic_load_n(&enough, __ATOMIC_ACQUIRE))
		sem_post(&done);
	else
		worker_call(worker, &more);
	return TASK_WORKED;
}

static bool idle(struct worker_task *task)
{
	(void)task;
	return false;
}

static struct worker_task task = {.service = service, .idle = idle};

static void give_work(struct call *call)
{
	(void)call;
	has_work = true;
	worker_schedule(worker, &task);
}

static void take_away(struct call *call)
{
	(void)call;
	worker_forget(worker, &task);
	sem_post(&done);
}

static void await_done(void)
{
	while (sem_wait(&done))
		; /* EINTR */
}

static bool load_becomes(unsigned least, unsigned most)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	unsigned load;

	do {
		load = worker_load(worker);
	} while ((load < least || load > most) && fe_left_ms(deadline));
	tap_diag("load %u", load);
	return load >= least && load <= most;
}

/* It is what is done now that counts, and not polling. Others may want the processor, too. */
static void load_is_what_is_done_lately(int64_t poll)
{
	more.run = give_work;
	end.run = take_away;
	sem_init(&done, 0, 0);
	open_worker(poll);
	CHECK(load_becomes(0, 0));
	for (unsigned i = 0; i < 2; i++) {
		__atomic_store_n(&enough, false, __ATOMIC_RELEASE);
		worker_call(worker, &more);
		CHECK(load_becomes(3, 100));
		__atomic_store_n(&enough, true, __ATOMIC_RELEASE);
		await_done();
		CHECK(load_becomes(0, 2));
	}
	worker_call(worker, &end);
	await_done();
	worker_destroy(worker);
	sem_destroy(&done);
}

static void load_is_what_is_done_lately_with_sleeps(void)
{
	load_is_what_is_done_lately(POLL_OFF);
}

static void load_is_what_is_done_lately_with_polls(void)
{
	load_is_what_is_done_lately(POLL_ALWAYS);
}

static unsigned n_tasks(void)
{
	oq_check_held(0);
	worker_counters(oq.worker, &counted);
	return counted.tasks;
}

static void tasks_are_those_that_run(void)
{
	oq_open(16);
	CHECK_EQ(n_tasks(), 0);
	oq_start();
	CHECK_EQ(n_tasks(), 1);
	oq_end();
	oq_wait_until_drained();
	CHECK_EQ(n_tasks(), 0);
	oq_destroy();
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"stopwatch_adds_up", stopwatch_adds_up},
		{"stopwatch_is_started_and_stopped_once", stopwatch_is_started_and_stopped_once},
		{"stopwatch_knows_large_times", stopwatch_knows_large_times},
		{"at_rest_it_sleeps", at_rest_it_sleeps},
		{"who_always_polls_never_sleeps", who_always_polls_never_sleeps},
		{"polling_ends_with_the_window", polling_ends_with_the_window},
		{"load_is_what_is_done_lately_with_sleeps",
		 load_is_what_is_done_lately_with_sleeps},
		{"load_is_what_is_done_lately_with_polls", load_is_what_is_done_lately_with_polls},
		{"tasks_are_those_that_run", tasks_are_those_that_run},
		{0},
	};
	static const struct tap_suite suites[] = {
		{.name = "counters", .cases = cases},
		{0},
	};

	return tap_main(argc, argv, suites);
}
