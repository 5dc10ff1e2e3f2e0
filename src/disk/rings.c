/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The device (lib) asks for queues to be started, stopped and updated; this
 * has the worker do it and passes the answer back:
 *
 *	device --queue_start--> rings --call--> worker
 *	device <-vublk_queue_done-- rings <--call-- worker
 *
 * Functions that end in _on_worker run there, and answer(); all others on the control thread.
 *
 * Before the first queue starts, the disk is locked (disk/lock.h); after the last one has drained
 * it is released. Queues that are started meanwhile wait: the lock may be an earlier vublkd's that
 * was killed and whose last I/O has not ended, and until it has, nothing may run.
 */
#include "disk/rings.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/log.h"
#include "disk/channel.h"
#include "disk/counters.h"
#include "disk/draining.h"
#include "disk/lock.h"
#include "disk/placement.h"
#include "disk/resize.h"
#include "disk/sharing.h"
#include "disk/throttling.h"
#include "disk/translations.h"
#include "disk/waiting.h"
#include "disk/write_cache.h"
#include "image/watch.h"
#include "queue/queue.h"
#include "request/config.h"
#include "request/disk.h"
#include "request/sync.h"
#include "vublk.h"
#include "worker/worker.h"

#define PAUSE_NS UINT64_C(100000000) /* how often to look whether one has ended for good */

struct rings {
	struct queue_disk shared;
	struct blk_sync sync;
	struct image_end end;
	struct image_watch watch;
	struct resize resize;
	struct disk_limits limits;
	const struct disk_process *process;
	struct queue_memory *memory; /* by worker: of this disk's queues there */
	unsigned *placed;            /* by worker: how many these are */
	const struct disk_config *config;
	struct vublk_dev *dev;
	struct rings_events events;
	void *opaque;

	unsigned n_queues; /* started, or waiting for the lock */
	struct draining draining;
	struct loop_timer pause_timer; /* the lock is held without a queue */

	struct queue *queue[VUBLK_MAX_QUEUES]; /* by number; NULL: none */
	struct blk_totals ended;               /* of queues that there are no more */

	struct io_errors errors;
	struct sharing sharing;
	struct channel channel;
	struct translations translations;
	struct throttling throttling;
	struct disk_lock lock;
	struct waiting waiting; /* for the lock */
	bool gave_up; /* waiting for it: the session ends, so that the front-end tries again */
};

void rings_tell(const struct rings *rings, const char *event, const char *detail)
{
	rings->process->tell(rings->process, rings->config, event, detail);
}

/* ---- requests to the worker, and its answers ---- */

static struct rings *rings_of(struct queue *queue)
{
	return container_of(queue->disk, struct rings, shared);
}

/* On the control thread. */
static void post(struct queue *queue, struct call *call, void (*run)(struct call *call))
{
	call->run = run;
	mailbox_post(loop_mailbox(rings_of(queue)->process->loop), call);
}

static void answer(struct queue *queue, void (*done)(struct call *call))
{
	post(queue, &queue->call, done);
}

/* A driver that does not know that its ring pauses must not find another one's data afterwards. */
static void release_lock(struct rings *rings)
{
	if (vublk_dev_pauses(rings->dev))
		loop_set_timer(rings->process->loop, &rings->pause_timer, PAUSE_NS);
	else
		disk_lock_release(&rings->lock);
}

static void pause_lasts(struct loop_timer *timer)
{
	struct rings *rings = container_of(timer, struct rings, pause_timer);

	if (!rings->n_queues)
		release_lock(rings);
}

/* The number of the worker that serves it. */
static unsigned worker_of(const struct queue *queue)
{
	return (unsigned)(queue->memory - rings_of((struct queue *)queue)->memory);
}

static void forget(struct queue *queue)
{
	struct rings *rings = rings_of(queue);

	blk_totals_add(&rings->ended, &queue->counters);
	rings->queue[queue->env.queue_index] = NULL;
	vublk_queue_set_opaque(queue->vq, NULL);
	placement_give_back(rings->process->placement, rings->placed, worker_of(queue));
	queue_destroy(queue);
	if (--rings->n_queues)
		return;
	sharing_stop(&rings->sharing);
	resize_stop(&rings->resize);
	image_watch_stop(&rings->watch);
	release_lock(rings);
}

