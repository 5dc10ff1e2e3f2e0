/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files that an engine knows: handle to descriptor, a table of fixed size. The engine's
 * thread only. Trusts no handle: one that is out of range or free has the descriptor -1.
 */
#ifndef IO_FILES_H
#define IO_FILES_H

#include "io/engine.h"

struct engine_files {
	int fd[ENGINE_FILES]; /* -1: free */
};

/* Makes the table empty. */
void engine_files_init(struct engine_files *files);

/* The lowest free handle, now that of fd; or -ENFILE, or -EBADF if fd is not open. */
int engine_files_add(struct engine_files *files, int fd);

/* Frees a handle. Returns whether it was taken. */
bool engine_files_remove(struct engine_files *files, int file);

/* The descriptor of a handle, or -1, which the kernel answers with -EBADF. */
static inline int engine_files_fd(const struct engine_files *files, int file)
{
	return (unsigned)file < ENGINE_FILES ? files->fd[file] : -1;
}

#endif
