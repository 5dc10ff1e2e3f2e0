/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The io_uring engine. The worker's thread only, which the kernel enforces on new ones.
 *
 * Theory of operation
 *
 * One enter each engine_run() submits what has been prepared, waits, and lets the kernel deliver.
 * When there is neither anything to submit, nor to wait for, nor a sign from the kernel, not even
 * that one is made; and engine_run() itself sees by `quiet` when it need not even call us.
 *
 * engine_submit() writes a submission entry. When `depth` operations are in flight or the
 * submission queue is full the operation waits in a list, so it can never fail.
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
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/uring/uring.h"

#define BACKOFF_NS 1000000 /* between two attempts while the kernel is short of memory */

unsigned engine_uring_without, engine_uring_faults;

/* ---- downwards ---- */

/*
 * io_uring itself goes on with a read or write of a file that came short, from where the file
 * system says that it is; and FUSE does not say it when it moves data without the page cache (seen
 * in Linux 6.18). So the kernel does the same part again, puts it behind itself, and calls it
 * complete. Plain system calls do not go on.
 */
static bool moves_wrongly(const struct uring *u, const struct io *io)
{
	return u->any_fuse && io_is_transfer(io) && (unsigned)io->file < ENGINE_FILES &&
	       u->is_fuse[io->file];
}

static void uring_submit(struct engine *engine, struct io *io)
{
	struct uring *u = to_uring(engine);

	engine->quiet = false;
	/*
	 * io_uring takes the offset -1 for the current position. Like an operation that does not
	 * exist it takes the long way, which has the right error for it.
	 */
	if (io->op > IO_DISCARD || io->offset > INT64_MAX || moves_wrongly(u, io))
		offload_submit(&u->offload, engine_files_fd(&u->files, io->file), io);
	else if (u->waiting.head || u->in_flight >= u->depth || !uring_prepare(u, io))
		io_list_push(&u->waiting, io);
}

/* Entries for what waits, as far as there is room. */
static void prepare_waiting(struct uring *u)
{
	while (u->waiting.head && u->in_flight < u->depth) {
		struct io *io = u->waiting.head;

		/* First the entry, then off the list: preparing never writes io->next. */
		if (!uring_prepare(u, io))
			return;
		io_list_pop(&u->waiting);
	}
}

/* ---- completions, upwards ---- */

/* What could be polled for at the start no longer can: a mapped device got another table, say. */
static void stop_polling(struct uring *u)
{
	if (u->iopoll)
		log_warning("the image's device cannot be polled any more; using interrupts");
	u->iopoll = false;
}

static void complete_io(struct uring *u, const struct ring *ring, struct io *io, int res)
{
	const bool transfer = io_is_transfer(io);

	u->in_flight--;
	u->polled -= ring->iopoll;
	if (ring->iopoll && res == -EOPNOTSUPP) {
		stop_polling(u);
		io_list_push(&u->waiting, io);
	} else if (transfer && (res == -EAGAIN || res == -EINTR)) {
		/* Not done, not failed: once more, behind what waits. */
		io_list_push(&u->waiting, io);
	} else if (io->op == IO_DISCARD && (res == -EOPNOTSUPP || res == -EINVAL)) {
		/* Most likely a kernel before 6.12. If not, the ioctl says the same. */
		offload_submit(&u->offload, engine_files_fd(&u->files, io->file), io);
	} else {
		engine_complete(&u->base, io, res);
	}
}

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
			complete_io(u, ring, (struct io *)(uintptr_t)cqe->user_data, cqe->res);
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

