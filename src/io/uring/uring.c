/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reactor on io_uring. Its thread only, which the kernel enforces on new rings.
 *
 * Theory of operation
 *
 * One enter each reactor_run() submits what has been prepared, waits, and lets the kernel deliver.
 * When there is neither anything to submit, nor to wait for, nor a sign from the kernel, not even
 * that one is made; and reactor_run() itself sees by `quiet` when it need not even call us.
 *
 * target_submit() writes a submission entry. When its file has its share of `depth` operations in
 * flight (io/fair.h) or the submission queue is full the operation waits in a list, so it can never
 * fail.
 *
 * With `iopoll` there are two rings: reads, and writes to a device, go through one that completes
 * nothing unless it is entered, which is when the kernel asks the device; all else, the watches
 * among it, goes through the other one. While anything is in the first, nobody sleeps in the
 * second:
 *
 *	      nothing polled for                      reads or writes in flight
 *	main: submit, sleep, deliver          poll: submit, ask the device, deliver
 *	                                      main: enter only if there is a reason; again
 *
 * What the kernel is given comes back as user_data, 64 bits: a pointer to struct io, or a
 * watch's tag (io/watches.h), told apart by the low three bits. A late completion of a watch
 * that has ended carries a stale tag and is dropped.
 *
 * Completions cannot get lost: the queue has room for every operation in flight, and when
 * watches make it overflow the kernel keeps the rest (IORING_FEAT_NODROP) until the next enter.
 *
 * Trusted: the kernel.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/clock.h"
#include "io/uring/uring.h"

#define BACKOFF_NS 1000000 /* between two attempts while the kernel is short of memory */

unsigned uring_without, uring_faults;

/* ---- completions, upwards ---- */

/*
 * Delivers what was in the completion queue on entry. Its entries are released together at the
 * end: nothing completes meanwhile but by the kernel's own thread, and the queue has room.
 */
static void reap(struct uring *u, struct ring *ring)
{
	struct io_uring_cq *cq = &ring->uring.cq;
	const unsigned tail = io_uring_smp_load_acquire(cq->ktail);
	unsigned head = *cq->khead;

	if (head == tail)
		return;
	for (; head != tail; head++) {
		const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];

		switch (cqe->user_data & TAG_MASK) {
		case TAG_IO:
			uring_complete_io(u, ring, (struct io *)(uintptr_t)cqe->user_data,
					  cqe->res);
			break;
		case TAG_WATCH:
			uring_complete_watch(u, cqe->user_data, cqe->res, cqe->flags);
			break;
		case TAG_CANCEL:
			uring_complete_cancel(u, cqe->user_data, cqe->res);
			break;
		}
	}
	io_uring_smp_store_release(cq->khead, head);
}

/* ---- iterations ---- */

int uring_is_serious(int err)
{
	switch (err) {
	case -ETIME:
	case -EINTR:
	case -EAGAIN:
	case -ENOMEM:
	case -EBUSY: /* completions kept back by an overflow want room, which there is now */
		return 0;
	}
	return err < 0 ? err : 0;
}

/* The ring that is polled: submits, asks the device once, delivers. */
static int poll_trip(struct uring *u)
{
	int err = ring_enter(&u->poll, false, 0);

	reap(u, &u->poll);
	return uring_is_serious(err);
}

static int main_trip(struct uring *u, int64_t timeout_ns)
{
	const bool short_of_entries = u->dirty >= 0 || u->waiting.head;
	const bool wait =
		timeout_ns && !short_of_entries && !u->polled && !io_uring_cq_ready(&u->main.uring);
	int err = ring_enter(&u->main, wait, timeout_ns);

	if ((err == -EAGAIN || err == -ENOMEM) && !io_uring_cq_ready(&u->main.uring))
		/* Nothing taken for want of memory. Something may complete and free some. */
		err = ring_wait(&u->main, BACKOFF_NS);
	reap(u, &u->main);
	return uring_is_serious(err);
}

