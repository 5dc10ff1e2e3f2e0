/* SPDX-License-Identifier: BSD-3-Clause */
/* See request/limits.h. Stateless but for what it is given, any thread. */
#include "request/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define NS_PER_S 1e9

/* ns; a wait that is longer is as good as for ever, and this one can be added to any time. */
#define LONGEST_WAIT 1e18

/* How long the average may be exceeded without a burst, and a burst's rate in it, seconds. */
#define SLACK 0.1

static const char *const names[N_LIMITS] = {
	[LIMIT_IOPS_TOTAL] = "iops-total", [LIMIT_IOPS_READ] = "iops-read",
	[LIMIT_IOPS_WRITE] = "iops-write", [LIMIT_BPS_TOTAL] = "bps-total",
	[LIMIT_BPS_READ] = "bps-read",     [LIMIT_BPS_WRITE] = "bps-write",
};

const char *limits_name(enum limit_id id)
{
	return names[id];
}

/* ---- what is refused ---- */

static int check_limit(const struct limit_config *limit, const char *mark, const char *name,
		       char *error, size_t size)
{
	const unsigned length = limit->max_length;

	if (limit->average > LIMITS_MOST || limit->max > LIMITS_MOST)
		snprintf(error, size, "%s%s and its maximum may be %" PRIu64 " at most", mark, name,
			 LIMITS_MOST);
	else if (limit->max && !limit->average)
		snprintf(error, size, "%s%s-max goes only with %s%s", mark, name, mark, name);
	else if (limit->max && limit->max < limit->average)
		snprintf(error, size, "%s%s-max is less than %s%s", mark, name, mark, name);
	else if (length && !limit->max)
		snprintf(error, size, "%s%s-max-length goes only with %s%s-max", mark, name, mark,
			 name);
	else if (length && length > LIMITS_MOST / limit->max)
		snprintf(error, size,
			 "%s%s-max-length is too much for %s%s-max: together they may be %" PRIu64
			 " at most",
			 mark, name, mark, name, LIMITS_MOST);
	else
		return 0;
	return -EINVAL;
}

/* The total of a kind stands alone; `total` is followed by those of reads and writes. */
static int check_total(const struct limits_config *config, enum limit_id total, const char *mark,
		       char *error, size_t size)
{
	for (unsigned i = total + 1; i <= total + 2u; i++)
		if (config->limit[total].average && config->limit[i].average) {
			snprintf(error, size, "%s%s and %s%s exclude each other", mark,
				 names[total], mark, names[i]);
			return -EINVAL;
		}
	return 0;
}

static bool any_iops(const struct limits_config *config)
{
	return config->limit[LIMIT_IOPS_TOTAL].average || config->limit[LIMIT_IOPS_READ].average ||
	       config->limit[LIMIT_IOPS_WRITE].average;
}

static int check_iops_size(const struct limits_config *config, const char *mark, char *error,
			   size_t size)
{
	if (config->iops_size > LIMITS_MOST)
		snprintf(error, size, "%siops-size may be %" PRIu64 " at most", mark, LIMITS_MOST);
	else if (config->iops_size && !any_iops(config))
		snprintf(error, size,
			 "%siops-size goes only with %siops-total, %siops-read or %siops-write",
			 mark, mark, mark, mark);
	else
		return 0;
	return -EINVAL;
}

int limits_config_check(const struct limits_config *config, const char *mark, char *error,
			size_t size)
{
	int err = check_total(config, LIMIT_IOPS_TOTAL, mark, error, size);

	if (!err)
		err = check_total(config, LIMIT_BPS_TOTAL, mark, error, size);
	for (unsigned i = 0; !err && i < N_LIMITS; i++)
		err = check_limit(&config->limit[i], mark, names[i], error, size);
	return err ? err : check_iops_size(config, mark, error, size);
}

bool limits_config_any(const struct limits_config *config)
{
	for (unsigned i = 0; i < N_LIMITS; i++)
		if (config->limit[i].average)
			return true;
	return false;
}

/* ---- buckets ---- */

static double least(double a, double b)
{
	return a < b ? a : b;
}

static double most(double a, double b)
{
	return a > b ? a : b;
}

/* What the bucket holds, and that of the burst's rate: 0 if there is none. In units. */
static double bucket_size(const struct limit_config *limit)
{
	if (!limit->max)
		return (double)limit->average * SLACK;
	return (double)limit->max * (limit->max_length ? limit->max_length : 1);
}

static double burst_size(const struct limit_config *limit)
{
	return limit->max_length > 1 ? (double)limit->max * SLACK : 0;
}

static double leaked(double level, uint64_t rate, double seconds)
{
	return most(level - (double)rate * seconds, 0);
}

