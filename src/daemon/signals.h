/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What signals do. SIGTERM and SIGINT stop the process: the control thread is asked to, and if that
 * takes too long, the process ends all the same. SIGUSR1 asks it to log what it is at, SIGHUP to
 * look what has changed. SIGUSR2 is a stop after which the process is started again, where somebody
 * does that (`restarts`); else it is logged. A thread of its own waits for them, so that
 * a stop does not depend on what the others are at.
 */
#ifndef DAEMON_SIGNALS_H
#define DAEMON_SIGNALS_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/loop.h"
#include "base/mailbox.h"

/* "Start me again", maybe with another executable: EX_TEMPFAIL of sysexits.h. */
#define SIGNALS_RESTART 75

struct signals {
	/* Set by the owner before anything else, and left alone. */
	struct loop *loop;
	unsigned stop_timeout;             /* seconds */
	bool restarts;                     /* whoever started us does so again */
	void (*stop)(struct signals *);    /* control thread */
	void (*report)(struct signals *);  /* control thread */
	void (*hangup)(struct signals *);  /* control thread */
	void (*give_up)(struct signals *); /* the thread for signals: the process ends now */

	/* The exit status when it stops, which says whether it wants to be started again. */
	atomic_int status;

	sigset_t set;
	struct call stop_call;
	struct nudge report_nudge, hangup_nudge;
};

/*
 * From now on: before there are other threads, whose signals are blocked by this. 0 or -errno. It
 * has to live until the process ends.
 */
int signals_watch(struct signals *signals);

#endif
