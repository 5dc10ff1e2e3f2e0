/* SPDX-License-Identifier: BSD-3-Clause */
/* The workers of a process: how many, on which engine, on which processors. Control thread. */
#ifndef DAEMON_WORKERS_H
#define DAEMON_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/disk_config.h"
#include "io/engine.h"
#include "worker/worker.h"

struct workers_config {
	const struct engine *engine;
	bool engine_given; /* asked for by name: then no other one will do */
	struct uring_options uring;
	unsigned num;          /* 1 to WORKERS_MOST */
	int cpu[WORKERS_MOST]; /* the first n_cpus: --cpu-affinity, in the order given */
	unsigned n_cpus;
	int64_t poll_ns; /* see poll_policy_init() */
};

struct workers {
	const struct engine *engine; /* that they have */
	struct worker_config config[WORKERS_MOST];
	struct worker *worker[WORKERS_MOST]; /* NULL: none */
};

/* Was something asked for that the engine named alone can do? */
bool workers_insist(const struct workers_config *config);

/*
 * Starts them, on the engine that was asked for; where none was, on libaio if io_uring is switched
 * off. 0 or -errno (logged).
 */
int workers_start(struct workers *workers, const struct workers_config *config);

/* Ends those that there are; they have nothing to do. */
void workers_stop(struct workers *workers);

#endif
