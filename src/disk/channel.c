/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/channel.h. */
#include "disk/channel.h"

#include <string.h>
#include <sys/epoll.h>

#include "base/container.h"
#include "vublk.h"

static void announce_on_control(struct nudge *nudge)
{
	vublk_dev_announce(container_of(nudge, struct channel, nudge)->dev);
}

static void has_room(struct loop_watch *watch, uint32_t events)
{
	/* Or it is of no use any more, as sending will tell. */
	(void)events;
	vublk_dev_announce(container_of(watch, struct channel, room)->dev);
}

void channel_init(struct channel *channel, const char *name, struct loop *loop,
		  struct vublk_dev *dev)
{
	channel->name = name;
	channel->loop = loop;
	channel->dev = dev;
	channel->nudge = (struct nudge){.run = announce_on_control};
	channel->room = (struct loop_watch){.fd = -1, .ready = has_room};
	channel->limit = (struct log_limit){0};
}

void channel_announce(struct channel *channel)
{
	mailbox_nudge(loop_mailbox(channel->loop), &channel->nudge);
}

void channel_await_room(struct channel *channel, int fd)
{
	int err;

	if (channel->room.fd >= 0)
		loop_unwatch(channel->loop, &channel->room);
	channel->room.fd = fd;
	if (fd < 0)
		return;
	err = loop_watch(channel->loop, &channel->room, EPOLLOUT);
	if (!err)
		return;
	channel->room.fd = -1;
	if (log_limit_ok(&channel->limit, LOG_LEVEL_WARNING, "channels"))
		log_warning("%s: cannot wait for room in the front-end's channel: %s; it is tried "
			    "again with its next message",
			    channel->name, strerror(-err));
}
