/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time limits: everything in this library that waits, waits for an event and until a deadline.
 * TEST_SLOW_FACTOR in the environment stretches every limit (valgrind, slow machines).
 */
#ifndef FE_TIME_H
#define FE_TIME_H

#include <stdbool.h>
#include <stdint.h>

#define FE_TIMEOUT_MS 10000 /* the limit where a caller gives none */

uint64_t fe_now_ns(void);

/* The point in time `ms` (stretched) from now, for fe_left_ms() and fe_wait_fd(). */
uint64_t fe_deadline(unsigned int ms);

/* Milliseconds until the deadline, rounded up, 0 when it has passed. Not stretched again. */
int fe_left_ms(uint64_t deadline);

/* Waits for poll(2) `events`. 0 (also for POLLHUP and POLLERR), -ETIMEDOUT or -errno. */
int fe_wait_fd(int fd, short events, uint64_t deadline);

/*
 * Calls `look` every millisecond until it answers non-zero; for what has no fd to poll.
 * Returns that answer, or -ETIMEDOUT.
 */
int fe_wait_for(int (*look)(void *arg), void *arg, uint64_t deadline);

#endif
