/* SPDX-License-Identifier: BSD-3-Clause */
/* See queue/queue.h. The theory of what runs when is in worker/worker.c. */
#include "queue/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/container.h"
#include "base/host_limits.h"
#include "request/merge.h"
#include "request/tally.h"
#include "worker/neighbours.h"
#include "worker/worker.h"

/*
 * What a queue begins in one iteration at most before the others have their turn: requests, and
 * bytes, for what is cached is copied while all others wait. And beside a quiet one.
 */
#define POPS_AT_ONCE  64
#define BYTES_AT_ONCE ((uint64_t)1 << 20)
#define POPS_BESIDE   2
#define BYTES_BESIDE  ((uint64_t)64 << 10)

/* A queue that has no more in flight than that, and nothing waiting, is quiet. */
#define QUIET 4

static struct queue *queue_of(struct worker_task *task)
{
	return container_of(task, struct queue, task);
}

static struct queue *queue_of_req(struct blk_req *req)
{
	return container_of(req->env, struct queue, env);
}

/* Is there anything that it may still pop? */
static bool may_pop(const struct queue *queue)
{
	/* What is in flight is done before a ring is drained, also what an earlier process took. */
	return !queue->stopping ||
	       (!queue->env.abandoning && !queue->gave_up && vublk_queue_recovering(queue->vq));
}

/* There is something to pop, or may be. */
static void schedule(struct queue *queue)
{
	if (may_pop(queue))
		worker_schedule(queue->worker, &queue->task);
}

/* ---- slots ---- */

static struct blk_req *get_slot(struct queue *queue)
{
	struct blk_req *req = queue->free;

	if (req) {
		queue->free = req->next;
		return req;
	}
	if (queue->n_touched == queue->n_slots)
		return NULL;
	req = &queue->slot[queue->n_touched++];
	req->env = &queue->env;
	vublk_chain_init(&req->chain, req->iov, BLK_REQ_IOVS);
	return req;
}

static void put_slot(struct queue *queue, struct blk_req *req)
{
	req->next = queue->free;
	queue->free = req;
}

/* ---- kicks ---- */

static void unwatch_kick(struct queue *queue)
{
	if (queue->kick.fd < 0)
		return;
	reactor_unwatch(worker_reactor(queue->worker), &queue->kick);
	queue->kick.fd = -1;
}

/*
 * The queue's kicks are not heard, or not any more. Better looked at all the time than never: what
 * is in the ring is served, if slower.
 */
static void kicks_are_lost(struct queue *queue, const char *why, int err)
{
	if (worker_may_warn_of_kicks(queue->worker, queue->disk->blk.name))
		log_warning("%s: queue %u: its kick descriptor %s: %s%s; polling the ring instead, "
			    "which is slower and costs CPU time",
			    queue->disk->blk.name, queue->env.queue_index, why, strerror(-err),
			    limits_advice(LIMITS_DESCRIPTOR, err));
	unwatch_kick(queue);
	worker_poll(queue->worker, &queue->task, true);
	schedule(queue);
}

/* Nothing has ever been in the ring. There may be now; see disk/sharing.h. */
static void note_empty_kick(struct queue *queue)
{
	struct sharing_signs *signs = queue->disk->signs;

	if (queue->kicked)
		atomic_store(&signs->kicked_again, true);
	else
		atomic_store(&signs->kicked, true);
	queue->kicked = true;
}

static void kicked(struct reactor_watch *watch)
{
	struct queue *queue = container_of(watch, struct queue, kick);
	int err = vublk_queue_drain_kick(queue->vq);

	counter_add(&queue->counters.kicks, 1);
	if (err)
		kicks_are_lost(queue, "is unusable", err);
	if (!queue->popped)
		note_empty_kick(queue);
	schedule(queue);
}

static void kick_watch_failed(struct reactor_watch *watch, int err)
{
	kicks_are_lost(container_of(watch, struct queue, kick), "cannot be watched", err);
}

/* Is the descriptor wrong, of which the front-end is told, or are we short of something? */
static bool is_descriptors_fault(int err)
{
	return err == -EPERM || err == -EBADF || err == -EEXIST;
}

