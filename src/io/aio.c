/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The libaio engine, for hosts where io_uring is switched off. The worker's thread only.
 *
 * The kernel's older interface carries reads, writes and fdatasync; the rest goes to the helper
 * thread (io/offload.h). Only O_DIRECT makes it asynchronous: on a buffered file io_submit() does
 * the work before it returns. The results are right all the same, and that is enough for a
 * fall-back.
 *
 * It cannot wait for descriptors, so the thread sleeps in epoll, and completions signal an
 * eventfd that epoll watches: two or three system calls an iteration instead of one.
 *
 * What is submitted waits in a list until engine_run() offers it to the kernel, and stays there
 * until the kernel has taken it. Its iocb lives in io.priv.
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

#include "io/epoll.h"
#include "io/files.h"
#include "io/offload.h"

#define BACKOFF_NS 1000000 /* between two attempts while the kernel is short of memory */
#define BATCH      64      /* operations offered to the kernel at once */

static_assert(sizeof(struct iocb) <= sizeof(((struct io *)0)->priv), "fits into io.priv");
static_assert(_Alignof(struct iocb) <= 8, "so does its alignment");

struct aio {
	struct engine base;
	io_context_t context;
	unsigned depth, in_flight;  /* operations in the kernel */
	struct io_list waiting;     /* operations that are not, their iocbs ready */
	struct engine_watch landed; /* an eventfd, signalled with each completion */
	struct io_event *events;    /* [depth] */
	struct engine_files files;
	struct engine_epoll epoll;
	struct offload offload;
};

static struct aio *to_aio(struct engine *engine)
{
	return container_of(engine, struct aio, base);
}

static struct iocb *iocb_of(struct io *io)
{
	return (struct iocb *)(void *)io->priv;
}

/* ---- operations, downwards ---- */

