/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The device (lib) asks for queues to be started, stopped and updated; the
 * disk has the worker do it and passes the answer back:
 *
 *	device --queue_start--> disk --call--> worker
 *	device <-vublk_queue_done-- disk <--call-- worker
 *
 * Before the first queue starts, the disk is locked (disk/lock.h); after the last one has drained
 * it is released. Queues that are started meanwhile wait: the lock may be an earlier vublkd's that
 * was killed and whose last I/O has not ended, and until it has, nothing may run.
 */
#include "disk/disk.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/log.h"
#include "disk/lock.h"
#include "disk/sharing.h"
#include "image/watch.h"
#include "queue/queue.h"
#include "request/config.h"
#include "request/disk.h"
#include "request/sync.h"
#include "vublk.h"
#include "worker/worker.h"

#define DRAIN_LOG_NS UINT64_C(2000000000)

struct disk {
	struct queue_disk shared;
	struct blk_sync sync;
	struct image_end end;
	struct image_watch watch;
	struct loop *loop;
	struct worker *const *workers;
	unsigned num_workers;
	const struct disk_config *config;
	struct vublk_dev *dev;
	struct disk_events events;
	void *opaque;

	unsigned n_queues; /* started, or waiting for the lock */
	unsigned n_draining;
	struct loop_timer drain_timer;

	struct io_errors errors;
	struct sharing sharing;
	struct disk_lock lock;
	struct queue *waiting, **last_waiting; /* for the lock */
	bool gave_up; /* waiting for it: the session ends, so that the front-end tries again */
};

/* ---- requests to the worker, and its answers ---- */

static struct disk *disk_of(struct queue *queue)
{
	return container_of(queue->disk, struct disk, shared);
}

/* Back on the control thread. */
static void answer(struct queue *queue, void (*done)(struct call *call))
{
	queue->call.run = done;
	mailbox_post(loop_mailbox(disk_of(queue)->loop), &queue->call);
}