/* Prepares what waits for an entry, enters if there is a reason to, delivers. 0 or -errno. */
static int round_trip(struct uring *u, int64_t timeout_ns)
{
	int err = 0;

	uring_clean_watches(u);
	uring_prepare_waiting(u);
	if (u->polled)
		err = poll_trip(u);
	if (!err)
		err = main_trip(u, u->base.delivered ? 0 : timeout_ns);
	return err;
}

/* While I/O is polled for, nobody would wake us: asks again and again until something is there. */
static int poll_until(struct uring *u, int64_t timeout_ns)
{
	const int64_t end = timeout_ns > 0 ? now_ns() + timeout_ns : 0;
	int err = 0;

	while (!err && u->polled && !u->base.delivered && (timeout_ns < 0 || now_ns() < end))
		err = round_trip(u, 0);
	if (!err && !u->polled && !u->base.delivered) {
		/* What was polled for waits to be tried again. */
		err = round_trip(u, 0);
	}
	return err;
}

/* Would the next reactor_run(reactor, 0) have anything to do that only we know of? */
static bool is_quiet(const struct uring *u)
{
	return u->dirty < 0 && !u->waiting.head && !fair_is_due(&u->target.fair) && !u->polled &&
	       !u->offload.queued.head && !ring_unsubmitted(&u->main);
}

static int uring_run(struct reactor *reactor, int64_t timeout_ns)
{
	struct uring *u = to_uring(reactor);
	int err;

	offload_flush(&u->offload);
	err = round_trip(u, timeout_ns);
	if (!err && u->polled && timeout_ns && !reactor->delivered)
		err = poll_until(u, timeout_ns);
	reactor->seen = *u->main.uring.cq.khead;
	reactor->quiet = is_quiet(u);
	return err;
}

/* ---- opening and closing ---- */

static void close_rings(struct uring *u)
{
	ring_close(&u->main);
	if (u->base.config.options.iopoll)
		ring_close(&u->poll);
}

static void uring_close(struct reactor *reactor)
{
	struct uring *u = to_uring(reactor);
	int err = 0;

	/* Polls left to themselves would hold references to what was watched for a while. */
	while (u->cancelling && err >= 0)
		err = round_trip(u, NS_PER_S);
	close_rings(u);
	watches_destroy(&u->watches);
	free(u);
}

static int open_rings(struct uring *u)
{
	const struct uring_options *options = &u->base.config.options;
	int err = ring_open(&u->main, u->depth, options, false);

	if (err || !options->iopoll)
		return err;
	err = ring_open(&u->poll, u->depth, options, true);
	if (err)
		ring_close(&u->main);
	u->iopoll = !err;
	return err;
}

/* Builds for tests have the daemon's watches fail where VUBLK_NO_WATCHES is in its environment. */
static void read_faults(void)
{
#ifdef VUBLK_KILL_POINTS
	if (getenv("VUBLK_NO_WATCHES"))
		uring_faults |= URING_FAULT_WATCHES;
#endif
}

static int uring_open(struct reactor **reactorp, const struct reactor_config *config)
{
	struct uring *u;
	int err;

	*reactorp = NULL;
	read_faults();
	if (!config->depth || config->depth > INT_MAX / 4)
		return -EINVAL;
	if (config->options.iopoll && config->options.sqpoll)
		return -EINVAL;
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->base.class = &reactor_uring;
	u->base.config = *config;
	u->depth = config->depth;
	u->dirty = -1;
	uring_init_watches(u);
	err = open_rings(u);
	if (err) {
		free(u);
		return err;
	}
	u->base.tail = u->main.uring.cq.ktail;
	u->base.flags = u->main.uring.sq.kflags;
	u->base.news = RING_NEWS;
	/* Linux 5.13, which had multishot polls first, has no flag for them but this one. */
	u->multishot = (u->main.uring.features & IORING_FEAT_RSRC_TAGS) &&
		       !(uring_without & URING_WITHOUT_MULTISHOT);
	*reactorp = &u->base;
	return 0;
}

const struct reactor_class reactor_uring = {
	.open = uring_open,
	.close = uring_close,
	.watch = uring_watch,
	.unwatch = uring_unwatch,
	.run = uring_run,
};
