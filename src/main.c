/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vublkd: puts the pieces together, in the order in which what was asked for can be found not to
 * be had, and takes them apart again. Exit status: 0, 1 when something cannot be had, 2 for a
 * wrong command line.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/container.h"
#include "base/host_limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/thread.h"
#include "cli/capabilities.h"
#include "cli/options.h"
#include "cli/std_fds.h"
#include "disk/disk.h"
#include "disk/listener.h"
#include "disk/server.h"
#include "image/image.h"
#include "image/iopoll.h"
#include "io/engine.h"
#include "vublk.h"
#include "worker/worker.h"

#define EXIT_USAGE 2

struct program {
	struct options options;
	struct loop *loop;
	struct image image;
	struct listener listener;
	struct worker_config worker_config[OPTIONS_MAX_WORKERS];
	struct worker *worker[OPTIONS_MAX_WORKERS];
	struct disk *disk;
	struct server server;
	struct loop_watch memory_lost;
	sigset_t signals;
	struct call stop_call, report_call;
	atomic_bool reporting; /* report_call is posted */
	atomic_bool stopping;
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

static void stop(struct call *call)
{
	struct program *program = container_of(call, struct program, stop_call);

	sd_notify(0, "STOPPING=1");
	server_stop(&program->server);
}

static void report(struct call *call)
{
	struct program *program = container_of(call, struct program, report_call);

	atomic_store(&program->reporting, false);
	server_report(&program->server);
}

/* Asks the control thread, and ends the process if that takes too long. */
static _Noreturn void stop_in_time(struct program *program, int number)
{
	const struct timespec timeout = {.tv_sec = program->options.stop_timeout};

	atomic_store(&program->stopping, true);
	mailbox_post(loop_mailbox(program->loop), &program->stop_call);
	log_info("stopping: %s", strsignal(number));
	nanosleep(&timeout, NULL);
	log_warning("stopping with I/O in flight that has not ended in %u s",
		    program->options.stop_timeout);
	listener_unlink(&program->listener);
	_exit(EXIT_SUCCESS);
}

/* A thread of its own, so that a stop does not depend on what the others are at. */
static void *wait_for_signal(void *arg)
{
	struct program *program = arg;
	int number;

	for (;;) {
		if (sigwait(&program->signals, &number))
			continue;
		switch (number) {
		case SIGUSR1:
			if (!atomic_exchange(&program->reporting, true))
				mailbox_post(loop_mailbox(program->loop), &program->report_call);
			break;
		case SIGHUP:
			log_info("SIGHUP: ignored; there is no configuration to reload");
			break;
		case SIGUSR2:
			log_info("SIGUSR2: ignored");
			break;
		default:
			stop_in_time(program, number);
		}
	}
	return NULL;
}

/* SIGTERM and SIGINT stop us; what an operator may send besides, or a closed pipe, does not. */
static int watch_signals(struct program *program)
{
	static const int waited_for[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
	pthread_t thread;
	int err;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* beyond RLIMIT_FSIZE: an error of that write */
	sigemptyset(&program->signals);
	for (size_t i = 0; i < sizeof(waited_for) / sizeof(*waited_for); i++)
		sigaddset(&program->signals, waited_for[i]);
	sigprocmask(SIG_BLOCK, &program->signals, NULL);
	program->stop_call.run = stop;
	program->report_call.run = report;
	err = thread_create(&thread, wait_for_signal, program);
	if (!err)
		pthread_detach(thread);
	return err;
}

/* ---- memory that a front-end takes away ---- */

static void memory_lost(struct loop_watch *watch, uint32_t events)
{
	uint64_t count;

	(void)events;
	eventfd_read(watch->fd, &count);
	server_check_memory(&container_of(watch, struct program, memory_lost)->server);
}

static int guard_memory(struct program *program)
{
	const int fd = vublk_guard_memory();

	program->memory_lost = (struct loop_watch){.fd = fd, .ready = memory_lost};
	return fd < 0 ? fd : loop_watch(program->loop, &program->memory_lost, EPOLLIN);
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

static int start_worker(struct program *program, unsigned i, const struct engine_class *class)
{
	const struct options *options = &program->options;
	struct worker_config *config = &program->worker_config[i];

	*config = (struct worker_config){
		.class = class,
		.engine = options->engine_options,
		.poll_ns = options->poll_ns,
		.cpu = options->n_cpus ? options->cpu[i % options->n_cpus] : -1,
	};
	return worker_create(&program->worker[i], config);
}

/* May the workers run where they are to? */
static int check_cpus(const struct options *options)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return -errno;
	for (unsigned i = 0; i < options->n_cpus; i++) {
		if (CPU_ISSET((size_t)options->cpu[i], &allowed))
			continue;
		log_error("--cpu-affinity: CPU %d does not exist, or may not be used",
			  options->cpu[i]);
		return -EINVAL;
	}
	return 0;
}

/* Was something asked for that io_uring alone can do? */
static bool needs_io_uring(const struct options *options)
{
	const struct engine_options *engine = &options->engine_options;

	return options->engine_given || engine->fixed_buffers || engine->iopoll || engine->sqpoll;
}

static const char *engine_advice(const struct engine_class *class, int err)
{
	/* io_uring itself never answers so: it was the thread. */
	if (err == -EAGAIN && class == &engine_uring)
		return limits_advice(LIMITS_THREAD, err);
	return limits_advice(class == &engine_uring ? LIMITS_IO_URING : LIMITS_LIBAIO, err);
}

static void log_engine_error(const struct options *options, const struct engine_class *class,
			     int err)
{
	const struct engine_options *engine = &options->engine_options;

	if (err == -EINVAL && engine->sqpoll && engine->sqpoll_cpu >= 0)
		log_error("--sqpoll-cpu: CPU %d does not exist, or may not be used",
			  engine->sqpoll_cpu);
	else if (err == -EOPNOTSUPP && engine->fixed_buffers)
		log_error("--fixed-buffers needs Linux 5.19 or newer");
	else
		log_error("the %s engine cannot be used: %s%s", class->name, strerror(-err),
			  engine_advice(class, err));
}

/*
 * The engine that was asked for; or, where none was, libaio where io_uring is switched off, or
 * would leave all to its helper thread.
 */
static int start_workers(struct program *program)
{
	const struct engine_class *class = program->options.engine;
	int err;

	if (program->image.is_fuse && class == &engine_uring && !needs_io_uring(&program->options))
		class = &engine_aio;
	err = start_worker(program, 0, class);
	if (err && class == &engine_uring && !needs_io_uring(&program->options)) {
		log_warning("io_uring is not available (%s%s); using libaio, which is slower",
			    strerror(-err), engine_advice(class, err));
		class = &engine_aio;
		err = start_worker(program, 0, class);
	}
	for (unsigned i = 1; !err && i < program->options.num_workers; i++)
		err = start_worker(program, i, class);
	if (err)
		log_engine_error(&program->options, class, err);
	return err;
}

static void prepare_fixed_buffers(void)
{
	vublk_keep_memory_files();
	log_info("--fixed-buffers: the guest's memory stays present and pinned, so a balloon, free "
		 "page reporting and virtio-mem give none of it back; when they try, the disk goes "
		 "on without --fixed-buffers");
}

/* All that one wants to know of a log that somebody sends. */
static void say_what_is_served(const struct program *program)
{
	const struct options *options = &program->options;
	const struct image *image = &program->image;
	const bool has_other_name =
		options->image.path && options->disk.name != options->image.path;

	log_info("serving %s%s%s: %s%s, %llu bytes in blocks of %u (physical %u), engine %s, cache "
		 "%s, %u worker%s; version %s",
		 disk_name(program->disk), has_other_name ? ", image " : "",
		 has_other_name ? options->image.path : "",
		 image->fd < 0      ? "no image"
		 : image->is_device ? "a block device"
				    : "a file",
		 image->read_only ? ", read-only" : "", (unsigned long long)image->size,
		 image->block_size, image->physical_block_size,
		 program->worker_config[0].class->name,
		 image->direct || image->fd < 0 ? "none"
		 : image->durable               ? "writethrough"
						: "writeback",
		 options->num_workers, options->num_workers == 1 ? "" : "s", PACKAGE_VERSION);
}

static void ended(struct server *server, int status)
{
	loop_quit(container_of(server, struct program, server)->loop, status);
}

static int serve(struct program *program)
{
	int err = loop_create(&program->loop);

	if (!err)
		err = watch_signals(program);
	if (!err)
		err = guard_memory(program);
	if (err) {
		log_error("cannot start: %s%s", strerror(-err), limits_advice(LIMITS_THREAD, err));
		return err;
	}
	err = image_open(&program->image, &program->options.image);
	if (err)
		return err;
	err = check_cpus(&program->options);
	if (!err && program->options.engine_options.iopoll)
		err = image_iopoll_probe(&program->image);
	if (!err)
		err = start_workers(program);
	if (err)
		return err;
	err = disk_create(&program->disk, &program->options.disk, &program->image, program->loop,
			  program->worker, program->options.num_workers, &server_events,
			  &program->server);
	if (err) {
		log_error("cannot make the disk: %s", strerror(-err));
		return err;
	}
	err = listener_open(&program->listener, &program->options.listener, &program->stopping);
	if (err)
		return err == -ECANCELED ? 0 : err;
	err = server_start(&program->server, program->loop, program->disk, &program->listener,
			   ended);
	if (err)
		return err;
	sd_notify(0, "READY=1");
	say_what_is_served(program);
	err = loop_run(program->loop);
	if (err < 0)
		log_error("the control loop failed: %s", strerror(-err));
	return err;
}

static int run(struct program *program)
{
	int err;

	program->image.fd = program->listener.fd = -1;
	vublk_set_log(library_log);
	raise_descriptor_limit();
	if (program->options.engine_options.fixed_buffers)
		prepare_fixed_buffers();
	err = serve(program);
	listener_close(&program->listener);
	disk_destroy(program->disk);
	for (unsigned i = 0; i < OPTIONS_MAX_WORKERS && program->worker[i]; i++)
		worker_destroy(program->worker[i]);
	image_close(&program->image);
	/* Not the loop: a signal that comes now is posted to it. */
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Standard output is part of the answer: a full disk is an error. */
static int flush_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_SUCCESS;
	log_error("cannot write to standard output: %s", strerror(errno));
	return EXIT_FAILURE;
}

static int print_capabilities(void)
{
	int err = capabilities_print();

	if (err)
		log_error("cannot write the capabilities: %s", strerror(-err));
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
	/* Static, since a thread that is never joined uses it. */
	static struct program program;
	char error[256];

	std_fds_occupy();
	if (options_parse(&program.options, argc, argv, error, sizeof(error))) {
		log_set_level(LOG_LEVEL_ERROR);
		log_error("%s", error);
		return EXIT_USAGE;
	}
	switch (program.options.action) {
	case OPTIONS_HELP:
		options_print_help();
		return flush_output();
	case OPTIONS_VERSION:
		puts(PACKAGE_STRING);
		return flush_output();
	case OPTIONS_CAPABILITIES:
		return print_capabilities();
	case OPTIONS_SERVE:
		break;
	}
	log_set_level(program.options.log_level);
	if (!listener_is_named(&program.options.listener))
		return EXIT_USAGE;
	return run(&program);
}
