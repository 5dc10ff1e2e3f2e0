/* SPDX-License-Identifier: BSD-3-Clause */
/* The clock, see bench_clock.h. Main thread, before there are others. */
#include "bench_clock.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define CALIBRATION_NS 50000000u

struct bench_clock bench_clock = {.counter = false, .ns_per_tick = 1};

/* Does the time-stamp counter run at one rate in all states of the processor? */
static bool counter_is_constant(void)
{
#if defined(__x86_64__)
	unsigned int a, b, c, d;

	return __get_cpuid(0x80000007, &a, &b, &c, &d) && d >> 8 & 1;
#else
	return false;
#endif
}

#if defined(__x86_64__)
/* Both clocks at the same moment: of several readings the one that took least. */
static void read_both(uint64_t *ns, uint64_t *ticks)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 100; i++) {
		const uint64_t before = __rdtsc(), now = bench_now_ns(), after = __rdtsc();

		if (after - before >= best)
			continue;
		best = after - before;
		*ns = now;
		*ticks = before + best / 2;
	}
}
#endif

void bench_clock_init(void)
{
	if (!counter_is_constant())
		return;
#if defined(__x86_64__)
	uint64_t ns = 0, ticks = 0, ns_end = 0, ticks_end = 0;

	read_both(&ns, &ticks);
	while (bench_now_ns() < ns + CALIBRATION_NS)
		bench_relax();
	read_both(&ns_end, &ticks_end);
	bench_clock.ns_per_tick = (double)(ns_end - ns) / (double)(ticks_end - ticks);
	bench_clock.counter = true;
#endif
}
