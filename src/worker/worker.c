/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A round of the worker is
 *
 *	queues that are hot: pop, parse, engine_submit()	no system call
 *	what was finished at once: publish
 *	engine_run()						one at most: flush, wait, reap
 *	what was completed: publish, once per queue
 *
 * A queue is hot from its kick on, and while it is, kicks are unwanted and each round looks at its
 * ring. When a worker has found nothing to do for as long as its policy says
 * (worker/poll_policy.h), its queues cool down: kicks are asked for, and with a last look at the
 * ring, for a request may have come in between, the queue leaves the list. With no hot queue left
 * the worker sleeps in engine_run(). A queue that stays empty in COLD_AFTER rounds while others are
 * busy cools down alone, so that what a round costs depends on the queues that work, not on those
 * there are.
 *
 *	         kick, completion, change
 *	  COLD ---------------------------> HOT ---.
 *	   ^                                 |  ^  | each round: up to POPS_AT_ONCE requests
 *	   |  nothing found, kicks wanted    |  '--'
 *	   '---------------------------------'
 *
 * A queue that waits for a slot, has been found broken, or is stopping is not hot either: a
 * completion, or nothing, makes it so.
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
#include "queue/queue.h"
#include "queue/registered_memory.h"
#include "request/request.h"

/* Operations that the kernel holds at once; more wait in the engine. */
#define ENGINE_DEPTH 512

/* How often a ring is looked at whose driver does not kick and has been idle. */
#define POLL_NS 50000

#define COLD_AFTER 4096 /* rounds */

#define MAX_BOUNCE 64 /* buffers */
#define MAX_FILES  64

struct file {
	int fd, handle;
	unsigned users;
};

/* On cache lines of its own, for the same reason as a queue. */
struct worker {
	_Alignas(64) struct queue *hot; /* to be serviced */
	struct queue *touched;          /* to be published */
	struct queue *unkicked;         /* nobody kicks them */
	struct engine *engine;
	bool quit;
	struct poll_policy policy;
	int64_t idle_since; /* ns, monotonic; 0: work was found in the last round */

	pthread_t thread;
	const struct worker_config *config;
	struct mailbox mailbox;
	struct engine_watch mailbox_watch;
	struct call quit_call;

	struct file file[MAX_FILES];
	unsigned memory_users;
	struct registered_memory memory;

	void *bounce[MAX_BOUNCE]; /* free ones */
	unsigned n_bounce_free, n_bounce;
	struct blk_req *waiting, **last_waiting; /* for a bounce buffer, in order */

	struct log_limit kick_trouble;

	sem_t started;
	int start_err;
};

/* ---- lists ---- */

void worker_heat(struct worker *worker, struct queue *queue)
{
	if (queue->hot || !queue_pops(queue))
		return;
	queue->hot = true;
	queue->empty_rounds = 0;
	queue->next_hot = worker->hot;
	worker->hot = queue;
}

void worker_touched(struct worker *worker, struct queue *queue)
{
	if (queue->touched)
		return;
	queue->touched = true;
	queue->next_touched = worker->touched;
	worker->touched = queue;
}

void worker_unkicked(struct worker *worker, struct queue *queue, bool unkicked)
{
	struct queue **at = &worker->unkicked;

	if (queue->unkicked == unkicked)
		return;
	queue->unkicked = unkicked;
	if (unkicked) {
		queue->next_unkicked = worker->unkicked;
		worker->unkicked = queue;
		return;
	}
	while (*at != queue)
		at = &(*at)->next_unkicked;
	*at = queue->next_unkicked;
}

void worker_forget(struct worker *worker, struct queue *queue)
{
	struct queue **at = &worker->hot;

	worker_unkicked(worker, queue, false);
	if (!queue->hot)
		return;
	queue->hot = false;
	while (*at != queue)
		at = &(*at)->next_hot;
	*at = queue->next_hot;
}