/* The queue is gone, or never came to life. */
static void queue_gone(struct queue *queue, int err)
{
	struct vublk_queue *vq = queue->vq;

	forget(queue);
	vublk_queue_done(vq, err);
}

static void tell_of_queue(struct queue *queue, const char *event, const char *why)
{
	char detail[sizeof(queue->why_broken) + 16];

	snprintf(detail, sizeof(detail), "%u%s%s", vublk_queue_index(queue->vq), *why ? ": " : "",
		 why);
	rings_tell(rings_of(queue), event, detail);
}

static void begun(struct call *call)
{
	struct queue *queue = container_of(call, struct queue, call);

	if (queue->err) {
		queue_gone(queue, queue->err);
		return;
	}
	queue->state = "running";
	tell_of_queue(queue, "queue-started", "");
	vublk_queue_done(queue->vq, 0);
}

static void begin_on_worker(struct call *call)
{
	struct queue *queue = container_of(call, struct queue, call);

	queue->err = queue_begin(queue);
	answer(queue, begun);
}

static void updated(struct call *call)
{
	struct queue *queue = container_of(call, struct queue, call);

	vublk_queue_done(queue->vq, queue->err);
}

static void revoked_on_worker(struct queue *queue)
{
	answer(queue, updated);
}

static void update_on_worker(struct call *call)
{
	struct queue *queue = container_of(call, struct queue, call);

	queue->err = queue_apply(queue, queue->update);
	if (vublk_update_revokes(queue->update))
		queue_revoke(queue, queue->update, revoked_on_worker);
	else
		answer(queue, updated);
}

static void ended(struct call *call)
{
	struct queue *queue = container_of(call, struct queue, call);
	struct rings *rings = rings_of(queue);

	draining_remove(&rings->draining);
	tell_of_queue(queue, "queue-stopped", "");
	queue_gone(queue, 0);
}

static void drained_on_worker(struct queue *queue)
{
	answer(queue, ended);
}

static void drain_on_worker(struct call *call)
{
	queue_drain(container_of(call, struct queue, call), drained_on_worker);
}

static void abandon_on_worker(struct call *call)
{
	queue_abandon(container_of(call, struct queue, call), drained_on_worker);
}

static void call_worker(struct queue *queue, void (*run)(struct call *call))
{
	queue->call.run = run;
	worker_call(queue->worker, &queue->call);
}

/* The lock is held: where I/O goes is known. */
static void call_begin(struct queue *queue)
{
	struct rings *rings = rings_of(queue);

	queue->state = "starting";
	rings->shared.fd = rings->lock.hold.fd;
	call_worker(queue, begin_on_worker);
}

static void broken(struct call *call)
{
	struct queue *queue = container_of(call, struct queue, broken);

	queue->is_broken = true;
	tell_of_queue(queue, "ring-broken", queue->why_broken);
}

static void queue_broken_on_worker(void *opaque, struct vublk_queue *vq, const char *why)
{
	struct queue *queue = vublk_queue_opaque(vq);

	(void)opaque;
	snprintf(queue->why_broken, sizeof(queue->why_broken), "%s", why);
	post(queue, &queue->broken, broken);
}

/* ---- the lock ---- */

/* All that wait for the lock go on, or fail. */
static void lock_settled(struct disk_lock *lock, int err)
{
	struct rings *rings = container_of(lock, struct rings, lock);
	struct queue *queue = waiting_take(&rings->waiting);

	rings_tell(rings, err ? "lock-not-had" : "lock-had", err ? lock->why : NULL);
	rings->gave_up = err;
	/* First all of them: with the last answer the session goes on, or ends. */
	for (struct queue *q = queue; q; q = q->next)
		vublk_queue_wait_over(q->vq);
	while (queue) {
		struct queue *next = queue->next;

		if (err)
			queue_gone(queue, err);
		else
			call_begin(queue);
		queue = next;
	}
}

