/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/lock.h. */
#include "disk/lock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/container.h"
#include "base/log.h"
#include "image/claim.h"
#include "image/image.h"
#include "image/lock.h"

#define MS       1000000ull
#define RETRY_NS (20 * MS)

/* ---- one attempt ---- */

/* What stands against it (-EAGAIN) or went wrong, in words. */
struct reason {
	char text[160];
};

static int lock_image(struct disk_lock *lock, struct reason *why)
{
	const char *holder;
	int err = image_lock(lock->image->fd, !lock->image->read_only, &holder);

	if (err == -EAGAIN)
		snprintf(why->text, sizeof(why->text), "the image is %s by another process",
			 holder);
	else if (err)
		snprintf(why->text, sizeof(why->text),
			 "cannot lock the image: %s (--no-lock does without)", strerror(-err));
	return err;
}

/* Its locks are those of one node in one /dev, and there may be others of the device. */
static int claim_device(struct disk_lock *lock, struct reason *why)
{
	int err;

	if (!lock->image->is_device || lock->image->read_only)
		return 0;
	err = image_claim(lock->image->fd, &lock->claim);
	if (err == -EAGAIN)
		snprintf(why->text, sizeof(why->text),
			 "the device is in use: by the host (mounted, part of another device), or "
			 "by another process");
	else if (err)
		snprintf(why->text, sizeof(why->text),
			 "cannot open the device for us alone: %s (--no-lock does without)",
			 strerror(-err));
	return err;
}

static int fence_memory(struct disk_lock *lock, struct reason *why)
{
	int err = memory_fence_take(&lock->fence, lock->dev, lock->identity, lock->name);

	if (err)
		snprintf(why->text, sizeof(why->text),
			 "I/O of an earlier process, which reaches the guest's memory, has not "
			 "ended");
	return err;
}

static int attempt(struct disk_lock *lock, struct reason *why)
{
	int err = 0;

	if (lock->exclusive)
		err = lock_image(lock, why);
	if (!err && lock->exclusive)
		err = claim_device(lock, why);
	if (!err)
		err = fence_memory(lock, why);
	lock->held = true;
	if (err)
		disk_lock_release(lock);
	return err;
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
	struct reason why;
	int err = attempt(lock, &why);

	if (err == -EAGAIN && waited < lock->timeout * 1000 * MS) {
		set_timer(lock);
		return;
	}
	if (err == -EAGAIN)
		log_error("%s: %s; gave up after %u s; ending the connection, so that the "
			  "front-end tries again",
			  lock->name, why.text, lock->timeout);
	else if (err)
		log_error("%s: %s", lock->name, why.text);
	else
		log_info("%s: got the image's lock after %llu ms", lock->name,
			 (unsigned long long)(waited / MS));
	lock->settled(lock, err);
}

/* ---- public ---- */

void disk_lock_init(struct disk_lock *lock)
{
	lock->held = false;
	lock->claim = -1;
	lock->timer = (struct loop_timer){.fire = try_again};
	memory_fence_init(&lock->fence);
}

int disk_lock_take(struct disk_lock *lock, const struct vublk_dev *dev)
{
	struct reason why;
	int err;

	/* Without a file there is no I/O that could outlive anybody. */
	if (lock->held || lock->image->fd < 0)
		return 0;
	if (lock->timer.set)
		return -EAGAIN;
	lock->dev = dev;
	err = attempt(lock, &why);
	if (err == -EAGAIN) {
		if (log_limit_ok(&lock->waits, LOG_LEVEL_WARNING, "waits"))
			log_warning("%s: %s; waiting up to %u s", lock->name, why.text,
				    lock->timeout);
		lock->since = loop_now();
		set_timer(lock);
	} else if (err) {
		log_error("%s: %s", lock->name, why.text);
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
	if (lock->claim >= 0)
		close(lock->claim);
	lock->claim = -1;
	if (lock->exclusive)
		image_unlock(lock->image->fd);
}