/* Watches the kick descriptor that the virtqueue has now, or polls if nobody kicks. */
static int watch_kick(struct queue *queue)
{
	const int fd = vublk_queue_kick_fd(queue->vq);
	int err = 0;

	worker_poll(queue->worker, &queue->task, vublk_queue_polled(queue->vq));
	if (fd >= 0) {
		queue->kick.fd = fd;
		queue->kick.ready = kicked;
		queue->kick.failed = kick_watch_failed;
		err = reactor_watch(worker_reactor(queue->worker), &queue->kick);
	}
	if (err && is_descriptors_fault(err)) {
		if (worker_may_warn_of_kicks(queue->worker, queue->disk->blk.name))
			log_warning("%s: queue %u: its kick descriptor cannot be watched: %s",
				    queue->disk->blk.name, queue->env.queue_index, strerror(-err));
		queue->kick.fd = -1;
		return err;
	}
	if (err)
		kicks_are_lost(queue, "cannot be watched", err);
	/* Requests may be waiting that nobody will kick for. */
	schedule(queue);
	return 0;
}

/* ---- what is counted ---- */

static void count_calls(struct queue *queue)
{
	counter_set(&queue->counters.calls, vublk_queue_calls(queue->vq));
}

/* `n` were popped, when so many were to be recovered, which come first. */
static void count_popped(struct queue *queue, unsigned n, unsigned to_recover)
{
	counter_add(&queue->counters.fetched, n);
	if (to_recover)
		counter_add(&queue->counters.recovered, n < to_recover ? n : to_recover);
}

/* ---- life ---- */

static void put_files(struct queue *queue)
{
	for (int i = 0; i < MEMORY_FENCE_FILES; i++) {
		if (queue->fence[i] >= 0)
			target_put_file(queue->env.target, queue->fence[i]);
		queue->fence[i] = -1;
	}
	if (queue->env.file >= 0)
		target_put_file(queue->env.target, queue->env.file);
	queue->env.file = -1;
}

/* 0 and the handle of an open file (-1: of none, which some targets want), or -errno. */
static int get_file(struct queue *queue, int fd, unsigned kind, int *file)
{
	*file = target_get_file(queue->env.target, fd, kind);
	return *file < 0 ? *file : 0;
}

/* The image, and what a target whose requests outlive the process is to hold as long. */
static int get_files(struct queue *queue)
{
	const struct queue_disk *disk = queue->disk;
	const struct image *image = disk->blk.image;
	const unsigned kind =
		(image->is_device ? TARGET_DEVICE : 0) | (image->is_fuse ? TARGET_FUSE : 0);
	int err = worker_get_target(queue->worker, disk->target, &queue->env.target);

	if (!err)
		err = get_file(queue, disk->fd, kind, &queue->env.file);
	for (int i = 0; !err && i < MEMORY_FENCE_FILES; i++)
		if (disk->fence->fd[i] >= 0)
			err = get_file(queue, disk->fence->fd[i], 0, &queue->fence[i]);
	if (err) {
		log_error("%s: queue %u: its I/O cannot go to %s: %s", queue->disk->blk.name,
			  queue->env.queue_index, disk->target->name, strerror(-err));
		put_files(queue);
	}
	return err;
}

/*
 * What the next process has to know, and the earlier one has left: which image it is; and whether
 * the driver's write cache is off, of which it will not tell again.
 */
static void go_on_as_noted(struct queue *queue)
{
	const struct vublk_note earlier = vublk_queue_noted(queue->vq);
	struct blk_disk *disk = &queue->disk->blk;
	struct vublk_note note;

	image_end_recognise(disk->end, earlier.value);
	if (earlier.flag)
		atomic_store(&disk->wce, false);
	do {
		note = (struct vublk_note){.value = atomic_load(&disk->end->identity),
					   .flag = !atomic_load(&disk->wce)};
		vublk_queue_note(queue->vq, &note);
	} while (note.flag == atomic_load(&disk->wce));
}

