/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory by guest-physical addresses, for tests of it. */
#ifndef MEM_AT_H
#define MEM_AT_H

#include <stdint.h>

#include "lib/shared/mem.h"

/*
 * Our address of a guest-physical one. *size (bytes, > 0) is cut to what lies in one piece there;
 * NULL when the first byte is in no region.
 */
void *mem_at(const struct vhu_mem *mem, uint64_t gpa, uint64_t *size);

#endif
