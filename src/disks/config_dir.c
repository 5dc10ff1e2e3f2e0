/* SPDX-License-Identifier: BSD-3-Clause */
/* See disks/config_dir.h. */
#include "disks/config_dir.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "config/settings.h"

#define SUFFIX ".conf"

/* A file: the disk's name, and what it is told; or NULL if something is wrong with it. */
struct file {
	char *id;
	struct disk_options *options;
};

struct listing {
	struct file *file;
	unsigned n, wrong;
};

/* ---- reading ---- */

static int is_settings(const struct dirent *entry)
{
	const size_t length = strlen(entry->d_name), suffix = strlen(SUFFIX);

	/* Hidden ones are what an editor or a package manager has not put in place yet. */
	return *entry->d_name != '.' && length > suffix &&
	       !strcmp(entry->d_name + length - suffix, SUFFIX);
}

static struct disk_options *read_file(const char *path, const char *id,
				      const struct disk_host *host)
{
	struct disk_options *options = NULL;
	struct settings settings;
	char error[512];

	if (!disk_options_may_call(id)) {
		log_error("%s: a disk's name has up to 100 letters, digits, and . _ -", path);
		return NULL;
	}
	if (settings_read(&settings, path, error, sizeof(error))) {
		log_error("%s", error);
		return NULL;
	}
	if (disk_options_create(&options, id, settings.text, host, error, sizeof(error)))
		log_error("%s: %s", path, error);
	settings_free(&settings);
	return options;
}

/* 0 or -errno (logged): then nothing is known of the directory. */
static int list(struct listing *listing, const char *path, const struct disk_host *host)
{
	struct dirent **entry;
	const int n = scandir(path, &entry, is_settings, alphasort);

	*listing = (struct listing){0};
	if (n < 0) {
		const int err = -errno;

		log_error("--config-dir: cannot read %s: %s", path, strerror(-err));
		return err;
	}
	listing->file = calloc((size_t)n + 1, sizeof(*listing->file));
	for (int i = 0; listing->file && i < n; i++) {
		struct file *file = &listing->file[listing->n++];
		char name[PATH_MAX];

		snprintf(name, sizeof(name), "%s/%s", path, entry[i]->d_name);
		entry[i]->d_name[strlen(entry[i]->d_name) - strlen(SUFFIX)] = '\0';
		file->id = strdup(entry[i]->d_name);
		file->options = file->id ? read_file(name, file->id, host) : NULL;
		listing->wrong += !file->options;
	}
	for (int i = 0; i < n; i++)
		free(entry[i]);
	free(entry);
	if (listing->file)
		return 0;
	log_error("--config-dir: %s", strerror(ENOMEM));
	return -ENOMEM;
}

static void free_listing(struct listing *listing)
{
	for (unsigned i = 0; i < listing->n; i++) {
		free(listing->file[i].id);
		disk_options_destroy(listing->file[i].options);
	}
	free(listing->file);
}

static const struct file *find(const struct listing *listing, const char *id)
{
	for (unsigned i = 0; i < listing->n; i++)
		if (listing->file[i].id && !strcmp(listing->file[i].id, id))
			return &listing->file[i];
	return NULL;
}

/* ---- applying ---- */

static unsigned remove_vanished(const struct listing *listing, struct disks *disks)
{
	struct disks_entry *next;
	unsigned wrong = 0;

	for (struct disks_entry *entry = disks->first; entry; entry = next) {
		next = entry->next;
		if (entry->origin != DISKS_FILE || find(listing, entry->id))
			continue;
		if (!disks_remove(entry, false))
			continue;
		log_warning("%s: its file is gone, but a front-end is connected: the disk stays "
			    "until the directory is read when there is none",
			    entry->id);
		wrong++;
	}
	return wrong;
}

static int change(struct disks_entry *entry, struct disk_options *options, char *error, size_t size)
{
	const struct disk_options *wanted = disks_wanted(entry);
	unsigned changed[DISK_OPTIONS_MAX];
	char names[256];
	int err;

	if (wanted && !disk_options_compare(wanted, options, changed) &&
	    entry->state != DISKS_FAILED) {
		disk_options_destroy(options);
		return 0;
	}
	disk_options_name_changes(entry->options, options, names, sizeof(names));
	err = disks_replace(entry, options, error, size);
	if (err == -EBUSY)
		snprintf(error, size,
			 "%s: %s cannot be changed while a front-end is connected; have the "
			 "directory read again when there is none",
			 entry->id, names);
	return err;
}

