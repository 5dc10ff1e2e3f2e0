/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers that one thread adds to, with plain loads and stores, and any thread reads. Each is as it
 * was a moment ago; several are not as they were at one moment. They wrap around, after centuries.
 */
#ifndef BASE_COUNTER_H
#define BASE_COUNTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef atomic_uint_fast64_t counter;

/* Its owner. */
static inline void counter_set(counter *at, uint64_t value)
{
	atomic_store_explicit(at, value, memory_order_relaxed);
}

/* Any thread. */
static inline uint64_t counter_read(const counter *at)
{
	return atomic_load_explicit(at, memory_order_relaxed);
}

/* Its owner. */
static inline void counter_add(counter *at, uint64_t n)
{
	counter_set(at, counter_read(at) + n);
}

/*
 * The sum of the times that something lasted, ns, the present one included: a reader need not wait
 * for its end. All of it is one number, so that no reader finds a time counted twice or not at all:
 * the sum, less the time of the start while it runs, doubled; odd while it runs. All zero at first.
 */
struct stopwatch {
	counter word;
};

/* Does it run? Its owner. */
static inline bool stopwatch_runs(const struct stopwatch *watch)
{
	return counter_read(&watch->word) & 1;
}

/* It runs from `now` (ns, monotonic) on, or goes on running. Its owner. */
static inline void stopwatch_start(struct stopwatch *watch, int64_t now)
{
	const uint64_t word = counter_read(&watch->word);

	if (!(word & 1))
		counter_set(&watch->word, word - 2 * (uint64_t)now + 1);
}

/* It does not run any more, if it did. Its owner. */
static inline void stopwatch_stop(struct stopwatch *watch, int64_t now)
{
	const uint64_t word = counter_read(&watch->word);

	if (word & 1)
		counter_set(&watch->word, word + 2 * (uint64_t)now - 1);
}

/* The sum, if it is `now`. Any thread. */
static inline uint64_t stopwatch_read(const struct stopwatch *watch, int64_t now)
{
	const uint64_t word = counter_read(&watch->word);

	return word & 1 ? (word + 2 * (uint64_t)now) / 2 : word / 2;
}

#endif
