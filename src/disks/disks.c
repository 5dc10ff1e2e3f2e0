/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See disks/disks.h.
 *
 *	add --> OPENING --> SERVED --> LEAVING --> gone, or OPENING again with other options
 *	           '----> FAILED ------'
 *
 * A disk whose image or socket is slow to be had is OPENING for as long, and stops nobody.
 */
#include "disks/disks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/log.h"
#include "base/loop.h"

static const struct disk_events events;

/* ---- the list ---- */

static void link_entry(struct disks *disks, struct disks_entry *entry)
{
	struct disks_entry **at = &disks->first;

	pthread_mutex_lock(&disks->lock);
	while (*at)
		at = &(*at)->next;
	*at = entry;
	pthread_mutex_unlock(&disks->lock);
}

static void unlink_entry(struct disks_entry *entry)
{
	struct disks_entry **at = &entry->disks->first;

	pthread_mutex_lock(&entry->disks->lock);
	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	pthread_mutex_unlock(&entry->disks->lock);
}

static void set_disk(struct disks_entry *entry, struct disk *disk)
{
	pthread_mutex_lock(&entry->disks->lock);
	entry->disk = disk;
	pthread_mutex_unlock(&entry->disks->lock);
}

static void destroy_disk(struct disks_entry *entry)
{
	struct disk *disk = entry->disk;

	if (!disk)
		return;
	disk_unlink(disk);
	set_disk(entry, NULL);
	disk_destroy(disk);
}

static void destroy_entry(struct disks_entry *entry)
{
	destroy_disk(entry);
	kept_options_leave(&entry->kept);
	disk_options_destroy(entry->options);
	disk_options_destroy(entry->next_options);
	free(entry);
}

struct disks_entry *disks_find(const struct disks *disks, const char *id)
{
	struct disks_entry *entry = disks->first;

	while (entry && strcmp(entry->id, id) != 0)
		entry = entry->next;
	return entry;
}

/* Its socket's path, or what that will be once it is replaced; NULL: none, or not for long. */
static const char *socket_of(const struct disks_entry *entry)
{
	const struct disk_options *options = entry->coming ? entry->coming : disks_wanted(entry);

	return options ? options->config.listener.path : NULL;
}

static const struct disks_entry *find_socket(const struct disks *disks, const char *path,
					     const struct disks_entry *except)
{
	const struct disks_entry *entry = disks->first;

	while (entry && (entry == except || !socket_of(entry) ||
			 !listener_is_same_path(socket_of(entry), path)))
		entry = entry->next;
	return entry;
}

static int check_socket(const struct disks *disks, const struct disk_options *options,
			const struct disks_entry *except, char *error, size_t size)
{
	const char *path = options->config.listener.path;
	const struct disks_entry *other = path ? find_socket(disks, path, except) : NULL;

	if (path && disks->api_path && listener_is_same_path(path, disks->api_path))
		snprintf(error, size, "%s: its socket %s is that of the API", options->config.name,
			 path);
	else if (other)
		snprintf(error, size, "%s: its socket %s is that of the disk %s",
			 options->config.name, path, other->id);
	else
		return 0;
	return -EADDRINUSE;
}

bool disks_are_settled(const struct disks *disks)
{
	const struct disks_entry *entry = disks->first;

	while (entry && entry->state != DISKS_OPENING)
		entry = entry->next;
	return !entry;
}

static void tell(const struct disks_entry *entry, const char *event, const char *detail)
{
	const struct disk_process *process = entry->disks->process;

	process->tell(process, &entry->options->config, event, detail);
}

/* ---- life ---- */

static int open_entry(struct disks_entry *entry)
{
	struct disk *disk;
	const int err =
		disk_create(&disk, &entry->options->config, entry->disks->process, &events, entry);

	entry->state = err ? DISKS_FAILED : DISKS_OPENING;
	entry->is_over = false;
	*entry->why = '\0';
	if (!err)
		set_disk(entry, disk);
	return err;
}

/* Its disk is no more: it is replaced, or gone. */
static void left(struct disks_entry *entry)
{
	struct disks *disks = entry->disks;

	if (entry->next_options && !disks->stopping) {
		disk_options_destroy(entry->options);
		entry->options = entry->next_options;
		entry->next_options = NULL;
		entry->id = entry->options->id;
		open_entry(entry);
		return;
	}
	log_info("%s: %s", entry->options->config.name,
		 disks->leave_sessions ? "left to the next process" : "not served any more");
	tell(entry, "removed", NULL);
	unlink_entry(entry);
	destroy_entry(entry);
}