static void prepare(struct aio *aio, struct io *io)
{
	struct iocb *iocb = iocb_of(io);
	int fd = engine_files_fd(&aio->files, io->file);
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

static void aio_submit(struct engine *engine, struct io *io)
{
	struct aio *aio = to_aio(engine);

	switch (io->op) {
	case IO_READ:
	case IO_WRITE:
	case IO_SYNC:
		prepare(aio, io);
		io_list_push(&aio->waiting, io);
		break;
	default:
		offload_submit(&aio->offload, engine_files_fd(&aio->files, io->file), io);
	}
}

/* The kernel refused the first of those that wait: that is its result. */
static void refused(struct aio *aio, int error)
{
	struct io *io = io_list_pop(&aio->waiting);

	if (io->op == IO_SYNC && error == -EINVAL)
		/* Before 4.18, or a file that cannot: fdatasync() knows. */
		offload_submit(&aio->offload, engine_files_fd(&aio->files, io->file), io);
	else
		engine_complete(&aio->base, io, error);
}

/* Offers what waits at the start to the kernel. 0, or -EAGAIN when it has no memory now. */
static int offer(struct aio *aio)
{
	struct iocb *batch[BATCH];
	struct io *last = aio->waiting.head ? aio->waiting.tail : NULL, *io;
	int n, taken;

	while (last && aio->in_flight < aio->depth) {
		n = 0;
		for (io = aio->waiting.head; n < BATCH && aio->in_flight + (unsigned)n < aio->depth;
		     io = io->next) {
			batch[n++] = iocb_of(io);
			if (io == last)
				break;
		}
		taken = io_submit(aio->context, n, batch);
		if (taken == -EAGAIN || taken == -ENOMEM)
			return -EAGAIN;
		if (taken <= 0) {
			if (aio->waiting.head == last)
				last = NULL;
			refused(aio, taken ? taken : -EIO);
			continue;
		}
		aio->in_flight += (unsigned)taken;
		while (taken--)
			if (io_list_pop(&aio->waiting) == last)
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

		aio->in_flight--;
		if (io->op != IO_SYNC && (result == -EAGAIN || result == -EINTR))
			io_list_push(&aio->waiting, io); /* not done, not failed: once more */
		else
			engine_complete(&aio->base, io, result);
	}
}

/*
 * The eventfd itself is never read: each signal makes an edge, even when its counter is at the top,
 * and an edge is all that epoll waits for.
 */
static void landed(struct engine_watch *watch)
{
	reap(container_of(watch, struct aio, landed));
}

static int aio_run(struct engine *engine, int64_t timeout_ns)
{
	struct aio *aio = to_aio(engine);
	int ret;

	engine->delivered = 0;
	offload_flush(&aio->offload);
	ret = offer(aio);
	/* A sync that was just refused goes to the helper before this thread sleeps. */
	offload_flush(&aio->offload);
	if (engine->delivered)
		timeout_ns = 0;
	else if (ret && (timeout_ns < 0 || timeout_ns > BACKOFF_NS))
		timeout_ns = BACKOFF_NS;
	if (!timeout_ns)
		reap(aio);
	ret = 0;
	/* After work, which may have taken long, a kick of another queue may be waiting. */
	if (timeout_ns || engine->delivered || engine_epoll_is_due(&aio->epoll, false))
		ret = engine_epoll_run(&aio->epoll, engine, timeout_ns);
	return ret ? ret : (int)engine->delivered;
}

/* ---- files and watches ---- */

static int aio_add_file(struct engine *engine, int fd)
{
	return engine_files_add(&to_aio(engine)->files, fd);
}

static void aio_remove_file(struct engine *engine, int file)
{
	engine_files_remove(&to_aio(engine)->files, file);
}

static int aio_watch(struct engine *engine, struct engine_watch *watch)
{
	return engine_epoll_watch(&to_aio(engine)->epoll, watch);
}

static void aio_unwatch(struct engine *engine, struct engine_watch *watch)
{
	engine_epoll_unwatch(&to_aio(engine)->epoll, watch);
}

/* ---- opening and closing ---- */

static void release(struct aio *aio)
{
	if (aio->context)
		io_destroy(aio->context);
	if (aio->landed.fd >= 0)
		close(aio->landed.fd);
	engine_epoll_close(&aio->epoll);
	free(aio->events);
	free(aio);
}

static void aio_close(struct engine *engine)
{
	struct aio *aio = to_aio(engine);

	offload_close(&aio->offload);
	release(aio);
}

/* The kernel's limit (fs.aio-max-nr) is for all processes together: be content with less. */
static int make_context(struct aio *aio)
{
	int ret;

	while ((ret = io_setup((int)aio->depth, &aio->context)) == -EAGAIN && aio->depth > 1)
		aio->depth /= 2;
	return ret;
}

static int aio_open(struct engine **enginep, const struct engine_config *config)
{
	struct aio *aio;
	int ret;

	*enginep = NULL;
	if (!config->depth || config->depth > INT_MAX)
		return -EINVAL;
	aio = calloc(1, sizeof(*aio));
	if (!aio)
		return -ENOMEM;
	aio->base.class = &engine_aio;
	aio->base.config = *config;
	aio->depth = config->depth;
	engine_files_init(&aio->files);
	ret = engine_epoll_open(&aio->epoll);
	if (ret) {
		free(aio);
		return ret;
	}
	aio->landed = (struct engine_watch){
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = landed, .slot = -1};
	ret = aio->landed.fd < 0 ? -errno : make_context(aio);
	if (!ret) {
		aio->events = calloc(aio->depth, sizeof(*aio->events));
		ret = aio->events ? engine_epoll_watch(&aio->epoll, &aio->landed) : -ENOMEM;
	}
	if (!ret)
		ret = offload_open(&aio->offload, &aio->base);
	if (ret) {
		release(aio);
		return ret;
	}
	*enginep = &aio->base;
	return 0;
}

static bool aio_cancel(struct engine *engine, struct io *io)
{
	struct aio *e = container_of(engine, struct aio, base);

	return io_list_remove(&e->waiting, io) || offload_cancel(&e->offload, io);
}

const struct engine_class engine_aio = {
	.name = "libaio",
	.open = aio_open,
	.close = aio_close,
	.add_file = aio_add_file,
	.remove_file = aio_remove_file,
	.watch = aio_watch,
	.unwatch = aio_unwatch,
	.submit = aio_submit,
	.cancel = aio_cancel,
	.run = aio_run,
};
