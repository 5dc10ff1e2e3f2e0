/* SPDX-License-Identifier: BSD-3-Clause */
/* See io/offload.h. */
#include "io/offload.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/host_limits.h"
#include "base/log.h"
#include "base/thread.h"

/* What lies in io.priv while an operation is ours. */
struct errand {
	int fd;
};
static_assert(sizeof(struct errand) <= sizeof(((struct io *)0)->priv), "fits into io.priv");

/* A network file system is to ask its server. */
static int64_t size_of(int fd)
{
	struct statx sx;
	uint64_t size;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE | STATX_TYPE, &sx) < 0)
		return -1;
	if (!S_ISBLK(sx.stx_mode))
		return (int64_t)sx.stx_size;
	return ioctl(fd, BLKGETSIZE64, &size) < 0 ? -1 : (int64_t)size;
}

static int64_t execute_once(int fd, const struct io *io)
{
	uint64_t range[2] = {io->offset, io->length};
	off_t offset = (off_t)io->offset, length = (off_t)io->length;

	switch (io->op) {
	case IO_READ:
		return preadv(fd, io->iov, (int)io->niov, offset);
	case IO_WRITE:
		if (io->flags & IO_F_DSYNC)
			return pwritev2(fd, io->iov, (int)io->niov, offset, RWF_DSYNC);
		return pwritev(fd, io->iov, (int)io->niov, offset);
	case IO_SYNC:
		return fdatasync(fd);
	case IO_PUNCH_HOLE:
		return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
	case IO_ZERO_RANGE:
		return fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
	case IO_DISCARD:
		return ioctl(fd, BLKDISCARD, range);
	case IO_SIZE:
		return size_of(fd);
	}
	errno = EINVAL;
	return -1;
}

int64_t io_execute(int fd, const struct io *io)
{
	int64_t result;

	/* pwritev2() would take this for the current position. */
	if (io->offset > INT64_MAX)
		return fd < 0 ? -EBADF : -EINVAL;
	do {
		result = execute_once(fd, io);
	} while (result < 0 && errno == EINTR);
	return result < 0 ? -errno : result;
}

static int errand_fd(const struct io *io)
{
	struct errand errand;

	memcpy(&errand, io->priv, sizeof(errand));
	return errand.fd;
}

static void *offload_thread(void *arg)
{
	struct offload *o = arg;
	struct io *io;

	pthread_mutex_lock(&o->lock);
	for (;;) {
		io = io_list_pop(&o->todo);
		if (!io) {
			if (o->stop)
				break;
			pthread_cond_wait(&o->wake, &o->lock);
			continue;
		}
		pthread_mutex_unlock(&o->lock);
		io->result = io_execute(errand_fd(io), io);
		inbox_post(&o->inbox, io);
		pthread_mutex_lock(&o->lock);
	}
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

int offload_open(struct offload *offload, struct target *target)
{
	int err;

	*offload = (struct offload){.running = false};
	err = inbox_open(&offload->inbox, target);
	if (err)
		return err;
	pthread_mutex_init(&offload->lock, NULL);
	pthread_cond_init(&offload->wake, NULL);
	return 0;
}

void offload_close(struct offload *offload)
{
	if (offload->running) {
		pthread_mutex_lock(&offload->lock);
		offload->stop = true;
		pthread_cond_signal(&offload->wake);
		pthread_mutex_unlock(&offload->lock);
		pthread_join(offload->thread, NULL);
	}
	inbox_close(&offload->inbox);
	pthread_cond_destroy(&offload->wake);
	pthread_mutex_destroy(&offload->lock);
}

void offload_submit(struct offload *offload, int fd, struct io *io)
{
	memcpy(io->priv, &(struct errand){fd}, sizeof(struct errand));
	io_list_push(&offload->queued, io);
}

static int start(struct offload *offload)
{
	int err = thread_create(&offload->thread, offload_thread, offload);

	if (!err) {
		offload->running = true;
		pthread_setname_np(offload->thread, "offload");
	}
	return err;
}

bool offload_cancel(struct offload *offload, struct io *io)
{
	return io_list_remove(&offload->queued, io);
}

/* Better slow than failed: no thread can be had, so this one does the work. */
static void execute_here(struct offload *offload)
{
	struct io_list list = offload->queued;
	struct io *io;

	offload->queued.head = NULL;
	while ((io = io_list_pop(&list)))
		target_complete(offload->inbox.target, io, io_execute(errand_fd(io), io));
}

void offload_flush(struct offload *offload)
{
	int err;

	if (!offload->queued.head)
		return;
	if (!offload->running) {
		err = start(offload);
		if (err) {
			if (log_limit_ok(&offload->refused, LOG_LEVEL_WARNING, "offload"))
				log_warning(
					"offload: cannot start a helper thread (%s%s); the worker "
					"does its work, which is slower, and tries again",
					strerror(-err), limits_advice(LIMITS_THREAD, err));
			execute_here(offload);
			return;
		}
	}
	pthread_mutex_lock(&offload->lock);
	io_list_append(&offload->todo, &offload->queued);
	pthread_cond_signal(&offload->wake);
	pthread_mutex_unlock(&offload->lock);
}
