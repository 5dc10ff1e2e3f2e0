/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. An iteration of the worker is
 *
 *	tasks that are runnable: service			no system call
 *	what was finished at once: publish
 *	reactor_run()					with io_uring one at most: flush, wait, reap
 *	what was completed: publish, once per task
 *
 * A queue is such a task. It is runnable from its kick on, and while it is, kicks are unwanted and
 * each iteration polls its ring. When a worker has found nothing to do for as long as its policy
 * says (worker/poll_policy.h), its tasks become idle: kicks are asked for, and with a final
 * re-check of the ring, for a request may have come in between, the task leaves the list. With no
 * runnable task left the worker sleeps in reactor_run(). A task that stays empty in IDLE_AFTER
 * iterations while others are busy becomes idle alone, so that what an iteration costs depends on
 * the queues that work, not on those there are.
 *
 *	         kick, completion, change
 *	  IDLE ---------------------------> RUNNABLE ---.
 *	   ^                                 |  ^       | each iteration: up to a batch of requests
 *	   |  nothing found, kicks wanted    |  '-------'
 *	   '---------------------------------'
 *
 * A queue that waits for a slot, has been found unusable, or is stopping and has nothing to recover
 * is not runnable either: a completion, or nothing, makes it so. One of which all that it has taken
 * is held by the disk's limits rests: kicks are wanted at once, and nothing is polled for its sake.
 * So does, whenever it is empty, one whose disk is not to be polled for. A worker all of whose
 * tasks rest sleeps, whatever its policy says.
 */
#include "worker/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/container.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/thread.h"
#include "io/bounce.h"
#include "worker/neighbours.h"

/* Operations that the kernel holds at once; more wait in the target. */
#define DEPTH 512

/* How often a ring is looked at whose driver does not kick and has been idle. */
#define POLL_NS 50000

#define IDLE_AFTER 4096 /* iterations */

/* How often a worker notes what it has done, for its load. */
#define MARK_MS 500

#define MAX_TARGETS 4 /* there are fewer classes */

/* On cache lines of its own, for the same reason as a queue. */
struct worker {
	_Alignas(64) struct worker_task *runnable; /* to be serviced */
	struct worker_task *needs_publish;
	struct worker_task *polled; /* nobody wakes them */
	struct reactor *reactor;
	bool quit;
	unsigned n_waits, n_rests; /* tasks */
	struct poll_policy policy;
	int64_t idle_since; /* ns, monotonic; 0: work was found in the last iteration */
	struct step_clock clock;
	struct neighbours neighbours;
	int64_t marked; /* ns, when it was last noted what it has done */

	/* Read by any thread. */
	struct {
		counter iterations, sleeps, tasks;
		struct stopwatch polling, asleep;
		counter mark[2]; /* the last one, and the one before: see mark_of() */
	} counts;

	/* Written by others, too. */
	_Alignas(64) pthread_t thread;
	const struct worker_config *config;
	struct mailbox mailbox;
	struct reactor_watch mailbox_watch;
	struct call quit_call;

	struct target *target[MAX_TARGETS];
	unsigned n_targets;
	struct bounce_pool bounce;

	struct log_limit kick_trouble;

	sem_t started;
	int start_err;
};

/* ---- lists ---- */

/* It neither waits nor rests any more. */
static void stir(struct worker *worker, struct worker_task *task)
{
	worker->n_waits -= task->waits;
	worker->n_rests -= task->rests;
	task->waits = task->rests = false;
}

void worker_schedule(struct worker *worker, struct worker_task *task)
{
	if (task->runnable)
		return;
	stir(worker, task);
	task->runnable = true;
	task->empty_iterations = 0;
	task->next_runnable = worker->runnable;
	worker->runnable = task;
}

void worker_add_to_publish(struct worker *worker, struct worker_task *task)
{
	task->needs_publish = true;
	task->next_publish = worker->needs_publish;
	worker->needs_publish = task;
}

void worker_poll(struct worker *worker, struct worker_task *task, bool polled)
{
	struct worker_task **at = &worker->polled;

	if (task->polled == polled)
		return;
	task->polled = polled;
	if (polled) {
		task->next_polled = worker->polled;
		worker->polled = task;
		return;
	}
	while (*at != task)
		at = &(*at)->next_polled;
	*at = task->next_polled;
}

void worker_forget(struct worker *worker, struct worker_task *task)
{
	struct worker_task **at = &worker->runnable;

	worker_poll(worker, task, false);
	neighbours_forget(&worker->neighbours, task);
	stir(worker, task);
	if (!task->runnable)
		return;
	task->runnable = false;
	while (*at != task)
		at = &(*at)->next_runnable;
	*at = task->next_runnable;
}