static void forget(struct queue *queue)
{
	struct disk *disk = disk_of(queue);

	vublk_queue_set_opaque(queue->vq, NULL);
	queue_destroy(queue);
	if (--disk->n_queues)
		return;
	sharing_stop(&disk->sharing);
	image_watch_stop(&disk->watch);
	disk_lock_release(&disk->lock);
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

static void begin(struct call *call)
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

static void update(struct call *call)
{
	struct queue *queue = container_of(call, struct queue, call);

	queue->err = queue_apply(queue, queue->update);
	answer(queue, updated);
}

static void ended(struct call *call)
{
	struct queue *queue = container_of(call, struct queue, call);
	struct disk *disk = disk_of(queue);

	if (!--disk->n_draining)
		loop_clear_timer(disk->loop, &disk->drain_timer);
	queue_gone(queue, 0);
}

static void drained(struct queue *queue)
{
	answer(queue, ended);
}

static void drain_queue(struct call *call)
{
	queue_drain(container_of(call, struct queue, call), drained);
}

static void abandon_queue(struct call *call)
{
	queue_abandon(container_of(call, struct queue, call), drained);
}

static void call_worker(struct queue *queue, void (*run)(struct call *call))
{
	queue->call.run = run;
	worker_call(queue->worker, &queue->call);
}

/* The lock is held: where I/O goes is known. */
static void call_begin(struct queue *queue)
{
	struct disk *disk = disk_of(queue);

	disk->shared.fd = disk->lock.claim >= 0 ? disk->lock.claim : disk->shared.blk.image->fd;
	call_worker(queue, begin);
}

static void drain_lasts(struct loop_timer *timer)
{
	struct disk *disk = container_of(timer, struct disk, drain_timer);

	log_warning("%s: still waiting for the I/O of %u queues to end", disk->config->name,
		    disk->n_draining);
	loop_set_timer(disk->loop, timer, DRAIN_LOG_NS);
}

/* ---- the lock ---- */

/* All that wait for the lock go on, or fail. */
static void lock_settled(struct disk_lock *lock, int err)
{
	struct disk *disk = container_of(lock, struct disk, lock);
	struct queue *queue = disk->waiting;

	disk->gave_up = err;
	disk->waiting = NULL;
	disk->last_waiting = &disk->waiting;
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

static void wait_for_lock(struct disk *disk, struct queue *queue)
{
	queue->next = NULL;
	*disk->last_waiting = queue;
	disk->last_waiting = &queue->next;
	vublk_queue_wait(queue->vq);
}

static void unlink_waiting(struct disk *disk, const struct queue *queue)
{
	struct queue **at = &disk->waiting;

	while (*at != queue)
		at = &(*at)->next;
	*at = queue->next;
	if (!*at)
		disk->last_waiting = at;
}

/* ---- what the device asks ---- */

/* Front-ends use their queues from 0 on, so this spreads them evenly. */
static struct worker *worker_of(const struct disk *disk, const struct vublk_queue *vq)
{
	return disk->workers[vublk_queue_index(vq) % disk->num_workers];
}

static void queue_start(void *opaque, struct vublk_queue *vq)
{
	struct disk *disk = opaque;
	struct queue *queue;
	int err = queue_create(&queue, vq, worker_of(disk, vq), &disk->shared);

	if (err) {
		log_error("%s: no memory for queue %u", disk->config->name, vublk_queue_index(vq));
		vublk_queue_done(vq, err);
		return;
	}
	vublk_queue_set_opaque(vq, queue);
	if (!disk->n_queues++) {
		image_watch_start(&disk->watch);
		sharing_start(&disk->sharing);
	}
	err = disk_lock_take(&disk->lock, disk->dev);
	if (!err)
		call_begin(queue);
	else if (err == -EAGAIN)
		wait_for_lock(disk, queue);
	else
		queue_gone(queue, err);
}

static void queue_cancel(void *opaque, struct vublk_queue *vq)
{
	struct disk *disk = opaque;
	struct queue *queue = vublk_queue_opaque(vq);

	unlink_waiting(disk, queue);
	if (!disk->waiting)
		disk_lock_cancel(&disk->lock);
	forget(queue);
}

static void queue_stop(void *opaque, struct vublk_queue *vq, bool drain)
{
	struct disk *disk = opaque;

	if (!disk->n_draining++)
		loop_set_timer(disk->loop, &disk->drain_timer, DRAIN_LOG_NS);
	call_worker(vublk_queue_opaque(vq), drain ? drain_queue : abandon_queue);
}

static void queue_update(void *opaque, struct vublk_queue *vq, struct vublk_update *change)
{
	struct queue *queue = vublk_queue_opaque(vq);

	(void)opaque;
	queue->update = change;
	call_worker(queue, update);
}

static void resume(void *opaque, bool again)
{
	struct disk *disk = opaque;

	disk->events.resume(disk->opaque, again && !disk->gave_up);
}

static void disconnected(void *opaque)
{
	struct disk *disk = opaque;

	disk->gave_up = false;
	io_errors_end_session(&disk->errors);
	disk->events.disconnected(disk->opaque);
}

static void get_config(void *opaque, uint8_t space[VUBLK_MAX_CONFIG])
{
	const struct disk *disk = opaque;
	struct virtio_blk_config config;

	blk_config_fill(&config, disk->shared.blk.image, disk->config->num_queues,
			disk->config->seg_max, atomic_load(&disk->shared.blk.wce));
	memcpy(space, &config, sizeof(config));
}

/* Only `wce` may be written: virtio 5.2.4, "writeback". */
static int set_config(void *opaque, uint32_t offset, const uint8_t *data, uint32_t size,
		      bool migration)
{
	const uint32_t at = offsetof(struct virtio_blk_config, wce);
	struct disk *disk = opaque;

	if (migration) {
		/* The whole space may come; what else is in it is ours to say. */
		if (offset > at || size <= at - offset)
			return 0;
		data += at - offset;
	} else if (offset != at || size != 1) {
		log_warning("%s: the driver writes %u bytes at %u of the configuration space; only "
			    "byte %u (writeback) may be written",
			    disk->config->name, size, offset, at);
		return -EPERM;
	}
	atomic_store(&disk->shared.blk.wce, *data != 0);
	return 0;
}

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

static void set_features(void *opaque, uint64_t features)
{
	struct disk *disk = opaque;

	disk->shared.blk.features = features;
	if (!features) /* a reset */
		atomic_store(&disk->shared.blk.wce, !disk->shared.blk.image->durable);
	/* virtio 5.2.5.2; legacy drivers find what they left (5.2.5.3). */
	if (has(features, VIRTIO_F_VERSION_1) && has(features, VIRTIO_BLK_F_CONFIG_WCE) &&
	    !has(features, VIRTIO_BLK_F_FLUSH))
		atomic_store(&disk->shared.blk.wce, false);
}

static const struct vublk_ops ops = {
	.queue_start = queue_start,
	.queue_cancel = queue_cancel,
	.queue_stop = queue_stop,
	.queue_update = queue_update,
	.resume = resume,
	.disconnected = disconnected,
	.get_config = get_config,
	.set_config = set_config,
	.set_features = set_features,
};

/* ---- life ---- */

int disk_create(struct disk **diskp, const struct disk_config *config, const struct image *image,
		struct loop *loop, struct worker *const *workers, unsigned num_workers,
		const struct disk_events *events, void *opaque)
{
	struct disk *disk = aligned_alloc(_Alignof(struct disk), sizeof(*disk));
	struct vublk_params params;
	int err = -ENOMEM;

	*diskp = NULL;
	if (!disk)
		return err;
	memset(disk, 0, sizeof(*disk));
	disk->loop = loop;
	disk->workers = workers;
	disk->num_workers = num_workers;
	disk->config = config;
	disk->events = *events;
	disk->opaque = opaque;
	disk->last_waiting = &disk->waiting;
	disk->drain_timer.fire = drain_lasts;
	disk->shared = (struct queue_disk){
		.blk = {.name = disk->config->name,
			.serial = config->serial,
			.image = image,
			.end = &disk->end,
			.errors = &disk->errors,
			.sync = &disk->sync,
			.wce = !image->durable},
		.fd = -1,
		.fence = &disk->lock.fence,
		.signs = &disk->sharing.signs,
	};
	disk->lock = (struct disk_lock){
		.name = disk->config->name,
		.loop = loop,
		.image = image,
		.exclusive = config->lock,
		.timeout = config->lock_timeout,
		.settled = lock_settled,
	};
	disk_lock_init(&disk->lock);
	params = (struct vublk_params){
		.name = disk->config->name,
		.features = blk_config_features(image),
		.known_features = blk_config_known_features(),
		.num_queues = config->num_queues,
		.ops = &ops,
		.opaque = disk,
	};
	image_end_init(&disk->end, image, disk->config->name);
	blk_sync_init(&disk->sync);
	io_errors_init(&disk->errors, disk->config->name, loop);
	image_watch_open(&disk->watch, &disk->end, loop);
	err = vublk_dev_create(&disk->dev, &params);
	sharing_init(&disk->sharing, disk->config->name, loop, disk->dev);
	if (err) {
		disk_destroy(disk);
		return err;
	}
	*diskp = disk;
	return 0;
}

void disk_destroy(struct disk *disk)
{
	if (!disk)
		return;
	vublk_dev_destroy(disk->dev);
	image_watch_close(&disk->watch);
	free(disk);
}

struct vublk_dev *disk_device(struct disk *disk)
{
	return disk->dev;
}

const char *disk_name(const struct disk *disk)
{
	return disk->config->name;
}

void disk_set_identity(struct disk *disk, uint64_t identity)
{
	disk->lock.identity = identity;
}

void disk_disconnect(struct disk *disk)
{
	vublk_dev_disconnect(disk->dev);
}
