/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See request/sync.h. Worker threads; what they share is behind the lock, which is held for
 * moments.
 */
#include "request/sync.h"

#include <errno.h>
#include <string.h>

#include "base/container.h"
#include "base/log.h"
#include "request/exec.h"

void blk_sync_init(struct blk_sync *sync)
{
	*sync = (struct blk_sync){.running = false};
	pthread_mutex_init(&sync->lock, NULL);
	sync->last = &sync->waiting;
}

void blk_sync_destroy(struct blk_sync *sync)
{
	pthread_mutex_destroy(&sync->lock);
}

/* Is it lost for good what a sync that fails was to write? */
static bool loses_data(const struct image *image)
{
	return !image->direct || !image->is_device;
}

/* Under the lock: all who wait. */
static struct blk_req *take_waiting(struct blk_sync *sync)
{
	struct blk_req *group = sync->waiting;

	sync->waiting = NULL;
	sync->last = &sync->waiting;
	return group;
}

/* Under the lock: the leader of those who wait, or NULL. The others follow it by their `next`. */
static struct blk_req *next_leader(struct blk_sync *sync)
{
	struct blk_req *leader = take_waiting(sync);

	sync->running = leader;
	return leader;
}

static void synced(struct io *io);

/* On the leader's worker. It is done even if the queue is being abandoned: others wait for it. */
static void lead(struct blk_req *req)
{
	req->io.op = IO_SYNC;
	req->io.flags = 0;
	req->io.file = req->env->file;
	req->io.done = synced;
	target_submit(req->env->target, &req->io);
}

static void lead_call(struct call *call)
{
	lead(container_of(call, struct blk_req, call));
}

static void answer(struct blk_req *req)
{
	req->syncing = false;
	blk_req_host_done(req, req->sync_err);
}

static void answer_call(struct call *call)
{
	answer(container_of(call, struct blk_req, call));
}

/* Runs it on the request's own worker, which may be `here`. From then on it is that one's. */
static void run_on_worker(struct blk_req *req, struct mailbox *here, void (*run)(struct call *call))
{
	req->call.run = run;
	if (req->env->mailbox == here)
		run(&req->call);
	else
		mailbox_post(req->env->mailbox, &req->call);
}

static void answer_all(struct blk_req *req, struct mailbox *here, int err)
{
	while (req) {
		struct blk_req *next = req->next;

		req->sync_err = err;
		run_on_worker(req, here, answer_call);
		req = next;
	}
}

void blk_sync_join(struct blk_req *req)
{
	struct blk_sync *sync = req->env->disk->sync;
	struct blk_req *leader = NULL;
	bool failed;

	if (req->env->abandoning) {
		blk_req_abandon(req);
		return;
	}
	pthread_mutex_lock(&sync->lock);
	failed = sync->failed;
	if (!failed) {
		req->syncing = true;
		req->next = NULL;
		*sync->last = req;
		sync->last = &req->next;
		if (!sync->running)
			leader = next_leader(sync);
	}
	pthread_mutex_unlock(&sync->lock);
	if (failed)
		blk_req_host_done(req, -EIO);
	else if (leader)
		lead(leader);
}

/* The leader's worker. */
static void synced(struct io *io)
{
	struct blk_req *req = blk_req_of(io);
	const struct blk_disk *disk = req->env->disk;
	struct mailbox *here = req->env->mailbox;
	struct blk_sync *sync = disk->sync;
	struct blk_req *leader = NULL, *refused = NULL;
	/* A file system without a sync (FUSE) has nothing to be synced. */
	const int err = io->result == -ENOSYS ? 0 : (int)io->result;
	const bool lost = err && loses_data(disk->image);

	if (lost)
		log_error("%s: writing back to the storage failed (%s), and the kernel has "
			  "discarded that data: flushes and durable writes fail from now on; check "
			  "the storage and the disk's content, then restart vublkd",
			  disk->name, strerror(-err));
	pthread_mutex_lock(&sync->lock);
	sync->failed |= lost;
	if (sync->failed)
		refused = take_waiting(sync);
	leader = next_leader(sync);
	pthread_mutex_unlock(&sync->lock);
	if (leader)
		run_on_worker(leader, here, lead_call);
	answer_all(req, here, err);
	answer_all(refused, here, -EIO);
}

bool blk_sync_leave(struct blk_req *req)
{
	struct blk_sync *sync = req->env->disk->sync;
	struct blk_req **at;

	pthread_mutex_lock(&sync->lock);
	at = &sync->waiting;
	while (*at && *at != req)
		at = &(*at)->next;
	if (*at) {
		*at = req->next;
		if (!*at)
			sync->last = at;
		req->syncing = false;
	}
	pthread_mutex_unlock(&sync->lock);
	return !req->syncing;
}