int queue_begin(struct queue *queue)
{
	int err = get_files(queue);

	if (err)
		return err;
	err = queue_memory_begin(queue);
	if (err)
		goto put_files;
	err = vublk_queue_begin(queue->vq);
	if (!err)
		err = watch_kick(queue);
	if (!err) {
		worker_count_task(queue->worker, 1);
		count_calls(queue);
		go_on_as_noted(queue);
		throttle_begin(&queue->throttle, worker_reactor(queue->worker));
		return 0;
	}
	queue_memory_end(queue);
put_files:
	put_files(queue);
	return err;
}

/* ---- limits ---- */

static bool admit(struct blk_req *req)
{
	return throttle_admit(&queue_of_req(req)->throttle, req);
}

static struct queue *queue_of_throttle(struct throttle *throttle)
{
	return container_of(throttle, struct queue, throttle);
}

static void before_held_begin(struct throttle *throttle)
{
	struct queue *queue = queue_of_throttle(throttle);

	if (queue->registers)
		queue_memory_check(queue);
	/* Now there is something to poll for. */
	schedule(queue);
}

static void limits_changed(struct nudge *nudge)
{
	struct queue *queue = queue_of_throttle(container_of(nudge, struct throttle, nudge));

	throttle_look_again(&queue->throttle);
	/* The queue's end may have waited for this. */
	worker_needs_publish(queue->worker, &queue->task);
}

static const struct throttle_hooks throttle_hooks = {
	.admit = admit,
	.before = before_held_begin,
	.changed = limits_changed,
};

/* Nothing can be found by polling before a held request's turn, or a kick. */
static bool all_is_held(const struct queue *queue)
{
	return queue->throttle.n_held && queue->throttle.n_held == queue->in_flight;
}

/* ---- changes, and the end ---- */

/* Has any request the memory that the change takes away? */
static bool uses_revoked(const struct queue *queue, const struct vublk_update *update)
{
	for (unsigned i = 0; i < queue->n_touched; i++)
		if (queue->slot[i].active && vublk_update_revokes_of(update, &queue->slot[i].chain))
			return true;
	return false;
}

static bool has_revoked(const struct blk_req *req, const void *update)
{
	return vublk_update_revokes_of(update, &req->chain);
}

/* If that was the last one, whoever asked hears of it. */
static void check_revoked(struct queue *queue)
{
	if (uses_revoked(queue, queue->revoking))
		return;
	queue->revoking = NULL;
	queue->revoked(queue);
}

void queue_revoke(struct queue *queue, struct vublk_update *update,
		  void (*revoked)(struct queue *queue))
{
	queue->revoked = revoked;
	queue->revoking = update;
	throttle_hurry(&queue->throttle, has_revoked, update);
	check_revoked(queue);
}

int queue_apply(struct queue *queue, struct vublk_update *update)
{
	const bool kick = vublk_update_has_kick(update);
	const bool memory = vublk_update_has_memory(update);
	int err;

	if (vublk_update_is_kick(update)) {
		counter_add(&queue->counters.kicks, 1);
		if (!queue->popped)
			note_empty_kick(queue);
	}

	/* The descriptor that is watched would be closed. */
	if (kick)
		unwatch_kick(queue);
	vublk_queue_apply(queue->vq, update);
	count_calls(queue);
	if (memory)
		queue_memory_change(queue);
	err = kick ? watch_kick(queue) : 0;
	/* Better looked at all the time than never. */
	if (err)
		worker_poll(queue->worker, &queue->task, true);
	schedule(queue);
	return err;
}

void queue_drain(struct queue *queue, void (*drained)(struct queue *queue))
{
	queue->stopping = true;
	queue->drained = drained;
	unwatch_kick(queue);
	worker_forget(queue->worker, &queue->task);
	vublk_queue_want_kicks(queue->vq, false);
	throttle_open(&queue->throttle);
	schedule(queue);
	/* Nothing may be in flight: then this is what says so. */
	worker_needs_publish(queue->worker, &queue->task);
}

void queue_abandon(struct queue *queue, void (*drained)(struct queue *queue))
{
	queue->env.abandoning = vublk_queue_tracked(queue->vq);
	queue_drain(queue, drained);
	for (unsigned i = 0; queue->env.abandoning && i < queue->n_touched; i++)
		if (queue->slot[i].active)
			blk_req_cancel(&queue->slot[i]);
}

/* ---- the way down ---- */