/* Are these errors of an enter any, but a reason to come again? */
static int serious(int ret)
{
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

/* The ring that is polled: submits, asks the device once, delivers. */
static int poll_trip(struct uring *u)
{
	int ret = ring_enter(&u->poll, false, 0);

	reap(u, &u->poll);
	return serious(ret);
}

static int main_trip(struct uring *u, int64_t timeout_ns)
{
	const bool short_of_entries = u->dirty >= 0 || (u->waiting.head && u->in_flight < u->depth);
	const bool wait =
		timeout_ns && !short_of_entries && !u->polled && !io_uring_cq_ready(&u->main.uring);
	int ret = ring_enter(&u->main, wait, timeout_ns);

	if ((ret == -EAGAIN || ret == -ENOMEM) && !io_uring_cq_ready(&u->main.uring))
		/* Nothing taken for want of memory. Something may complete and free some. */
		ret = ring_wait(&u->main, BACKOFF_NS);
	reap(u, &u->main);
	return serious(ret);
}

/* Prepares what waits for an entry, enters if there is a reason to, delivers. 0 or -errno. */
static int round_trip(struct uring *u, int64_t timeout_ns)
{
	int ret = 0;

	uring_clean_watches(u);
	prepare_waiting(u);
	if (u->polled)
		ret = poll_trip(u);
	if (!ret)
		ret = main_trip(u, u->base.delivered ? 0 : timeout_ns);
	return ret;
}

/* While I/O is polled for, nobody would wake us: asks again and again until something is there. */
static int poll_until(struct uring *u, int64_t timeout_ns)
{
	const int64_t end = timeout_ns > 0 ? now_ns() + timeout_ns : 0;
	int ret = 0;

	while (!ret && u->polled && !u->base.delivered && (timeout_ns < 0 || now_ns() < end))
		ret = round_trip(u, 0);
	if (!ret && !u->polled && !u->base.delivered) {
		/* What was polled for waits to be tried again. */
		ret = round_trip(u, 0);
	}
	return ret;
}

/* Would the next engine_run(engine, 0) have anything to do that only we know of? */
static bool is_quiet(const struct uring *u)
{
	return u->dirty < 0 && !u->waiting.head && !u->polled && !u->offload.queued.head &&
	       !u->failed && !ring_unsubmitted(&u->main);
}

static int uring_run(struct engine *engine, int64_t timeout_ns)
{
	struct uring *u = to_uring(engine);
	int ret;

	engine->delivered = 0;
	offload_flush(&u->offload);
	if (u->failed)
		timeout_ns = uring_watch_timeout(u, timeout_ns);
	ret = round_trip(u, timeout_ns);
	if (!ret && u->polled && timeout_ns && !engine->delivered)
		ret = poll_until(u, timeout_ns);
	if (u->failed)
		uring_look_at_failed(u);
	engine->seen = *u->main.uring.cq.khead;
	engine->quiet = is_quiet(u);
	return ret ? ret : (int)engine->delivered;
}

static bool uring_cancel(struct engine *engine, struct io *io)
{
	struct uring *u = to_uring(engine);

	return io_list_remove(&u->waiting, io) || offload_cancel(&u->offload, io);
}

/* ---- files and memory ---- */

static int update_file(struct uring *u, int file, int fd)
{
	int ret = io_uring_register_files_update(&u->main.uring, (unsigned)file, &fd, 1);

	if (ret >= 0 && u->base.config.options.iopoll)
		ret = io_uring_register_files_update(&u->poll.uring, (unsigned)file, &fd, 1);
	return ret;
}

static int uring_add_file(struct engine *engine, int fd)
{
	struct uring *u = to_uring(engine);
	int ret, file = engine_files_add(&u->files, fd);
	struct stat st;
	struct statfs fs;

	if (file < 0)
		return file;
	u->is_device[file] = !fstat(fd, &st) && S_ISBLK(st.st_mode);
	/* FUSE asks its server, which may not know. */
	u->is_fuse[file] = fstatfs(fd, &fs) || fs.f_type == FUSE_SUPER_MAGIC;
	u->any_fuse = u->any_fuse || u->is_fuse[file];
	if (!u->fixed_files)
		return file;
	ret = update_file(u, file, fd);
	if (ret < 0) {
		update_file(u, file, -1);
		engine_files_remove(&u->files, file);
		return ret;
	}
	return file;
}

static void uring_remove_file(struct engine *engine, int file)
{
	struct uring *u = to_uring(engine);

	if (engine_files_remove(&u->files, file) && u->fixed_files)
		update_file(u, file, -1);
}

static int64_t uring_set_memory(struct engine *engine, const struct iovec *ranges, unsigned n)
{
	struct uring *u = to_uring(engine);

	/* Entries that the kernel has not taken yet name places in its table by number. */
	while (!ring_is_taken(u->buffers.ring))
		if (serious(ring_enter(u->buffers.ring, false, 0)))
			break;
	return uring_buffers_set(&u->buffers, ranges, n, !u->in_flight);
}

/* ---- opening and closing ---- */

static bool register_files(struct uring *u)
{
	if (engine_uring_without & URING_WITHOUT_FIXED_FILES)
		return false;
	if (io_uring_register_files_sparse(&u->main.uring, ENGINE_FILES))
		return false;
	if (!u->iopoll || !io_uring_register_files_sparse(&u->poll.uring, ENGINE_FILES))
		return true;
	io_uring_unregister_files(&u->main.uring);
	return false;
}

static void close_rings(struct uring *u)
{
	const bool polls = u->base.config.options.iopoll;

	/* At once; the rest of a ring goes when the kernel finds the time. */
	if (u->fixed_files)
		io_uring_unregister_files(&u->main.uring);
	if (u->fixed_files && polls)
		io_uring_unregister_files(&u->poll.uring);
	ring_close(&u->main);
	if (polls)
		ring_close(&u->poll);
}

static void destroy(struct uring *u)
{
	close_rings(u);
	uring_buffers_close(&u->buffers);
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
	destroy(u);
}

static int open_rings(struct uring *u)
{
	const struct engine_options *options = &u->base.config.options;
	int ret = ring_open(&u->main, u->depth, options, false);

	if (ret || !options->iopoll)
		return ret;
	ret = ring_open(&u->poll, u->depth, options, true);
	if (ret)
		ring_close(&u->main);
	u->iopoll = !ret;
	return ret;
}

/* Builds for tests have the daemon's watches fail where VUBLK_NO_WATCHES is in its environment. */
static void read_faults(void)
{
#ifdef VUBLK_KILL_POINTS
	if (getenv("VUBLK_NO_WATCHES"))
		engine_uring_faults |= URING_FAULT_WATCHES;
#endif
}

static int uring_open(struct engine **enginep, const struct engine_config *config)
{
	struct uring *u;
	int ret;

	*enginep = NULL;
	read_faults();
	if (!config->depth || config->depth > INT_MAX / 4)
		return -EINVAL;
	if (config->options.iopoll && config->options.sqpoll)
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
	ret = open_rings(u);
	if (ret) {
		free(u);
		return ret;
	}
	u->base.tail = u->main.uring.cq.ktail;
	u->base.flags = u->main.uring.sq.kflags;
	u->base.news = RING_NEWS;
	/* Linux 5.13, which had multishot polls first, has no flag for them but this one. */
	u->multishot = (u->main.uring.features & IORING_FEAT_RSRC_TAGS) &&
		       !(engine_uring_without & URING_WITHOUT_MULTISHOT);
	u->fixed_files = register_files(u);
	if (config->options.fixed_buffers)
		ret = uring_buffers_open(&u->buffers, u->iopoll ? &u->poll : &u->main);
	if (!ret)
		ret = offload_open(&u->offload, &u->base);
	if (ret) {
		destroy(u);
		return ret;
	}
	*enginep = &u->base;
	return 0;
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
	.cancel = uring_cancel,
	.run = uring_run,
	.set_memory = uring_set_memory,
};
