/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How one thread has a function run by another: it posts a call, the other one is woken by an
 * eventfd and runs it between two iterations. The control thread and every worker have one each; an
 * answer is a call posted the other way. Its lock is met by no read or write.
 */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Embedded in its owner's object, who must keep it until it has run. */
struct call {
	struct call *next;
	void (*run)(struct call *call);
};

/* A call that may be asked for again and again: until it runs, once is enough. */
struct nudge {
	struct call call;
	atomic_bool posted;
	void (*run)(struct nudge *nudge);
};

struct mailbox {
	pthread_mutex_t lock;
	struct call *first, **last;
	int event_fd; /* readable when there is a call */
};

/* 0 or -errno. */
int mailbox_init(struct mailbox *mailbox);

/* Calls still posted are forgotten. */
void mailbox_destroy(struct mailbox *mailbox);

/* Posts a call; call->run is set. Any thread. From now on the call is the receiver's. */
void mailbox_post(struct mailbox *mailbox, struct call *call);

/*
 * Posts it, unless it is posted and has not begun to run; nudge->run is set, the rest is zero at
 * first. What is asked for from its first step on has it run again. Any thread.
 */
void mailbox_nudge(struct mailbox *mailbox, struct nudge *nudge);

/* Runs what was posted, in order. The owning thread, when event_fd is readable (or at any time). */
void mailbox_run(struct mailbox *mailbox);

#endif
