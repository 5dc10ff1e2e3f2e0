/* SPDX-License-Identifier: BSD-3-Clause */
/* See daemon/signals.h. */
#include "daemon/signals.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/container.h"
#include "base/log.h"
#include "base/thread.h"

static void stop(struct call *call)
{
	struct signals *signals = container_of(call, struct signals, stop_call);

	signals->stop(signals);
}

static void report(struct nudge *nudge)
{
	struct signals *signals = container_of(nudge, struct signals, report_nudge);

	signals->report(signals);
}

static void hangup(struct nudge *nudge)
{
	struct signals *signals = container_of(nudge, struct signals, hangup_nudge);

	signals->hangup(signals);
}

/* Asks the control thread, and ends the process if that takes too long. */
static _Noreturn void stop_in_time(struct signals *signals, int number)
{
	const struct timespec timeout = {.tv_sec = signals->stop_timeout};

	mailbox_post(loop_mailbox(signals->loop), &signals->stop_call);
	log_info("stopping: %s", strsignal(number));
	nanosleep(&timeout, NULL);
	log_warning("stopping with I/O in flight that has not ended in %u s",
		    signals->stop_timeout);
	signals->give_up(signals);
	_exit(atomic_load(&signals->status));
}

static void restart(struct signals *signals, int number)
{
	if (!signals->restarts) {
		log_warning("SIGUSR2: ignored: nobody is there who would start this process again "
			    "(--supervise, or systemd with FileDescriptorStoreMax=)");
		return;
	}
	atomic_store(&signals->status, SIGNALS_RESTART);
	stop_in_time(signals, number);
}

static void *wait_for_signals(void *arg)
{
	struct signals *signals = arg;
	int number;

	for (;;) {
		if (sigwait(&signals->set, &number))
			continue;
		switch (number) {
		case SIGUSR1:
			mailbox_nudge(loop_mailbox(signals->loop), &signals->report_nudge);
			break;
		case SIGHUP:
			log_info("SIGHUP: looking what has changed");
			mailbox_nudge(loop_mailbox(signals->loop), &signals->hangup_nudge);
			break;
		case SIGUSR2:
			restart(signals, number);
			break;
		default:
			stop_in_time(signals, number);
		}
	}
	return NULL;
}

int signals_watch(struct signals *signals)
{
	static const int waited_for[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

	/* What an operator may send besides, or a closed pipe, does not stop us. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* beyond RLIMIT_FSIZE: an error of that write */
	sigemptyset(&signals->set);
	for (size_t i = 0; i < sizeof(waited_for) / sizeof(*waited_for); i++)
		sigaddset(&signals->set, waited_for[i]);
	sigprocmask(SIG_BLOCK, &signals->set, NULL);
	signals->stop_call.run = stop;
	signals->report_nudge.run = report;
	signals->hangup_nudge.run = hangup;
	return thread_detached(wait_for_signals, signals);
}
