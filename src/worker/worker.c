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
 * is not runnable either: a completion, or nothing, makes it so.
 */
#include "worker/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/container.h"
#include "base/log.h"
#include "base/thread.h"
#include "io/bounce.h"

/* Operations that the kernel holds at once; more wait in the target. */
#define DEPTH 512

/* How often a ring is looked at whose driver does not kick and has been idle. */
#define POLL_NS 50000

#define IDLE_AFTER 4096 /* iterations */

#define MAX_TARGETS 4 /* there are fewer classes */

/* On cache lines of its own, for the same reason as a queue. */
struct worker {
	_Alignas(64) struct worker_task *runnable; /* to be serviced */
	struct worker_task *needs_publish;
	struct worker_task *polled; /* nobody wakes them */
	struct reactor *reactor;
	bool quit;
	struct poll_policy policy;
	int64_t idle_since; /* ns, monotonic; 0: work was found in the last iteration */

	pthread_t thread;
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

void worker_schedule(struct worker *worker, struct worker_task *task)
{
	if (task->runnable)
		return;
	task->runnable = true;
	task->empty_iterations = 0;
	task->next_runnable = worker->runnable;
	worker->runnable = task;
}

void worker_needs_publish(struct worker *worker, struct worker_task *task)
{
	if (task->needs_publish)
		return;
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

/*
 * A turn for each runnable task. Was there anything to do? The list is taken first: a task that
 * becomes runnable meanwhile has its turn in the next iteration.
 */
static bool service(struct worker *worker)
{
	struct worker_task *task = worker->runnable;
	bool worked = false;

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
		if (worker->policy.window)
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

/* Asks for wake-ups wherever nothing is to do. */
static void idle(struct worker *worker)
{
	struct worker_task *task = worker->runnable;

	worker->runnable = NULL;
	while (task) {
		struct worker_task *next = task->next_runnable;

		task->runnable = false;
		if (task->idle(task))
			worker_schedule(worker, task);
		task = next;
	}
}

/* Nothing was found to do: how long may reactor_run() sleep, ns? */
static int64_t rest(struct worker *worker)
{
	int64_t now;

	if (worker->policy.window == POLL_ALWAYS)
		return 0;
	now = now_ns();
	if (!worker->idle_since)
		worker->idle_since = now;
	if (worker->policy.window && now - worker->idle_since < worker->policy.window)
		return 0;
	idle(worker);
	if (worker->runnable)
		return 0;
	return worker->polled ? POLL_NS : -1;
}

static void work_found(struct worker *worker)
{
	if (!worker->idle_since)
		return;
	poll_policy_found(&worker->policy);
	worker->idle_since = 0;
}

static void run_reactor(struct worker *worker, int64_t timeout)
{
	const int n = reactor_run(worker->reactor, timeout);

	if (n < 0) {
		/* Not input, but a bug or a kernel in trouble: nothing can go on. */
		log_error("the %s engine failed: %s", worker->config->target->name, strerror(-n));
		_exit(EXIT_FAILURE);
	}
	publish(worker);
	if (!n)
		return;
	if (timeout)
		poll_policy_slept(&worker->policy, now_ns() - worker->idle_since);
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
	sem_post(&worker->started);
	if (worker->start_err)
		return NULL;
	while (!worker->quit) {
		bool worked;

		for (struct worker_task *task = worker->polled; task; task = task->next_polled)
			worker_schedule(worker, task);
		worked = service(worker);
		publish(worker);
		if (worked)
			work_found(worker);
		/* Without a window one system call submits and sleeps. */
		run_reactor(worker, worked && worker->policy.window ? 0 : rest(worker));
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
