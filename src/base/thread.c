/* SPDX-License-Identifier: BSD-3-Clause */
/* See base/thread.h. */
#include "base/thread.h"

#include <signal.h>
#include <stddef.h>

int thread_create(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
	/* A blocked SIGBUS would kill the process, where its handler saves it. */
	static const int own[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL};
	sigset_t blocked, before;
	int err;

	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&blocked, own[i]);
	pthread_sigmask(SIG_BLOCK, &blocked, &before);
	err = -pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

int thread_detached(void *(*run)(void *arg), void *arg)
{
	pthread_t thread;
	const int err = thread_create(&thread, run, arg);

	if (!err)
		pthread_detach(thread);
	return err;
}
