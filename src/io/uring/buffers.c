/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that is registered with the kernel, so that it need not find and pin the pages of each
 * read and write again. The reactor's thread only.
 *
 * Theory of operation. Each owner has a set of ranges. They are cut into pieces of the kernel's
 * greatest size. The table of pieces is in order of address. A new set of an owner's makes a new
 * table, into which those pieces that were in the old one move; the others' places in the kernel's
 * table are emptied, and the new ones registered. An operation in flight on a piece that is dropped
 * has its own reference to the pages.
 *
 * The kernel takes anonymous memory, memfds and huge pages, but no mapping of a file on a disk:
 * such a piece is in the table, too, so that it is not tried again, but operations on it are plain
 * ones.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/uring/uring.h"

#define PIECE_MAX (UINT64_C(1) << 30)
#define PIECES    4096 /* the kernel has up to 16384; what is beyond is not registered */

int uring_buffers_open(struct uring_buffers *buffers, struct ring *ring)
{
	int err;

	if (uring_without & URING_WITHOUT_FIXED_BUFFERS)
		return -EOPNOTSUPP;
	err = io_uring_register_buffers_sparse(&ring->uring, PIECES);
	if (err == -EINVAL)
		return -EOPNOTSUPP; /* before Linux 5.19 */
	if (!err)
		buffers->ring = ring;
	return err;
}

void uring_buffers_close(struct uring_buffers *buffers)
{
	/* The kernel's part goes with the ring. */
	free(buffers->piece);
	*buffers = (struct uring_buffers){0};
}

const struct uring_piece *uring_buffers_search(struct uring_buffers *buffers, uintptr_t at,
					       size_t size)
{
	unsigned low = 0, high = buffers->n;

	/* The last piece that begins at or below it. */
	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (buffers->piece[middle].start <= at)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || !uring_piece_holds(&buffers->piece[low - 1], at, size))
		return NULL;
	buffers->last = low - 1;
	return &buffers->piece[low - 1];
}

/* ---- the kernel's table ---- */

static int update(struct uring_buffers *buffers, int index, uintptr_t start, size_t size)
{
	const struct iovec iov = {(void *)start, size};
	int err = io_uring_register_buffers_update_tag(&buffers->ring->uring, (unsigned)index, &iov,
						       NULL, 1);

	return err < 0 ? err : 0;
}

/* Registers a piece. 0 also if the kernel does not take this kind of memory: then it is plain. */
static int register_piece(struct uring_buffers *buffers, struct uring_piece *piece, int index)
{
	int err = update(buffers, index, piece->start, piece->size);

	piece->index = err ? -1 : index;
	return err == -EFAULT || err == -EOPNOTSUPP ? 0 : err;
}

static bool owns_all(const struct uring_buffers *buffers, const void *owner)
{
	for (unsigned i = 0; i < buffers->n; i++)
		if (buffers->piece[i].owner != owner)
			return false;
	return true;
}

/*
 * Takes what is the owner's out of the kernel's table. Done as a whole the pages are free at once;
 * one by one an older kernel waits a moment first. But on such a kernel the former waits for
 * operations in flight.
 */
static void drop(struct uring_buffers *buffers, const void *owner, bool idle)
{
	unsigned left = 0;

	if (idle && owns_all(buffers, owner) &&
	    !io_uring_unregister_buffers(&buffers->ring->uring) &&
	    !io_uring_register_buffers_sparse(&buffers->ring->uring, PIECES))
		buffers->n = 0;
	for (unsigned i = 0; i < buffers->n; i++) {
		const struct uring_piece piece = buffers->piece[i];

		if (piece.owner != owner)
			buffers->piece[left++] = piece;
		else if (piece.index >= 0)
			update(buffers, piece.index, 0, 0);
	}
	buffers->n = left;
	buffers->last = 0;
}

/* ---- from ranges to pieces ---- */

