/* SPDX-License-Identifier: BSD-3-Clause */
/* See io/target.h: opening, closing, and the table of files. The reactor's thread only. */
#include "io/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

int target_open(const struct target_class *class, struct target **targetp, struct reactor *reactor)
{
	int err = class->open(targetp, reactor);

	if (err)
		*targetp = NULL;
	return err;
}

void target_close(struct target *target)
{
	struct target_file *files = target->file;

	target->class->close(target);
	free(files);
}

/* More places, all free. 0 or -errno. */
static int grow(struct target *target)
{
	const int n = target->n_files ? target->n_files * 2 : 8;
	struct target_file *file;

	if (n > TARGET_FILES)
		return -ENFILE;
	file = reallocarray(target->file, (size_t)n, sizeof(*file));
	if (!file)
		return -ENOMEM;
	for (int i = target->n_files; i < n; i++)
		file[i] = (struct target_file){.fd = -1};
	target->file = file;
	target->n_files = n;
	return 0;
}

/* The handle that the descriptor has, else the lowest free one, else -1. */
static int find(const struct target *target, int fd)
{
	int free_one = -1;

	for (int i = target->n_files; i--;) {
		if (target->file[i].users && target->file[i].fd == fd)
			return i;
		if (!target->file[i].users)
			free_one = i;
	}
	return free_one;
}

int target_get_file(struct target *target, int fd)
{
	struct target_file *file;
	int i, err = 0;

	if (!target->class->without_files && fcntl(fd, F_GETFD) < 0)
		return -errno;
	i = find(target, fd);
	if (i < 0) {
		i = target->n_files;
		err = grow(target);
	}
	if (err)
		return err;
	file = &target->file[i];
	if (file->users++)
		return i;
	file->fd = fd;
	if (target->class->add_file)
		err = target->class->add_file(target, i);
	if (err)
		*file = (struct target_file){.fd = -1};
	return err ? err : i;
}

void target_put_file(struct target *target, int file)
{
	if ((unsigned)file >= (unsigned)target->n_files || !target->file[file].users ||
	    --target->file[file].users)
		return;
	if (target->class->remove_file)
		target->class->remove_file(target, file);
	target->file[file].fd = -1;
}
