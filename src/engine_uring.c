/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The io_uring engine. The worker's thread only, which the kernel enforces on new ones.
 *
 * Theory of operation
 *
 * One enter each engine_run() submits what has been prepared, waits, and lets the kernel deliver
 * (DEFER_TASKRUN: without an enter no completion appears in memory). When there is neither
 * anything to submit, nor to wait for, nor a sign from the kernel (IORING_SQ_TASKRUN), not even
 * that one is made.
 *
 * engine_submit() writes a submission entry. When `depth` operations are in flight or the
 * submission queue is full the operation waits in a list, so it can never fail.
 *
 * Watches are poll requests, multishot where the kernel has them: one request, a completion each
 * time. They are armed and cancelled by submission entries too, which may be lacking at the
 * moment, so a watch to be armed or cancelled stands in the `dirty` list until the next
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
 * What the kernel is given comes back as user_data, 64 bits: a pointer to struct io, or a
 * watch's tag (engine_watches.h), told apart by the low three bits. A late completion of a watch
 * that has ended carries a stale tag and is dropped.
 *
 * Completions cannot get lost: the queue has room for every operation in flight, and when
 * watches make it overflow the kernel keeps the rest (IORING_FEAT_NODROP) until the next enter.
 *
 * Trusted: the kernel. Not trusted: what is watched.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdlib.h>

#include "engine_epoll.h"
#include "engine_files.h"
#include "engine_watches.h"
#include "offload.h"

/* Linux 6.12, linux/blkdev.h */
#ifndef BLOCK_URING_CMD_DISCARD
#define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
#endif

/* The kernel's MAX_RW_COUNT, about: more is a short transfer anyway, and 4 GiB are not 0. */
#define READ_WRITE_MAX 0x7ffff000u

#define NS_PER_S   INT64_C(1000000000)
#define BACKOFF_NS 1000000 /* between two attempts while the kernel is short of memory */
#define WATCH_ROOM 64      /* submission entries beyond `depth`, for arming and cancelling */

/* The low bits of user_data. */
enum {
	TAG_IO,
	TAG_WATCH,
	TAG_CANCEL,
	TAG_MASK = 7
};
static_assert(_Alignof(struct io) > TAG_MASK, "a pointer to struct io leaves the tag bits free");
static_assert(sizeof(uintptr_t) <= sizeof(uint64_t), "a pointer fits into user_data");
static_assert(1 << WATCH_TAG_TYPE_BITS == TAG_MASK + 1, "so does a watch's tag");

enum watch_state {
	WATCH_FREE,
	WATCH_ARM,
	WATCH_ARMED,
	WATCH_CANCEL,
	WATCH_CANCELLING,
	WATCH_DEAD,
};

struct uring {
	struct engine base;
	struct io_uring ring;
	unsigned enter_flags; /* of every enter */
	bool fixed_files, multishot;
	unsigned depth, in_flight; /* operations that have an entry or are in the kernel */
	struct io_list waiting;    /* operations that have none yet */
	int dirty;                 /* watches to be armed or cancelled, through slot.next; -1 */
	unsigned cancelling;       /* watches that have ended, but not for the kernel */
	struct engine_watches watches;
	struct engine_files files;
	struct offload offload;
};

unsigned engine_uring_without;

static struct uring *to_uring(struct engine *engine)
{
	return container_of(engine, struct uring, base);
}

/* ---- operations, downwards ---- */

static void prepare_read_write(struct io_uring_sqe *sqe, int fd, const struct io *io)
{
	bool write = io->op == IO_WRITE, single = io->niov == 1;
	size_t len;

	if (single) {
		len = io->iov->iov_len < READ_WRITE_MAX ? io->iov->iov_len : READ_WRITE_MAX;
		io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe, fd,
				 io->iov->iov_base, (unsigned)len, io->offset);
	} else {
		io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe, fd, io->iov,
				 io->niov, io->offset);
	}
	if (write && (io->flags & IO_F_DSYNC))
		sqe->rw_flags = RWF_DSYNC;
}

static void prepare_discard(struct io_uring_sqe *sqe, int fd, const struct io *io)
{
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = BLOCK_URING_CMD_DISCARD;
	sqe->addr = io->offset;
	sqe->addr3 = io->length;
}

/* Writes a submission entry, or answers false when there is none. */
static bool prepare(struct uring *u, struct io *io)
{
	int fd = u->fixed_files ? io->file : engine_files_fd(&u->files, io->file);
	int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	int zero = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (!sqe)
		return false;
	switch ((enum io_op)io->op) {
	case IO_READ:
	case IO_WRITE:
		prepare_read_write(sqe, fd, io);
		break;
	case IO_SYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case IO_PUNCH_HOLE:
		io_uring_prep_fallocate(sqe, fd, hole, (off_t)io->offset, (off_t)io->length);
		break;
	case IO_ZERO_RANGE:
		io_uring_prep_fallocate(sqe, fd, zero, (off_t)io->offset, (off_t)io->length);
		break;
	case IO_DISCARD:
		prepare_discard(sqe, fd, io);
		break;
	}
	io_uring_sqe_set_flags(sqe, u->fixed_files ? IOSQE_FIXED_FILE : 0);
	io_uring_sqe_set_data64(sqe, (uintptr_t)io);
	u->in_flight++;
	return true;
}

