/* SPDX-License-Identifier: BSD-3-Clause */
/* See shared/view.h. */
#include "shared/view.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shared/gate.h"
#include "shared/guard.h"

struct piece {
	struct iovec origin;
	size_t at; /* in the view, bytes from its first one */
	void *base;
	size_t mapped; /* whole pages; 0: not yet */
	int guard;
};

struct vhu_view {
	uint8_t *base; /* of the address space that was reserved */
	size_t reserved;
	size_t skip; /* bytes before the first one of interest */
	unsigned n;
	struct piece piece[];
};

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Do the pieces fit behind each other? How many bytes are to be reserved, 0 if they do not. */
static size_t size_of(const struct iovec *piece, unsigned n)
{
	const size_t mask = page_size() - 1;
	size_t size = (uintptr_t)piece[0].iov_base & mask;

	for (unsigned i = 0; i < n; i++) {
		if ((i && (uintptr_t)piece[i].iov_base & mask) || (i && size & mask))
			return 0;
		size += piece[i].iov_len;
	}
	return (size + mask) & ~mask;
}

/* Maps a piece to its place, in whole pages. 0 or -errno. */
static int map(struct piece *piece, const struct vhu_mem *mem, uint8_t *to)
{
	const size_t mask = page_size() - 1;
	const size_t skip = (uintptr_t)piece->origin.iov_base & mask;
	const size_t size = (piece->origin.iov_len + skip + mask) & ~mask;
	uint64_t offset;
	int fd, err = vhu_mem_file_at(mem, piece->origin.iov_base, &fd, &offset);

	if (err)
		return err;
	/* What is still to come (postcopy migration) is waited for there, and not here. */
	for (size_t i = 0; i < piece->origin.iov_len; i += mask + 1 - ((i + skip) & mask))
		(void)((const volatile uint8_t *)piece->origin.iov_base)[i];
	offset -= skip;
	piece->base = mmap(to, size, VHU_GATE_PROT, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd,
			   (off_t)offset);
	if (piece->base == MAP_FAILED)
		return -errno;
	madvise(piece->base, size, MADV_DONTDUMP);
	piece->guard = vhu_guard_add(piece->base, size);
	if (piece->guard < 0)
		return piece->guard;
	err = vhu_gate_open(piece->base, size, fd, (off_t)offset);
	if (err)
		vhu_guard_remove(piece->guard);
	else
		piece->mapped = size;
	return err;
}

static int map_all(struct vhu_view *view, const struct vhu_mem *mem, const struct iovec *piece)
{
	size_t at = 0;

	view->base = mmap(NULL, view->reserved, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (view->base == MAP_FAILED) {
		view->base = NULL;
		return -errno;
	}
	for (unsigned i = 0; i < view->n; i++) {
		int err;

		view->piece[i] = (struct piece){.origin = piece[i], .at = at};
		err = map(&view->piece[i], mem, view->base + (i ? view->skip + at : 0));
		if (err)
			return err;
		at += piece[i].iov_len;
	}
	return 0;
}

int vhu_view_new(struct vhu_view **viewp, const struct vhu_mem *mem, const struct iovec *piece,
		 unsigned n)
{
	const size_t size = size_of(piece, n);
	struct vhu_view *view;
	int err;

	*viewp = NULL;
	if (!size)
		return -EINVAL;
	view = calloc(1, sizeof(*view) + n * sizeof(view->piece[0]));
	if (!view)
		return -ENOMEM;
	view->n = n;
	view->reserved = size;
	view->skip = (uintptr_t)piece[0].iov_base & (page_size() - 1);
	err = map_all(view, mem, piece);
	if (err) {
		vhu_view_free(view);
		return err;
	}
	*viewp = view;
	return 0;
}

void vhu_view_free(struct vhu_view *view)
{
	if (!view)
		return;
	for (unsigned i = 0; i < view->n; i++) {
		if (!view->piece[i].mapped)
			continue;
		vhu_gate_close(view->piece[i].base);
		vhu_guard_remove(view->piece[i].guard);
	}
	if (view->base)
		munmap(view->base, view->reserved);
	free(view);
}

bool vhu_view_is_lost(const struct vhu_view *view)
{
	for (unsigned i = 0; view && i < view->n; i++)
		if (vhu_guard_is_lost(view->piece[i].guard) ||
		    vhu_gate_is_lost(view->piece[i].base))
			return true;
	return false;
}

void *vhu_view_host(const struct vhu_view *view)
{
	return view->base + view->skip;
}

void *vhu_view_origin(const struct vhu_view *view, const void *at, size_t *size)
{
	const size_t offset = (size_t)((uintptr_t)at - (uintptr_t)vhu_view_host(view));

	for (unsigned i = 0; i < view->n; i++) {
		const struct piece *piece = &view->piece[i];
		const size_t skip = offset - piece->at;

		if (skip >= piece->origin.iov_len)
			continue;
		if (*size > piece->origin.iov_len - skip)
			*size = piece->origin.iov_len - skip;
		return (char *)piece->origin.iov_base + skip;
	}
	return NULL;
}
