/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The watches of the reactor on io_uring. The reactor's thread only.
 *
 * Theory of operation. Watches are poll requests, multishot where the kernel has them: one request,
 * a completion each time. They are armed and cancelled by submission entries, which may be lacking
 * at the moment, so a watch to be armed or cancelled stands in the `dirty` list until the next
 * reactor_run() has found room for it:
 *
 *	        watch()          room found         completion without F_MORE
 *	FREE ----------> ARM ----------------> ARMED --------------------------> ARM
 *	 ^                | unwatch()            | unwatch()
 *	 |                v                      v       room found
 *	 +--------------- DEAD                 CANCEL <-------------> CANCELLING
 *	 |    next run                                   -EALREADY      |
 *	 +--------------------------------------------------------------+ completion
 *
 * A poll that the kernel refuses or gives up for an error that would only repeat itself ends in
 * FAILED, from where unwatch() leads to FREE. While there are such, ready() is called every
 * REACTOR_POLL_NS, by a timer: slow, but nothing is lost.
 *
 * A poll whose event is already on its way cannot be cancelled at that moment (-EALREADY), so a
 * slot stays taken until the kernel says that the poll is gone: else it would go on, with a
 * reference to a file that its owner has long closed.
 *
 * Not trusted: what is watched.
 */
#include <errno.h>
#include <poll.h>

#include "base/log.h"
#include "io/epoll.h"
#include "io/uring/uring.h"

enum watch_state {
	WATCH_FREE,
	WATCH_ARM,
	WATCH_ARMED,
	WATCH_CANCEL,
	WATCH_CANCELLING,
	WATCH_DEAD,
	WATCH_FAILED,
};

/* ready() may end watches and begin others, which moves the slots. */
static void look_at_failed(struct reactor_timer *timer)
{
	struct uring *u = container_of(timer, struct uring, look);

	for (int i = 0; i < u->watches.count; i++)
		if (u->watches.slots[i].state == WATCH_FAILED)
			u->watches.slots[i].watch->ready(u->watches.slots[i].watch);
	if (u->failed)
		reactor_set_timer(&u->base, timer, REACTOR_POLL_NS);
}

void uring_init_watches(struct uring *u)
{
	watches_init(&u->watches);
	u->look.fire = look_at_failed;
}

static void make_dirty(struct uring *u, int slot, enum watch_state state)
{
	u->watches.slots[slot].state = state;
	u->watches.slots[slot].next = u->dirty;
	u->dirty = slot;
	u->base.quiet = false;
}

int uring_watch(struct reactor *reactor, struct reactor_watch *watch)
{
	struct uring *u = to_uring(reactor);
	int err;

	/* io_uring would poll anything, a regular file being always ready. */
	err = epoll_supports(watch->fd);
	if (!err)
		err = watches_add(&u->watches, watch);
	if (!err)
		make_dirty(u, watch->slot, WATCH_ARM);
	return err;
}

static uint64_t watch_user_data(const struct uring *u, int slot, int age, unsigned type)
{
	return (watches_tag(&u->watches, slot) - ((uint64_t)age << 32)) | type;
}

void uring_unwatch(struct reactor *reactor, struct reactor_watch *watch)
{
	struct uring *u = to_uring(reactor);
	int slot = watch->slot;

	if (!watches_has(&u->watches, watch))
		return;
	watches_end(&u->watches, watch);
	if (u->watches.slots[slot].state == WATCH_ARMED) {
		u->cancelling++;
		make_dirty(u, slot, WATCH_CANCEL);
	} else if (u->watches.slots[slot].state == WATCH_FAILED) {
		if (!--u->failed)
			reactor_clear_timer(&u->base, &u->look);
		u->watches.slots[slot].state = WATCH_FREE;
		watches_free(&u->watches, slot);
	} else { /* WATCH_ARM: in the dirty list already */
		u->watches.slots[slot].state = WATCH_DEAD;
	}
}

static void prepare_poll(const struct uring *u, struct io_uring_sqe *sqe, int i)
{
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = u->watches.slots[i].watch->fd;
	/* The older, narrower name: the same place for it whatever the byte order. */
	sqe->poll_events = POLLIN;
	sqe->len = u->multishot ? IORING_POLL_ADD_MULTI : 0;
	sqe->user_data = watch_user_data(u, i, 0, TAG_WATCH);
	if (uring_faults & URING_FAULT_WATCHES)
		sqe->flags = IOSQE_FIXED_FILE;
}

static void prepare_cancel(const struct uring *u, struct io_uring_sqe *sqe, int i)
{
	sqe->opcode = IORING_OP_POLL_REMOVE;
	sqe->fd = -1;
	/* The generation is that of the next watch already. */
	sqe->addr = watch_user_data(u, i, 1, TAG_WATCH);
	sqe->user_data = watch_user_data(u, i, 0, TAG_CANCEL);
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
		prepare_cancel(u, sqe, i);
		slot->state = WATCH_CANCELLING;
	} else {
		prepare_poll(u, sqe, i);
		slot->state = WATCH_ARMED;
	}
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
			watches_free(&u->watches, slot);
	}
}

/* The watch is over, and another try would end likewise. */
static void give_up(struct uring *u, struct watch_slot *slot, int err)
{
	struct reactor_watch *watch = slot->watch;

	slot->state = WATCH_FAILED;
	if (!u->failed++)
		reactor_set_timer(&u->base, &u->look, REACTOR_POLL_NS);
	if (watch->failed)
		watch->failed(watch, err);
}

void uring_complete_watch(struct uring *u, uint64_t tag, int res, unsigned flags)
{
	struct watch_slot *slot = watches_find(&u->watches, tag);
	bool again = res >= 0 || res == -ENOMEM || res == -EAGAIN || res == -ECANCELED;

	if (!slot)
		return;
	/*
	 * Over, because it was single-shot, the queue overflowed or memory was short: arm again,
	 * which looks first whether the descriptor is ready.
	 */
	if (!(flags & IORING_CQE_F_MORE) && again)
		make_dirty(u, slot->watch->slot, WATCH_ARM);
	if (!again)
		give_up(u, slot, res);
	else if (res >= 0)
		reactor_ready(&u->base, slot->watch);
}

/* A cancellation is through. Nobody else uses the slot before. */
void uring_complete_cancel(struct uring *u, uint64_t tag, int res)
{
	int slot = (int)((uint32_t)tag >> WATCH_TAG_TYPE_BITS);

	if (res == -EALREADY) {
		make_dirty(u, slot, WATCH_CANCEL);
		return;
	}
	/* -ENOENT: it was over by itself. */
	if (res < 0 && res != -ENOENT)
		log_warning("io_uring: a watch cannot be cancelled: %s", strerror(-res));
	u->cancelling--;
	u->watches.slots[slot].state = WATCH_FREE;
	watches_free(&u->watches, slot);
}
