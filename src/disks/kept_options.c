/* SPDX-License-Identifier: BSD-3-Clause */
/* See disks/kept_options.h. Control thread. */
#include "disks/kept_options.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdstore.h"
#include "base/log.h"

#define NAME_SIZE  32
#define WHAT       "vublkd disk 1" /* a number more when what follows is read in another way */
#define SEALS      (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)
#define SIZE_LIMIT (1u << 20) /* bytes; what the API takes is less */

static uint32_t last; /* number */

static void name_of(char name[NAME_SIZE], uint32_t number)
{
	snprintf(name, NAME_SIZE, "v.d.%" PRIx32, number);
}

static bool parse_name(const char *name, uint32_t *number)
{
	char again[NAME_SIZE];

	if (sscanf(name, "v.d.%8" SCNx32, number) != 1)
		return false;
	name_of(again, *number);
	return !strcmp(name, again);
}

/* ---- writing ---- */

static void put(FILE *file, const char *string)
{
	fwrite(string, 1, strlen(string) + 1, file);
}

/* The caller's; NULL: out of memory. */
static char *write_text(const struct disk_options *options, size_t *size)
{
	const struct option_row *row;
	char *text = NULL;
	FILE *file = open_memstream(&text, size);
	bool failed;

	if (!file)
		return NULL;
	put(file, WHAT);
	put(file, options->id);
	for (unsigned i = 0; (row = disk_options_row(i)); i++)
		if (options->text[i]) {
			put(file, row->name);
			put(file, options->text[i]);
		}
	failed = ferror(file);
	if (fclose(file) || failed) {
		free(text);
		return NULL;
	}
	return text;
}

/* A descriptor, or -errno. */
static int make_memory(const char *text, size_t size)
{
	const int fd = memfd_create("vublkd-disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, size);
	if (n == (ssize_t)size && !fcntl(fd, F_ADD_SEALS, SEALS))
		return fd;
	n = n < 0 || n == (ssize_t)size ? -errno : -ENOSPC;
	close(fd);
	return (int)n;
}

void kept_options_keep(struct kept_options *kept, const struct disk_options *options)
{
	struct kept_options before = *kept;
	char name[NAME_SIZE], *text;
	size_t size;
	int fd, err;

	if (!fdstore_is_kept())
		return;
	text = write_text(options, &size);
	fd = text ? make_memory(text, size) : -ENOMEM;
	free(text);
	name_of(name, ++last);
	err = fd < 0 ? fd : fdstore_keep(fd, name);
	if (fd >= 0)
		close(fd);
	if (err) {
		log_warning("%s: what the disk is told now is lost at a restart: %s", options->id,
			    strerror(-err));
		return;
	}
	/* Whoever is killed here leaves both. */
	kept->number = last;
	kept_options_forget(&before);
}

void kept_options_forget(struct kept_options *kept)
{
	char name[NAME_SIZE];

	if (!kept->number)
		return;
	name_of(name, kept->number);
	fdstore_forget(name);
	kept->number = 0;
}

/* ---- reading ---- */

struct found {
	uint32_t number;
	char *text; /* strings; WHAT was found to be the first */
	size_t size;
	const char *id; /* in it */
	bool overtaken; /* there is a later one of this name */
};

/* All of the file; NULL: it is none of ours. */
static char *read_text(int fd, size_t *size)
{
	const int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	char *text;

	if (fstat(fd, &st) || seals < 0 || (seals & SEALS) != SEALS || st.st_size <= 0 ||
	    st.st_size > SIZE_LIMIT)
		return NULL;
	*size = (size_t)st.st_size;
	text = malloc(*size);
	if (text && pread(fd, text, *size, 0) == (ssize_t)*size && !text[*size - 1])
		return text;
	free(text);
	return NULL;
}

/* The string after this one, or NULL: it was the last. */
static const char *after(const struct found *found, const char *string)
{
	const char *next = string + strlen(string) + 1;

	return next < found->text + found->size ? next : NULL;
}

static bool read_found(struct found *found, int fd)
{
	found->text = read_text(fd, &found->size);
	if (!found->text)
		return false;
	if (!strcmp(found->text, WHAT))
		found->id = after(found, found->text);
	if (found->id && disk_options_may_call(found->id))
		return true;
	free(found->text);
	return false;
}

/* 0, or -errno with one line in `error`. */
static int parse(const struct found *found, const struct disk_host *host,
		 struct disk_options **options, char *error, size_t size)
{
	const char *text[DISK_OPTIONS_MAX] = {0};
	const char *name = found->id, *value;
	int row;

	while ((name = after(found, name))) {
		value = after(found, name);
		row = disk_options_find(name);
		if (!value || row < 0) {
			snprintf(error, size, "this vublkd knows no option '%s'", name);
			return -EINVAL;
		}
		text[row] = value;
		name = value;
	}
	return disk_options_create(options, found->id, text, host, error, size);
}

static int compare(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* All that came, by number. Returns how many; the list is the caller's. */
static unsigned find_all(struct found **list)
{
	struct found found, *more;
	const char *name;
	unsigned n = 0;

	*list = NULL;
	for (unsigned i = 0; (name = fdstore_name(i)); i++) {
		found = (struct found){0};
		if (!parse_name(name, &found.number))
			continue;
		if (found.number > last)
			last = found.number;
		if (!read_found(&found, fdstore_look(i))) {
			log_error("the disk %s of an earlier process cannot be served: it is "
				  "damaged, or of another version of vublkd",
				  name);
			continue;
		}
		more = reallocarray(*list, n + 1, sizeof(*more));
		if (!more) {
			log_error("%s: cannot be served: %s", found.id, strerror(ENOMEM));
			free(found.text);
			continue;
		}
		*list = more;
		more[n++] = found;
	}
	if (n)
		qsort(*list, n, sizeof(**list), compare);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = i + 1; k < n && !(*list)[i].overtaken; k++)
			(*list)[i].overtaken = !strcmp((*list)[i].id, (*list)[k].id);
	return n;
}

/* It is somebody's now, and stays kept. */
static void take(uint32_t number)
{
	char name[NAME_SIZE];
	int fd;

	name_of(name, number);
	fd = fdstore_take(name);
	if (fd >= 0)
		close(fd);
}

void kept_options_each(const struct disk_host *host,
		       void (*run)(void *opaque, struct disk_options *options,
				   struct kept_options kept),
		       void *opaque)
{
	struct found *list;
	const unsigned n = find_all(&list);

	for (unsigned i = 0; i < n; i++) {
		const struct found *found = &list[i];
		struct disk_options *options;
		char error[512];

		if (found->overtaken)
			continue;
		if (parse(found, host, &options, error, sizeof(error))) {
			log_error("%s: the disk of an earlier process cannot be served: %s",
				  found->id, error);
			continue;
		}
		take(found->number);
		run(opaque, options, (struct kept_options){found->number});
	}
	for (unsigned i = 0; i < n; i++)
		free(list[i].text);
	free(list);
}
