/* SPDX-License-Identifier: BSD-3-Clause */
/* See disks/kept_options.h. Control thread. */
#include "disks/kept_options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdstore.h"
#include "base/kept_name.h"
#include "base/log.h"

#define MAGIC     "vublkd-disk" /* 12 bytes */
#define VERSION   1u
#define SEALS     (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define TEXT_MOST (256u << 10) /* bytes; what the API takes is less */
#define PLACE_AT  4096         /* bytes: where the first place begins; the other one follows */

/* The beginning of the file. */
struct head {
	char magic[12];
	uint32_t version;
	uint32_t size[2]; /* of the texts, bytes */
	uint32_t current; /* 0 or 1; written last */
};

static uint32_t last; /* number */

static off_t place_of(uint32_t place)
{
	return PLACE_AT + (off_t)place * TEXT_MOST;
}

#define FILE_SIZE (PLACE_AT + 2 * (off_t)TEXT_MOST)

/* ---- writing ---- */

static void put(FILE *file, const char *string)
{
	fwrite(string, 1, strlen(string) + 1, file);
}

/* The caller's; NULL: out of memory. */
static char *make_text(const struct disk_options *options, size_t *size)
{
	const struct option_row *row;
	char *text = NULL;
	FILE *file = open_memstream(&text, size);
	bool failed;

	if (!file)
		return NULL;
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

static int write_at(int fd, const void *bytes, size_t size, off_t at)
{
	const ssize_t n = pwrite(fd, bytes, size, at);

	return n == (ssize_t)size ? 0 : n < 0 ? -errno : -ENOSPC;
}

/* At the place that does not hold; then it is the one that does. A kill leaves one of them. */
static int write_text(int fd, const char *text, size_t size)
{
	struct head head;
	int err;

	if (size > TEXT_MOST)
		return -EFBIG;
	if (pread(fd, &head, sizeof(head), 0) != sizeof(head))
		return -EIO;
	head.current = !head.current;
	head.size[head.current] = (uint32_t)size;
	err = write_at(fd, text, size, place_of(head.current));
	if (!err)
		err = write_at(fd, &head.size, sizeof(head.size), offsetof(struct head, size));
	return err ? err
		   : write_at(fd, &head.current, sizeof(head.current),
			      offsetof(struct head, current));
}

/* A descriptor, or -errno. */
static int make_memory(void)
{
	const struct head head = {.magic = MAGIC, .version = VERSION};
	const int fd = memfd_create("vublkd-disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	if (fd < 0)
		return -errno;
	err = ftruncate(fd, FILE_SIZE) || fcntl(fd, F_ADD_SEALS, SEALS) ? -errno : 0;
	if (!err)
		err = write_at(fd, &head, sizeof(head), 0);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* The first time: with a text, or not at all. */
static int begin(struct kept_options *kept, const char *text, size_t size)
{
	const int fd = make_memory();
	char name[KEPT_NAME_SIZE];
	int err = fd < 0 ? fd : write_text(fd, text, size);

	if (!err) {
		kept_name_make(name, KEPT_OPTIONS, ++last);
		err = fdstore_keep(fd, name);
	}
	if (!err)
		*kept = (struct kept_options){last, fd};
	else if (fd >= 0)
		close(fd);
	return err;
}

void kept_options_keep(struct kept_options *kept, const struct disk_options *options)
{
	char *text;
	size_t size;
	int err;

	if (!fdstore_is_kept())
		return;
	text = make_text(options, &size);
	if (!text)
		err = -ENOMEM;
	else if (kept->number)
		err = write_text(kept->fd, text, size);
	else
		err = begin(kept, text, size);
	free(text);
	if (err)
		log_warning("%s: what the disk is told now is lost at a restart: %s", options->id,
			    strerror(-err));
}

void kept_options_leave(struct kept_options *kept)
{
	if (kept->number)
		close(kept->fd);
	kept->number = 0;
}

void kept_options_forget(struct kept_options *kept)
{
	char name[KEPT_NAME_SIZE];

	if (!kept->number)
		return;
	kept_name_make(name, KEPT_OPTIONS, kept->number);
	fdstore_forget(name);
	kept_options_leave(kept);
}

/* ---- reading ---- */

struct found {
	uint32_t number;
	char *text; /* strings, of which the first is the disk's name */
	size_t size;
};

/* What is ours alone to write is checked all the same. */
static bool read_found(struct found *found, int fd)
{
	const int seals = fcntl(fd, F_GET_SEALS);
	struct head head;
	struct stat st;

	if (fstat(fd, &st) || seals < 0 || (seals & SEALS) != SEALS || st.st_size != FILE_SIZE ||
	    pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
	    memcmp(head.magic, MAGIC, sizeof(head.magic)) != 0 || head.version != VERSION ||
	    head.current > 1)
		return false;
	found->size = head.size[head.current];
	if (!found->size || found->size > TEXT_MOST)
		return false;
	found->text = malloc(found->size);
	if (found->text &&
	    pread(fd, found->text, found->size, place_of(head.current)) == (ssize_t)found->size &&
	    !found->text[found->size - 1] && disk_options_may_call(found->text))
		return true;
	free(found->text);
	return false;
}

/* The string after this one, or NULL: it was the last. */
static const char *after(const struct found *found, const char *string)
{
	const char *next = string + strlen(string) + 1;

	return next < found->text + found->size ? next : NULL;
}

/* 0, or -errno with one line in `error`. */
static int parse(const struct found *found, const struct disk_host *host,
		 struct disk_options **options, char *error, size_t size)
{
	const char *text[DISK_OPTIONS_MAX] = {0};
	const char *name = found->text, *value;
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
	return disk_options_create(options, found->text, text, host, error, size);
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
		if (!kept_name_parse(name, KEPT_OPTIONS, &found.number))
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
			log_error("%s: cannot be served: %s", found.text, strerror(ENOMEM));
			free(found.text);
			continue;
		}
		*list = more;
		more[n++] = found;
	}
	if (n)
		qsort(*list, n, sizeof(**list), compare);
	return n;
}

/* It is somebody's now, and stays kept. */
static struct kept_options take(uint32_t number)
{
	char name[KEPT_NAME_SIZE];
	int fd;

	kept_name_make(name, KEPT_OPTIONS, number);
	fd = fdstore_take(name);
	return (struct kept_options){fd < 0 ? 0 : number, fd};
}

void kept_options_each(const struct disk_host *host,
		       void (*run)(void *opaque, struct disk_options *options,
				   struct kept_options kept),
		       void *opaque)
{
	struct found *list;
	const unsigned n = find_all(&list);

	for (unsigned i = 0; i < n; i++) {
		struct disk_options *options;
		char error[512];

		if (parse(&list[i], host, &options, error, sizeof(error)))
			log_error("%s: the disk of an earlier process cannot be served: %s",
				  list[i].text, error);
		else
			run(opaque, options, take(list[i].number));
		free(list[i].text);
	}
	free(list);
}
