/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/lock.h. */
#include "disk/lock.h"

#include <errno.h>
#include <stdio.h>

#include "base/container.h"
#include "base/log.h"
#include "disk/disk_config.h"

#define MS       1000000ull
#define RETRY_NS (20 * MS)

/* ---- one attempt ---- */

static int fence_memory(struct disk_lock *lock, struct image_reason *why)
{
	int err = memory_fence_take(&lock->fence, lock->dev, lock->identity, lock->name);

	if (err)
		snprintf(why->text, sizeof(why->text),
			 "I/O of an earlier process, which reaches the guest's memory, has not "
			 "ended");
	return err;
}

static int attempt(struct disk_lock *lock, struct image_reason *why)
{
	int err = 0;

	if (lock->exclusive)
		err = lock->image->kind->lock(lock->image, &lock->hold, why);
	if (err)
		return err;
	lock->held = true;
	err = fence_memory(lock, why);
	if (err)
		disk_lock_release(lock);
	return err;
}

/* For the operator, who is to know whether it is one of ours. */
static const char *explain(struct disk_lock *lock, const struct image_reason *why)
{
	const struct disk_process *process = lock->process;
	const char *disk = why->others ? process->holder_of(process, lock->image) : NULL;

	snprintf(lock->why, sizeof(lock->why), "%s%s%s", why->text,
		 disk          ? " by the disk "
		 : why->others ? " by "
			       : "",
		 disk          ? disk
		 : why->others ? why->others
			       : "");
	return lock->why;
}

/* ---- waiting ---- */

/* Two that try in step would refuse each other for ever, so no two delays are alike. */
static void set_timer(struct disk_lock *lock)
{
	const uint64_t jitter = loop_now() / 1000 % 97 * (RETRY_NS / 97);

	loop_set_timer(lock->loop, &lock->timer, RETRY_NS + jitter);
}

static void try_again(struct loop_timer *timer)
{
	struct disk_lock *lock = container_of(timer, struct disk_lock, timer);
	const uint64_t waited = loop_now() - lock->since;
	struct image_reason why = {0};
	int err = attempt(lock, &why);

	if (err == -EAGAIN && waited < lock->timeout * 1000 * MS) {
		set_timer(lock);
		return;
	}
	if (err == -EAGAIN)
		log_error("%s: %s; gave up after %u s; ending the connection, so that the "
			  "front-end tries again",
			  lock->name, explain(lock, &why), lock->timeout);
	else if (err)
		log_error("%s: %s", lock->name, explain(lock, &why));
	else
		log_info("%s: got the image's lock after %llu ms", lock->name,
			 (unsigned long long)(waited / MS));
	lock->settled(lock, err);
}

/* ---- public ---- */

void disk_lock_init(struct disk_lock *lock)
{
	lock->held = false;
	image_hold_init(&lock->hold, lock->image);
	lock->timer = (struct loop_timer){.fire = try_again};
	memory_fence_init(&lock->fence);
}

int disk_lock_take(struct disk_lock *lock, const struct vublk_dev *dev)
{
	struct image_reason why = {0};
	int err;

	/* Where there is no I/O none could outlive anybody. */
	if (lock->held || lock->image->kind->io == IMAGE_IO_NULL)
		return 0;
	if (lock->timer.set)
		return -EAGAIN;
	lock->dev = dev;
	err = attempt(lock, &why);
	if (err == -EAGAIN) {
		explain(lock, &why);
		if (log_limit_ok(&lock->waits, LOG_LEVEL_WARNING, "waits"))
			log_warning("%s: %s; waiting up to %u s", lock->name, lock->why,
				    lock->timeout);
		lock->since = loop_now();
		set_timer(lock);
	} else if (err) {
		log_error("%s: %s", lock->name, explain(lock, &why));
	}
	return err;
}

void disk_lock_cancel(struct disk_lock *lock)
{
	loop_clear_timer(lock->loop, &lock->timer);
}

void disk_lock_release(struct disk_lock *lock)
{
	if (!lock->held)
		return;
	lock->held = false;
	memory_fence_release(&lock->fence);
	if (lock->exclusive)
		lock->image->kind->unlock(lock->image, &lock->hold);
}
