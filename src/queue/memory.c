/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which guest memory is registered with a queue's target (--fixed-buffers): that of a session is
 * shared by those of its queues that have the same worker. Worker thread. Where the ranges come
 * from they have been checked: they are mappings of our own.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "io/registered_memory.h"
#include "queue/queue.h"

static void log_plain(const struct queue *queue, int64_t plain)
{
	log_warning("%s: %" PRId64 " bytes of the guest's memory cannot be registered (on a file "
		    "system, or huge pages? use memfd); I/O there is slower",
		    queue->disk->blk.name, plain);
}

static void log_refusal(const struct queue *queue, const struct iovec *ranges, unsigned n, int err)
{
	const uint64_t needed = vublk_iov_size(ranges, n);
	struct rlimit limit = {0};
	char now[40] = "unlimited";

	if (err != -ENOMEM) {
		log_error("%s: queue %u: cannot register the guest's memory (%" PRIu64
			  " bytes): %s",
			  queue->disk->blk.name, queue->env.queue_index, needed, strerror(-err));
		return;
	}
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur != RLIM_INFINITY)
		snprintf(now, sizeof(now), "%ju bytes", (uintmax_t)limit.rlim_cur);
	log_error(
		"%s: queue %u: cannot register the guest's memory: %" PRIu64
		" bytes are to be locked, and RLIMIT_MEMLOCK, for all of this user's processes, is "
		"%s; raise it (LimitMEMLOCK= in a systemd unit) or do without --fixed-buffers",
		queue->disk->blk.name, queue->env.queue_index, needed, now);
}

/*
 * The ranges to register: those whose files show holes (io/registered_memory.h). Returns how
 * many; the size of the others in *plain, in bytes.
 */
static unsigned ranges_to_register(const struct queue *queue, struct iovec *ranges, int64_t *plain)
{
	int fds[VUBLK_MAX_MEMORY];
	unsigned n = vublk_queue_memory(queue->vq, ranges);
	const uint64_t all = vublk_iov_size(ranges, n);

	vublk_queue_memory_files(queue->vq, fds);
	n = registered_memory_set(&queue->memory->registered, ranges, fds, n);
	*plain = (int64_t)(all - vublk_iov_size(ranges, n));
	return n;
}

static bool is_fresh(const struct queue *queue)
{
	return queue->memory->registered.state == MEMORY_FRESH;
}

/* ---- with the target ---- */

static int64_t set(struct queue *queue, const struct iovec *ranges, unsigned n)
{
	return target_set_memory(queue->env.target, queue->memory, ranges, n);
}

/* A user more. That part of the memory is not registered only the first one hears. */
static int64_t get(struct queue *queue, const struct iovec *ranges, unsigned n)
{
	struct queue_memory *memory = queue->memory;
	const int64_t plain = set(queue, ranges, n);

	if (plain < 0) {
		if (!memory->users)
			registered_memory_clear(&memory->registered);
		return plain;
	}
	return memory->users++ ? 0 : plain;
}

static void put(struct queue *queue)
{
	if (--queue->memory->users)
		return;
	set(queue, NULL, 0);
	registered_memory_clear(&queue->memory->registered);
}

/* ---- public ---- */

int queue_memory_begin(struct queue *queue)
{
	struct iovec ranges[VUBLK_MAX_MEMORY];
	int64_t plain, refused;
	unsigned n;

	queue->registers = target_wants_memory(queue->env.target);
	if (!queue->registers)
		return 0;
	n = ranges_to_register(queue, ranges, &plain);
	refused = get(queue, ranges, n);
	if (refused < 0) {
		log_refusal(queue, ranges, n, (int)refused);
		return (int)refused;
	}
	if (is_fresh(queue) && !queue->memory->registered.told && plain + refused > 0)
		log_plain(queue, plain + refused);
	queue->memory->registered.told = true;
	return 0;
}

void queue_memory_change(struct queue *queue)
{
	struct iovec ranges[VUBLK_MAX_MEMORY];
	int64_t plain;
	unsigned n;

	if (!queue->registers)
		return;
	/* What stays registered has to be the guest's still. */
	queue_memory_check(queue);
	n = ranges_to_register(queue, ranges, &plain);
	plain = set(queue, ranges, n);
	/* The queue runs and goes on running, if slower. */
	if (plain < 0)
		log_refusal(queue, ranges, n, (int)plain);
}

static void register_anew(struct queue *queue)
{
	struct iovec ranges[VUBLK_MAX_MEMORY];
	int64_t plain;
	const unsigned n = ranges_to_register(queue, ranges, &plain);

	log_debug("%s: the guest's memory is registered again", queue->disk->blk.name);
	plain = set(queue, ranges, n);
	if (plain < 0)
		log_refusal(queue, ranges, n, (int)plain);
}

void queue_memory_check(struct queue *queue)
{
	struct registered_memory *memory = &queue->memory->registered;

	switch (registered_memory_check(memory)) {
	case MEMORY_SAME:
		break;
	case MEMORY_TOUCHED:
		set(queue, NULL, 0);
		log_debug("%s: the guest's memory has changed: not registered for %" PRId64 " s",
			  queue->disk->blk.name, memory->pause / 1000000000);
		break;
	case MEMORY_PUNCHED:
		set(queue, NULL, 0);
		log_warning("%s: holes have been punched into the guest's memory (by a balloon, "
			    "free page reporting or virtio-mem): going on without "
			    "--fixed-buffers, which does not go together with these",
			    queue->disk->blk.name);
		break;
	case MEMORY_CAN_COME:
		register_anew(queue);
		break;
	}
}

void queue_memory_end(struct queue *queue)
{
	if (queue->registers)
		put(queue);
}