static void wait_for_lock(struct rings *rings, struct queue *queue)
{
	if (!rings->waiting.first)
		rings_tell(rings, "lock-waited-for", rings->lock.why);
	queue->state = "waiting";
	waiting_add(&rings->waiting, queue);
	vublk_queue_wait(queue->vq);
}

/* ---- what the device asks ---- */

static int make_queue(struct rings *rings, struct queue **queue, struct vublk_queue *vq)
{
	struct placement *placement = rings->process->placement;
	const unsigned i = placement_take(placement, rings->placed, vublk_queue_index(vq),
					  rings->config->workers);
	const int err = queue_create(queue, vq, rings->process->worker[i], &rings->shared,
				     &rings->memory[i]);

	if (err)
		placement_give_back(placement, rings->placed, i);
	return err;
}

static void queue_start(void *opaque, struct vublk_queue *vq)
{
	struct rings *rings = opaque;
	struct queue *queue;
	int err = make_queue(rings, &queue, vq);

	if (err) {
		log_error("%s: no memory for queue %u", rings->config->name, vublk_queue_index(vq));
		vublk_queue_done(vq, err);
		return;
	}
	vublk_queue_set_opaque(vq, queue);
	rings->queue[vublk_queue_index(vq)] = queue;
	if (!rings->n_queues++) {
		image_watch_start(&rings->watch);
		resize_start(&rings->resize);
		sharing_start(&rings->sharing);
	}
	err = disk_lock_take(&rings->lock, rings->dev);
	if (!err)
		call_begin(queue);
	else if (err == -EAGAIN)
		wait_for_lock(rings, queue);
	else
		queue_gone(queue, err);
}

static void queue_cancel(void *opaque, struct vublk_queue *vq)
{
	struct rings *rings = opaque;
	struct queue *queue = vublk_queue_opaque(vq);

	waiting_remove(&rings->waiting, queue);
	if (!rings->waiting.first)
		disk_lock_cancel(&rings->lock);
	forget(queue);
}

static void queue_stop(void *opaque, struct vublk_queue *vq, bool drain)
{
	struct queue *queue = vublk_queue_opaque(vq);
	struct rings *rings = opaque;

	queue->state = "draining";
	draining_add(&rings->draining);
	call_worker(queue, drain ? drain_on_worker : abandon_on_worker);
}

static void queue_update(void *opaque, struct vublk_queue *vq, struct vublk_update *change)
{
	struct queue *queue = vublk_queue_opaque(vq);

	(void)opaque;
	queue->update = change;
	call_worker(queue, update_on_worker);
}

/* Any thread. */
static void attend(void *opaque)
{
	translations_attend(&((struct rings *)opaque)->translations);
}

/* ---- the session ---- */

static void resume(void *opaque, bool again)
{
	struct rings *rings = opaque;

	rings->events.resume(rings->opaque, again && !rings->gave_up);
}

static void disconnected(void *opaque)
{
	struct rings *rings = opaque;

	rings->gave_up = false;
	translations_end_session(&rings->translations);
	loop_clear_timer(rings->process->loop, &rings->pause_timer);
	disk_lock_release(&rings->lock);
	resize_end_session(&rings->resize);
	io_errors_end_session(&rings->errors);
	rings->events.disconnected(rings->opaque);
}

static void get_config(void *opaque, uint8_t space[VUBLK_MAX_CONFIG])
{
	struct rings *rings = opaque;
	struct virtio_blk_config config;

	/* While rings run somebody looks all the time. */
	if (!rings->n_queues)
		image_watch_look(&rings->watch);
	resize_read(&rings->resize);
	blk_config_fill(&config, rings->shared.blk.image, image_end_capacity(&rings->end),
			rings->config->num_queues, rings->config->seg_max,
			atomic_load(&rings->shared.blk.wce));
	memcpy(space, &config, sizeof(config));
}

static int set_config(void *opaque, uint32_t offset, const uint8_t *data, uint32_t size,
		      bool migration)
{
	struct rings *rings = opaque;

	return write_cache_set_config(&rings->shared.blk, rings->dev, offset, data, size,
				      migration);
}