static void opened(void *opaque, int err)
{
	struct disks_entry *entry = opaque;
	struct disks *disks = entry->disks;

	if (err) {
		snprintf(entry->why, sizeof(entry->why), "%s", disk_why(entry->disk));
		destroy_disk(entry);
	}
	if (entry->state == DISKS_LEAVING && err)
		left(entry);
	else if (entry->state == DISKS_LEAVING)
		disk_stop(entry->disk, entry->disks->leave_sessions);
	else {
		entry->state = err ? DISKS_FAILED : DISKS_SERVED;
		tell(entry, err ? "failed" : "served", err ? entry->why : NULL);
	}
	disks->changed(disks);
}

/* What has ended is not on the stack any more. */
static void is_over(struct call *call)
{
	struct disks_entry *entry = container_of(call, struct disks_entry, over);
	struct disks *disks = entry->disks;
	const int status = entry->status;

	destroy_disk(entry);
	if (entry->state == DISKS_LEAVING)
		left(entry);
	else
		entry->state = status ? DISKS_FAILED : DISKS_ENDED;
	disks->changed(disks);
}

static void ended(void *opaque, int status)
{
	struct disks_entry *entry = opaque;

	/* It may have ended by itself, and be stopped before that is known here. */
	if (entry->is_over)
		return;
	entry->is_over = true;
	entry->status = status;
	entry->over.run = is_over;
	mailbox_post(loop_mailbox(entry->disks->process->loop), &entry->over);
}

static const struct disk_events events = {.opened = opened, .ended = ended};

/* Its disk ends, if there is one; then left(), at once or later. */
static void leave(struct disks_entry *entry)
{
	entry->state = DISKS_LEAVING;
	if (entry->disk)
		disk_stop(entry->disk, entry->disks->leave_sessions);
	else
		left(entry);
}

/* ---- what is asked ---- */

/* The disk of the command line: its name, or the last part of its image's path, if it may be. */
const char *disks_id_for(const struct disk_options *options)
{
	const char *name = options->config.name, *slash = strrchr(name, '/');

	if (options->id)
		return options->id;
	if (slash)
		name = slash + 1;
	return disk_options_may_call(name) ? name : "disk";
}

/* Nothing begins any more. */
static int check_stopping(const struct disks *disks, char *error, size_t size)
{
	if (disks->stopping)
		snprintf(error, size, "the process is about to end");
	return disks->stopping ? -EBUSY : 0;
}

/* Only the API's, which are written down nowhere else. */
static void keep(struct disks_entry *entry)
{
	if (entry->origin == DISKS_API)
		kept_options_keep(&entry->kept, disks_wanted(entry));
}

static int add(struct disks *disks, struct disk_options *options, enum disks_origin origin,
	       struct kept_options kept, char *error, size_t size)
{
	struct disks_entry *entry = NULL;
	int err = check_stopping(disks, error, size);

	if (!err && disks_find(disks, disks_id_for(options))) {
		snprintf(error, size, "there is a disk %s already", disks_id_for(options));
		err = -EEXIST;
	}
	if (!err)
		err = check_socket(disks, options, NULL, error, size);
	if (!err) {
		entry = calloc(1, sizeof(*entry));
		err = entry ? 0 : -ENOMEM;
		if (err)
			snprintf(error, size, "%s", strerror(ENOMEM));
	}
	if (err) {
		disk_options_destroy(options);
		kept_options_forget(&kept);
		return err;
	}
	*entry = (struct disks_entry){
		.id = disks_id_for(options),
		.options = options,
		.origin = origin,
		.kept = kept,
		.disks = disks,
	};
	link_entry(disks, entry);
	if (!entry->kept.number)
		keep(entry);
	err = open_entry(entry);
	if (err)
		snprintf(error, size, "%s: %s", entry->id, strerror(-err));
	return err;
}

int disks_add(struct disks *disks, struct disk_options *options, enum disks_origin origin,
	      char *error, size_t size)
{
	return add(disks, options, origin, (struct kept_options){0}, error, size);
}

static void add_kept(void *opaque, struct disk_options *options, struct kept_options kept)
{
	char error[512];
	int err;

	/* Somebody has written down what the disk is told; its session goes on all the same. */
	if (disks_find(opaque, options->id)) {
		log_info("%s: what the API told the disk is forgotten: a file, or the command "
			 "line, has it",
			 options->id);
		kept_options_forget(&kept);
		disk_options_destroy(options);
		return;
	}
	err = add(opaque, options, DISKS_API, kept, error, sizeof(error));
	if (err)
		log_error("a disk of an earlier process is not served: %s", error);
}