static int by_start(const void *a, const void *b)
{
	const struct uring_piece *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

/*
 * A new table: the pieces of others, and the owner's ranges cut into pieces, as if none of them
 * were registered. NULL: no memory.
 */
static struct uring_piece *cut(const struct uring_buffers *buffers, const void *owner,
			       const struct iovec *ranges, unsigned n, unsigned *n_pieces)
{
	struct uring_piece *piece = calloc(PIECES, sizeof(*piece));
	unsigned k = 0;

	for (unsigned i = 0; piece && i < buffers->n; i++)
		if (buffers->piece[i].owner != owner)
			piece[k++] = buffers->piece[i];
	for (unsigned i = 0; piece && i < n; i++) {
		uintptr_t start = (uintptr_t)ranges[i].iov_base;
		size_t left = ranges[i].iov_len, size;

		for (; left && k < PIECES; left -= size, start += size) {
			size = left < PIECE_MAX ? left : PIECE_MAX;
			piece[k++] = (struct uring_piece){start, size, -1, owner};
		}
	}
	if (piece)
		qsort(piece, k, sizeof(*piece), by_start);
	*n_pieces = k;
	return piece;
}

static struct uring_piece *find_same(struct uring_piece *piece, unsigned n,
				     const struct uring_piece *as)
{
	struct uring_piece *found = n ? bsearch(as, piece, n, sizeof(*piece), by_start) : NULL;

	return found && found->size == as->size ? found : NULL;
}

/* ---- a new set ---- */

/* Drops what is not in the new table; what is keeps its place. Marks the places taken. */
static void carry_over(struct uring_buffers *buffers, struct uring_piece *piece, unsigned n,
		       bool *known, bool *taken)
{
	for (unsigned i = 0; i < buffers->n; i++) {
		const struct uring_piece *old = &buffers->piece[i];
		struct uring_piece *same = find_same(piece, n, old);

		if (same) {
			same->index = old->index;
			known[same - piece] = true;
		}
		if (old->index < 0)
			continue;
		if (same)
			taken[old->index] = true;
		else
			update(buffers, old->index, 0, 0);
	}
}

/* Registers the pieces that are not known yet. 0 or -errno. */
static int register_new(struct uring_buffers *buffers, const bool *known, const bool *taken)
{
	int index = 0, err = 0;

	for (unsigned i = 0; !err && i < buffers->n; i++) {
		if (known[i])
			continue;
		while (taken[index])
			index++;
		err = register_piece(buffers, &buffers->piece[i], index++);
	}
	return err;
}

static int64_t count_plain(const struct uring_buffers *buffers, const void *owner,
			   const struct iovec *ranges, unsigned n)
{
	int64_t plain = 0;

	for (unsigned i = 0; i < n; i++)
		plain += (int64_t)ranges[i].iov_len;
	for (unsigned i = 0; i < buffers->n; i++)
		if (buffers->piece[i].owner == owner && buffers->piece[i].index >= 0)
			plain -= (int64_t)buffers->piece[i].size;
	return plain;
}

int64_t uring_buffers_set(struct uring_buffers *buffers, const void *owner,
			  const struct iovec *ranges, unsigned n, bool idle)
{
	bool known[PIECES] = {0}, taken[PIECES] = {0};
	struct uring_piece *piece;
	unsigned n_pieces;
	int err;

	if (!n) {
		drop(buffers, owner, idle);
		return 0;
	}
	piece = cut(buffers, owner, ranges, n, &n_pieces);
	if (!piece) {
		/* What is registered may be about to be unmapped, and its addresses used again. */
		drop(buffers, owner, idle);
		return -ENOMEM;
	}
	carry_over(buffers, piece, n_pieces, known, taken);
	free(buffers->piece);
	buffers->piece = piece;
	buffers->n = n_pieces;
	buffers->last = 0;
	err = register_new(buffers, known, taken);
	if (err) {
		drop(buffers, owner, idle);
		return err;
	}
	return count_plain(buffers, owner, ranges, n);
}
