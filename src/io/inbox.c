/* SPDX-License-Identifier: BSD-3-Clause */
/* See io/inbox.h. */
#include "io/inbox.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/container.h"
#include "base/log.h"

static void ready(struct reactor_watch *watch)
{
	struct inbox *inbox = container_of(watch, struct inbox, watch);
	struct io_list posted;
	eventfd_t count;
	struct io *io;

	/* First the eventfd, then the list: the other way round a wake-up could be lost. */
	eventfd_read(watch->fd, &count);
	pthread_mutex_lock(&inbox->lock);
	posted = inbox->posted;
	inbox->posted.head = NULL;
	pthread_mutex_unlock(&inbox->lock);
	while ((io = io_list_pop(&posted)))
		target_complete(inbox->target, io, io->result);
}

static void unwatched(struct reactor_watch *watch, int err)
{
	(void)watch;
	log_warning("cannot watch for results of other threads: %s; polling for them, which costs "
		    "CPU time",
		    strerror(-err));
}

int inbox_open(struct inbox *inbox, struct target *target)
{
	int err;

	*inbox = (struct inbox){
		.target = target,
		.watch = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
			  .ready = ready,
			  .failed = unwatched,
			  .slot = -1},
	};
	if (inbox->watch.fd < 0)
		return -errno;
	err = reactor_watch(target->reactor, &inbox->watch);
	if (err) {
		close(inbox->watch.fd);
		return err;
	}
	pthread_mutex_init(&inbox->lock, NULL);
	return 0;
}

void inbox_close(struct inbox *inbox)
{
	reactor_unwatch(inbox->target->reactor, &inbox->watch);
	close(inbox->watch.fd);
	pthread_mutex_destroy(&inbox->lock);
}

void inbox_post(struct inbox *inbox, struct io *io)
{
	bool first;

	pthread_mutex_lock(&inbox->lock);
	/* One wake-up is enough until the list is taken. */
	first = !inbox->posted.head;
	io_list_push(&inbox->posted, io);
	if (first && eventfd_write(inbox->watch.fd, 1) < 0)
		log_error("results of other threads: eventfd: %s", strerror(errno));
	pthread_mutex_unlock(&inbox->lock);
}
