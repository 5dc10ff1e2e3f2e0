/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads other than the control thread. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

/*
 * Starts a thread that gets no signals but those that it causes itself. 0 or -errno. Any thread.
 */
int thread_create(pthread_t *thread, void *(*run)(void *arg), void *arg);

/* The same of one that nobody waits for. */
int thread_detached(void *(*run)(void *arg), void *arg);

#endif
