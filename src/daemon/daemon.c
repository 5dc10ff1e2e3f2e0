/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See daemon/daemon.h: puts the pieces together, in the order in which what was asked for can be
 * found not to be had, and takes them apart again.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "base/container.h"
#include "base/host_limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "daemon/signals.h"
#include "disk/disk.h"
#include "vublk.h"

struct daemon {
	const struct daemon_config *config;
	struct loop *loop;
	struct signals signals;
	struct workers workers;
	struct disk_process process;
	struct disk *disk;
	pthread_mutex_t ending; /* taken by who ends the process, for good */
	struct loop_watch memory_lost;
};

static void library_log(enum vublk_log_level level, const char *line)
{
	static const enum log_level levels[] = {
		[VUBLK_LOG_ERROR] = LOG_LEVEL_ERROR,
		[VUBLK_LOG_WARNING] = LOG_LEVEL_WARNING,
		[VUBLK_LOG_INFO] = LOG_LEVEL_INFO,
		[VUBLK_LOG_DEBUG] = LOG_LEVEL_DEBUG,
	};
	static _Thread_local struct log_limit limit;

	/* A front-end or guest that makes mistakes all the time must not fill the log. */
	if (level > VUBLK_LOG_WARNING || log_limit_ok(&limit, levels[level], "the last"))
		log_write(levels[level], "%s", line);
}

/* ---- signals ---- */

static struct daemon *daemon_of(struct signals *signals)
{
	return container_of(signals, struct daemon, signals);
}

static void stop(struct signals *signals)
{
	sd_notify(0, "STOPPING=1");
	disk_stop(daemon_of(signals)->disk);
}

static void report(struct signals *signals)
{
	disk_report(daemon_of(signals)->disk);
}

static void hangup(struct signals *signals)
{
	disk_check_size(daemon_of(signals)->disk);
}

/*
 * On the thread for signals. The disk is not taken apart meanwhile; or if it is already, however
 * long that lasts, its path was the first to go.
 */
static void give_up(struct signals *signals)
{
	struct daemon *daemon = daemon_of(signals);

	if (!pthread_mutex_trylock(&daemon->ending) && daemon->disk)
		disk_unlink(daemon->disk);
}

/* ---- memory that a front-end takes away ---- */

static void memory_lost(struct loop_watch *watch, uint32_t events)
{
	uint64_t count;

	(void)events;
	eventfd_read(watch->fd, &count);
	disk_check_memory(container_of(watch, struct daemon, memory_lost)->disk);
}

static int guard_memory(struct daemon *daemon)
{
	const int fd = vublk_guard_memory();

	daemon->memory_lost = (struct loop_watch){.fd = fd, .ready = memory_lost};
	return fd < 0 ? fd : loop_watch(daemon->loop, &daemon->memory_lost, EPOLLIN);
}

/* ---- the pieces ---- */

/* 256 queues have three descriptors each, and so many are more than the usual limit leaves. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void explain_fixed_buffers(void)
{
	log_info("--fixed-buffers: the guest's memory stays present and pinned, so a balloon, free "
		 "page reporting and virtio-mem give none of it back; when they try, the disk goes "
		 "on without --fixed-buffers");
}

static int start(struct daemon *daemon)
{
	int err = loop_create(&daemon->loop);

	if (!err) {
		daemon->signals = (struct signals){
			.loop = daemon->loop,
			.stop_timeout = daemon->config->stop_timeout,
			.stop = stop,
			.report = report,
			.hangup = hangup,
			.give_up = give_up,
		};
		err = signals_watch(&daemon->signals);
	}
	if (!err)
		err = guard_memory(daemon);
	if (err)
		log_error("cannot start: %s%s", strerror(-err), limits_advice(LIMITS_THREAD, err));
	return err;
}

static void ended(void *opaque, int status)
{
	const struct daemon *daemon = opaque;

	loop_quit(daemon->loop, status);
}

static int serve(struct daemon *daemon, const struct disk_config *config)
{
	const struct workers_config *workers = &daemon->config->workers;
	struct disk *disk;
	int err = workers_start(&daemon->workers, workers);

	if (err)
		return err;
	daemon->process = (struct disk_process){
		.loop = daemon->loop,
		.worker = daemon->workers.worker,
		.num_workers = workers->num,
		.engine = daemon->workers.engine,
		.engine_insisted = workers_insist(workers),
		.iopoll = workers->uring.iopoll,
		.stopping = &daemon->signals.stopping,
	};
	err = disk_create(&disk, config, &daemon->process, ended, daemon);
	if (err)
		return err == -ECANCELED ? 0 : err;
	daemon->disk = disk;
	sd_notify(0, "READY=1");
	disk_introduce(disk);
	err = loop_run(daemon->loop);
	if (err < 0)
		log_error("the control loop failed: %s", strerror(-err));
	return err;
}

int daemon_run(const struct daemon_config *config, const struct disk_config *disk)
{
	static struct daemon daemon = {.ending = PTHREAD_MUTEX_INITIALIZER};
	int err;

	daemon.config = config;
	vublk_set_log(library_log);
	raise_descriptor_limit();
	if (config->workers.uring.fixed_buffers)
		explain_fixed_buffers();
	err = start(&daemon);
	if (!err)
		err = serve(&daemon, disk);
	pthread_mutex_lock(&daemon.ending);
	disk_destroy(daemon.disk);
	workers_stop(&daemon.workers);
	/* Not the loop: a signal that comes now is posted to it. */
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
