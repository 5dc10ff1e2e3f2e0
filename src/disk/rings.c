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
#include <linux/virtio_config.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/log.h"
#include "disk/channel.h"
#include "disk/lock.h"
#include "disk/resize.h"
#include "disk/sharing.h"
#include "image/watch.h"
#include "queue/queue.h"
#include "request/config.h"
#include "request/disk.h"
#include "request/sync.h"
#include "vublk.h"
#include "worker/worker.h"

#define DRAIN_LOG_NS UINT64_C(2000000000)
#define PAUSE_NS     UINT64_C(100000000) /* how often to look whether one has ended for good */

struct rings {
	struct queue_disk shared;
	struct blk_sync sync;
	struct image_end end;
	struct image_watch watch;
	struct resize resize;
	const struct disk_process *process;
	struct queue_memory *memory; /* by worker: of this disk's queues there */
	const struct disk_config *config;
	struct vublk_dev *dev;
	struct rings_events events;
	void *opaque;

	struct nudge attend;
	struct loop_timer attend_timer;

	unsigned n_queues; /* started, or waiting for the lock */
	unsigned n_draining;
	struct loop_timer drain_timer;
	struct loop_timer pause_timer; /* the lock is held without a queue */

	struct io_errors errors;
	struct sharing sharing;
	struct channel channel;
	struct disk_lock lock;
	struct queue *waiting, **last_waiting; /* for the lock */
	bool gave_up; /* waiting for it: the session ends, so that the front-end tries again */
};

/* ---- requests to the worker, and its answers ---- */

static struct rings *rings_of(struct queue *queue)
{
	return container_of(queue->disk, struct rings, shared);
}

