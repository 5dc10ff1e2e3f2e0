/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Image files for tests: made, filled and looked at behind the daemon's back; and data whose every
 * byte tells where it belongs. All calls answer 0 or -errno.
 */
#ifndef FE_IMAGE_H
#define FE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* A private directory in ${TMPDIR:-/var/tmp}, its path into `dir` (of 256 bytes). */
int fe_temp_dir(char dir[256]);

/* Makes a sparse file of `size` bytes. */
int fe_image_make(const char *path, uint64_t size);

/* Writes or reads all of `len` bytes, through the page cache. */
int fe_image_write(const char *path, uint64_t offset, const void *buf, size_t len);
int fe_image_read(const char *path, uint64_t offset, void *buf, size_t len);

/* The bytes the file occupies on the disk (st_blocks), after an fsync. */
int fe_image_allocated(const char *path, uint64_t *bytes);

/* Fills `buf` with noise that only (seed, offset) determine: fe_pattern(b, 2, 6, s) is a tail of
 * fe_pattern(b, 0, 8, s). */
void fe_pattern(void *buf, uint64_t offset, size_t len, uint64_t seed);

/* The first byte of `buf` that is not fe_pattern()'s, -1 if all are. */
long fe_pattern_differs(const void *buf, uint64_t offset, size_t len, uint64_t seed);

/* A small fast random number generator (splitmix64); any state is a good one. */
uint64_t fe_random(uint64_t *state);

#endif
