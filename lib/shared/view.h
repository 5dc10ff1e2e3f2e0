/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory that lies scattered, seen as if it were one: mapped once more, page behind page. For
 * rings behind an IOMMU, whose pages the guest takes from wherever they are. The files' pages are
 * those of the memory map, so what is written here is seen there.
 *
 * The control thread makes and frees them; whoever owns the ring uses it.
 */
#ifndef SHARED_VIEW_H
#define SHARED_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "shared/mem.h"

struct vhu_view;

/*
 * Maps n (> 0) pieces of a memory map, named by our addresses, one behind the other. All but the
 * first begin at a page's begin, all but the last end at a page's end. 0; -EINVAL: they do not;
 * -errno of mmap(2), which has it that huge pages go whole; -ENOSPC: too many guards.
 */
int vhu_view_new(struct vhu_view **viewp, const struct vhu_mem *mem, const struct iovec *piece,
		 unsigned n);

void vhu_view_free(struct vhu_view *view); /* NULL is allowed */

/* Has the front-end truncated any of it, so that it was replaced (shared/guard.h)? NULL: no. */
bool vhu_view_is_lost(const struct vhu_view *view);

/* Where the first byte is in our address space. */
void *vhu_view_host(const struct vhu_view *view);

/*
 * By which address the map has what the view has at `at`: the map's own address, good for *size
 * bytes, which is cut. NULL: it is none of the view's.
 */
void *vhu_view_origin(const struct vhu_view *view, const void *at, size_t *size);

#endif
