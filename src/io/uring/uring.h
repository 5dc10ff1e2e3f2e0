/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the reactor on io_uring share. All of it belongs to the reactor's thread.
 *
 *	io/uring/uring.c		the reactor: open, run, close
 *	io/uring/target.c	the target: submit, complete, files
 *	io/uring/ring.c	a ring: making it, entering the kernel
 *	io/uring/ops.c	operations: from struct io to submission entry
 *	io/uring/watch.c	watches
 *	io/uring/buffers.c	memory that is registered with the kernel
 */
#ifndef IO_URING_URING_H
#define IO_URING_URING_H

#include <assert.h>
#include <liburing.h>
#include <string.h>

#include "base/container.h"
#include "io/list.h"
#include "io/offload.h"
#include "io/target.h"
#include "io/uring/faults.h"
#include "io/watches.h"

#define NS_PER_S   INT64_C(1000000000)
#define WATCH_ROOM 64 /* submission entries beyond `depth`, for arming and cancelling */

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

/* ---- a ring ---- */

struct ring {
	struct io_uring uring; /* liburing's; its sq.sqe_head is what the kernel has been told of */
	unsigned enter_flags;  /* of every enter */
	bool sqpoll, iopoll;
};

/* Makes a ring for `depth` operations and the watches. 0 or -errno. */
int ring_open(struct ring *ring, unsigned depth, const struct uring_options *options, bool iopoll);

void ring_close(struct ring *ring);

/*
 * Tells the kernel of the entries written, waits for a completion if `wait` (timeout_ns < 0: no
 * limit), and has the kernel deliver; makes no system call if there is no need to. -errno: nothing
 * was submitted, or the time is over.
 */
int ring_enter(struct ring *ring, bool wait, int64_t timeout_ns);

/* Waits for a completion without submitting anything. */
int ring_wait(struct ring *ring, int64_t timeout_ns);

/* Is ring_enter() worth while though there is nothing to submit? */
#define RING_NEWS (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)

/* How many entries are not with the kernel yet. */
static inline unsigned ring_unsubmitted(const struct ring *ring)
{
	const struct io_uring_sq *sq = &ring->uring.sq;

	/* What a thread of the kernel's has not yet taken it knows of all the same. */
	return sq->sqe_tail - (ring->sqpoll ? sq->sqe_head : IO_URING_READ_ONCE(*sq->khead));
}

/* Builds for tests: what an entry held before is never harmless. */
static inline void ring_poison(struct io_uring_sqe *sqe)
{
#ifdef VUBLK_KILL_POINTS
	memset(sqe, 0xff, sizeof(*sqe));
#else
	(void)sqe;
#endif
}

/* Has the kernel taken all entries? */
static inline bool ring_is_taken(const struct ring *ring)
{
	return io_uring_smp_load_acquire(ring->uring.sq.khead) == ring->uring.sq.sqe_tail;
}

/*
 * A submission entry, to be written at once, or NULL. The one place that entries come from: it is
 * clear, whatever was in it before. What liburing's io_uring_prep_*() clear depends on its version
 * (since 2.9: neither flags, nor ioprio, nor buf_index), so we fill entries in by ourselves.
 */
static inline struct io_uring_sqe *ring_entry(struct ring *ring)
{
	struct io_uring_sq *sq = &ring->uring.sq;
	struct io_uring_sqe *sqe;

	/* Acquire: the kernel's thread (sqpoll) has read the entry that is overwritten. */
	if (sq->sqe_tail - io_uring_smp_load_acquire(sq->khead) >= sq->ring_entries)
		return NULL;
	sqe = &sq->sqes[sq->sqe_tail++ & sq->ring_mask];
	ring_poison(sqe);
	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

/* ---- memory that is registered ---- */

struct uring_piece {
	uintptr_t start;
	size_t size;
	int index;         /* in the kernel's table; -1: the kernel takes no such memory */
	const void *owner; /* whose it is; compared, and no more */
};

struct uring_buffers {
	struct ring *ring; /* whose table it is */
	struct uring_piece *piece;
	unsigned n, last; /* pieces, in order of address; the one found last */
};

/* Has memory registered with this ring from now on. 0 or -errno. */
int uring_buffers_open(struct uring_buffers *buffers, struct ring *ring);
void uring_buffers_close(struct uring_buffers *buffers);

/* See target_set_memory(). `idle`: no operation is in flight. */
int64_t uring_buffers_set(struct uring_buffers *buffers, const void *owner,
			  const struct iovec *ranges, unsigned n, bool idle);

/* The piece, if any, that holds [at, at + size). */
const struct uring_piece *uring_buffers_search(struct uring_buffers *buffers, uintptr_t at,
					       size_t size);

static inline bool uring_piece_holds(const struct uring_piece *piece, uintptr_t at, size_t size)
{
	return at - piece->start < piece->size && size <= piece->size - (at - piece->start);
}

/* The index of the registered buffer that holds [at, at + size), or -1. */
static inline int uring_buffers_find(struct uring_buffers *buffers, const void *at, size_t size)
{
	const struct uring_piece *piece;

	if (!buffers->n)
		return -1;
	piece = &buffers->piece[buffers->last];
	if (!uring_piece_holds(piece, (uintptr_t)at, size))
		piece = uring_buffers_search(buffers, (uintptr_t)at, size);
	return piece ? piece->index : -1;
}

/* ---- reactor and target ---- */

struct uring {
	struct reactor base;
	struct target target;
	struct ring main;
	struct ring poll; /* reads and writes that are polled for, if `iopoll` */
	bool multishot, iopoll;
	unsigned fixed_files;      /* how many may be registered; 0: none, they go by descriptor */
	bool any_fuse;             /* once there was one */
	unsigned depth;            /* operations that have an entry or are in the kernel */
	unsigned polled;           /* of them, those in `poll` */
	struct io_list waiting;    /* operations whose turn it is, but that have no entry yet */
	int dirty;                 /* watches to be armed or cancelled, through slot.next; -1 */
	unsigned cancelling;       /* watches that have ended, but not for the kernel */
	unsigned failed;           /* watches that the kernel does not carry */
	struct reactor_timer look; /* at those */
	struct uring_buffers buffers;
	struct watches watches;
	struct offload offload;
};

static inline struct uring *to_uring(struct reactor *reactor)
{
	return container_of(reactor, struct uring, base);
}

static inline struct uring *uring_of(struct target *target)
{
	return container_of(target, struct uring, target);
}

/* Is this error of an enter any, but a reason to come again? Then that, else 0. */
int uring_is_serious(int err);

/* ---- io/uring/target.c ---- */

/* Entries for what waits, as far as there are any and it is its turn. */
void uring_prepare_waiting(struct uring *u);

/* A completion of an operation. */
void uring_complete_io(struct uring *u, const struct ring *ring, struct io *io, int res);

/* ---- io/uring/ops.c ---- */

/* Writes a submission entry, or answers false when there is none. */
bool uring_prepare(struct uring *u, struct io *io);

/* ---- io/uring/watch.c ---- */

void uring_init_watches(struct uring *u);
int uring_watch(struct reactor *reactor, struct reactor_watch *watch);
void uring_unwatch(struct reactor *reactor, struct reactor_watch *watch);

/* Arms and cancels as far as there are submission entries. */
void uring_clean_watches(struct uring *u);

/* A completion of a poll (TAG_WATCH), or of its cancellation (TAG_CANCEL). */
void uring_complete_watch(struct uring *u, uint64_t tag, int res, unsigned flags);
void uring_complete_cancel(struct uring *u, uint64_t tag, int res);

#endif
