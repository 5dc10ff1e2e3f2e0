/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the disk must hold: a model of its blocks for tests that do random I/O with many requests
 * in flight. Every write gets a stamp of its own, which fills each of its blocks together with the
 * block's number, so that a lost, stale, repeated, torn or misplaced write is seen by the next
 * read. A block has any number of readers or one writer at a time; the caller claims it, does the
 * I/O and releases it.
 */
#ifndef FE_SHADOW_H
#define FE_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fe_shadow {
	uint32_t block_size; /* bytes, a multiple of 8 */
	uint64_t n_blocks;
	uint64_t last_stamp;
	uint64_t *stamp; /* of each block's content; 0: it reads as zeros */
	uint16_t *users; /* readers of each block, or WRITER */
};

/* A disk of zeros. 0 or -ENOMEM. */
int fe_shadow_init(struct fe_shadow *s, uint64_t n_blocks, uint32_t block_size);
void fe_shadow_free(struct fe_shadow *s);

/* Takes blocks [first, first + n) for reading or writing; false if another I/O is in the way. */
bool fe_shadow_claim(struct fe_shadow *s, uint64_t first, uint32_t n, bool write);

/* Fills `buf` with new content for blocks that are claimed for writing; returns its stamp. */
uint64_t fe_shadow_fill(struct fe_shadow *s, uint64_t first, uint32_t n, void *buf);

/* The write is done: the blocks hold `stamp` now (0: zeros). Releases them. */
void fe_shadow_wrote(struct fe_shadow *s, uint64_t first, uint32_t n, uint64_t stamp);

/*
 * Compares what was read with what must be there. True if it is the same; else a sentence about
 * the first difference in `why`. Does not release.
 */
bool fe_shadow_verify(const struct fe_shadow *s, uint64_t first, uint32_t n, const void *buf,
		      char *why, size_t why_size);

void fe_shadow_read_done(struct fe_shadow *s, uint64_t first, uint32_t n);

#endif
