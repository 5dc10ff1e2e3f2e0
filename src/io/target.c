/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See io/target.h: opening, closing, the table of files, and whose turn it is. The reactor's thread
 * only.
 */
#include "io/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/container.h"

int target_open(const struct target_class *class, struct target **targetp, struct reactor *reactor)
{
	struct target_file *files;
	int err = class->open(targetp, reactor);

	if (err) {
		*targetp = NULL;
		return err;
	}
	/* Address space, for the most part. Operations and turns point into it, so it stays. */
	files = calloc(TARGET_FILES, sizeof(*files));
	if (!files) {
		class->close(*targetp);
		*targetp = NULL;
		return -ENOMEM;
	}
	(*targetp)->file = files;
	return 0;
}

void target_close(struct target *target)
{
	struct target_file *files = target->file;

	target->class->close(target);
	free(files);
}

/* The handle that the descriptor has, else the lowest free one, else -ENFILE. */
static int find(const struct target *target, int fd)
{
	int free_one = target->n_files < TARGET_FILES ? target->n_files : -ENFILE;

	for (int i = target->n_files; i--;) {
		if (target->file[i].users && target->file[i].fd == fd)
			return i;
		if (!target->file[i].users)
			free_one = i;
	}
	return free_one;
}

int target_get_file(struct target *target, int fd, unsigned kind)
{
	struct target_file *file;
	int i, err = 0;

	if (!target->class->without_files && fcntl(fd, F_GETFD) < 0)
		return -errno;
	i = find(target, fd);
	if (i < 0)
		return i;
	file = &target->file[i];
	if (file->users++)
		return i;
	if (i == target->n_files)
		target->n_files++;
	file->fd = fd;
	file->kind = kind;
	if (target->class->add_file)
		err = target->class->add_file(target, i);
	if (err) {
		file->fd = -1;
		file->users = 0;
	}
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

/* ---- whose turn it is ---- */

void target_await_turn(struct target *target, struct io *io)
{
	struct target_file *file = target_file_of(target, io);

	io_list_push(&file->waiting, io);
	fair_wait(&target->fair, &file->share);
}

struct io *target_search(struct target *target)
{
	struct fair_share *share = fair_next(&target->fair);
	struct target_file *file;
	struct io *io;

	if (!share)
		return NULL;
	file = container_of(share, struct target_file, share);
	io = io_list_pop(&file->waiting);
	if (file->waiting.head)
		fair_wait(&target->fair, share);
	return io;
}

bool target_cancel_waiting(struct target *target, struct io *io)
{
	struct target_file *file = target_file_of(target, io);

	if (!io_list_remove(&file->waiting, io))
		return false;
	if (!file->waiting.head)
		fair_leave(&target->fair, &file->share);
	return true;
}
