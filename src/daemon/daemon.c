/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See daemon/daemon.h: puts the pieces together, in the order in which what was asked for can be
 * found not to be had, and takes them apart again.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "api/api.h"
#include "api/events.h"
#include "api/http.h"
#include "api/metrics_server.h"
#include "base/clock.h"
#include "base/container.h"
#include "base/host_limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "image/wires.h"
#include "disks/config_dir.h"
#include "disks/disks.h"
#include "daemon/signals.h"
#include "disk/disk.h"
#include "disk/kept.h"
#include "disk/kept_socket.h"
#include "disk/openings.h"
#include "disk/placement.h"
#include "vublk.h"

/* For how long it is not said that we are ready though disks are being opened. */
#define PATIENCE_NS UINT64_C(5000000000)

struct daemon {
	const struct daemon_config *config;
	struct loop *loop;
	struct signals signals;
	struct workers workers;
	struct image_wires wires;
	struct disk_process process;
	struct placement placement;
	struct openings openings;
	struct disks disks;
	struct kept_sessions sessions;
	struct kept_sockets sockets;
	struct api_view api_view;
	struct api *api;
	struct http *metrics;
	bool ready, stopping, api_awaited;
	pthread_mutex_t ending; /* taken by who ends the process, for good */
	struct loop_watch memory_lost;
	struct loop_timer patience; /* with disks that take long to open */
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
	struct daemon *daemon = daemon_of(signals);

	sd_notify(0, "STOPPING=1");
	daemon->stopping = true;
	atomic_store(&daemon->sockets.restarts, atomic_load(&signals->status) == SIGNALS_RESTART);
	/* Whether somebody goes on with them is for who keeps them to say. */
	disks_stop(&daemon->disks, daemon->sessions.on);
}

static void report(struct signals *signals)
{
	disks_each(&daemon_of(signals)->disks, disk_report);
}

static unsigned reload(const struct api_view *view)
{
	const struct daemon *daemon = container_of(view, const struct daemon, api_view);
	const char *config_dir = daemon->config->config_dir;

	return config_dir ? config_dir_apply(config_dir, view->host, view->disks) : 0;
}

static bool is_ready(const struct api_view *view)
{
	return container_of(view, const struct daemon, api_view)->ready;
}

/* Pids come again. */
static void name_instance(struct api_view *view)
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		number = (uint64_t)now_ns() ^ (uint64_t)getpid() << 48;
	snprintf(view->instance, sizeof(view->instance), "%016" PRIx64, number);
}

/* What SIGUSR2 does is what is asked for. */
static int upgrade(const struct api_view *view)
{
	const struct daemon *daemon = container_of(view, const struct daemon, api_view);

	if (daemon->stopping)
		return -EBUSY;
	if (!daemon->signals.restarts)
		return -EOPNOTSUPP;
	/* Who is being tried would be found not to get ready. */
	if (!daemon->ready)
		return -EAGAIN;
	return kill(getpid(), SIGUSR2) ? -errno : 0;
}

/* Of all of them nobody wants a line each that nothing is new. */
static void check_size(struct disk *disk)
{
	disk_check_size(disk, false);
}

static void hangup(struct signals *signals)
{
	struct daemon *daemon = daemon_of(signals);

	if (daemon->stopping)
		return;
	reload(&daemon->api_view);
	disks_each(&daemon->disks, check_size);
}

/*
 * On the thread for signals. The disks are not taken apart meanwhile; or if they are already,
 * however long that lasts, their paths were the first to go.
 */
static void give_up(struct signals *signals)
{
	struct daemon *daemon = daemon_of(signals);

	if (pthread_mutex_trylock(&daemon->ending))
		return;
	disks_unlink(&daemon->disks);
	api_unlink(daemon->api);
}

/* ---- memory that a front-end takes away ---- */