/*
 * How many requests to begin in this iteration. What is begun together is handed to the kernel
 * together, and a disk does not see the first of it before the last is prepared; so a disk that is
 * idle gets little at first, and then more while it is at work. Adjacent requests, though, are best
 * begun together, for they are made into one.
 */
static unsigned batch_size(const struct queue *queue)
{
	const unsigned more = queue->in_flight / 2;

	if (!queue->disk->blk.image->direct || queue->env.sequential || more > POPS_AT_ONCE)
		return POPS_AT_ONCE;
	return more > 2 ? more : 2;
}

struct batch_limit {
	unsigned requests;
	uint64_t bytes; /* of all but the last */
};

static struct batch_limit limit_batch(struct queue *queue)
{
	struct batch_limit limit = {batch_size(queue), BYTES_AT_ONCE};
	struct neighbours *neighbours = worker_neighbours(queue->worker);

	if (!neighbours_has_quiet(neighbours, &queue->task, queue->env.clock))
		return limit;
	queue->gave_way =
		!queue->gave_way && neighbours_quiet_is_at_work(neighbours, queue->env.clock);
	if (queue->gave_way)
		return (struct batch_limit){0};
	if (!queue->env.sequential)
		limit.requests = POPS_BESIDE;
	if (!queue->disk->blk.image->direct)
		limit.bytes = BYTES_BESIDE;
	return limit;
}

static void begin_all(struct queue *queue, struct blk_req *const batch[], unsigned n)
{
	const int64_t now = n ? clock_read(queue->env.clock) : 0;

	for (unsigned i = 0; i < n; i++) {
		batch[i]->begun = now;
		blk_req_begin(batch[i]);
	}
	blk_merge_flush(&queue->env);
}

static bool idle(struct worker_task *task)
{
	struct queue *queue = queue_of(task);

	/* Also if a request is there already, for which no kick comes. */
	queue->env.rested = true;
	/* Nobody kicks for what an earlier process took. */
	if (vublk_queue_recovering(queue->vq))
		return may_pop(queue);
	return !queue->stopping && vublk_queue_want_kicks(queue->vq, true);
}

/* What there is to say of a queue that has found nothing more to do. */
static enum task_state without_work(struct queue *queue, enum task_state state, bool no_poll)
{
	if (!no_poll && !all_is_held(queue))
		return state;
	if (state == TASK_EMPTY && idle(&queue->task))
		return TASK_WORKED;
	return TASK_RESTS;
}

static enum task_state service(struct worker_task *task)
{
	struct queue *queue = queue_of(task);
	struct vublk_queue *vq = queue->vq;
	struct blk_req *batch[POPS_AT_ONCE];
	const struct batch_limit limit = limit_batch(queue);
	const unsigned to_recover = vublk_queue_recovering(vq);
	const bool no_poll = atomic_load_explicit(&queue->disk->no_poll, memory_order_relaxed);
	enum task_state state = TASK_WORKED;
	uint64_t bytes = 0;
	unsigned n = 0;

	task->no_poll = no_poll;
	if (!limit.requests)
		return TASK_EMPTY;
	vublk_queue_want_kicks(vq, false);
	for (; n < limit.requests && bytes < limit.bytes && may_pop(queue); n++) {
		struct blk_req *req = get_slot(queue);
		int got;

		if (!req) {
			state = TASK_WAITS; /* finished() goes on */
			break;
		}
		got = vublk_queue_pop(vq, &req->chain);
		if (got > 0) {
			batch[n] = req;
			bytes += req->chain.in_size + req->chain.out_size;
			continue;
		}
		put_slot(queue, req);
		queue->starved = got == -EAGAIN;
		/*
		 * What waits for the front-end while the front-end waits for the queue's end stays
		 * in the in-flight region.
		 */
		if (got == -EAGAIN && queue->stopping && !queue->in_flight && !n) {
			queue->gave_up = true;
			worker_needs_publish(queue->worker, &queue->task);
		}
		state = got ? TASK_WAITS : TASK_EMPTY;
		if (vublk_queue_broken(vq)) {
			worker_poll(queue->worker, &queue->task, false);
			/* If it is ending, this was the last that was waited for. */
			worker_needs_publish(queue->worker, &queue->task);
		}
		break;
	}
	queue->in_flight += n;
	if (n) {
		queue->env.sequential = false;
		count_popped(queue, n, to_recover);
	}
	if (n && !queue->popped) {
		queue->popped = true;
		atomic_store(&queue->disk->signs->popped, true);
	}
	if (n && queue->registers)
		queue_memory_check(queue);
	begin_all(queue, batch, n);
	if (n && state == TASK_EMPTY && queue->in_flight <= QUIET)
		neighbours_saw_quiet(worker_neighbours(queue->worker), &queue->task,
				     queue->env.clock);
	/* With no_poll it rests at once: that it has worked is no reason to look again. */
	if (state == TASK_EMPTY && n && !no_poll)
		state = TASK_WORKED;
	if (state == TASK_WORKED && !n)
		state = TASK_WAITS;
	return state == TASK_WORKED ? state : without_work(queue, state, no_poll);
}

