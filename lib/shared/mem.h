/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory: an immutable, reference-counted map from guest-physical and front-end user
 * addresses to our own. A change of the memory table makes a new map; who still works with the
 * old one keeps it alive, so memory is never pulled from under I/O.
 *
 * The control thread makes maps, workers look things up; references may be dropped anywhere.
 * What a front-end says of a region is checked against the descriptor it sent. If the file gets
 * shorter afterwards, vhu_guard replaces the region.
 */
#ifndef SHARED_MEM_H
#define SHARED_MEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proto.h"

#define VHU_MEM_MAX_SLOTS 512

struct vhu_mem;

/*
 * Makes a map of n regions ("Memory regions description"), fds[i] backing regions[i]; n may be
 * 0. The descriptors stay the caller's and are not needed afterwards. 0 and one reference, or:
 * -EINVAL for a region that is empty, wraps around, overlaps another one's guest addresses, or
 * reaches beyond its file; -EBADF for a descriptor that is not a memory file; -errno of mmap(2).
 * The reason is logged under `name`.
 */
int vhu_mem_new(struct vhu_mem **memp, const char *name, const struct vhu_region *regions,
		const int *fds, unsigned n);

/* A new map: that of `mem` (NULL: empty) and one region more. Errors as above; -ENOSPC: full. */
int vhu_mem_add(struct vhu_mem **memp, const char *name, const struct vhu_mem *mem,
		const struct vhu_region *region, int fd);

/*
 * A new map without the region that has this guest address, user address and size
 * (REM_MEM_REG). -ENOENT: there is none such.
 */
int vhu_mem_remove(struct vhu_mem **memp, const char *name, const struct vhu_mem *mem,
		   const struct vhu_region *region);

/* One reference more; NULL is allowed. */
struct vhu_mem *vhu_mem_get(struct vhu_mem *mem);

/* Has nobody else a reference? Then nobody will have. */
bool vhu_mem_is_sole(const struct vhu_mem *mem);

/* One reference less; the last one unmaps what no newer map shares. NULL is allowed. */
void vhu_mem_put(struct vhu_mem *mem);

/* Has the front-end truncated any of it, so that it was replaced (shared/guard.h)? NULL: no. */
bool vhu_mem_is_lost(const struct vhu_mem *mem);

/*
 * Where the map's regions are in our address space: the first `max` of them. Returns how many there
 * are.
 */
unsigned vhu_mem_ranges(const struct vhu_mem *mem, struct iovec *ranges, unsigned max);

/* The mappings that they lie in, in the same order: whole pages. */
unsigned vhu_mem_mappings(const struct vhu_mem *mem, struct iovec *mappings, unsigned max);

/*
 * The memory is nobody's any more, and not to be read by the kernel: it is replaced by mappings of
 * the file `nothing`, which has no size (shared/guard.h).
 */
void vhu_mem_lose(const struct vhu_mem *mem, int nothing);

/*
 * Their files, in the same order: the map's descriptors, one for all regions of a file; -1: there
 * was none left for it.
 */
unsigned vhu_mem_files(const struct vhu_mem *mem, int *fds, unsigned max);

/* A range of guest memory that is contiguous in our address space, too. */
struct vhu_mem_piece {
	uint64_t gpa, size; /* bytes; 0: none */
	uint8_t *host;
};

/* The region that a guest-physical address lies in; its size is 0 if there is none. */
struct vhu_mem_piece vhu_mem_piece(const struct vhu_mem *mem, uint64_t gpa);

/* The region that lies at our address; its size is 0 if there is none. */
struct vhu_mem_piece vhu_mem_piece_at(const struct vhu_mem *mem, const void *host);

/* The same by user address: `gpa` of the piece is then the region's first user address. */
struct vhu_mem_piece vhu_mem_piece_uva(const struct vhu_mem *mem, uint64_t uva);

/* The user address of what lies at our address; false: nothing of the map does. */
bool vhu_mem_uva_at(const struct vhu_mem *mem, const void *host, uint64_t *uva);

/*
 * The file that our address is a mapping of, and where in it, in bytes. -EFAULT: nothing of the map
 * lies there; -EBADF: there was no descriptor left for it. The descriptor is the map's.
 */
int vhu_mem_file_at(const struct vhu_mem *mem, const void *host, int *fd, uint64_t *offset);

/* Our address of `size` bytes at a guest-physical one, or NULL unless they lie in one region. */
void *vhu_mem_gpa(const struct vhu_mem *mem, uint64_t gpa, uint64_t size);

/* Our address of `size` bytes at a user address, or NULL unless they lie in one region. */
void *vhu_mem_uva(const struct vhu_mem *mem, uint64_t uva, uint64_t size);

#endif