bool worker_may_warn_of_kicks(struct worker *worker, const char *name)
{
	return log_limit_ok(&worker->kick_trouble, LOG_LEVEL_WARNING, name);
}

struct engine *worker_engine(struct worker *worker)
{
	return worker->engine;
}

/* ---- files ---- */

int worker_get_file(struct worker *worker, int fd, int *file)
{
	struct file *empty = NULL;

	for (unsigned i = 0; i < MAX_FILES; i++) {
		struct file *f = &worker->file[i];

		if (f->users && f->fd == fd) {
			f->users++;
			*file = f->handle;
			return 0;
		}
		if (!f->users && !empty)
			empty = f;
	}
	if (!empty)
		return -ENFILE;
	empty->handle = engine_add_file(worker->engine, fd);
	if (empty->handle < 0)
		return empty->handle;
	empty->fd = fd;
	empty->users = 1;
	*file = empty->handle;
	return 0;
}

void worker_put_file(struct worker *worker, int file)
{
	for (unsigned i = 0; i < MAX_FILES; i++) {
		struct file *f = &worker->file[i];

		if (f->users && f->handle == file && !--f->users)
			engine_remove_file(worker->engine, file);
	}
}

/* ---- memory ---- */

int64_t worker_change_memory(struct worker *worker, const struct iovec *ranges, unsigned n)
{
	return engine_set_memory(worker->engine, ranges, n);
}

int64_t worker_get_memory(struct worker *worker, const struct iovec *ranges, unsigned n)
{
	const int64_t plain = engine_set_memory(worker->engine, ranges, n);

	if (plain < 0) {
		if (!worker->memory_users)
			registered_memory_clear(&worker->memory);
		return plain;
	}
	return worker->memory_users++ ? 0 : plain;
}

void worker_put_memory(struct worker *worker)
{
	if (--worker->memory_users)
		return;
	engine_set_memory(worker->engine, NULL, 0);
	registered_memory_clear(&worker->memory);
}

struct registered_memory *worker_memory(struct worker *worker)
{
	return &worker->memory;
}

/* ---- bounce buffers ---- */

int worker_bounce_get(struct worker *worker, struct blk_req *req, void **buffer)
{
	if (worker->n_bounce_free) {
		*buffer = worker->bounce[--worker->n_bounce_free];
		return 0;
	}
	if (worker->n_bounce < MAX_BOUNCE) {
		*buffer = aligned_alloc(4096, BOUNCE_SIZE);
		if (*buffer) {
			worker->n_bounce++;
			return 0;
		}
		if (!worker->n_bounce)
			return -ENOMEM;
	}
	req->next = NULL;
	*worker->last_waiting = req;
	worker->last_waiting = &req->next;
	return -EAGAIN;
}

void worker_bounce_put(struct worker *worker, void *buffer)
{
	worker->bounce[worker->n_bounce_free++] = buffer;
	/* Who is woken may have no use for it any more: then it is the next one's. */
	while (worker->waiting && worker->n_bounce_free) {
		struct blk_req *req = worker->waiting;

		worker->waiting = req->next;
		if (!worker->waiting)
			worker->last_waiting = &worker->waiting;
		blk_rw_bounce(req);
	}
}

bool worker_bounce_cancel(struct worker *worker, struct blk_req *req)
{
	struct blk_req **at = &worker->waiting;

	while (*at && *at != req)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = req->next;
	if (!*at)
		worker->last_waiting = at;
	return true;
}

/* ---- rounds ---- */

/*
 * A turn for each hot queue. Was there anything to do? The list is taken first: a queue that
 * becomes hot meanwhile has its turn in the next round.
 */
