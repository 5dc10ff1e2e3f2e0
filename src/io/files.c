/* SPDX-License-Identifier: BSD-3-Clause */
/* See io/files.h. */
#include "io/files.h"

#include <errno.h>
#include <fcntl.h>

void engine_files_init(struct engine_files *files)
{
	for (int i = 0; i < ENGINE_FILES; i++)
		files->fd[i] = -1;
}

int engine_files_add(struct engine_files *files, int fd)
{
	if (fcntl(fd, F_GETFD) < 0)
		return -errno;
	for (int i = 0; i < ENGINE_FILES; i++) {
		if (files->fd[i] < 0) {
			files->fd[i] = fd;
			return i;
		}
	}
	return -ENFILE;
}

bool engine_files_remove(struct engine_files *files, int file)
{
	if (engine_files_fd(files, file) < 0)
		return false;
	files->fd[file] = -1;
	return true;
}