static void memory_lost(struct loop_watch *watch, uint32_t events)
{
	uint64_t count;

	(void)events;
	eventfd_read(watch->fd, &count);
	disks_each(&container_of(watch, struct daemon, memory_lost)->disks, disk_check_memory);
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
			.restarts = daemon->sessions.on,
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

/* ---- the disks ---- */

static void say_ready(struct daemon *daemon)
{
	if (daemon->ready)
		return;
	daemon->ready = true;
	loop_clear_timer(daemon->loop, &daemon->patience);
	sd_notify(0, "READY=1");
}

static void patience_is_over(struct loop_timer *timer)
{
	say_ready(container_of(timer, struct daemon, patience));
}

/* The disk of the command line is all that there is. Does it serve nobody any more? So do we. */
static bool check_only_disk(struct daemon *daemon)
{
	const struct disks_entry *entry = daemon->disks.first;

	if (!entry || (entry->state != DISKS_FAILED && entry->state != DISKS_ENDED))
		return false;
	loop_quit(daemon->loop, entry->state == DISKS_FAILED ? EXIT_FAILURE : entry->status);
	return true;
}

static void disks_changed(struct disks *disks)
{
	struct daemon *daemon = container_of(disks, struct daemon, disks);

	if (daemon->stopping) {
		if (!disks->first)
			loop_quit(daemon->loop, EXIT_SUCCESS);
		return;
	}
	if (!daemon->config->config_dir && !daemon->config->api.path && check_only_disk(daemon))
		return;
	if (!disks_are_settled(disks))
		return;
	kept_sessions_drop_rest(&daemon->sessions);
	if (!daemon->api_awaited)
		say_ready(daemon);
}

/* 0 or -errno (logged). */
static void api_settled(struct api_view *view, int err)
{
	struct daemon *daemon = container_of(view, struct daemon, api_view);

	daemon->api_awaited = false;
	/* There is nothing else to go on for. */
	if (err && !daemon->disks.first && !daemon->config->config_dir)
		loop_quit(daemon->loop, EXIT_FAILURE);
	else
		disks_changed(&daemon->disks);
}

/* Where it is asked, and shows. 0 or -errno (logged). */
static int start_servers(struct daemon *daemon)
{
	const struct daemon_config *config = daemon->config;
	int err = 0;

	if (config->api.path)
		err = api_start(&daemon->api, &config->api, &daemon->api_view);
	daemon->api_awaited = !err && config->api.path;
	if (!err && config->metrics_address)
		err = metrics_start(&daemon->metrics, config->metrics_address, &daemon->api_view);
	return err;
}

/* 0 or -errno (logged). Takes the options over. */
static int begin(struct daemon *daemon, struct disk_options *disk)
{
	char error[256];
	int err = start_servers(daemon);

	if (err)
		disk_options_destroy(disk);
	else if (disk)
		err = disks_add(&daemon->disks, disk, DISKS_COMMAND_LINE, error, sizeof(error));
	if (err)
		return err;
	daemon->patience.fire = patience_is_over;
	loop_set_timer(daemon->loop, &daemon->patience, PATIENCE_NS);
	reload(&daemon->api_view);
	disks_add_kept(&daemon->disks, &daemon->config->host);
	disks_changed(&daemon->disks);
	return 0;
}

static void tell(const struct disk_process *process, const struct disk_config *config,
		 const char *event, const char *detail)
{
	const struct daemon *daemon = container_of(process, const struct daemon, process);

	if (daemon->api_view.events)
		events_add(daemon->api_view.events, disks_id_of(&daemon->disks, config), event,
			   detail);
}

static const char *holder_of(const struct disk_process *process, const struct image *image)
{
	return disks_holder_of(&container_of(process, const struct daemon, process)->disks, image);
}

static unsigned load_of(const struct placement *placement, unsigned worker)
{
	const struct daemon *daemon = container_of(placement, const struct daemon, placement);

	return worker_load(daemon->workers.worker[worker]);
}

static int serve(struct daemon *daemon, struct disk_options *disk)
{
	const struct workers_config *workers = &daemon->config->workers;
	int err = placement_init(&daemon->placement, workers->num, load_of);

	if (err)
		log_error("cannot start: %s", strerror(-err));
	else
		err = workers_start(&daemon->workers, workers);

	daemon->process = (struct disk_process){
		.loop = daemon->loop,
		.wires = &daemon->wires,
		.worker = daemon->workers.worker,
		.num_workers = workers->num,
		.placement = &daemon->placement,
		.openings = &daemon->openings,
		.sessions = &daemon->sessions,
		.sockets = &daemon->sockets,
		.engine = daemon->workers.engine,
		.engine_insisted = workers_insist(workers),
		.tell = tell,
		.holder_of = holder_of,
		.iopoll = workers->uring.iopoll,
	};
	openings_init(&daemon->openings, daemon->loop);
	image_wires_open(&daemon->wires, daemon->loop);
	daemon->api_view.loop = daemon->loop;
	daemon->api_view.worker = daemon->workers.worker;
	daemon->api_view.num_workers = workers->num;
	if (err)
		disk_options_destroy(disk);
	else
		err = begin(daemon, disk);
	if (err)
		return err;
	err = loop_run(daemon->loop);
	if (err < 0)
		log_error("the control loop failed: %s", strerror(-err));
	return err;
}

unsigned daemon_check(const struct daemon_config *config, const struct disk_options *disk)
{
	const char *address = config->metrics_address;
	const unsigned wrong = address ? metrics_check(address) != 0 : 0;

	return wrong + config_dir_check(config->config_dir, &config->host, disk, config->api.path);
}

int daemon_run(const struct daemon_config *config, struct disk_options *disk)
{
	static struct daemon daemon = {.ending = PTHREAD_MUTEX_INITIALIZER};
	int err;

	daemon.config = config;
	disks_init(&daemon.disks, &daemon.process, disks_changed);
	daemon.disks.api_path = config->api.path;
	daemon.api_view = (struct api_view){
		.disks = &daemon.disks,
		.host = &config->host,
		.reload = reload,
		.is_ready = is_ready,
		.upgrade = upgrade,
		.settled = api_settled,
	};
	name_instance(&daemon.api_view);
	vublk_set_log(library_log);
	raise_descriptor_limit();
	kept_sessions_open(&daemon.sessions);
	kept_sockets_open(&daemon.sockets);
	if (config->workers.uring.fixed_buffers)
		explain_fixed_buffers();
	err = start(&daemon);
	if (err)
		disk_options_destroy(disk);
	else
		err = serve(&daemon, disk);
	pthread_mutex_lock(&daemon.ending);
	http_stop(daemon.metrics);
	api_stop(daemon.api);
	disks_destroy(&daemon.disks);
	workers_stop(&daemon.workers);
	placement_end(&daemon.placement);
	/* Not the loop: a signal that comes now is posted to it. */
	return err ? EXIT_FAILURE : atomic_load(&daemon.signals.status);
}