/* Back on the control thread. */
static void answer(struct queue *queue, void (*done)(struct call *call))
{
	queue->call.run = done;
	mailbox_post(loop_mailbox(rings_of(queue)->process->loop), &queue->call);
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

static void forget(struct queue *queue)
{
	struct rings *rings = rings_of(queue);

	vublk_queue_set_opaque(queue->vq, NULL);
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

static void begun(struct call *call)
{
	struct queue *queue = container_of(call, struct queue, call);

	if (queue->err)
		queue_gone(queue, queue->err);
	else
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

	if (!--rings->n_draining)
		loop_clear_timer(rings->process->loop, &rings->drain_timer);
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

	rings->shared.fd = rings->lock.hold.fd;
	call_worker(queue, begin_on_worker);
}

static void drain_lasts(struct loop_timer *timer)
{
	struct rings *rings = container_of(timer, struct rings, drain_timer);

	log_warning("%s: still waiting for the I/O of %u queues to end", rings->config->name,
		    rings->n_draining);
	loop_set_timer(rings->process->loop, timer, DRAIN_LOG_NS);
}

/* ---- the lock ---- */

/* All that wait for the lock go on, or fail. */
static void lock_settled(struct disk_lock *lock, int err)
{
	struct rings *rings = container_of(lock, struct rings, lock);
	struct queue *queue = rings->waiting;

	rings->gave_up = err;
	rings->waiting = NULL;
	rings->last_waiting = &rings->waiting;
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
	queue->next = NULL;
	*rings->last_waiting = queue;
	rings->last_waiting = &queue->next;
	vublk_queue_wait(queue->vq);
}

static void unlink_waiting(struct rings *rings, const struct queue *queue)
{
	struct queue **at = &rings->waiting;

	while (*at != queue)
		at = &(*at)->next;
	*at = queue->next;
	if (!*at)
		rings->last_waiting = at;
}

/* ---- what the device asks ---- */

/* Front-ends use their queues from 0 on, so this spreads them evenly over the workers. */
static int make_queue(struct rings *rings, struct queue **queue, struct vublk_queue *vq)
{
	const unsigned i = vublk_queue_index(vq) % rings->process->num_workers;

	return queue_create(queue, vq, rings->process->worker[i], &rings->shared,
			    &rings->memory[i]);
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

	unlink_waiting(rings, queue);
	if (!rings->waiting)
		disk_lock_cancel(&rings->lock);
	forget(queue);
}

static void queue_stop(void *opaque, struct vublk_queue *vq, bool drain)
{
	struct rings *rings = opaque;

	if (!rings->n_draining++)
		loop_set_timer(rings->process->loop, &rings->drain_timer, DRAIN_LOG_NS);
	call_worker(vublk_queue_opaque(vq), drain ? drain_on_worker : abandon_on_worker);
}

static void queue_update(void *opaque, struct vublk_queue *vq, struct vublk_update *change)
{
	struct queue *queue = vublk_queue_opaque(vq);

	(void)opaque;
	queue->update = change;
	call_worker(queue, update_on_worker);
}

/* ---- translations ---- */

static void attend_now(struct rings *rings)
{
	const uint64_t again = vublk_dev_attend(rings->dev);

	if (again)
		loop_set_timer(rings->process->loop, &rings->attend_timer, again);
	else
		loop_clear_timer(rings->process->loop, &rings->attend_timer);
}

static void attend_nudged(struct nudge *nudge)
{
	attend_now(container_of(nudge, struct rings, attend));
}

static void attend_again(struct loop_timer *timer)
{
	attend_now(container_of(timer, struct rings, attend_timer));
}

/* Any thread. */
static void attend(void *opaque)
{
	struct rings *rings = opaque;

	mailbox_nudge(loop_mailbox(rings->process->loop), &rings->attend);
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
	loop_clear_timer(rings->process->loop, &rings->attend_timer);
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

/* The next process will be told by us only. */
static void set_wce(struct rings *rings, bool on)
{
	atomic_store(&rings->shared.blk.wce, on);
	vublk_dev_flag_notes(rings->dev, !on);
}

/* Only `wce` may be written: virtio 5.2.4, "writeback". */
static int set_config(void *opaque, uint32_t offset, const uint8_t *data, uint32_t size,
		      bool migration)
{
	const uint32_t at = offsetof(struct virtio_blk_config, wce);
	struct rings *rings = opaque;

	if (migration) {
		/* The whole space may come; what else is in it is ours to say. */
		if (offset > at || size <= at - offset)
			return 0;
		data += at - offset;
	} else if (offset != at || size != 1) {
		log_warning("%s: the driver writes %u bytes at %u of the configuration space; only "
			    "byte %u (writeback) may be written",
			    rings->config->name, size, offset, at);
		return -EPERM;
	}
	set_wce(rings, *data != 0);
	return 0;
}

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

static void set_features(void *opaque, uint64_t features)
{
	struct rings *rings = opaque;

	rings->shared.blk.features = features;
	if (!features) /* a reset */
		atomic_store(&rings->shared.blk.wce, !rings->shared.blk.image->durable);
	/* virtio 5.2.5.2; legacy drivers find what they left (5.2.5.3). */
	if (has(features, VIRTIO_F_VERSION_1) && has(features, VIRTIO_BLK_F_CONFIG_WCE) &&
	    !has(features, VIRTIO_BLK_F_FLUSH))
		atomic_store(&rings->shared.blk.wce, false);
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
	set_wce(rings, state);
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

/* ---- the image's size ---- */

static void grown(struct image_watch *watch)
{
	resize_grown(&container_of(watch, struct rings, watch)->resize);
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
	rings->last_waiting = &rings->waiting;
	rings->drain_timer.fire = drain_lasts;
	rings->attend.run = attend_nudged;
	rings->attend_timer.fire = attend_again;
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
	};
	rings->lock = (struct disk_lock){
		.name = rings->config->name,
		.loop = process->loop,
		.image = image,
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
	io_errors_init(&rings->errors, rings->config->name, process->loop);
	image_watch_open(&rings->watch, &rings->end, process->loop, grown);
	rings->memory = calloc(process->num_workers, sizeof(*rings->memory));
	if (rings->memory)
		err = vublk_dev_create(&rings->dev, &params);
	channel_init(&rings->channel, rings->config->name, process->loop, rings->dev);
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
	blk_sync_destroy(&rings->sync);
	free(rings->memory);
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

void rings_set_identity(struct rings *rings, uint64_t identity)
{
	rings->lock.identity = identity;
}

void rings_disconnect(struct rings *rings)
{
	vublk_dev_disconnect(rings->dev);
}
