/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The libaio target, for hosts where io_uring is switched off, or files with which it does not go
 * along. On any reactor, whose thread alone calls it.
 *
 * The kernel's older interface carries reads, writes and fdatasync; the rest goes to the helper
 * thread (io/offload.h). Only O_DIRECT makes it asynchronous: on a buffered file io_submit() does
 * the work before it returns. The results are right all the same, and that is enough for a
 * fall-back.
 *
 * It cannot wait for descriptors, so the thread sleeps in the reactor, and completions signal an
 * eventfd that is watched there: two or three system calls an iteration instead of one.
 *
 * What is submitted waits for its file's turn (io/fair.h), and then in a list until reactor_run()
 * has it offered to the kernel, and the kernel has taken it. Its iocb lives in io.priv.
 */
#include <assert.h>
#include <errno.h>
#include <libaio.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/container.h"
#include "io/list.h"
#include "io/offload.h"
#include "io/target.h"

#define BACKOFF_NS 1000000 /* between two attempts while the kernel is short of memory */
#define BATCH      64      /* operations offered to the kernel at once */

static_assert(sizeof(struct iocb) <= sizeof(((struct io *)0)->priv), "fits into io.priv");
static_assert(_Alignof(struct iocb) <= 8, "so does its alignment");

struct aio {
	struct target base;
	struct reactor_hook hook;
	io_context_t context;
	unsigned depth;              /* operations in the kernel */
	struct io_list ready;        /* operations whose turn it is, but that are not there yet */
	struct reactor_watch landed; /* an eventfd, signalled with each completion */
	struct io_event *events;     /* [depth] */
	struct offload offload;
};

static struct aio *to_aio(struct target *target)
{
	return container_of(target, struct aio, base);
}

static struct iocb *iocb_of(struct io *io)
{
	return (struct iocb *)(void *)io->priv;
}

/* ---- operations, downwards ---- */

static void prepare(struct aio *aio, struct io *io)
{
	struct iocb *iocb = iocb_of(io);
	int fd = target_fd(&aio->base, io->file);
	bool write = io->op == IO_WRITE, single = io->niov == 1;

	memset(iocb, 0, sizeof(*iocb));
	iocb->aio_fildes = fd;
	io_set_eventfd(iocb, aio->landed.fd);
	if (io->op == IO_SYNC) {
		iocb->aio_lio_opcode = IO_CMD_FDSYNC;
		return;
	}
	if (single) {
		iocb->aio_lio_opcode = write ? IO_CMD_PWRITE : IO_CMD_PREAD;
		iocb->u.c.buf = io->iov->iov_base;
		iocb->u.c.nbytes = io->iov->iov_len;
	} else {
		iocb->aio_lio_opcode = write ? IO_CMD_PWRITEV : IO_CMD_PREADV;
		iocb->u.c.buf = (void *)io->iov;
		iocb->u.c.nbytes = io->niov;
	}
	iocb->u.c.offset = (long long)io->offset;
	if (write && (io->flags & IO_F_DSYNC))
		iocb->aio_rw_flags = RWF_DSYNC;
}

static void aio_submit(struct target *target, struct io *io)
{
	struct aio *aio = to_aio(target);

	switch (io->op) {
	case IO_READ:
	case IO_WRITE:
	case IO_SYNC:
		prepare(aio, io);
		if (target_admit(target, io))
			io_list_push(&aio->ready, io);
		break;
	default:
		offload_submit(&aio->offload, target_fd(&aio->base, io->file), io);
	}
}

/* What may begin by now. */
static void take_turns(struct aio *aio)
{
	struct io *io;

	while ((io = target_next(&aio->base)))
		io_list_push(&aio->ready, io);
}

/* The kernel refused the first of those that are ready: that is its result. */
static void refused(struct aio *aio, int error)
{
	struct io *io = io_list_pop(&aio->ready);

	target_ended(&aio->base, io);
	if (io->op == IO_SYNC && error == -EINVAL)
		/* Before 4.18, or a file that cannot: fdatasync() knows. */
		offload_submit(&aio->offload, target_fd(&aio->base, io->file), io);
	else
		target_complete(&aio->base, io, error);
}

/* Offers what is ready at the start to the kernel. 0, or -EAGAIN when it has no memory now. */
static int offer(struct aio *aio)
{
	struct iocb *batch[BATCH];
	struct io *last, *io;
	int n, taken;

	take_turns(aio);
	last = aio->ready.head ? aio->ready.tail : NULL;
	while (last) {
		n = 0;
		for (io = aio->ready.head; n < BATCH; io = io->next) {
			batch[n++] = iocb_of(io);
			if (io == last)
				break;
		}
		taken = io_submit(aio->context, n, batch);
		if (taken == -EAGAIN || taken == -ENOMEM)
			return -EAGAIN;
		if (taken <= 0) {
			if (aio->ready.head == last)
				last = NULL;
			refused(aio, taken ? taken : -EIO);
			continue;
		}
		while (taken--)
			if (io_list_pop(&aio->ready) == last)
				last = NULL;
	}
	return 0;
}

