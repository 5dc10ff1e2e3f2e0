/* SPDX-License-Identifier: BSD-3-Clause */
/* A loop device on a file: the block device that a test can have on any host, if it is root. */
#ifndef FE_LOOP_H
#define FE_LOOP_H

#include <stddef.h>
#include <stdint.h>

/*
 * Puts a loop device with blocks of block_size bytes on the file, and its path into `path`. It goes
 * with the last of its users. Its open descriptor, the caller's, or -errno: none is to be had here.
 * `flags`: LO_FLAGS_*.
 */
int fe_loop_make(const char *file, uint32_t block_size, uint32_t flags, char *path, size_t size);

#endif
