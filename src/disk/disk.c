/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/disk.h: puts together what a disk consists of, and passes on. Control thread. */
#include "config.h"

#include "disk/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/log.h"
#include "disk/frontend.h"
#include "disk/rings.h"
#include "image/end.h"
#include "image/iopoll.h"
#include "vublk.h"

struct disk {
	const struct disk_config *config;
	const struct disk_process *process;
	struct image image;
	struct rings *rings;
	struct listener listener;
	struct frontend frontend;
	void (*ended)(void *opaque, int status);
	void *opaque;
};

static void frontend_ended(struct frontend *frontend, int status)
{
	struct disk *disk = container_of(frontend, struct disk, frontend);

	disk->ended(disk->opaque, status);
}

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

static int open_disk(struct disk *disk)
{
	const struct disk_config *config = disk->config;
	int err = config->postcopy ? check_postcopy() : 0;

	if (!err)
		err = image_open(&disk->image, &config->image);
	if (!err && disk->process->iopoll)
		err = image_iopoll_probe(&disk->image);
	if (err)
		return err;
	err = rings_create(&disk->rings, config, &disk->image, disk->process, &frontend_events,
			   &disk->frontend);
	if (err) {
		log_error("cannot make the disk: %s", strerror(-err));
		return err;
	}
	err = listener_open(&disk->listener, &config->listener, disk->process->stopping);
	if (err)
		return err;
	return frontend_start(&disk->frontend, disk->process->loop, disk->rings, &disk->listener,
			      frontend_ended);
}

int disk_create(struct disk **diskp, const struct disk_config *config,
		const struct disk_process *process, void (*ended)(void *opaque, int status),
		void *opaque)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	int err;

	*diskp = NULL;
	if (!disk) {
		log_error("cannot make the disk: %s", strerror(ENOMEM));
		return -ENOMEM;
	}
	disk->config = config;
	disk->process = process;
	disk->listener.fd = -1;
	disk->ended = ended;
	disk->opaque = opaque;
	err = open_disk(disk);
	if (err)
		disk_destroy(disk);
	else
		*diskp = disk;
	return err;
}

void disk_destroy(struct disk *disk)
{
	if (!disk)
		return;
	listener_close(&disk->listener);
	rings_destroy(disk->rings);
	image_close(&disk->image);
	free(disk);
}

void disk_stop(struct disk *disk)
{
	frontend_stop(&disk->frontend);
}

/* All that one wants to know of a log that somebody sends. */
void disk_introduce(const struct disk *disk)
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

void disk_report(const struct disk *disk)
{
	frontend_report(&disk->frontend);
}

void disk_check_size(struct disk *disk)
{
	const struct image_end *end = rings_image_end(disk->rings);
	unsigned long long limit, capacity;

	if (rings_look_at_size(disk->rings))
		return;
	limit = image_end_limit(end);
	capacity = image_end_capacity(end);
	if (limit < capacity)
		log_warning("%s: the disk still has %llu bytes, and fails beyond %llu, where the "
			    "image was truncated: what was lost is not to be had back by making it "
			    "longer; restore the image, and start vublkd and the guest again",
			    disk->config->name, capacity, limit);
	else
		log_info("%s: the image has not grown, and the disk has %llu bytes",
			 disk->config->name, capacity);
}

void disk_check_memory(struct disk *disk)
{
	frontend_check_memory(&disk->frontend);
}

void disk_unlink(struct disk *disk)
{
	listener_unlink(&disk->listener);
}
