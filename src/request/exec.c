/* SPDX-License-Identifier: BSD-3-Clause */
/* See request/exec.h. Worker thread. */
#include "request/exec.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "request/tally.h"

#define SECTOR 512u

static void abandon_one(struct blk_req *req)
{
	if (req->bounce)
		bounce_put(req->env->bounce, req->env->bounce_user, req->bounce);
	req->bounce = NULL;
	req->active = false;
	req->merged = NULL;
	req->env->abandoned(req);
}

void blk_req_abandon(struct blk_req *req)
{
	while (req) {
		struct blk_req *next = req->merged;

		abandon_one(req);
		req = next;
	}
}

void blk_req_submit(struct blk_req *req, void (*done)(struct io *io))
{
	if (req->env->abandoning) {
		blk_req_abandon(req);
		return;
	}
	req->io.file = req->env->file;
	req->io.done = done;
	target_submit(req->env->target, &req->io);
}

void blk_req_host_done(struct blk_req *req, int err)
{
	struct blk_env *env = req->env;

	if (err)
		io_errors_count(env->disk->errors, req->type->kind, err);
	if (err && log_limit_ok(&env->io_errors, LOG_LEVEL_ERROR, "I/O errors"))
		log_error("%s: queue %u: %s of %llu bytes at sector %llu failed: %s",
			  env->disk->name, env->queue_index, req->type->name,
			  (unsigned long long)req->size, (unsigned long long)req->start / SECTOR,
			  strerror(-err));
	/* The host's "not supported" is not the guest's affair. */
	blk_req_finish(req, err == -EOPNOTSUPP ? -EIO : err);
}

static uint8_t status_of(int err)
{
	switch (err) {
	case 0:
		return VIRTIO_BLK_S_OK;
	case -EOPNOTSUPP:
		return VIRTIO_BLK_S_UNSUPP;
	default:
		return VIRTIO_BLK_S_IOERR;
	}
}

void blk_req_finish(struct blk_req *req, int err)
{
	uint64_t written = req->type->answers && !err ? req->size : 0;

	/*
	 * virtio 2.7.8.2: the length counts from the first writable byte on, and may be too small
	 * but not too large. So the status byte counts only if all before it was written.
	 */
	if (written == req->chain.in_size - 1)
		written++;
	vublk_guest_store8(req->status, status_of(err));
	req->active = false;
	blk_tally_add(req, err);
	req->env->finished(req, written < UINT32_MAX ? (uint32_t)written : UINT32_MAX);
}
