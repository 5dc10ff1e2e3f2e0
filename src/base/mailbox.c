/* SPDX-License-Identifier: BSD-3-Clause */
/* See base/mailbox.h. Any thread posts, its owner runs. */
#include "base/mailbox.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/container.h"

int mailbox_init(struct mailbox *mailbox)
{
	mailbox->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mailbox->event_fd < 0)
		return -errno;
	pthread_mutex_init(&mailbox->lock, NULL);
	mailbox->first = NULL;
	mailbox->last = &mailbox->first;
	return 0;
}

void mailbox_destroy(struct mailbox *mailbox)
{
	close(mailbox->event_fd);
	pthread_mutex_destroy(&mailbox->lock);
}

void mailbox_post(struct mailbox *mailbox, struct call *call)
{
	call->next = NULL;
	pthread_mutex_lock(&mailbox->lock);
	*mailbox->last = call;
	mailbox->last = &call->next;
	pthread_mutex_unlock(&mailbox->lock);
	/* It cannot overflow, and there is nothing that could be done about another error. */
	eventfd_write(mailbox->event_fd, 1);
}

static void run_nudge(struct call *call)
{
	struct nudge *nudge = container_of(call, struct nudge, call);

	/* First: whoever comes after this posts it again. */
	atomic_store(&nudge->posted, false);
	nudge->run(nudge);
}

void mailbox_nudge(struct mailbox *mailbox, struct nudge *nudge)
{
	if (atomic_exchange(&nudge->posted, true))
		return;
	nudge->call.run = run_nudge;
	mailbox_post(mailbox, &nudge->call);
}

void mailbox_run(struct mailbox *mailbox)
{
	struct call *call;
	uint64_t count;

	eventfd_read(mailbox->event_fd, &count);
	pthread_mutex_lock(&mailbox->lock);
	call = mailbox->first;
	mailbox->first = NULL;
	mailbox->last = &mailbox->first;
	pthread_mutex_unlock(&mailbox->lock);
	while (call) {
		struct call *next = call->next;

		call->run(call); /* may free it, or post it again */
		call = next;
	}
}