bool worker_may_warn_of_kicks(struct worker *worker, const char *name)
{
	return log_limit_ok(&worker->kick_trouble, LOG_LEVEL_WARNING, name);
}

struct reactor *worker_reactor(struct worker *worker)
{
	return worker->reactor;
}

struct mailbox *worker_mailbox(struct worker *worker)
{
	return &worker->mailbox;
}

struct bounce_pool *worker_bounce(struct worker *worker)
{
	return &worker->bounce;
}

struct step_clock *worker_clock(struct worker *worker)
{
	return &worker->clock;
}

struct neighbours *worker_neighbours(struct worker *worker)
{
	return &worker->neighbours;
}

void worker_count_task(struct worker *worker, int more)
{
	counter_add(&worker->counts.tasks, (uint64_t)more);
}

/* ---- load ---- */

/* When, and how long it had been busy then, in ms: one number, so that both are of one time. */
static uint64_t mark_of(int64_t now, int64_t busy)
{
	return (uint64_t)(uint32_t)(now / 1000000) << 32 | (uint32_t)(busy / 1000000);
}

/* What it has done since its start, ns, of which polling is no part. */
static int64_t busy_ns(const struct worker *worker, clockid_t clock, int64_t now)
{
	struct timespec cpu = {0};

	clock_gettime(clock, &cpu);
	return cpu.tv_sec * INT64_C(1000000000) + cpu.tv_nsec -
	       (int64_t)stopwatch_read(&worker->counts.polling, now);
}

static void set_mark(struct worker *worker, int64_t now)
{
	worker->marked = now;
	counter_set(&worker->counts.mark[1], counter_read(&worker->counts.mark[0]));
	counter_set(&worker->counts.mark[0],
		    mark_of(now, busy_ns(worker, CLOCK_THREAD_CPUTIME_ID, now)));
}

/*
 * Its time is divided here: sleeping or polling begins, or has ended. So the last mark is not old
 * but for one of both, or for work without a pause.
 */
static void mark_if_due(struct worker *worker, int64_t now)
{
	if (now - worker->marked >= MARK_MS * INT64_C(1000000))
		set_mark(worker, now);
}

static void begin_polling(struct worker *worker, int64_t now)
{
	if (stopwatch_runs(&worker->counts.polling))
		return;
	stopwatch_start(&worker->counts.polling, now);
	mark_if_due(worker, now);
}

static void end_polling(struct worker *worker, int64_t now)
{
	stopwatch_stop(&worker->counts.polling, now);
	mark_if_due(worker, now);
}

unsigned worker_load(const struct worker *worker)
{
	const int64_t now = now_ns();
	clockid_t clock;
	uint64_t mark = 0, current;
	uint32_t ms = 0;
	int32_t busy;

	if (pthread_getcpuclockid(worker->thread, &clock))
		return 0;
	current = mark_of(now, busy_ns(worker, clock, now));
	for (int i = 0; i < 2 && ms < MARK_MS; i++) {
		mark = counter_read(&worker->counts.mark[i]);
		ms = (uint32_t)(current >> 32) - (uint32_t)(mark >> 32);
	}
	/* Polling on a busy processor is counted longer than it has run. */
	busy = (int32_t)((uint32_t)current - (uint32_t)mark);
	if (busy <= 0 || !ms)
		return 0;
	return (uint32_t)busy < ms ? (unsigned)((uint64_t)busy * 100 / ms) : 100;
}

/* ---- targets ---- */

int worker_get_target(struct worker *worker, const struct target_class *class,
		      struct target **target)
{
	int err;

	for (unsigned i = 0; i < worker->n_targets; i++) {
		*target = worker->target[i];
		if ((*target)->class == class)
			return 0;
	}
	if (worker->n_targets == MAX_TARGETS)
		return -ENFILE;
	err = target_open(class, target, worker->reactor);
	if (!err)
		worker->target[worker->n_targets++] = *target;
	return err;
}

/* ---- iterations ---- */

/* Who asks for little, and waits for it, does not wait behind the others. */
static void quiet_first(struct worker *worker)
{
	struct worker_task *task = worker->neighbours.quiet;
	struct worker_task **at = &worker->runnable;

	if (!task || !task->runnable || *at == task)
		return;
	while (*at != task)
		at = &(*at)->next_runnable;
	*at = task->next_runnable;
	task->next_runnable = worker->runnable;
	worker->runnable = task;
}

/*
 * A turn for each runnable task. Was there anything to do? The list is taken first: a task that
 * becomes runnable meanwhile has its turn in the next iteration.
 */
