/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/disk.h: puts together what a disk consists of, and passes on. Control thread. */
#include "config.h"

#include "disk/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/container.h"
#include "base/host_limits.h"
#include "base/log.h"
#include "base/thread.h"
#include "disk/frontend.h"
#include "disk/kept_socket.h"
#include "disk/openings.h"
#include "disk/rings.h"
#include "image/end.h"
#include "image/iopoll.h"
#include "vublk.h"

struct disk {
	const struct disk_config *config;
	const struct disk_process *process;
	const struct disk_events *events;
	void *opaque;
	struct image image;
	struct rings *rings; /* NULL until it is opened */
	struct listener listener;
	struct kept_socket kept_socket; /* the listener's */
	struct frontend frontend;

	/* While it is opened. */
	int kept_fd; /* that an earlier process has left of the listener, or -1 */
	atomic_bool stopping;
	struct opening opening;
	struct call opened; /* from that thread */
	int err;
	char why[256]; /* the error, in words */
};

static void frontend_ended(struct frontend *frontend, int status)
{
	struct disk *disk = container_of(frontend, struct disk, frontend);

	disk->events->ended(disk->opaque, status);
}

/* All that one wants to know of a log that somebody sends. */
static void introduce(const struct disk *disk)
{
	const struct disk_config *config = disk->config;
	const struct image *image = &disk->image;
	const char *path = config->image.path;
	const bool has_other_name = path && config->name != path;
	const unsigned n = disk->process->num_workers;

	log_info("serving %s%s%s: %s%s, %" PRIu64
		 " bytes in blocks of %u (physical %u), engine %s, "
		 "cache %s, %u worker%s; version %s",
		 config->name, has_other_name ? ", image " : "", has_other_name ? path : "",
		 image->fd < 0      ? "no image"
		 : image->is_device ? "a block device"
				    : "a file",
		 image->read_only ? ", read-only" : "", image->size, image->block_size,
		 image->physical_block_size, rings_target_name(disk->rings),
		 image->direct || image->fd < 0 ? "none"
		 : image->durable               ? "writethrough"
						: "writeback",
		 n, n == 1 ? "" : "s", PACKAGE_VERSION);
}

/* ---- opening ---- */

static int check_postcopy(void)
{
	const int err = vublk_postcopy_check();

	if (err)
		log_error("--postcopy: userfaultfd(2): %s%s", strerror(-err),
			  err == -EPERM ? "; it takes CAP_SYS_PTRACE, or the sysctl "
					  "vm.unprivileged_userfaultfd=1"
					: "");
	return err;
}

/* What may have to be waited for. On a thread of its own. */
static int open_slowly(struct disk *disk)
{
	const struct disk_config *config = disk->config;
	int err = config->postcopy ? check_postcopy() : 0;

	if (!err)
		err = image_open(&disk->image, &config->image);
	if (!err && disk->process->iopoll)
		err = image_iopoll_probe(&disk->image);
	if (!err) {
		const int kept = disk->kept_fd;

		disk->kept_fd = -1;
		err = listener_open(&disk->listener, &config->listener, kept, &disk->stopping);
	}
	return err;
}

static void *open_on_thread(void *arg)
{
	struct disk *disk = arg;

	log_keep_error(disk->why, sizeof(disk->why));
	disk->err = open_slowly(disk);
	mailbox_post(loop_mailbox(disk->process->loop), &disk->opened);
	return NULL;
}

static void open_refused(void *arg, int err)
{
	struct disk *disk = arg;

	log_keep_error(disk->why, sizeof(disk->why));
	log_error("%s: no thread to open the disk on: %s%s", disk->config->name, strerror(-err),
		  limits_advice(LIMITS_THREAD, err));
	log_keep_error(NULL, 0);
	disk->err = err;
	mailbox_post(loop_mailbox(disk->process->loop), &disk->opened);
}

static int begin(struct disk *disk)
{
	int err = rings_create(&disk->rings, disk->config, &disk->image, disk->process,
			       &frontend_events, &disk->frontend);

	if (err) {
		log_error("%s: cannot make the disk: %s", disk->config->name, strerror(-err));
		return err;
	}
	if (disk->listener.path)
		kept_socket_keep(disk->process->sockets, &disk->kept_socket, disk->listener.fd);
	return frontend_start(&disk->frontend, disk->process->loop, disk->rings, &disk->listener,
			      disk->process->sessions, frontend_ended);
}

static void opened(struct call *call)
{
	struct disk *disk = container_of(call, struct disk, opened);
	int err = atomic_load(&disk->stopping) ? -ECANCELED : disk->err;

	openings_done(disk->process->openings, &disk->opening);
	if (!err)
		err = begin(disk);
	if (!err)
		introduce(disk);
	disk->events->opened(disk->opaque, err);
}

