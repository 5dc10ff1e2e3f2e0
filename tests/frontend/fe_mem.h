/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory: regions of memfd memory, each mapped here and shared with the back-end, and an
 * allocator that hands out guest-physical addresses (gpa). Regions may touch each other in guest
 * space; their mappings and files are then still separate, so that a buffer across the seam must
 * be translated in two pieces.
 */
#ifndef FE_MEM_H
#define FE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/proto.h"

#define FE_MAX_REGIONS 512
#define FE_NO_ADDR     UINT64_MAX

struct fe_region {
	struct vhu_region wire; /* as it is announced; hostile tests may change it */
	int fd;
	uint8_t *host;      /* where `wire.guest_addr` is mapped here */
	uint64_t size;      /* of the mapping, bytes */
	uint64_t gpa;       /* the truth, whatever `wire` says */
	uint64_t allocated; /* bytes from the start that fe_alloc() has given out */
};

struct fe_mem {
	uint64_t min_align; /* of what fe_alloc() gives out, a power of two or 0 */
	unsigned int n_regions;
	struct fe_region region[FE_MAX_REGIONS];
};

/* Is memory made present at once, as by QEMU's prealloc=on? False at first. */
extern bool fe_mem_prealloc;

/*
 * Adds a region of `size` bytes (whole pages) at guest address `gpa`, in a memfd of its own whose
 * first `mmap_offset` bytes (whole pages) do not belong to it. The user address announced is that
 * of our mapping. Returns the region's index or -errno.
 */
int fe_mem_add(struct fe_mem *mem, uint64_t gpa, uint64_t size, uint64_t mmap_offset);

/* Unmaps everything; `mem` is empty again. An fe_mem of zeros is a valid empty one. */
void fe_mem_free(struct fe_mem *mem);

/*
 * `size` bytes at a multiple of `align` (a power of two), from the first region that has room, or
 * from region `region` only. Given back only all together, with fe_mem_release(). The gpa, or
 * FE_NO_ADDR. Memory is zero unless it was used before.
 */
uint64_t fe_alloc(struct fe_mem *mem, uint64_t size, uint64_t align);
uint64_t fe_alloc_in(struct fe_mem *mem, unsigned int region, uint64_t size, uint64_t align);

/* All that was allocated in `region` from `allocated` bytes on (as read from it) is free again. */
void fe_mem_release(struct fe_mem *mem, unsigned int region, uint64_t allocated);

/* The host's pointer to [gpa, gpa + len), NULL unless one region holds all of it. */
void *fe_ptr(const struct fe_mem *mem, uint64_t gpa, uint64_t len);

/* The user address under which SET_VRING_ADDR names `gpa`; 0 outside all regions. */
uint64_t fe_user_addr(const struct fe_mem *mem, uint64_t gpa);

/* Copies that may cross regions that touch. 0, or -EFAULT outside memory. */
int fe_mem_write(const struct fe_mem *mem, uint64_t gpa, const void *src, size_t len);
int fe_mem_read(const struct fe_mem *mem, uint64_t gpa, void *dst, size_t len);

#endif