static void set_features(void *opaque, uint64_t features)
{
	write_cache_set_features(&((struct rings *)opaque)->shared.blk, features);
}

/* Of what the driver may write, the front-end of another back-end tells it nothing. */
static uint32_t save_state(void *opaque)
{
	struct rings *rings = opaque;

	return atomic_load(&rings->shared.blk.wce);
}

static int load_state(void *opaque, uint32_t state)
{
	struct rings *rings = opaque;

	if (state > 1)
		return -EINVAL;
	write_cache_set(&rings->shared.blk, rings->dev, state);
	return 0;
}

static int watch_state(void *opaque, int fd)
{
	struct rings *rings = opaque;

	return rings->events.watch_state(rings->opaque, fd);
}

static void announce(void *opaque)
{
	channel_announce(&((struct rings *)opaque)->channel);
}

static void await_room(void *opaque, int fd)
{
	channel_await_room(&((struct rings *)opaque)->channel, fd);
}

static const struct vublk_ops ops = {
	.queue_start = queue_start,
	.queue_cancel = queue_cancel,
	.queue_stop = queue_stop,
	.queue_update = queue_update,
	.queue_broken = queue_broken_on_worker,
	.attend = attend,
	.resume = resume,
	.disconnected = disconnected,
	.get_config = get_config,
	.set_config = set_config,
	.set_features = set_features,
	.save_state = save_state,
	.load_state = load_state,
	.watch_state = watch_state,
	.announce = announce,
	.await_room = await_room,
};

/* ---- what is counted ---- */

void rings_counters(const struct rings *rings, struct disk_counters *counters)
{
	*counters = (struct disk_counters){.n_rings = rings->n_queues, .totals = rings->ended};
	for (unsigned i = 0; i < rings->config->num_queues; i++)
		if (rings->queue[i])
			blk_totals_add(&counters->totals, &rings->queue[i]->counters);
}

bool rings_ring_counters(const struct rings *rings, unsigned index, struct ring_counters *counters)
{
	const struct queue *queue = index < VUBLK_MAX_QUEUES ? rings->queue[index] : NULL;

	if (!queue)
		return false;
	*counters = (struct ring_counters){
		.index = index,
		.worker = worker_of(queue),
		.state = queue->is_broken ? "broken" : queue->state,
		.why_broken = queue->is_broken ? queue->why_broken : "",
	};
	blk_totals_add(&counters->totals, &queue->counters);
	return true;
}

/* ---- what is noticed of the image ---- */

static void failures_begin(struct io_errors *errors, const char *what)
{
	rings_tell(container_of(errors, struct rings, errors), "requests-fail", what);
}

static void throttling_begins(struct throttling *throttling, const char *limit)
{
	rings_tell(container_of(throttling, struct rings, throttling), "throttled", limit);
}

static void grown(struct image_watch *watch)
{
	struct rings *rings = container_of(watch, struct rings, watch);
	char bytes[32];

	resize_grown(&rings->resize);
	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)image_end_capacity(&rings->end));
	rings_tell(rings, "grown", bytes);
}

bool rings_look_at_size(struct rings *rings)
{
	return image_watch_look(&rings->watch);
}

const struct image_end *rings_image_end(const struct rings *rings)
{
	return &rings->end;
}

/* ---- life ---- */

/*
 * Where the image's I/O goes: what it is decides. Files go to the engine's target, but io_uring
 * would leave all of FUSE's to its helper thread.
 */
static const struct target_class *target_of(const struct image *image,
					    const struct disk_process *process)
{
	const struct target_class *target = process->engine->target;

	if (image->kind->io == IMAGE_IO_NULL)
		return &target_null;
	if (image->is_fuse && target == &target_uring && !process->engine_insisted)
		return &target_aio;
	return target;
}