static bool service(struct worker *worker)
{
	struct worker_task *task;
	bool worked = false;

	quiet_first(worker);
	task = worker->runnable;

	worker->runnable = NULL;
	while (task) {
		struct worker_task *next = task->next_runnable;
		enum task_state state;

		task->runnable = false;
		state = task->service(task);
		if (state == TASK_WORKED) {
			worked = true;
			worker_schedule(worker, task);
		} else if (state == TASK_EMPTY) {
			/* Where nobody has work the policy says how long to poll. */
			const unsigned n = task->empty_iterations + !worker->idle_since;

			if (n < IDLE_AFTER || worker->policy.window == POLL_ALWAYS ||
			    task->idle(task)) {
				worker_schedule(worker, task);
				task->empty_iterations = n;
			}
		} else if (!task->runnable) {
			task->waits = state == TASK_WAITS;
			task->rests = state == TASK_RESTS;
			worker->n_waits += task->waits;
			worker->n_rests += task->rests;
		}
		task = next;
	}
	return worked;
}

static void publish(struct worker *worker)
{
	struct worker_task *task = worker->needs_publish;

	worker->needs_publish = NULL;
	while (task) {
		struct worker_task *next = task->next_publish;

		task->needs_publish = false;
		/* Who is given something back often has something new to do. */
		if (worker->policy.window && !task->no_poll)
			worker_schedule(worker, task);
		task->publish(task); /* may be its end */
		task = next;
	}
}

static void run_mailbox(struct reactor_watch *watch)
{
	mailbox_run(&container_of(watch, struct worker, mailbox_watch)->mailbox);
}

static void mailbox_unwatched(struct reactor_watch *watch, int err)
{
	(void)watch;
	log_warning("cannot watch a worker's mailbox: %s; polling it instead, which costs CPU time",
		    strerror(-err));
}

static void close_reactor(struct worker *worker)
{
	reactor_unwatch(worker->reactor, &worker->mailbox_watch);
	while (worker->n_targets)
		target_close(worker->target[--worker->n_targets]);
	reactor_close(worker->reactor);
}

static int open_reactor(struct worker *worker)
{
	const struct reactor_config config = {.depth = DEPTH, .options = worker->config->options};
	struct target *target;
	int err = reactor_open(worker->config->reactor, &worker->reactor, &config);

	if (err)
		return err;
	worker->mailbox_watch.fd = worker->mailbox.event_fd;
	worker->mailbox_watch.ready = run_mailbox;
	worker->mailbox_watch.failed = mailbox_unwatched;
	worker->mailbox_watch.slot = -1;
	err = worker_get_target(worker, worker->config->target, &target);
	if (!err)
		err = reactor_watch(worker->reactor, &worker->mailbox_watch);
	if (err)
		close_reactor(worker);
	return err;
}

/*
 * Asks for wake-ups wherever nothing is to do. Has what ends the sleep that follows anything to say
 * to the policy? It has not if all that comes to rest is no reason to poll.
 */
static bool idle(struct worker *worker)
{
	struct worker_task *task = worker->runnable;
	bool tells = !task;

	worker->runnable = NULL;
	while (task) {
		struct worker_task *next = task->next_runnable;

		task->runnable = false;
		if (task->idle(task)) {
			worker_schedule(worker, task);
		} else if (task->no_poll) {
			task->rests = true;
			worker->n_rests++;
		}
		tells = tells || !task->no_poll;
		task = next;
	}
	return tells;
}

/* Is there any task for which polling may find something? */
static bool polling_pays(const struct worker *worker)
{
	return worker->runnable || worker->n_waits || !worker->n_rests;
}

static int64_t fall_asleep(struct worker *worker, int64_t now)
{
	stopwatch_start(&worker->counts.asleep, now);
	mark_if_due(worker, now);
	return worker->polled ? POLL_NS : -1;
}

/*
 * Nothing is left to do for now: how long may reactor_run() sleep, ns? If nothing was found either,
 * no time has passed since the clock was read.
 */
static int64_t rest(struct worker *worker, bool worked)
{
	const bool pays = polling_pays(worker);
	int64_t now;

	if (worker->policy.window == POLL_ALWAYS && pays) {
		if (!stopwatch_runs(&worker->counts.polling))
			begin_polling(worker, clock_read(&worker->clock));
		return 0;
	}
	if (worker->idle_since || worked)
		clock_step(&worker->clock);
	now = clock_read(&worker->clock);
	if (!worker->idle_since)
		worker->idle_since = now;
	if (pays && worker->policy.window && now - worker->idle_since < worker->policy.window) {
		begin_polling(worker, now);
		return 0;
	}
	stopwatch_stop(&worker->counts.polling, now);
	if (!pays) {
		/* What ends this sleep has nothing to say to the policy. */
		worker->idle_since = 0;
		return fall_asleep(worker, now);
	}
	if (!idle(worker))
		worker->idle_since = 0;
	return worker->runnable ? 0 : fall_asleep(worker, now);
}

