/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the back-end's process spends: its CPU time, its system calls and its memory, as the kernel
 * tells. Main thread.
 */
#ifndef BENCH_BACKEND_H
#define BENCH_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define BENCH_WHY 96

struct bench_backend {
	pid_t pid;
	clockid_t clock;
	int *counter; /* perf events, one for each of its threads */
	unsigned int n_counters;
	char no_cpu[BENCH_WHY]; /* why it is not known, "" if it is */
	char no_syscalls[BENCH_WHY];
	char no_memory[BENCH_WHY];
};

/* Process `pid`, 0: none is known. What cannot be had is said in the no_ fields. */
void bench_backend_open(struct bench_backend *backend, pid_t pid);
void bench_backend_close(struct bench_backend *backend);

/* CPU time of all its threads until now, ns. */
uint64_t bench_backend_cpu(const struct bench_backend *backend);

/*
 * Counts its system calls from one call to the other, which answers how many. The counting makes
 * each of them slower, by about 0.1 us.
 */
void bench_backend_count(struct bench_backend *backend);
uint64_t bench_backend_counted(struct bench_backend *backend);

/* Its private resident memory in bytes: what would be free if it ended; 0, see no_memory. */
uint64_t bench_backend_memory(struct bench_backend *backend);

#endif