int rings_create(struct rings **ringsp, const struct disk_config *config, const struct image *image,
		 const struct disk_process *process, const struct rings_events *events,
		 void *opaque)
{
	struct rings *rings = aligned_alloc(_Alignof(struct rings), sizeof(*rings));
	struct vublk_params params;
	int err = -ENOMEM;

	*ringsp = NULL;
	if (!rings)
		return err;
	memset(rings, 0, sizeof(*rings));
	rings->process = process;
	rings->config = config;
	rings->events = *events;
	rings->opaque = opaque;
	waiting_init(&rings->waiting);
	draining_init(&rings->draining, config->name, process->loop);
	rings->pause_timer.fire = pause_lasts;
	rings->shared = (struct queue_disk){
		.blk = {.name = rings->config->name,
			.serial = config->serial,
			.image = image,
			.end = &rings->end,
			.errors = &rings->errors,
			.sync = &rings->sync,
			.wce = !image->durable},
		.target = target_of(image, process),
		.fd = -1,
		.fence = &rings->lock.fence,
		.signs = &rings->sharing.signs,
		.limits = &rings->limits,
		.no_poll = config->no_poll,
	};
	disk_limits_init(&rings->limits, &config->limits);
	throttling_init(&rings->throttling, &rings->limits, process->loop, throttling_begins);
	rings->lock = (struct disk_lock){
		.name = rings->config->name,
		.loop = process->loop,
		.image = image,
		.process = process,
		.exclusive = config->lock,
		.timeout = config->lock_timeout,
		.settled = lock_settled,
	};
	disk_lock_init(&rings->lock);
	params = (struct vublk_params){
		.name = rings->config->name,
		.features = blk_config_features(image),
		.known_features = blk_config_known_features(),
		.num_queues = config->num_queues,
		.postcopy = config->postcopy,
		.ops = &ops,
		.opaque = rings,
	};
	image_end_init(&rings->end, image, rings->config->name);
	blk_sync_init(&rings->sync);
	io_errors_init(&rings->errors, rings->config->name, process->loop, failures_begin);
	image_watch_open(&rings->watch, &rings->end, process->loop, process->wires, grown);
	rings->memory = calloc(process->num_workers, sizeof(*rings->memory));
	rings->placed = calloc(process->num_workers, sizeof(*rings->placed));
	if (rings->memory && rings->placed)
		err = vublk_dev_create(&rings->dev, &params);
	channel_init(&rings->channel, rings->config->name, process->loop, rings->dev);
	translations_init(&rings->translations, process->loop, rings->dev);
	sharing_init(&rings->sharing, rings->config->name, process->loop, rings->dev);
	resize_init(&rings->resize, rings->config->name, process->loop, rings->dev, &rings->end);
	if (err) {
		rings_destroy(rings);
		return err;
	}
	*ringsp = rings;
	return 0;
}

void rings_destroy(struct rings *rings)
{
	if (!rings)
		return;
	vublk_dev_destroy(rings->dev);
	image_watch_close(&rings->watch);
	io_errors_end(&rings->errors);
	blk_sync_destroy(&rings->sync);
	throttling_end(&rings->throttling);
	disk_limits_destroy(&rings->limits);
	free(rings->memory);
	free(rings->placed);
	free(rings);
}

struct vublk_dev *rings_device(struct rings *rings)
{
	return rings->dev;
}

const char *rings_name(const struct rings *rings)
{
	return rings->config->name;
}

const char *rings_target_name(const struct rings *rings)
{
	return rings->shared.target->name;
}

unsigned rings_running(const struct rings *rings)
{
	return rings->n_queues;
}

void rings_set_identity(struct rings *rings, uint64_t identity)
{
	rings->lock.identity = identity;
}

const char *rings_waited_for(struct rings *rings)
{
	return disk_limits_waited_for(&rings->limits);
}

bool rings_hold_image(const struct rings *rings)
{
	return rings->lock.held && rings->lock.exclusive;
}

void rings_config_changed(struct rings *rings)
{
	disk_limits_set(&rings->limits, &rings->config->limits);
	atomic_store(&rings->shared.no_poll, rings->config->no_poll);
}

void rings_disconnect(struct rings *rings)
{
	vublk_dev_disconnect(rings->dev);
}
