/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completions that come from other threads: a helper thread's, or a library's own. Posted anywhere,
 * delivered by the reactor's thread.
 */
#ifndef IO_INBOX_H
#define IO_INBOX_H

#include <pthread.h>

#include "io/list.h"
#include "io/target.h"

struct inbox {
	struct target *target;      /* whose operations they are */
	struct reactor_watch watch; /* an eventfd: something has been posted */
	pthread_mutex_t lock;
	struct io_list posted; /* lock */
};

/* Makes one on the target's reactor. 0 or -errno. The reactor's thread. */
int inbox_open(struct inbox *inbox, struct target *target);

/* Nobody posts any more, and all has been delivered. The reactor's thread. */
void inbox_close(struct inbox *inbox);

/* Has io->done() called from reactor_run(), with the result that io has. Any thread. */
void inbox_post(struct inbox *inbox, struct io *io);

#endif