static void uring_submit(struct engine *engine, struct io *io)
{
	struct uring *u = to_uring(engine);

	/*
	 * io_uring takes the offset -1 for the current position. Like an operation that does not
	 * exist it takes the long way, which has the right error for it.
	 */
	if (io->op > IO_DISCARD || io->offset > INT64_MAX)
		offload_submit(&u->offload, engine_files_fd(&u->files, io->file), io);
	else if (u->waiting.head || u->in_flight >= u->depth || !prepare(u, io))
		io_list_push(&u->waiting, io);
}

/* Entries for what waits, as far as there is room. */
static void prepare_waiting(struct uring *u)
{
	while (u->waiting.head && u->in_flight < u->depth) {
		struct io *io = u->waiting.head;

		/* First the entry, then off the list: preparing never writes io->next. */
		if (!prepare(u, io))
			return;
		io_list_pop(&u->waiting);
	}
}

/* ---- watches ---- */

static void make_dirty(struct uring *u, int slot, enum watch_state state)
{
	u->watches.slots[slot].state = state;
	u->watches.slots[slot].next = u->dirty;
	u->dirty = slot;
}

static int uring_watch(struct engine *engine, struct engine_watch *watch)
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

static void uring_unwatch(struct engine *engine, struct engine_watch *watch)
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
	sqe = io_uring_get_sqe(&u->ring);
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

static void clean_watches(struct uring *u)
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

/* ---- completions, upwards ---- */

static void complete_io(struct uring *u, struct io *io, int res)
{
	bool transfer = io->op == IO_READ || io->op == IO_WRITE;

	u->in_flight--;
	if (transfer && (res == -EAGAIN || res == -EINTR))
		/* Not done, not failed: once more, behind what waits. */
		io_list_push(&u->waiting, io);
	else if (io->op == IO_DISCARD && (res == -EOPNOTSUPP || res == -EINVAL))
		/* Most likely a kernel before 6.12. If not, the ioctl says the same. */
		offload_submit(&u->offload, engine_files_fd(&u->files, io->file), io);
	else
		engine_complete(&u->base, io, res);
}

static void complete_watch(struct uring *u, uint64_t tag, int res, unsigned flags)
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
static void complete_cancel(struct uring *u, uint64_t tag, int res)
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

/*
 * Delivers what was in the completion queue on entry. The queue's head moves on before each
 * callback, so whatever comes meanwhile has room.
 */
static void reap(struct uring *u)
{
	unsigned count = io_uring_cq_ready(&u->ring), head = *u->ring.cq.khead;

	for (; count; count--, head++) {
		struct io_uring_cqe cqe = u->ring.cq.cqes[head & u->ring.cq.ring_mask];

		io_uring_cq_advance(&u->ring, 1);
		switch (cqe.user_data & TAG_MASK) {
		case TAG_IO:
			complete_io(u, (struct io *)(uintptr_t)cqe.user_data, cqe.res);
			break;
		case TAG_WATCH:
			complete_watch(u, cqe.user_data, cqe.res, cqe.flags);
			break;
		case TAG_CANCEL:
			complete_cancel(u, cqe.user_data, cqe.res);
			break;
		}
	}
}

/* ---- the one system call ---- */

static int enter(struct uring *u, unsigned submit, bool wait, int64_t timeout_ns)
{
	struct __kernel_timespec ts = {timeout_ns / NS_PER_S, timeout_ns % NS_PER_S};
	struct io_uring_getevents_arg arg = {.ts = timeout_ns >= 0 ? (uintptr_t)&ts : 0};

	/* The tail of liburing's own is published here, all entries being prepared in order. */
	u->ring.sq.sqe_head = u->ring.sq.sqe_tail;
	io_uring_smp_store_release(u->ring.sq.ktail, u->ring.sq.sqe_tail);
	return io_uring_enter2((unsigned)u->ring.enter_ring_fd, submit, wait,
			       u->enter_flags | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
			       (sigset_t *)(void *)&arg, sizeof(arg));
}

