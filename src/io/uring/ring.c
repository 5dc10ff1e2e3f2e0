/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring of the reactor on io_uring: made with the best flags that the kernel has, and entered. The
 * reactor's thread only, which the kernel enforces on new ones.
 *
 * Theory of operation. One enter submits what has been prepared, waits, and lets the kernel deliver
 * (DEFER_TASKRUN: without an enter no completion appears in memory, but IORING_SQ_TASKRUN is set
 * when one could).
 *
 * With sqpoll a thread of the kernel's takes the entries as soon as their tail is stored, and
 * delivers. An enter is made only to wake that thread, which sleeps when it has been idle, or to
 * wait.
 *
 * A ring with iopoll delivers only when it is entered: that is when the kernel looks at the device.
 */
#include <errno.h>

#include "io/uring/uring.h"

/* After so long without work the kernel's thread (sqpoll) lets its processor go. */
#define SQPOLL_IDLE_MS 20

/* What is not for a ring whose submitter is not the task that completes. */
#define TASKRUN_FLAGS \
	(IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG)

/* The flags to try, best first, and by which a test leaves them out. */
static const struct {
	unsigned flags, unless;
} steps[] = {
	/* Linux 6.1 */
	{IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
		 IORING_SETUP_SUBMIT_ALL,
	 URING_WITHOUT_DEFER_TASKRUN},
	/* 5.19 */
	{IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
	 URING_WITHOUT_COOP_TASKRUN},
	{0, 0},
};

static int make(struct ring *ring, unsigned depth, const struct uring_options *options)
{
	const bool small = uring_without & URING_WITHOUT_LARGE_RINGS;
	int err = -EINVAL;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && err == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | steps[i].flags,
			.cq_entries = small ? 4 : 2 * (depth + WATCH_ROOM),
		};

		if (uring_without & steps[i].unless)
			continue;
		if (ring->iopoll)
			params.flags |= IORING_SETUP_IOPOLL;
		if (ring->sqpoll) {
			params.flags &= ~TASKRUN_FLAGS;
			params.flags |= IORING_SETUP_SQPOLL;
			params.sq_thread_idle = SQPOLL_IDLE_MS;
		}
		if (ring->sqpoll && options->sqpoll_cpu >= 0) {
			params.flags |= IORING_SETUP_SQ_AFF;
			params.sq_thread_cpu = (unsigned)options->sqpoll_cpu;
		}
		err = io_uring_queue_init_params(small ? 4 : depth + WATCH_ROOM, &ring->uring,
						 &params);
	}
	return err;
}

int ring_open(struct ring *ring, unsigned depth, const struct uring_options *options, bool iopoll)
{
	const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
	int err;

	*ring = (struct ring){.sqpoll = options->sqpoll && !iopoll, .iopoll = iopoll};
	err = make(ring, depth, options);
	if (err)
		return err;
	/* What is older than 5.11 cannot wait with a time-out by itself: not supported. */
	if ((ring->uring.features & needed) != needed) {
		io_uring_queue_exit(&ring->uring);
		return -ENOSYS;
	}
	if (uring_faults & URING_FAULT_POISON)
		memset(ring->uring.sq.sqes, 0xff,
		       ring->uring.sq.ring_entries * sizeof(*ring->uring.sq.sqes));
	if (!(uring_without & URING_WITHOUT_RING_FD) &&
	    io_uring_register_ring_fd(&ring->uring) == 1)
		ring->enter_flags = IORING_ENTER_REGISTERED_RING;
	return 0;
}

void ring_close(struct ring *ring)
{
	io_uring_queue_exit(&ring->uring);
}

/* ---- the one system call ---- */

static int enter(struct ring *ring, unsigned submit, unsigned flags, bool wait, int64_t timeout_ns)
{
	struct __kernel_timespec ts = {timeout_ns / NS_PER_S, timeout_ns % NS_PER_S};
	struct io_uring_getevents_arg arg = {.ts = (uintptr_t)&ts};
	const bool timed = wait && timeout_ns >= 0;

	flags |= ring->enter_flags | IORING_ENTER_GETEVENTS;
	/* Only a time-out is worth having the kernel read arguments from memory. */
	if (timed)
		return io_uring_enter2((unsigned)ring->uring.enter_ring_fd, submit, wait,
				       flags | IORING_ENTER_EXT_ARG, (sigset_t *)(void *)&arg,
				       sizeof(arg));
	return io_uring_enter2((unsigned)ring->uring.enter_ring_fd, submit, wait, flags, NULL, 0);
}

/* Shows the kernel the entries that have been written; all are, in order. */
static void publish(struct ring *ring)
{
	struct io_uring_sq *sq = &ring->uring.sq;

	sq->sqe_head = sq->sqe_tail;
	io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
}

static unsigned kernel_flags(const struct ring *ring)
{
	return IO_URING_READ_ONCE(*ring->uring.sq.kflags);
}

/* For the kernel's thread: how to enter so that it takes what is published, 0 if it does anyway. */
static unsigned wake_up(const struct ring *ring)
{
	const struct io_uring_sq *sq = &ring->uring.sq;

	if (IO_URING_READ_ONCE(*sq->khead) == sq->sqe_tail)
		return 0;
	/* It says that it sleeps, then looks at the tail: one of us sees the other's store. */
	io_uring_smp_mb();
	return kernel_flags(ring) & IORING_SQ_NEED_WAKEUP ? IORING_ENTER_SQ_WAKEUP : 0;
}

int ring_enter(struct ring *ring, bool wait, int64_t timeout_ns)
{
	unsigned submit = ring_unsubmitted(ring), flags = 0;

	if (submit)
		publish(ring);
	if (ring->sqpoll) {
		submit = 0;
		flags = wake_up(ring);
	}
	if (submit || flags || wait || ring->iopoll || (kernel_flags(ring) & RING_NEWS))
		return enter(ring, submit, flags, wait, timeout_ns);
	return 0;
}

int ring_wait(struct ring *ring, int64_t timeout_ns)
{
	return enter(ring, 0, 0, true, timeout_ns);
}