static int bring(struct disks *disks, struct file *file)
{
	struct disks_entry *entry = disks_find(disks, file->id);
	struct disk_options *options = file->options;
	char error[512];
	int err;

	file->options = NULL; /* taken over */
	if (entry)
		disks_announce(entry, NULL);
	if (!entry)
		err = disks_add(disks, options, DISKS_FILE, error, sizeof(error));
	else if (entry->origin == DISKS_FILE)
		err = change(entry, options, error, sizeof(error));
	else {
		disk_options_destroy(options);
		snprintf(error, sizeof(error), "%s: there is another disk of that name", file->id);
		err = -EEXIST;
	}
	if (err)
		log_error("%s", error);
	return err;
}

/*
 * Sockets may change places, of two disks or in a chain: what is coming is said of all disks first,
 * and taken back where it would be the socket of one that stays; which may be another one's reason
 * to stay. The last one first: of two that want the same place the first has it, as else.
 */
static void announce(const struct listing *listing, struct disks *disks)
{
	bool is_settled;

	for (unsigned i = 0; i < listing->n; i++) {
		struct disks_entry *entry =
			listing->file[i].options ? disks_find(disks, listing->file[i].id) : NULL;

		if (entry && entry->origin == DISKS_FILE)
			disks_announce(entry, listing->file[i].options);
	}
	do {
		is_settled = true;
		for (unsigned i = listing->n; i-- > 0;) {
			struct disks_entry *entry = listing->file[i].options
							    ? disks_find(disks, listing->file[i].id)
							    : NULL;

			if (!entry || !entry->coming || disks_coming_is_free(entry))
				continue;
			disks_announce(entry, NULL);
			is_settled = false;
		}
	} while (!is_settled);
}

unsigned config_dir_apply(const char *path, const struct disk_host *host, struct disks *disks)
{
	struct listing listing;
	unsigned wrong;

	if (list(&listing, path, host))
		return 1;
	wrong = listing.wrong + remove_vanished(&listing, disks);
	announce(&listing, disks);
	for (unsigned i = 0; i < listing.n; i++)
		if (listing.file[i].options)
			wrong += bring(disks, &listing.file[i]) != 0;
	log_info("%s: %u disks, %u errors", path, listing.n, wrong);
	free_listing(&listing);
	return wrong;
}

/* ---- checking ---- */

/* Two disks, of which `b` comes first. How many things are wrong (each logged). */
static unsigned check_pair(const struct disk_options *a, const struct disk_options *b)
{
	const char *name = disks_id_for(a), *path = a->config.listener.path;
	const char *other = b->config.listener.path;
	unsigned wrong = 0;

	if (path && other && listener_is_same_path(path, other)) {
		log_error("%s: its socket %s is that of the disk %s", name, path, disks_id_for(b));
		wrong++;
	}
	if (!strcmp(name, disks_id_for(b))) {
		log_error("%s: there is another disk of that name", name);
		wrong++;
	}
	return wrong;
}

static unsigned check_against_api(const struct disk_options *options, const char *api_path)
{
	const char *path = options->config.listener.path;

	if (!path || !api_path || !listener_is_same_path(path, api_path))
		return 0;
	log_error("%s: its socket %s is that of the API", disks_id_for(options), path);
	return 1;
}

static unsigned check_together(const struct listing *listing, const struct disk_options *own,
			       const char *api_path)
{
	unsigned wrong = own ? check_against_api(own, api_path) : 0;

	for (unsigned i = 0; i < listing->n; i++) {
		const struct disk_options *options = listing->file[i].options;

		if (!options)
			continue;
		wrong += check_against_api(options, api_path);
		wrong += own ? check_pair(options, own) : 0;
		for (unsigned k = 0; k < i; k++)
			if (listing->file[k].options)
				wrong += check_pair(options, listing->file[k].options);
	}
	return wrong;
}

unsigned config_dir_check(const char *path, const struct disk_host *host,
			  const struct disk_options *own, const char *api_path)
{
	struct listing listing = {0};
	unsigned wrong;

	if (path && list(&listing, path, host))
		return 1;
	wrong = listing.wrong + check_together(&listing, own, api_path);
	if (path)
		log_info("%s: %u disks, %u errors", path, listing.n, wrong);
	free_listing(&listing);
	return wrong;
}
