/* SPDX-License-Identifier: BSD-3-Clause */
/* See mem-at.h. */
#include "tests/unit/support/mem-at.h"

#include <stddef.h>

void *mem_at(const struct vhu_mem *mem, uint64_t gpa, uint64_t *size)
{
	const struct vhu_mem_piece piece = vhu_mem_piece(mem, gpa);

	if (!piece.size)
		return NULL;
	if (*size > piece.size - (gpa - piece.gpa))
		*size = piece.size - (gpa - piece.gpa);
	return piece.host + (gpa - piece.gpa);
}
