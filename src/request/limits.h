/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many requests and bytes a disk may do in a second: the six limits that QEMU's throttle groups
 * have, and what they come to at a given time. Plain arithmetic on what it is given: it knows no
 * clock, no lock and no request. Whoever owns a struct limits sees to it that one thread at a time
 * uses it.
 *
 * Theory of operation. Each limit is a leaky bucket. A request pours in what it costs (1, or its
 * bytes), the bucket leaks `average` units a second, and who would make it overflow waits until
 * there is room. A bucket holds `max` times `max_length`, which is the burst; without `max` a tenth
 * of a second's average, so that few short waits do instead of many. With a burst of more than one
 * second another bucket, which leaks `max` a second, keeps it at that rate.
 *
 * Who has to wait pours at once, as if his turn had come, and is told how long to wait. So
 * requests of several queues have their turns in the order in which they asked, however large they
 * are; and who is late takes nothing from those behind him, for the bucket leaks meanwhile.
 */
#ifndef REQUEST_LIMITS_H
#define REQUEST_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No rate, and no burst as a whole, may be more, in units; as in QEMU. */
#define LIMITS_MOST UINT64_C(1000000000000000)

enum limit_id {
	LIMIT_IOPS_TOTAL,
	LIMIT_IOPS_READ,
	LIMIT_IOPS_WRITE,
	LIMIT_BPS_TOTAL,
	LIMIT_BPS_READ,
	LIMIT_BPS_WRITE,
	N_LIMITS
};

struct limit_config {
	uint64_t average;    /* units a second; 0: no limit */
	uint64_t max;        /* units a second in a burst; 0: no bursts */
	unsigned max_length; /* seconds that a burst at `max` may last; 0: 1 */
};

/* As QEMU calls it: "iops-total". Any thread. */
const char *limits_name(enum limit_id id);

/* All zero: no limits. */
struct limits_config {
	struct limit_config limit[N_LIMITS];
	uint64_t iops_size; /* bytes; a larger request counts as so many of them; 0: as one */
};

/*
 * 0, or -EINVAL for what contradicts itself or is out of bounds, with one line in `error` of `size`
 * bytes; settings are called there by their names in QEMU, each with `mark` before it ("--" on a
 * command line). Any thread.
 */
int limits_config_check(const struct limits_config *config, const char *mark, char *error,
			size_t size);

/* Is anything limited? Any thread. */
bool limits_config_any(const struct limits_config *config);

struct limits {
	struct limits_config config;
	int64_t at; /* ns, the time that the levels are of */
	struct {
		double level, burst; /* units in the bucket, and in that of the burst's rate */
	} bucket[N_LIMITS];
	enum limit_id waited_for; /* by the last one who had to wait */
};

/* Empty buckets at the time `now`, in ns. The configuration is copied, and has been checked. */
void limits_init(struct limits *limits, const struct limits_config *config, int64_t now);

/*
 * Other limits from `now` on. What a bucket has more in it than it holds, which is what is waited
 * for, counts further.
 */
void limits_change(struct limits *limits, const struct limits_config *config, int64_t now);

/*
 * A read, or a write, of so many bytes is to be done: takes its turn. How long to wait for that, ns
 * from `now`; 0: it may begin. Threads may have read the clock in another order than they come.
 */
int64_t limits_take(struct limits *limits, bool write, uint64_t bytes, int64_t now);

/* The same for one that has a turn to come, when the limits have changed: for another turn. */
int64_t limits_retake(struct limits *limits, bool write, uint64_t bytes, int64_t now);

/* Is any of them exceeded, so that whoever asked last has to wait, or whoever asks next would? */
bool limits_are_exceeded(struct limits *limits, int64_t now);

#endif