static void work_found(struct worker *worker)
{
	if (stopwatch_runs(&worker->counts.polling))
		end_polling(worker, clock_read(&worker->clock));
	if (!worker->idle_since)
		return;
	poll_policy_found(&worker->policy);
	worker->idle_since = 0;
}

static void run_reactor(struct worker *worker, int64_t timeout)
{
	const int64_t before = worker->idle_since ? worker->clock.now : 0;
	int n;

	clock_step(&worker->clock);
	n = reactor_run(worker->reactor, timeout);
	/* What rest() has read is the time that the next request is fetched at, if there is one. */
	if (!n && !timeout)
		worker->clock.now = before;
	if (timeout) {
		counter_add(&worker->counts.sleeps, 1);
		stopwatch_stop(&worker->counts.asleep, clock_read(&worker->clock));
		mark_if_due(worker, clock_read(&worker->clock));
	}
	if (n < 0) {
		/* Not input, but a bug or a kernel in trouble: nothing can go on. */
		log_error("the %s engine failed: %s", worker->config->target->name, strerror(-n));
		_exit(EXIT_FAILURE);
	}
	publish(worker);
	if (!n)
		return;
	if (timeout && worker->idle_since)
		poll_policy_slept(&worker->policy, clock_read(&worker->clock) - worker->idle_since);
	else
		work_found(worker);
	worker->idle_since = 0;
}

static int stay_on_cpu(const struct worker *worker)
{
	cpu_set_t set;

	if (worker->config->cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET((size_t)worker->config->cpu, &set);
	return -pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	worker->start_err = stay_on_cpu(worker);
	if (!worker->start_err)
		worker->start_err = open_reactor(worker);
	for (int i = 0; i < 2; i++)
		set_mark(worker, now_ns());
	sem_post(&worker->started);
	if (worker->start_err)
		return NULL;
	while (!worker->quit) {
		bool worked;

		counter_add(&worker->counts.iterations, 1);
		for (struct worker_task *task = worker->polled; task; task = task->next_polled)
			worker_schedule(worker, task);
		worked = service(worker);
		publish(worker);
		if (worked)
			work_found(worker);
		/* Without a window one system call submits and sleeps. */
		run_reactor(worker, worked && worker->policy.window ? 0 : rest(worker, worked));
	}
	close_reactor(worker);
	return NULL;
}

/* ---- control thread ---- */

static void quit(struct call *call)
{
	container_of(call, struct worker, quit_call)->quit = true;
}

int worker_create(struct worker **workerp, const struct worker_config *config)
{
	struct worker *worker = aligned_alloc(_Alignof(struct worker), sizeof(*worker));
	int err;

	*workerp = NULL;
	if (!worker)
		return -ENOMEM;
	*worker = (struct worker){.config = config};
	poll_policy_init(&worker->policy, config->poll_ns);
	bounce_init(&worker->bounce);
	err = mailbox_init(&worker->mailbox);
	if (err)
		goto free_worker;
	sem_init(&worker->started, 0, 0);
	err = thread_create(&worker->thread, worker_main, worker);
	if (err)
		goto destroy_mailbox;
	while (sem_wait(&worker->started))
		; /* EINTR */
	err = worker->start_err;
	if (err) {
		pthread_join(worker->thread, NULL);
		goto destroy_mailbox;
	}
	*workerp = worker;
	return 0;

destroy_mailbox:
	sem_destroy(&worker->started);
	mailbox_destroy(&worker->mailbox);
free_worker:
	free(worker);
	return err;
}

void worker_destroy(struct worker *worker)
{
	worker->quit_call.run = quit;
	worker_call(worker, &worker->quit_call);
	pthread_join(worker->thread, NULL);
	bounce_destroy(&worker->bounce);
	sem_destroy(&worker->started);
	mailbox_destroy(&worker->mailbox);
	free(worker);
}

void worker_call(struct worker *worker, struct call *call)
{
	mailbox_post(&worker->mailbox, call);
}

void worker_counters(const struct worker *worker, struct worker_counters *counters)
{
	const int64_t now = now_ns();
	struct timespec cpu = {0};
	clockid_t clock;

	if (!pthread_getcpuclockid(worker->thread, &clock))
		clock_gettime(clock, &cpu);
	*counters = (struct worker_counters){
		.iterations = counter_read(&worker->counts.iterations),
		.sleeps = counter_read(&worker->counts.sleeps),
		.polling_ns = stopwatch_read(&worker->counts.polling, now),
		.asleep_ns = stopwatch_read(&worker->counts.asleep, now),
		.cpu_ns = (uint64_t)cpu.tv_sec * UINT64_C(1000000000) + (uint64_t)cpu.tv_nsec,
		.tasks = (unsigned)counter_read(&worker->counts.tasks),
	};
}
