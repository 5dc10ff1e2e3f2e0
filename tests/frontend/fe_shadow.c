/* SPDX-License-Identifier: BSD-3-Clause */
/* The model of a disk's content, see fe_shadow.h. Owns its two tables. */
#include "fe_shadow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITER UINT16_MAX

/*
 * A block's content: words 0 and 1 say block and stamp, which a person can read in a dump; the
 * others follow from them.
 */
static uint64_t word(uint64_t block, uint64_t stamp, uint32_t i)
{
	if (!stamp)
		return 0;
	if (i < 2)
		return i ? stamp : block;
	return (block * 0x9e3779b97f4a7c15ull ^ stamp * 0xd6e8feb86659fd93ull) + i;
}

int fe_shadow_init(struct fe_shadow *s, uint64_t n_blocks, uint32_t block_size)
{
	*s = (struct fe_shadow){
		.block_size = block_size,
		.n_blocks = n_blocks,
		.stamp = calloc(n_blocks, sizeof(*s->stamp)),
		.users = calloc(n_blocks, sizeof(*s->users)),
	};
	if (s->stamp && s->users)
		return 0;
	fe_shadow_free(s);
	return -ENOMEM;
}

void fe_shadow_free(struct fe_shadow *s)
{
	free(s->stamp);
	free(s->users);
	*s = (struct fe_shadow){0};
}

bool fe_shadow_claim(struct fe_shadow *s, uint64_t first, uint32_t n, bool write)
{
	for (uint64_t b = first; b < first + n; b++)
		if (write ? s->users[b] != 0 : s->users[b] >= WRITER - 1)
			return false;
	for (uint64_t b = first; b < first + n; b++)
		s->users[b] = write ? WRITER : (uint16_t)(s->users[b] + 1);
	return true;
}

uint64_t fe_shadow_fill(struct fe_shadow *s, uint64_t first, uint32_t n, void *buf)
{
	uint64_t *w = buf;

	s->last_stamp++;
	for (uint64_t b = first; b < first + n; b++)
		for (uint32_t i = 0; i < s->block_size / sizeof(*w); i++)
			*w++ = word(b, s->last_stamp, i);
	return s->last_stamp;
}

void fe_shadow_wrote(struct fe_shadow *s, uint64_t first, uint32_t n, uint64_t stamp)
{
	for (uint64_t b = first; b < first + n; b++) {
		s->stamp[b] = stamp;
		s->users[b] = 0;
	}
}

bool fe_shadow_verify(const struct fe_shadow *s, uint64_t first, uint32_t n, const void *buf,
		      char *why, size_t why_size)
{
	uint32_t words = s->block_size / sizeof(uint64_t);
	const uint64_t *w = buf;

	for (uint64_t b = first; b < first + n; b++, w += words)
		for (uint32_t i = 0; i < words; i++) {
			if (w[i] == word(b, s->stamp[b], i))
				continue;
			snprintf(why, why_size,
				 "block %llu (of %u bytes) must hold stamp %llu; from byte %zu on "
				 "it does not: it begins with block %llu, stamp %llu",
				 (unsigned long long)b, s->block_size,
				 (unsigned long long)s->stamp[b], i * sizeof(*w),
				 (unsigned long long)w[0], (unsigned long long)w[1]);
			return false;
		}
	return true;
}

void fe_shadow_read_done(struct fe_shadow *s, uint64_t first, uint32_t n)
{
	for (uint64_t b = first; b < first + n; b++)
		s->users[b]--;
}
