/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of vublk-bench. One table has a row per option, see bench_options.c. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_MAX_QUEUES 256u
#define BENCH_MAX_CPUS   64u

enum bench_action {
	BENCH_RUN,
	BENCH_HELP,
	BENCH_VERSION,
};

/* Strings point into argv. */
struct bench_options {
	enum bench_action action;
	const char *socket[2]; /* the second one for compare */
	unsigned int n_sockets;
	bool floor;         /* no socket: a thread of ours plays the back-end */
	bool compare;       /* two sockets in turn */
	const char *beside; /* NULL, or the socket of a disk that is flooded meanwhile */
	unsigned int beside_depth;
	unsigned int rounds;

	bool random;
	unsigned int read_percent; /* 0: only writes, 100: only reads */
	uint32_t block_size;       /* bytes */
	uint64_t offset;           /* of the area, bytes */
	uint64_t size;             /* of the area, bytes; 0: to the end of the disk */
	bool verify;

	unsigned int depth; /* requests in flight, per queue */
	unsigned int n_queues;
	unsigned int n_threads;
	unsigned int queue_size; /* entries; 0 was not given: what depth needs, at least 128 */
	bool packed;
	bool indirect;
	bool event_idx;
	bool call; /* sleep on calls, else poll */
	bool inflight;
	bool inflight_given; /* then it must be offered */

	double seconds; /* of measuring */
	uint64_t count; /* not 0: that many requests instead */
	double warmup;  /* seconds before measuring */
	double rate;    /* requests per second of all queues; 0: as fast as they come back */

	int cpu[BENCH_MAX_CPUS]; /* thread i runs on cpu[i % n_cpus] */
	unsigned int n_cpus;
	pid_t pid; /* of the back-end; 0: whoever listens */
	bool json;
};

/*
 * Fills *options from argv. 0, or -EINVAL with one clear line in `error`. --help and then --version
 * win over everything else, errors included.
 */
int bench_options_parse(struct bench_options *options, int argc, char *const *argv, char *error,
			size_t size);

/* The text of --help, from the table that the parser uses. */
void bench_options_print_help(void);

/* What the queue of the disk beside is to do; the strings are the same. */
struct bench_options bench_options_beside(const struct bench_options *options);

/* Ring entries that a request takes. */
static inline unsigned int bench_entries_per_request(const struct bench_options *options)
{
	return options->indirect ? 1 : 3;
}

#endif
