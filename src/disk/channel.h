/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the front-end of a disk is told by messages of its rings (in-band notifications), as far as
 * threads and descriptors go: workers have the control thread send it, which waits for room in the
 * front-end's channel by watching it. What is sent, the library knows.
 */
#ifndef DISK_CHANNEL_H
#define DISK_CHANNEL_H

#include "base/log.h"
#include "base/loop.h"
#include "base/mailbox.h"

struct vublk_dev;

struct channel {
	const char *name; /* of the disk, for messages */
	struct loop *loop;
	struct vublk_dev *dev;
	struct nudge nudge;
	struct loop_watch room; /* .fd is -1 while not watched */
	struct log_limit limit;
};

/* All that it is given has to live as long. Control thread. */
void channel_init(struct channel *channel, const char *name, struct loop *loop,
		  struct vublk_dev *dev);

/* Has the control thread send what is due, soon. Any thread. */
void channel_announce(struct channel *channel);

/* Has it sent when the descriptor has room, until told otherwise (-1). Control thread. */
void channel_await_room(struct channel *channel, int fd);

#endif
