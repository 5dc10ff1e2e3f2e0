/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The null target: no I/O. Every operation completes in the next reactor_run(), reads with
 * whatever is in their buffers. It is the floor that benchmarks measure the rest against; which
 * must not be a system call per iteration, so its work counts little (reactor->unlooked).
 *
 * The reactor's thread only.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/container.h"
#include "io/list.h"
#include "io/target.h"

#define WORK (REACTOR_UNLOOKED_MOST / 64) /* of an iteration */

struct null {
	struct target base;
	struct reactor_hook hook;
	struct io_list queued, batch; /* since the last run, in this one */
};

static struct null *to_null(struct target *target)
{
	return container_of(target, struct null, base);
}

static int64_t result_of(const struct null *null, const struct io *io)
{
	const struct target *target = &null->base;
	int64_t bytes = 0;

	if ((unsigned)io->file >= (unsigned)target->n_files || !target->file[io->file].users)
		return -EBADF;
	if (io->op > IO_SIZE)
		return -EINVAL;
	if (io->op == IO_SIZE)
		return INT64_MAX;
	if (io_is_transfer(io))
		for (unsigned i = 0; i < io->niov; i++)
			bytes += (int64_t)io->iov[i].iov_len;
	return bytes;
}

static int64_t before(struct reactor_hook *hook)
{
	struct null *null = container_of(hook, struct null, hook);

	if (!null->queued.head)
		return -1;
	null->batch = null->queued;
	null->queued.head = NULL;
	null->base.reactor->unlooked += WORK;
	return 0;
}

static void after(struct reactor_hook *hook)
{
	struct null *null = container_of(hook, struct null, hook);
	struct io *io;

	while ((io = io_list_pop(&null->batch)))
		target_complete(&null->base, io, result_of(null, io));
}

static int null_open(struct target **targetp, struct reactor *reactor)
{
	struct null *null = calloc(1, sizeof(*null));

	if (!null)
		return -ENOMEM;
	null->base.class = &target_null;
	null->base.reactor = reactor;
	null->hook = (struct reactor_hook){.before = before, .after = after};
	reactor_hook(reactor, &null->hook);
	*targetp = &null->base;
	return 0;
}

static void null_close(struct target *target)
{
	reactor_unhook(target->reactor, &to_null(target)->hook);
	free(to_null(target));
}

static void null_submit(struct target *target, struct io *io)
{
	io_list_push(&to_null(target)->queued, io);
}

static bool null_cancel(struct target *target, struct io *io)
{
	return io_list_remove(&to_null(target)->queued, io);
}

const struct target_class target_null = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.submit = null_submit,
	.cancel = null_cancel,
	.without_files = true,
};
