/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which guest memory the engine of a queue's worker knows (--fixed-buffers). Worker thread. Where
 * the ranges come from they have been checked: they are mappings of our own.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "queue.h"
#include "worker.h"

static void log_plain(const struct queue *queue, int64_t plain)
{
	log_warning("%s: %" PRId64 " bytes of the guest's memory cannot be registered (on a file "
		    "system? use memfd or huge pages); I/O there is slower",
		    queue->disk->name, plain);
}

static void log_refusal(const struct queue *queue, const struct iovec *ranges, unsigned n, int err)
{
	const uint64_t needed = vublk_iov_size(ranges, n);
	struct rlimit limit = {0};
	char now[40] = "unlimited";

	if (err != -ENOMEM) {
		log_error("%s: queue %u: cannot register the guest's memory (%" PRIu64
			  " bytes): %s",
			  queue->disk->name, vublk_queue_index(queue->vq), needed, strerror(-err));
		return;
	}
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur != RLIM_INFINITY)
		snprintf(now, sizeof(now), "%ju bytes", (uintmax_t)limit.rlim_cur);
	log_error(
		"%s: queue %u: cannot register the guest's memory: %" PRIu64
		" bytes are to be locked, and RLIMIT_MEMLOCK, for all of this user's processes, is "
		"%s; raise it (LimitMEMLOCK= in a systemd unit) or do without --fixed-buffers",
		queue->disk->name, vublk_queue_index(queue->vq), needed, now);
}

int queue_memory_begin(struct queue *queue)
{
	struct iovec ranges[VUBLK_MAX_MEMORY];
	unsigned n;
	int64_t plain;

	if (!engine_wants_memory(worker_engine(queue->worker)))
		return 0;
	n = vublk_queue_memory(queue->vq, ranges);
	plain = worker_get_memory(queue->worker, ranges, n);
	if (plain < 0) {
		log_refusal(queue, ranges, n, (int)plain);
		return (int)plain;
	}
	if (plain > 0)
		log_plain(queue, plain);
	return 0;
}

void queue_memory_change(struct queue *queue)
{
	struct iovec ranges[VUBLK_MAX_MEMORY];
	unsigned n;
	int64_t plain;

	if (!engine_wants_memory(worker_engine(queue->worker)))
		return;
	n = vublk_queue_memory(queue->vq, ranges);
	plain = worker_change_memory(queue->worker, ranges, n);
	/* The queue runs and goes on running, if slower. */
	if (plain < 0)
		log_refusal(queue, ranges, n, (int)plain);
}

void queue_memory_end(struct queue *queue)
{
	if (engine_wants_memory(worker_engine(queue->worker)))
		worker_put_memory(queue->worker);
}
