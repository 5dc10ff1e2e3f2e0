/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The null engine: no I/O. Every operation completes at the next engine_run(), reads with
 * whatever is in their buffers. It is the floor that benchmarks measure the rest against.
 *
 * That floor must not be a system call per iteration, so watches are looked at always before
 * sleeping, else only now and then (engine_epoll_is_due()).
 *
 * The worker's thread only.
 */
#include <errno.h>
#include <stdlib.h>

#include "io/epoll.h"
#include "io/files.h"
#include "io/internal.h"

struct null {
	struct engine base;
	struct io_list queued;
	struct engine_files files;
	struct engine_epoll epoll;
};

static void null_close(struct engine *engine)
{
	struct null *null = container_of(engine, struct null, base);

	engine_epoll_close(&null->epoll);
	free(null);
}

static int null_open(struct engine **enginep, const struct engine_config *config)
{
	struct null *null = calloc(1, sizeof(*null));
	int ret;

	*enginep = NULL;
	if (!null)
		return -ENOMEM;
	null->base.class = &engine_null;
	null->base.config = *config;
	engine_files_init(&null->files);
	ret = config->depth ? engine_epoll_open(&null->epoll) : -EINVAL;
	if (ret) {
		free(null);
		return ret;
	}
	*enginep = &null->base;
	return 0;
}

/* A disk without a file (--size=) has fd -1 and is welcome: the epoll's own stands for any. */
static int null_add_file(struct engine *engine, int fd)
{
	struct null *null = container_of(engine, struct null, base);

	(void)fd;
	return engine_files_add(&null->files, null->epoll.fd);
}

static void null_remove_file(struct engine *engine, int file)
{
	engine_files_remove(&container_of(engine, struct null, base)->files, file);
}

static int null_watch(struct engine *engine, struct engine_watch *watch)
{
	return engine_epoll_watch(&container_of(engine, struct null, base)->epoll, watch);
}

static void null_unwatch(struct engine *engine, struct engine_watch *watch)
{
	engine_epoll_unwatch(&container_of(engine, struct null, base)->epoll, watch);
}

static void null_submit(struct engine *engine, struct io *io)
{
	io_list_push(&container_of(engine, struct null, base)->queued, io);
}

static int64_t null_result(const struct null *null, const struct io *io)
{
	int64_t bytes = 0;

	if (engine_files_fd(&null->files, io->file) < 0)
		return -EBADF;
	if (io->op > IO_SIZE)
		return -EINVAL;
	if (io->op == IO_SIZE)
		return INT64_MAX;
	if (io->op == IO_READ || io->op == IO_WRITE)
		for (unsigned i = 0; i < io->niov; i++)
			bytes += (int64_t)io->iov[i].iov_len;
	return bytes;
}

static int null_run(struct engine *engine, int64_t timeout_ns)
{
	struct null *null = container_of(engine, struct null, base);
	struct io_list batch = null->queued;
	bool sleep = timeout_ns && !batch.head;
	struct io *io;
	int ret = 0;

	engine->delivered = 0;
	null->queued.head = NULL;
	if (sleep || engine_epoll_is_due(&null->epoll, batch.head))
		ret = engine_epoll_run(&null->epoll, engine, sleep ? timeout_ns : 0);
	while ((io = io_list_pop(&batch)))
		engine_complete(engine, io, null_result(null, io));
	return ret ? ret : (int)engine->delivered;
}

static bool null_cancel(struct engine *engine, struct io *io)
{
	return io_list_remove(&container_of(engine, struct null, base)->queued, io);
}

const struct engine_class engine_null = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.add_file = null_add_file,
	.remove_file = null_remove_file,
	.watch = null_watch,
	.unwatch = null_unwatch,
	.submit = null_submit,
	.cancel = null_cancel,
	.run = null_run,
};
