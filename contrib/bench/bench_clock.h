/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time for the I/O loop. A tick is one of the processor's time-stamp counter where that runs at one
 * rate and never stops (x86), else a nanosecond of CLOCK_MONOTONIC. Any thread after
 * bench_clock_init().
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

struct bench_clock {
	bool counter; /* ticks are the processor's */
	double ns_per_tick;
};

extern struct bench_clock bench_clock;

/* Measures the counter against CLOCK_MONOTONIC; takes 50 ms. */
void bench_clock_init(void);

static inline uint64_t bench_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Not serialising: a load may overtake it by some ns, less than what a fence would cost. */
static inline uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
	if (__builtin_expect(bench_clock.counter, true))
		return __rdtsc();
#endif
	return bench_now_ns();
}

static inline double bench_ticks_to_ns(double ticks)
{
	return ticks * bench_clock.ns_per_tick;
}

static inline double bench_ns_to_ticks(double ns)
{
	return ns / bench_clock.ns_per_tick;
}

/* What to do in a loop that waits for another processor's store. */
static inline void bench_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
