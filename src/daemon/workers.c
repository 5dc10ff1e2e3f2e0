/* SPDX-License-Identifier: BSD-3-Clause */
/* See daemon/workers.h. Control thread. */
#include "daemon/workers.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/host_limits.h"
#include "base/log.h"

static int start(struct workers *workers, unsigned i, const struct workers_config *config)
{
	workers->config[i] = (struct worker_config){
		.reactor = workers->engine->reactor,
		.target = workers->engine->target,
		.options = config->uring,
		.poll_ns = config->poll_ns,
		.cpu = config->n_cpus ? config->cpu[i % config->n_cpus] : -1,
	};
	return worker_create(&workers->worker[i], &workers->config[i]);
}

/* May the workers run where they are to? */
static int check_cpus(const struct workers_config *config)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return -errno;
	for (unsigned i = 0; i < config->n_cpus; i++) {
		if (CPU_ISSET((size_t)config->cpu[i], &allowed))
			continue;
		log_error("--cpu-affinity: CPU %d does not exist, or may not be used",
			  config->cpu[i]);
		return -EINVAL;
	}
	return 0;
}

bool workers_insist(const struct workers_config *config)
{
	const struct uring_options *uring = &config->uring;

	return config->engine_given || uring->fixed_buffers || uring->iopoll || uring->sqpoll;
}

static const char *advice(const struct engine *engine, int err)
{
	/* io_uring itself never answers so: it was the thread. */
	if (err == -EAGAIN && engine == &engine_uring)
		return limits_advice(LIMITS_THREAD, err);
	return limits_advice(engine == &engine_uring ? LIMITS_IO_URING : LIMITS_LIBAIO, err);
}

static void log_error_of(const struct engine *engine, const struct workers_config *config, int err)
{
	const struct uring_options *uring = &config->uring;

	if (err == -EINVAL && uring->sqpoll && uring->sqpoll_cpu >= 0)
		log_error("--sqpoll-cpu: CPU %d does not exist, or may not be used",
			  uring->sqpoll_cpu);
	else if (err == -EOPNOTSUPP && uring->fixed_buffers)
		log_error("--fixed-buffers needs Linux 5.19 or newer");
	else
		log_error("the %s engine cannot be used: %s%s", engine->name, strerror(-err),
			  advice(engine, err));
}

int workers_start(struct workers *workers, const struct workers_config *config)
{
	int err = check_cpus(config);

	if (err)
		return err;
	workers->engine = config->engine;
	err = start(workers, 0, config);
	if (err && workers->engine == &engine_uring && !workers_insist(config)) {
		log_warning("io_uring is not available (%s%s); using libaio, which is slower",
			    strerror(-err), advice(workers->engine, err));
		workers->engine = &engine_aio;
		err = start(workers, 0, config);
	}
	for (unsigned i = 1; !err && i < config->num; i++)
		err = start(workers, i, config);
	if (err)
		log_error_of(workers->engine, config, err);
	return err;
}

void workers_stop(struct workers *workers)
{
	for (unsigned i = 0; i < WORKERS_MOST && workers->worker[i]; i++)
		worker_destroy(workers->worker[i]);
}