/* ---- completions, upwards ---- */

/* Delivers what has landed. If that is nothing libaio sees so in memory, without a system call. */
static void reap(struct aio *aio)
{
	struct timespec now = {0};
	int n = io_getevents(aio->context, 0, (long)aio->depth, aio->events, &now);

	for (int i = 0; i < n; i++) {
		struct io *io = container_of(aio->events[i].obj, struct io, priv);
		int64_t result = (int64_t)aio->events[i].res;

		if (io->op != IO_SYNC && (result == -EAGAIN || result == -EINTR)) {
			io_list_push(&aio->ready, io); /* not done, not failed: once more */
			continue;
		}
		target_ended(&aio->base, io);
		target_complete(&aio->base, io, result);
	}
}

/*
 * The eventfd itself is never read: each signal makes an edge, even when its counter is at the top,
 * and an edge is all that epoll, or a poll of io_uring's, waits for.
 */
static void landed(struct reactor_watch *watch)
{
	reap(container_of(watch, struct aio, landed));
}

/* After work, which may have taken long, a kick of a queue may be waiting. */
static void note_work(const struct aio *aio)
{
	if (aio->base.reactor->delivered)
		aio->base.reactor->unlooked = REACTOR_UNLOOKED_MOST;
}

static int64_t before(struct reactor_hook *hook)
{
	struct aio *aio = container_of(hook, struct aio, hook);
	int err;

	offload_flush(&aio->offload);
	err = offer(aio);
	/* A sync that was just refused goes to the helper before this thread sleeps. */
	offload_flush(&aio->offload);
	note_work(aio);
	if (aio->base.reactor->delivered)
		return 0;
	return err ? BACKOFF_NS : -1;
}

static void after(struct reactor_hook *hook)
{
	struct aio *aio = container_of(hook, struct aio, hook);

	reap(aio);
	note_work(aio);
}

/* ---- opening and closing ---- */

static void release(struct aio *aio)
{
	if (aio->context)
		io_destroy(aio->context);
	if (aio->landed.fd >= 0)
		close(aio->landed.fd);
	free(aio->events);
	free(aio);
}

static void aio_close(struct target *target)
{
	struct aio *aio = to_aio(target);

	reactor_unhook(target->reactor, &aio->hook);
	reactor_unwatch(target->reactor, &aio->landed);
	offload_close(&aio->offload);
	release(aio);
}

/* The kernel's limit (fs.aio-max-nr) is for all processes together: be content with less. */
static int make_context(struct aio *aio)
{
	int err;

	while ((err = io_setup((int)aio->depth, &aio->context)) == -EAGAIN && aio->depth > 1)
		aio->depth /= 2;
	return err;
}

static int aio_open(struct target **targetp, struct reactor *reactor)
{
	struct aio *aio = calloc(1, sizeof(*aio));
	int err;

	if (!aio)
		return -ENOMEM;
	aio->base.class = &target_aio;
	aio->base.reactor = reactor;
	aio->depth = reactor->config.depth;
	aio->hook = (struct reactor_hook){.before = before, .after = after};
	aio->landed = (struct reactor_watch){
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = landed, .slot = -1};
	err = aio->landed.fd < 0 ? -errno : make_context(aio);
	if (!err) {
		aio->base.fair.total = aio->depth;
		aio->events = calloc(aio->depth, sizeof(*aio->events));
		err = aio->events ? reactor_watch(reactor, &aio->landed) : -ENOMEM;
	}
	if (!err) {
		err = offload_open(&aio->offload, &aio->base);
		if (err)
			reactor_unwatch(reactor, &aio->landed);
	}
	if (err) {
		release(aio);
		return err;
	}
	reactor_hook(reactor, &aio->hook);
	*targetp = &aio->base;
	return 0;
}

static bool aio_cancel(struct target *target, struct io *io)
{
	struct aio *aio = to_aio(target);

	if (!io_list_remove(&aio->ready, io))
		return target_cancel_waiting(target, io) || offload_cancel(&aio->offload, io);
	target_ended(target, io);
	return true;
}

const struct target_class target_aio = {
	.name = "libaio",
	.open = aio_open,
	.close = aio_close,
	.submit = aio_submit,
	.cancel = aio_cancel,
};