/* ---- the way back ---- */

static void slot_is_free(struct queue *queue, struct blk_req *req)
{
	const bool starved = queue->starved || queue->in_flight == queue->n_slots;

	put_slot(queue, req);
	queue->in_flight--;
	queue->starved = false;
	if (starved)
		schedule(queue);
	worker_needs_publish(queue->worker, &queue->task);
}

static void finished(struct blk_req *req, uint32_t written)
{
	struct queue *queue = queue_of_req(req);

	vublk_queue_push(queue->vq, &req->chain, written);
	slot_is_free(queue, req);
}

static void abandoned(struct blk_req *req)
{
	struct queue *queue = queue_of_req(req);

	counter_add(&queue->counters.abandoned, 1);
	vublk_queue_abandon(queue->vq, &req->chain);
	slot_is_free(queue, req);
}

static void malformed(struct blk_req *req, const char *why)
{
	vublk_queue_break(queue_of_req(req)->vq, why);
	finished(req, 0);
}

static void publish(struct worker_task *task)
{
	struct queue *queue = queue_of(task);

	blk_tally_flush(&queue->env);
	vublk_queue_publish(queue->vq);
	count_calls(queue);
	if (queue->revoking)
		check_revoked(queue);
	if (!queue->stopping || queue->in_flight || may_pop(queue) ||
	    !throttle_end(&queue->throttle))
		return;
	worker_forget(queue->worker, &queue->task);
	worker_count_task(queue->worker, -1);
	vublk_queue_end(queue->vq);
	queue_memory_end(queue);
	put_files(queue);
	queue->drained(queue);
}

/* ---- control thread ---- */

int queue_create(struct queue **queuep, struct vublk_queue *vq, struct worker *worker,
		 struct queue_disk *disk, struct queue_memory *memory)
{
	const unsigned size = vublk_queue_size(vq);
	struct queue *queue = aligned_alloc(_Alignof(struct queue), sizeof(*queue));

	*queuep = NULL;
	if (!queue)
		return -ENOMEM;
	*queue = (struct queue){
		.task = {.service = service, .idle = idle, .publish = publish},
		.vq = vq,
		.worker = worker,
		.disk = disk,
		.memory = memory,
		.env = {.disk = &disk->blk,
			.file = -1,
			.bounce = worker_bounce(worker),
			.bounce_user = &memory->bounce,
			.mailbox = worker_mailbox(worker),
			.counters = &queue->counters,
			.clock = worker_clock(worker),
			.queue_index = vublk_queue_index(vq),
			.finished = finished,
			.abandoned = abandoned,
			.malformed = malformed,
			.rested = true},
		.fence = {-1, -1},
		.kick = {.fd = -1},
		.n_slots = size < QUEUE_MAX_REQUESTS ? size : QUEUE_MAX_REQUESTS,
	};
	throttle_init(&queue->throttle, disk->limits, &queue->env, &throttle_hooks);
	/* Address space only, until a slot is used. */
	queue->slot = mmap(NULL, queue->n_slots * sizeof(*queue->slot), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (queue->slot == MAP_FAILED) {
		free(queue);
		return -ENOMEM;
	}
	*queuep = queue;
	return 0;
}

void queue_destroy(struct queue *queue)
{
	munmap(queue->slot, queue->n_slots * sizeof(*queue->slot));
	free(queue);
}