static bool kernel_has_news(const struct uring *u)
{
	return IO_URING_READ_ONCE(*u->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* Prepares what waits for an entry, enters if there is a reason to, delivers. 0 or -errno. */
static int round_trip(struct uring *u, int64_t timeout_ns)
{
	bool short_of_entries, wait;
	unsigned submit;
	int ret = 0;

	clean_watches(u);
	prepare_waiting(u);
	submit = io_uring_sq_ready(&u->ring);
	short_of_entries = u->dirty >= 0 || (u->waiting.head && u->in_flight < u->depth);
	wait = timeout_ns && !short_of_entries && !io_uring_cq_ready(&u->ring);
	if (submit || wait || kernel_has_news(u))
		ret = enter(u, submit, wait, timeout_ns);
	if ((ret == -EAGAIN || ret == -ENOMEM) && !io_uring_cq_ready(&u->ring))
		/* Nothing taken for want of memory. Something may complete and free some. */
		ret = enter(u, 0, true, BACKOFF_NS);
	reap(u);

	switch (ret) {
	case -ETIME:
	case -EINTR:
	case -EAGAIN:
	case -ENOMEM:
	case -EBUSY: /* completions kept back by an overflow want room, which there is now */
		return 0;
	}
	return ret < 0 ? ret : 0;
}

static int uring_run(struct engine *engine, int64_t timeout_ns)
{
	struct uring *u = to_uring(engine);
	int ret;

	engine->delivered = 0;
	offload_flush(&u->offload);
	ret = round_trip(u, engine->delivered ? 0 : timeout_ns);
	return ret ? ret : (int)engine->delivered;
}

/* ---- files ---- */

static int uring_add_file(struct engine *engine, int fd)
{
	struct uring *u = to_uring(engine);
	int ret, file = engine_files_add(&u->files, fd);

	if (file < 0 || !u->fixed_files)
		return file;
	ret = io_uring_register_files_update(&u->ring, (unsigned)file, &fd, 1);
	if (ret < 0) {
		engine_files_remove(&u->files, file);
		return ret;
	}
	return file;
}

static void uring_remove_file(struct engine *engine, int file)
{
	struct uring *u = to_uring(engine);
	int none = -1;

	if (engine_files_remove(&u->files, file) && u->fixed_files)
		io_uring_register_files_update(&u->ring, (unsigned)file, &none, 1);
}

/* ---- opening and closing ---- */

/* Makes the ring with the best set of flags that this kernel has. */
static int make_ring(struct uring *u)
{
	static const struct {
		unsigned flags, unless;
	} steps[] = {
		/* Linux 6.1 */
		{IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
		 URING_WITHOUT_DEFER_TASKRUN},
		/* 5.19 */
		{IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
		 URING_WITHOUT_COOP_TASKRUN},
		{0, 0},
	};
	bool small = engine_uring_without & URING_WITHOUT_LARGE_RINGS;
	int ret = -EINVAL;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && ret == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | steps[i].flags,
			.cq_entries = small ? 4 : 2 * (u->depth + WATCH_ROOM),
		};

		if (engine_uring_without & steps[i].unless)
			continue;
		ret = io_uring_queue_init_params(small ? 4 : u->depth + WATCH_ROOM, &u->ring,
						 &params);
	}
	return ret;
}

static void destroy_ring(struct uring *u)
{
	if (u->fixed_files)
		io_uring_unregister_files(&u->ring);
	io_uring_queue_exit(&u->ring);
	engine_watches_destroy(&u->watches);
	free(u);
}

static void uring_close(struct engine *engine)
{
	struct uring *u = to_uring(engine);
	int ret = 0;

	offload_close(&u->offload);
	/* Polls left to themselves would hold references to what was watched for a while. */
	while (u->cancelling && ret >= 0)
		ret = round_trip(u, NS_PER_S);
	destroy_ring(u);
}

static int uring_open(struct engine **enginep, const struct engine_config *config)
{
	const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
	struct uring *u;
	int ret;

	*enginep = NULL;
	if (!config->depth || config->depth > INT_MAX / 4)
		return -EINVAL;
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->base.class = &engine_uring;
	u->base.config = *config;
	u->depth = config->depth;
	u->dirty = -1;
	engine_watches_init(&u->watches);
	engine_files_init(&u->files);
	ret = make_ring(u);
	if (ret) {
		free(u);
		return ret;
	}
	/* Linux 5.13, which had multishot polls first, has no flag for them but this one. */
	u->multishot = (u->ring.features & IORING_FEAT_RSRC_TAGS) &&
		       !(engine_uring_without & URING_WITHOUT_MULTISHOT);
	if (!(engine_uring_without & URING_WITHOUT_FIXED_FILES))
		u->fixed_files = io_uring_register_files_sparse(&u->ring, ENGINE_FILES) == 0;
	if (!(engine_uring_without & URING_WITHOUT_RING_FD) &&
	    io_uring_register_ring_fd(&u->ring) == 1)
		u->enter_flags = IORING_ENTER_REGISTERED_RING;

	/* What is older than 5.11 cannot wait with a time-out by itself: not supported. */
	ret = (u->ring.features & needed) == needed ? 0 : -ENOSYS;
	if (!ret)
		ret = offload_open(&u->offload, &u->base);
	if (ret) {
		destroy_ring(u);
		return ret;
	}
	*enginep = &u->base;
	return 0;
}

static bool uring_withdraw(struct engine *engine, struct io *io)
{
	struct uring *e = to_uring(engine);

	return io_list_remove(&e->waiting, io) || offload_withdraw(&e->offload, io);
}

const struct engine_class engine_uring = {
	.name = "io_uring",
	.open = uring_open,
	.close = uring_close,
	.add_file = uring_add_file,
	.remove_file = uring_remove_file,
	.watch = uring_watch,
	.unwatch = uring_unwatch,
	.submit = uring_submit,
	.withdraw = uring_withdraw,
	.run = uring_run,
};