/* ---- life ---- */

int disk_create(struct disk **diskp, const struct disk_config *config,
		const struct disk_process *process, const struct disk_events *events, void *opaque)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	int err = disk ? 0 : -ENOMEM;

	*diskp = NULL;
	if (!err) {
		*disk = (struct disk){
			.config = config,
			.process = process,
			.events = events,
			.opaque = opaque,
			.image = {.fd = -1},
			.listener = {.fd = -1},
			.opening = {.run = open_on_thread, .refused = open_refused, .arg = disk},
			.opened = {.run = opened},
		};
		disk->kept_fd = kept_socket_take(process->sockets, &disk->kept_socket,
						 config->listener.path);
		openings_add(process->openings, &disk->opening);
	} else {
		log_error("%s: cannot make the disk: %s", config->name, strerror(-err));
		return err;
	}
	*diskp = disk;
	return 0;
}

/* The last of it; a network file system may take its time. */
static void *close_image(void *arg)
{
	struct disk *disk = arg;

	image_close(&disk->image);
	free(disk);
	return NULL;
}

void disk_destroy(struct disk *disk)
{
	if (!disk)
		return;
	kept_socket_forget(disk->process->sockets, &disk->kept_socket);
	listener_close(&disk->listener);
	if (disk->kept_fd >= 0)
		close(disk->kept_fd);
	rings_destroy(disk->rings);
	if (thread_detached(close_image, disk))
		close_image(disk);
}

void disk_stop(struct disk *disk, bool leave_session)
{
	atomic_store(&disk->stopping, true);
	if (disk->rings)
		frontend_stop(&disk->frontend, leave_session);
	else if (openings_cancel(disk->process->openings, &disk->opening))
		mailbox_post(loop_mailbox(disk->process->loop), &disk->opened);
}

const char *disk_why(const struct disk *disk)
{
	return disk->why;
}

bool disk_look(const struct disk *disk, struct disk_facts *facts)
{
	if (!disk->rings)
		return false;
	*facts = (struct disk_facts){
		.connected = frontend_is_connected(&disk->frontend),
		.read_only = disk->image.read_only,
		.size = image_end_capacity(rings_image_end(disk->rings)),
		.block_size = disk->image.block_size,
		.n_queues = rings_running(disk->rings),
		.target = rings_target_name(disk->rings),
	};
	return true;
}

bool disk_is_connected(const struct disk *disk)
{
	return disk->rings && frontend_is_connected(&disk->frontend);
}

void disk_counters(const struct disk *disk, struct disk_counters *counters)
{
	*counters = (struct disk_counters){0};
	if (disk->rings)
		rings_counters(disk->rings, counters);
}

bool disk_ring_counters(const struct disk *disk, unsigned index, struct ring_counters *counters)
{
	return disk->rings && rings_ring_counters(disk->rings, index, counters);
}

bool disk_holds(const struct disk *disk, const struct image *image)
{
	return disk->rings && image != &disk->image && rings_hold_image(disk->rings) &&
	       image_is_same(&disk->image, image);
}

const char *disk_waited_for(const struct disk *disk)
{
	return disk->rings ? rings_waited_for(disk->rings) : NULL;
}

void disk_config_changed(struct disk *disk)
{
	if (disk->rings)
		rings_config_changed(disk->rings);
}

void disk_report(struct disk *disk)
{
	struct disk_counters counters;

	if (!disk->rings) {
		log_info("%s: being opened", disk->config->name);
		return;
	}
	frontend_report(&disk->frontend);
	disk_counters(disk, &counters);
	disk_counters_log(&counters, disk->config->name);
}

void disk_check_size(struct disk *disk, bool asked)
{
	const struct image_end *end;
	unsigned long long limit, capacity;

	if (!disk->rings || rings_look_at_size(disk->rings))
		return;
	end = rings_image_end(disk->rings);
	limit = image_end_limit(end);
	capacity = image_end_capacity(end);
	if (limit < capacity)
		log_warning("%s: the disk still has %llu bytes, and fails beyond %llu, where the "
			    "image was truncated: what was lost is not to be had back by making it "
			    "longer; restore the image, and start vublkd and the guest again",
			    disk->config->name, capacity, limit);
	else
		log_write(asked ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
			  "%s: the image has not grown, and the disk has %llu bytes",
			  disk->config->name, capacity);
}

void disk_check_memory(struct disk *disk)
{
	if (disk->rings)
		frontend_check_memory(&disk->frontend);
}

void disk_unlink(struct disk *disk)
{
	if (atomic_load(&disk->process->sockets->restarts))
		listener_leave(&disk->listener);
	else
		listener_unlink(&disk->listener);
}