void disks_add_kept(struct disks *disks, const struct disk_host *host)
{
	kept_options_each(host, add_kept, disks);
}

/* Is all that differs such that it may change now, and something does? */
static bool is_live_change(const struct disks_entry *entry, const struct disk_options *options)
{
	unsigned changed[DISK_OPTIONS_MAX];
	const unsigned n = disk_options_compare(entry->options, options, changed);

	for (unsigned i = 0; i < n; i++)
		if (!disk_options_is_live(changed[i]))
			return false;
	return n && (entry->state == DISKS_SERVED || entry->state == DISKS_OPENING);
}

static void change_now(struct disks_entry *entry, struct disk_options *options)
{
	char names[256];

	disk_options_name_changes(entry->options, options, names, sizeof(names));
	disk_options_take_live(entry->options, options);
	disk_config_changed(entry->disk);
	tell(entry, "changed", names);
	log_info("%s: changed: %s", entry->options->config.name, names);
	disk_options_destroy(options);
	keep(entry);
}

int disks_replace(struct disks_entry *entry, struct disk_options *options, char *error, size_t size)
{
	const struct disks *disks = entry->disks;
	int err;

	if (is_live_change(entry, options)) {
		change_now(entry, options);
		return 0;
	}
	err = check_stopping(disks, error, size);
	if (!err)
		err = check_socket(disks, options, entry, error, size);
	if (!err && entry->origin == DISKS_COMMAND_LINE) {
		snprintf(error, size,
			 "%s: of the disk of the command line only limits, workers and no-poll can "
			 "be changed",
			 entry->id);
		err = -EBUSY;
	}
	if (!err && entry->disk && disk_is_connected(entry->disk)) {
		snprintf(error, size, "%s: a front-end is connected", entry->id);
		err = -EBUSY;
	}
	if (err) {
		disk_options_destroy(options);
		return err;
	}
	disk_options_destroy(entry->next_options);
	entry->next_options = options;
	if (entry->state != DISKS_LEAVING)
		leave(entry);
	keep(entry);
	return 0;
}

bool disks_announce(struct disks_entry *entry, const struct disk_options *options)
{
	if (options && entry->disk && disk_is_connected(entry->disk))
		return false;
	entry->coming = options;
	return true;
}

bool disks_coming_is_free(const struct disks_entry *entry)
{
	char error[512];

	return !check_socket(entry->disks, entry->coming, entry, error, sizeof(error));
}

int disks_remove(struct disks_entry *entry, bool force)
{
	if (!force && entry->disk && disk_is_connected(entry->disk))
		return -EBUSY;
	disk_options_destroy(entry->next_options);
	entry->next_options = NULL;
	kept_options_forget(&entry->kept);
	if (entry->state != DISKS_LEAVING)
		leave(entry);
	return 0;
}

void disks_stop(struct disks *disks, bool leave_sessions)
{
	struct disks_entry *next;

	disks->stopping = true;
	disks->leave_sessions = leave_sessions;
	for (struct disks_entry *entry = disks->first; entry; entry = next) {
		next = entry->next;
		if (entry->state != DISKS_LEAVING)
			leave(entry);
	}
	disks->changed(disks);
}

void disks_each(struct disks *disks, void (*run)(struct disk *disk))
{
	for (struct disks_entry *entry = disks->first; entry; entry = entry->next)
		if (entry->disk)
			run(entry->disk);
}

void disks_unlink(struct disks *disks)
{
	pthread_mutex_lock(&disks->lock);
	disks_each(disks, disk_unlink);
	pthread_mutex_unlock(&disks->lock);
}

void disks_init(struct disks *disks, const struct disk_process *process,
		void (*changed)(struct disks *disks))
{
	*disks = (struct disks){
		.process = process,
		.changed = changed,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
}

void disks_destroy(struct disks *disks)
{
	disks_unlink(disks);
	while (disks->first) {
		struct disks_entry *entry = disks->first;

		unlink_entry(entry);
		/* The thread that opens it is at work still, and the process ends. */
		if (entry->state != DISKS_OPENING)
			destroy_entry(entry);
	}
}

const char *disks_id_of(const struct disks *disks, const struct disk_config *config)
{
	const struct disks_entry *entry = disks->first;

	while (entry && &entry->options->config != config)
		entry = entry->next;
	return entry ? entry->id : config->name;
}

const char *disks_holder_of(const struct disks *disks, const struct image *image)
{
	const struct disks_entry *entry = disks->first;

	while (entry && !(entry->disk && disk_holds(entry->disk, image)))
		entry = entry->next;
	return entry ? entry->id : NULL;
}
