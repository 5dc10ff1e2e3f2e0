/* SPDX-License-Identifier: BSD-3-Clause */
/* Deadlines and waiting, see fe_time.h. No state. */
#define _GNU_SOURCE
#include "fe_time.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#define NS_PER_MS 1000000ull

uint64_t fe_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

uint64_t fe_deadline(unsigned int ms)
{
	const char *slow = getenv("TEST_SLOW_FACTOR");
	uint64_t factor = slow && atoi(slow) > 1 ? (uint64_t)atoi(slow) : 1;

	return fe_now_ns() + ms * factor * NS_PER_MS;
}

int fe_left_ms(uint64_t deadline)
{
	uint64_t now = fe_now_ns();

	return now >= deadline ? 0 : (int)((deadline - now + NS_PER_MS - 1) / NS_PER_MS);
}

int fe_wait_fd(int fd, short events, uint64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n;

	do {
		n = poll(&p, 1, fe_left_ms(deadline));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

int fe_wait_for(int (*look)(void *arg), void *arg, uint64_t deadline)
{
	for (;;) {
		int answer = look(arg);

		if (answer)
			return answer;
		if (!fe_left_ms(deadline))
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
	}
}
