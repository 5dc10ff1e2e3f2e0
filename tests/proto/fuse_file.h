/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file system of one file, served by the test itself over /dev/fuse: as some file systems that
 * live elsewhere it moves fewer bytes than asked, anywhere in the file, or does not answer at all.
 * Its content lies in memory that the test sees, too.
 */
#ifndef FUSE_FILE_H
#define FUSE_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FUSE_FILE_MAX ((uint64_t)4 << 20) /* bytes */

/* Shared with the process that serves it; the test may change all of it at any time. */
struct fuse_file {
	_Atomic uint64_t size;       /* what it says that it has */
	_Atomic uint32_t most;       /* bytes moved by one request at most */
	_Atomic uint64_t stuck_from; /* nothing is moved from there on, without an error */
	_Atomic unsigned n_requests; /* reads and writes so far */
	_Atomic bool hangs;          /* nothing is answered, whatever it is */
	uint8_t content[FUSE_FILE_MAX];
};

/*
 * Mounts it at `dir`, in a name space of mounts that belongs to the calling process (and to the
 * daemon that it starts): `dir`/image is the file. Served until the caller ends. Skips the case
 * where that cannot be.
 */
struct fuse_file *fuse_file_mount(const char *dir, uint64_t size);

/* The same, but with O_DIRECT the kernel waits for none of at least 1024 reads and writes. */
struct fuse_file *fuse_file_mount_async(const char *dir, uint64_t size);

#endif