static bool service(struct worker *worker)
{
	struct queue *queue = worker->hot;
	bool worked = false;

	worker->hot = NULL;
	while (queue) {
		struct queue *next = queue->next_hot;
		enum queue_state state;

		queue->hot = false;
		state = queue_service(queue);
		if (state == QUEUE_WORKED) {
			worked = true;
			worker_heat(worker, queue);
		} else if (state == QUEUE_EMPTY) {
			/* Where nobody has work the policy says how long to look. */
			const unsigned rounds = queue->empty_rounds + !worker->idle_since;

			if (rounds < COLD_AFTER || worker->policy.window == POLL_ALWAYS ||
			    queue_cool(queue)) {
				worker_heat(worker, queue);
				queue->empty_rounds = rounds;
			}
		}
		queue = next;
	}
	return worked;
}

static void publish(struct worker *worker)
{
	struct queue *queue = worker->touched;

	worker->touched = NULL;
	while (queue) {
		struct queue *next = queue->next_touched;

		queue->touched = false;
		/* Who is given something back often has something new to do. */
		if (worker->policy.window)
			worker_heat(worker, queue);
		queue_publish(queue); /* may be its end */
		queue = next;
	}
}

static void run_mailbox(struct engine_watch *watch)
{
	mailbox_run(&container_of(watch, struct worker, mailbox_watch)->mailbox);
}

static void mailbox_unwatched(struct engine_watch *watch, int err)
{
	(void)watch;
	log_warning("a worker's mailbox cannot be watched: %s; looking into it regularly, which "
		    "costs processor time",
		    strerror(-err));
}

static int open_engine(struct worker *worker)
{
	const struct engine_config config = {.depth = ENGINE_DEPTH,
					     .options = worker->config->engine};
	int err = engine_open(worker->config->class, &worker->engine, &config);

	if (err)
		return err;
	worker->mailbox_watch.fd = worker->mailbox.event_fd;
	worker->mailbox_watch.ready = run_mailbox;
	worker->mailbox_watch.failed = mailbox_unwatched;
	err = engine_watch(worker->engine, &worker->mailbox_watch);
	if (err)
		engine_close(worker->engine);
	return err;
}

/* Asks for kicks wherever nothing is to do. */
static void cool_down(struct worker *worker)
{
	struct queue *queue = worker->hot;

	worker->hot = NULL;
	while (queue) {
		struct queue *next = queue->next_hot;

		queue->hot = false;
		if (queue_cool(queue))
			worker_heat(worker, queue);
		queue = next;
	}
}

/* Nothing was found to do: how long may engine_run() sleep, ns? */
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
	cool_down(worker);
	if (worker->hot)
		return 0;
	return worker->unkicked ? POLL_NS : -1;
}

static void work_found(struct worker *worker)
{
	if (!worker->idle_since)
		return;
	poll_policy_found(&worker->policy);
	worker->idle_since = 0;
}

static void run_engine(struct worker *worker, int64_t timeout)
{
	const int n = engine_run(worker->engine, timeout);

	if (n < 0) {
		/* Not input, but a bug or a kernel in trouble: nothing can go on. */
		log_error("the %s engine failed: %s", worker->config->class->name, strerror(-n));
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
		worker->start_err = open_engine(worker);
	sem_post(&worker->started);
	if (worker->start_err)
		return NULL;
	while (!worker->quit) {
		bool worked;

		for (struct queue *queue = worker->unkicked; queue; queue = queue->next_unkicked)
			worker_heat(worker, queue);
		worked = service(worker);
		publish(worker);
		if (worked)
			work_found(worker);
		/* Without a window one system call submits and sleeps. */
		run_engine(worker, worked && worker->policy.window ? 0 : rest(worker));
	}
	engine_unwatch(worker->engine, &worker->mailbox_watch);
	engine_close(worker->engine);
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
	worker->last_waiting = &worker->waiting;
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
	for (unsigned i = 0; i < worker->n_bounce_free; i++)
		free(worker->bounce[i]);
	sem_destroy(&worker->started);
	mailbox_destroy(&worker->mailbox);
	free(worker);
}

void worker_call(struct worker *worker, struct call *call)
{
	mailbox_post(&worker->mailbox, call);
}
