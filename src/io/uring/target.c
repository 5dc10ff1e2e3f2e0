/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The io_uring target: operations from submission to completion, files, memory. The reactor's
 * thread only. See uring.c.
 */
#include <errno.h>

#include "base/log.h"
#include "io/uring/uring.h"

#define FEW_FILES 64 /* fewer are not worth being registered */

/* ---- downwards ---- */

/*
 * io_uring itself goes on with a read or write of a file that came short, from where the file
 * system says that it is; and FUSE does not say it when it moves data without the page cache (seen
 * in Linux 6.18). So the kernel does the same part again, puts it behind itself, and calls it
 * complete. Plain system calls do not go on.
 */
static bool moves_wrongly(struct uring *u, const struct io *io)
{
	return u->any_fuse && io_is_transfer(io) &&
	       (target_file_of(&u->target, io)->kind & TARGET_FUSE);
}

static void uring_submit(struct target *target, struct io *io)
{
	struct uring *u = uring_of(target);

	u->base.quiet = false;
	/*
	 * io_uring takes the offset -1 for the current position. Like an operation that does not
	 * exist it takes the long way, which has the right error for it.
	 */
	if (io->op > IO_DISCARD || io->offset > INT64_MAX || moves_wrongly(u, io))
		offload_submit(&u->offload, target_fd(&u->target, io->file), io);
	else if (target_admit(target, io) && (u->waiting.head || !uring_prepare(u, io)))
		io_list_push(&u->waiting, io);
}

void uring_prepare_waiting(struct uring *u)
{
	struct io *io;

	while ((io = u->waiting.head)) {
		/* First the entry, then off the list: preparing never writes io->next. */
		if (!uring_prepare(u, io))
			return;
		io_list_pop(&u->waiting);
	}
	while ((io = target_next(&u->target))) {
		if (uring_prepare(u, io))
			continue;
		io_list_push(&u->waiting, io);
		return;
	}
}

static bool uring_cancel(struct target *target, struct io *io)
{
	struct uring *u = uring_of(target);

	if (!io_list_remove(&u->waiting, io))
		return target_cancel_waiting(target, io) || offload_cancel(&u->offload, io);
	target_ended(target, io);
	u->base.quiet = false; /* another one may begin in its place */
	return true;
}

/* ---- upwards ---- */

/* What could be polled for at the start no longer can: a mapped device got another table, say. */
static void stop_polling(struct uring *u)
{
	if (u->iopoll)
		log_warning("the image's device cannot be polled any more; using interrupts");
	u->iopoll = false;
}

void uring_complete_io(struct uring *u, const struct ring *ring, struct io *io, int res)
{
	const bool transfer = io_is_transfer(io);

	u->polled -= ring->iopoll;
	if (ring->iopoll && res == -EOPNOTSUPP) {
		stop_polling(u);
		io_list_push(&u->waiting, io);
		return;
	}
	if (transfer && (res == -EAGAIN || res == -EINTR)) {
		/* Not done, not failed: once more. It has had its turn. */
		io_list_push(&u->waiting, io);
		return;
	}
	target_ended(&u->target, io);
	if (io->op == IO_DISCARD && (res == -EOPNOTSUPP || res == -EINVAL)) {
		/* Most likely a kernel before 6.12. If not, the ioctl says the same. */
		offload_submit(&u->offload, target_fd(&u->target, io->file), io);
	} else {
		target_complete(&u->target, io, res);
	}
}

/* ---- files and memory ---- */

static int update_file(struct uring *u, int file, int fd)
{
	int err = io_uring_register_files_update(&u->main.uring, (unsigned)file, &fd, 1);

	if (err >= 0 && u->base.config.options.iopoll)
		err = io_uring_register_files_update(&u->poll.uring, (unsigned)file, &fd, 1);
	return err < 0 ? err : 0;
}

static int uring_add_file(struct target *target, int file)
{
	struct uring *u = uring_of(target);
	const int fd = target_fd(target, file);
	int err = 0;

	if (u->fixed_files && (unsigned)file >= u->fixed_files)
		return -ENFILE;
	u->any_fuse = u->any_fuse || (target->file[file].kind & TARGET_FUSE);
	if (u->fixed_files)
		err = update_file(u, file, fd);
	if (err)
		update_file(u, file, -1);
	return err;
}

static void uring_remove_file(struct target *target, int file)
{
	if (uring_of(target)->fixed_files)
		update_file(uring_of(target), file, -1);
}

static int64_t uring_set_memory(struct target *target, const void *owner,
				const struct iovec *ranges, unsigned n)
{
	struct uring *u = uring_of(target);

	/* Entries that the kernel has not taken yet name places in its table by number. */
	while (!ring_is_taken(u->buffers.ring))
		if (uring_is_serious(ring_enter(u->buffers.ring, false, 0)))
			break;
	return uring_buffers_set(&u->buffers, owner, ranges, n, !u->target.fair.held);
}

/* Room for n files in the kernel's tables. Is there? */
static bool register_files(struct uring *u, unsigned n)
{
	if (uring_without & URING_WITHOUT_FIXED_FILES)
		return false;
	if (io_uring_register_files_sparse(&u->main.uring, n))
		return false;
	if (!u->iopoll || !io_uring_register_files_sparse(&u->poll.uring, n))
		return true;
	io_uring_unregister_files(&u->main.uring);
	return false;
}

/* ---- opening and closing ---- */

static int uring_open_target(struct target **targetp, struct reactor *reactor)
{
	struct uring *u = to_uring(reactor);
	int err = 0;

	if (reactor->class != &reactor_uring)
		return -EINVAL;
	if (u->target.class)
		return -EBUSY;
	if (reactor->config.options.fixed_buffers)
		err = uring_buffers_open(&u->buffers, u->iopoll ? &u->poll : &u->main);
	if (!err) {
		u->target = (struct target){
			.class = &target_uring, .reactor = reactor, .fair = {.total = u->depth}};
		err = offload_open(&u->offload, &u->target);
	}
	if (err) {
		uring_buffers_close(&u->buffers);
		u->target.class = NULL;
		return err;
	}
	/* No more than RLIMIT_NOFILE allows. */
	u->fixed_files = TARGET_FILES;
	while (u->fixed_files && !register_files(u, u->fixed_files))
		u->fixed_files = u->fixed_files > FEW_FILES ? u->fixed_files / 2 : 0;
	*targetp = &u->target;
	return 0;
}

static void uring_close_target(struct target *target)
{
	struct uring *u = uring_of(target);

	offload_close(&u->offload);
	/* At once; the rest of a ring goes when the kernel finds the time. */
	if (u->fixed_files)
		io_uring_unregister_files(&u->main.uring);
	if (u->fixed_files && u->base.config.options.iopoll)
		io_uring_unregister_files(&u->poll.uring);
	uring_buffers_close(&u->buffers);
	u->fixed_files = 0;
	u->target = (struct target){.class = NULL};
}

const struct target_class target_uring = {
	.name = "io_uring",
	.open = uring_open_target,
	.close = uring_close_target,
	.add_file = uring_add_file,
	.remove_file = uring_remove_file,
	.submit = uring_submit,
	.cancel = uring_cancel,
	.set_memory = uring_set_memory,
};