static void leak(struct limits *limits, int64_t now)
{
	const double seconds = (double)(now - limits->at) / NS_PER_S;

	/* Threads may have read the clock in another order than they come here in. */
	if (seconds <= 0)
		return;
	limits->at = now;
	for (unsigned i = 0; i < N_LIMITS; i++) {
		const struct limit_config *limit = &limits->config.limit[i];

		limits->bucket[i].level = leaked(limits->bucket[i].level, limit->average, seconds);
		limits->bucket[i].burst = leaked(limits->bucket[i].burst, limit->max, seconds);
	}
}

/*
 * Pours `cost` in. How many ns until it would not have made the bucket overflow; one that is
 * larger than the bucket waits until that is empty.
 */
static double pour(double *level, double cost, double size, uint64_t rate)
{
	const double room = size > cost ? size - cost : 0;
	const double over = *level - room;

	*level += cost;
	return over > 0 ? over / (double)rate * NS_PER_S : 0;
}

static double pour_both(struct limits *limits, enum limit_id i, double cost)
{
	const struct limit_config *limit = &limits->config.limit[i];
	double wait, at_rate = 0;

	if (!limit->average)
		return 0;
	wait = pour(&limits->bucket[i].level, cost, bucket_size(limit), limit->average);
	if (limit->max_length > 1)
		at_rate = pour(&limits->bucket[i].burst, cost, burst_size(limit), limit->max);
	return most(wait, at_rate);
}

static void take_out(struct limits *limits, enum limit_id i, double cost)
{
	limits->bucket[i].level = most(limits->bucket[i].level - cost, 0);
	limits->bucket[i].burst = most(limits->bucket[i].burst - cost, 0);
}

/* The limits that a request meets, and what it costs with each. */
struct costs {
	enum limit_id id[4];
	double cost[4];
};

static struct costs costs_of(const struct limits *limits, bool write, uint64_t bytes)
{
	const uint64_t one = limits->config.iops_size;
	const double size = (double)bytes;
	const double count = one && bytes > one ? size / (double)one : 1;

	return (struct costs){
		.id = {LIMIT_IOPS_TOTAL, write ? LIMIT_IOPS_WRITE : LIMIT_IOPS_READ,
		       LIMIT_BPS_TOTAL, write ? LIMIT_BPS_WRITE : LIMIT_BPS_READ},
		.cost = {count, count, size, size},
	};
}

int64_t limits_take(struct limits *limits, bool write, uint64_t bytes, int64_t now)
{
	const struct costs costs = costs_of(limits, write, bytes);
	double wait = 0;

	leak(limits, now);
	for (unsigned i = 0; i < 4; i++) {
		const double longer = pour_both(limits, costs.id[i], costs.cost[i]);

		if (longer <= wait)
			continue;
		wait = longer;
		limits->waited_for = costs.id[i];
	}
	return (int64_t)least(wait, LONGEST_WAIT);
}

int64_t limits_retake(struct limits *limits, bool write, uint64_t bytes, int64_t now)
{
	const struct costs costs = costs_of(limits, write, bytes);

	for (unsigned i = 0; i < 4; i++)
		take_out(limits, costs.id[i], costs.cost[i]);
	return limits_take(limits, write, bytes, now);
}

bool limits_are_exceeded(struct limits *limits, int64_t now)
{
	leak(limits, now);
	for (unsigned i = 0; i < N_LIMITS; i++) {
		const struct limit_config *limit = &limits->config.limit[i];

		if (limit->average && limits->bucket[i].level > bucket_size(limit))
			return true;
		if (limit->max_length > 1 && limits->bucket[i].burst > burst_size(limit))
			return true;
	}
	return false;
}

/* ---- configuration ---- */

void limits_init(struct limits *limits, const struct limits_config *config, int64_t now)
{
	*limits = (struct limits){.config = *config, .at = now};
}

/* The level of a bucket that becomes one of another size. */
static double moved(double level, double old_size, double size)
{
	const double waits = most(level - old_size, 0);

	return least(level - waits, size) + waits;
}

void limits_change(struct limits *limits, const struct limits_config *config, int64_t now)
{
	leak(limits, now);
	for (unsigned i = 0; i < N_LIMITS; i++) {
		const struct limit_config *old = &limits->config.limit[i];
		const struct limit_config *limit = &config->limit[i];
		double *level = &limits->bucket[i].level, *burst = &limits->bucket[i].burst;

		*level = limit->average ? moved(*level, bucket_size(old), bucket_size(limit)) : 0;
		*burst = limit->max_length > 1 ? moved(*burst, burst_size(old), burst_size(limit))
					       : 0;
	}
	limits->config = *config;
}
