/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A round of the worker is
 *
 *	queues that are ready: pop, parse, engine_submit()	no system call
 *	what was finished at once: publish
 *	engine_run()						one: flush, wait, reap
 *	what was completed: publish, once per queue
 *
 * A queue is ready after a kick, when it was stopped by a bound (requests in one round, slots) and
 * may go on, and all the time if nobody kicks it. It sleeps in engine_run() when none is.
 */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blk_req.h"
#include "container.h"
#include "log.h"
#include "queue.h"
#include "thread.h"

/* Operations that the kernel holds at once; more wait in the engine. */
#define ENGINE_DEPTH 512

/* How often a ring is looked at whose driver does not kick and has been idle. */
#define POLL_NS 50000

#define MAX_BOUNCE 64 /* buffers */
#define MAX_FILES  64

struct file {
	int fd, handle;
	unsigned users;
};

struct worker {
	pthread_t thread;
	const struct engine_class *class;
	struct engine_options engine_options;
	struct engine *engine;
	struct mailbox mailbox;
	struct engine_watch mailbox_watch;
	struct call quit_call;
	bool quit;

	struct queue *ready;   /* to be serviced */
	struct queue *touched; /* to be published */
	struct queue *polled;  /* nobody kicks them */

	struct file file[MAX_FILES];
	unsigned memory_users;

	void *bounce[MAX_BOUNCE]; /* free ones */
	unsigned n_bounce_free, n_bounce;
	struct blk_req *waiting, **last_waiting; /* for a bounce buffer, in order */

	sem_t started;
	int start_err;
};

/* ---- lists ---- */

void worker_ready(struct worker *worker, struct queue *queue)
{
	if (queue->ready || !queue_pops(queue))
		return;
	queue->ready = true;
	queue->next_ready = worker->ready;
	worker->ready = queue;
}

void worker_touched(struct worker *worker, struct queue *queue)
{
	if (queue->touched)
		return;
	queue->touched = true;
	queue->next_touched = worker->touched;
	worker->touched = queue;
}

void worker_poll(struct worker *worker, struct queue *queue, bool polled)
{
	struct queue **at = &worker->polled;

	if (queue->polled == polled)
		return;
	queue->polled = polled;
	if (polled) {
		queue->next_polled = worker->polled;
		worker->polled = queue;
		return;
	}
	while (*at != queue)
		at = &(*at)->next_polled;
	*at = queue->next_polled;
}

void worker_forget(struct worker *worker, struct queue *queue)
{
	struct queue **at = &worker->ready;

	worker_poll(worker, queue, false);
	if (!queue->ready)
		return;
	queue->ready = false;
	while (*at != queue)
		at = &(*at)->next_ready;
	*at = queue->next_ready;
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

	if (plain < 0)
		return plain;
	return worker->memory_users++ ? 0 : plain;
}

void worker_put_memory(struct worker *worker)
{
	if (!--worker->memory_users)
		engine_set_memory(worker->engine, NULL, 0);
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
	struct blk_req *req = worker->waiting;

	worker->bounce[worker->n_bounce_free++] = buffer;
	if (!req)
		return;
	worker->waiting = req->next;
	if (!worker->waiting)
		worker->last_waiting = &worker->waiting;
	blk_rw_bounce(req);
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

static void service(struct worker *worker)
{
	struct queue *queue = worker->ready;

	worker->ready = NULL;
	while (queue) {
		struct queue *next = queue->next_ready;

		queue->ready = false;
		if (queue_service(queue))
			worker_ready(worker, queue);
		queue = next;
	}
}

static void publish(struct worker *worker)
{
	struct queue *queue = worker->touched;

	worker->touched = NULL;
	while (queue) {
		struct queue *next = queue->next_touched;

		queue->touched = false;
		queue_publish(queue); /* may be its end */
		queue = next;
	}
}

static void completed(struct io *io)
{
	blk_req_io_done(container_of(io, struct blk_req, io));
}

static void run_mailbox(struct engine_watch *watch)
{
	mailbox_run(&container_of(watch, struct worker, mailbox_watch)->mailbox);
}

static int open_engine(struct worker *worker)
{
	const struct engine_config config = {
		.depth = ENGINE_DEPTH, .complete = completed, .options = worker->engine_options};
	int err = engine_open(worker->class, &worker->engine, &config);

	if (err)
		return err;
	worker->mailbox_watch.fd = worker->mailbox.event_fd;
	worker->mailbox_watch.ready = run_mailbox;
	err = engine_watch(worker->engine, &worker->mailbox_watch);
	if (err)
		engine_close(worker->engine);
	return err;
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	int64_t timeout;

	worker->start_err = open_engine(worker);
	sem_post(&worker->started);
	if (worker->start_err)
		return NULL;
	while (!worker->quit) {
		int n;

		for (struct queue *queue = worker->polled; queue; queue = queue->next_polled)
			worker_ready(worker, queue);
		service(worker);
		publish(worker);
		timeout = worker->ready ? 0 : worker->polled ? POLL_NS : -1;
		n = engine_run(worker->engine, timeout);
		if (n < 0) {
			/* Not input, but a bug or a kernel in trouble: nothing can go on. */
			log_error("the %s engine failed: %s", worker->class->name, strerror(-n));
			_exit(EXIT_FAILURE);
		}
		publish(worker);
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

int worker_create(struct worker **workerp, const struct engine_class *class,
		  const struct engine_options *options)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int err;

	*workerp = NULL;
	if (!worker)
		return -ENOMEM;
	worker->class = class;
	worker->engine_options = *options;
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
