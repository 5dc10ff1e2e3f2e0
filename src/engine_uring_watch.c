/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The watches of the io_uring engine. The engine's thread only.
 *
 * Theory of operation. Watches are poll requests, multishot where the kernel has them: one request,
 * a completion each time. They are armed and cancelled by submission entries, which may be lacking
 * at the moment, so a watch to be armed or cancelled stands in the `dirty` list until the next
 * engine_run() has found room for it:
 *
 *	        watch()          room found         completion without F_MORE
 *	FREE ----------> ARM ----------------> ARMED --------------------------> ARM
 *	 ^                | unwatch()            | unwatch()
 *	 |                v                      v       room found
 *	 +--------------- DEAD                 CANCEL <-------------> CANCELLING
 *	 |    next run                                   -EALREADY      |
 *	 +--------------------------------------------------------------+ completion
 *
 * A poll whose event is already on its way cannot be cancelled at that moment (-EALREADY), so a
 * slot stays taken until the kernel says that the poll is gone: else it would go on, with a
 * reference to a file that its owner has long closed.
 *
 * Not trusted: what is watched.
 */
#include <errno.h>
#include <poll.h>

#include "engine_epoll.h"
#include "engine_uring.h"

enum watch_state {
	WATCH_FREE,
	WATCH_ARM,
	WATCH_ARMED,
	WATCH_CANCEL,
	WATCH_CANCELLING,
	WATCH_DEAD,
};

static void make_dirty(struct uring *u, int slot, enum watch_state state)
{
	u->watches.slots[slot].state = state;
	u->watches.slots[slot].next = u->dirty;
	u->dirty = slot;
	u->base.quiet = false;
}

int uring_watch(struct engine *engine, struct engine_watch *watch)
{
	struct uring *u = to_uring(engine);
	int ret;

	/* io_uring would poll anything, a regular file being always ready. */
	ret = engine_epoll_supports(watch->fd);
	if (!ret)
		ret = engine_watches_add(&u->watches, watch);
	if (!ret)
		make_dirty(u, watch->slot, WATCH_ARM);
	return ret;
}

static uint64_t watch_user_data(const struct uring *u, int slot, int age, unsigned type)
{
	return (engine_watches_tag(&u->watches, slot) - ((uint64_t)age << 32)) | type;
}

void uring_unwatch(struct engine *engine, struct engine_watch *watch)
{
	struct uring *u = to_uring(engine);
	int slot = watch->slot;

	if (!engine_watches_has(&u->watches, watch))
		return;
	engine_watches_end(&u->watches, watch);
	if (u->watches.slots[slot].state == WATCH_ARMED) {
		u->cancelling++;
		make_dirty(u, slot, WATCH_CANCEL);
	} else { /* WATCH_ARM: in the dirty list already */
		u->watches.slots[slot].state = WATCH_DEAD;
	}
}

/* Does what the state of a dirty watch asks for, or answers false when there is no entry. */
static bool clean_watch(struct uring *u, int i)
{
	struct watch_slot *slot = &u->watches.slots[i];
	struct io_uring_sqe *sqe;

	if (slot->state == WATCH_DEAD) {
		slot->state = WATCH_FREE;
		return true;
	}
	sqe = ring_entry(&u->main);
	if (!sqe)
		return false;
	if (slot->state == WATCH_CANCEL) {
		/* The generation is that of the next watch already. */
		io_uring_prep_poll_remove(sqe, watch_user_data(u, i, 1, TAG_WATCH));
		io_uring_sqe_set_data64(sqe, watch_user_data(u, i, 0, TAG_CANCEL));
		slot->state = WATCH_CANCELLING;
		return true;
	}
	if (u->multishot)
		io_uring_prep_poll_multishot(sqe, slot->watch->fd, POLLIN);
	else
		io_uring_prep_poll_add(sqe, slot->watch->fd, POLLIN);
	io_uring_sqe_set_data64(sqe, watch_user_data(u, i, 0, TAG_WATCH));
	slot->state = WATCH_ARMED;
	return true;
}

void uring_clean_watches(struct uring *u)
{
	while (u->dirty >= 0) {
		int slot = u->dirty, next = u->watches.slots[slot].next;

		if (!clean_watch(u, slot))
			return;
		u->dirty = next;
		if (u->watches.slots[slot].state == WATCH_FREE)
			engine_watches_free(&u->watches, slot);
	}
}

void uring_complete_watch(struct uring *u, uint64_t tag, int res, unsigned flags)
{
	struct watch_slot *slot = engine_watches_find(&u->watches, tag);
	bool again = res >= 0 || res == -ENOMEM || res == -EAGAIN || res == -ECANCELED;

	if (!slot)
		return;
	/*
	 * Over, because it was single-shot, the queue overflowed or memory was short: arm anew,
	 * which looks first whether the descriptor is ready. An error that would only repeat
	 * itself (the owner has closed the descriptor) is shown to ready(), once.
	 */
	if (!(flags & IORING_CQE_F_MORE) && again)
		make_dirty(u, slot->watch->slot, WATCH_ARM);
	if (res >= 0 || !again)
		engine_ready(&u->base, slot->watch);
}

/* A cancellation is through. Nobody else uses the slot before. */
void uring_complete_cancel(struct uring *u, uint64_t tag, int res)
{
	int slot = (int)((uint32_t)tag >> WATCH_TAG_TYPE_BITS);

	if (res == -EALREADY) {
		make_dirty(u, slot, WATCH_CANCEL);
		return;
	}
	u->cancelling--;
	u->watches.slots[slot].state = WATCH_FREE;
	engine_watches_free(&u->watches, slot);
}
