/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the image ends, and whether it still does: a file or device may grow under a running disk,
 * and a file be truncated.
 *
 * What is added is the disk's as soon as the control thread has noticed (image_end_look()).
 *
 * What lay beyond a new, nearer end is lost, and must be neither invented (as zeros) nor written,
 * which would make the file grow again and hide the loss. So the first who finds the image shorter
 * than it was lowers the limit, for good: until the image is opened again. What guests are told of
 * stays. Growing again restores nothing of what was lost, and is not believed to.
 *
 * Who finds out:
 *	a read that comes short			asks			request/rw.c
 *	a write up to the last byte		asks first, since it would restore the size
 *	the first write after a rest		looks first		request/parse.c
 *	the control thread, while a guest writes, ten times a second	image/watch.h
 *	and when it is asked to
 */
#ifndef IMAGE_END_H
#define IMAGE_END_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"

/* Read with each request, written when the image has changed its size. All sizes are bytes. */
struct image_end {
	_Alignas(64) _Atomic uint64_t limit; /* requests end here at the latest */
	_Atomic uint64_t ask_at;             /* writes that end there or beyond ask first */
	_Atomic uint64_t capacity;           /* what guests are told of */
	_Atomic uint64_t size;               /* what the image has; less is a truncation */
	_Atomic uint32_t identity;           /* of this image, not 0; see image_end_recognise() */
	const struct image *image;
	const char *name; /* for messages */
	atomic_bool told, told_other, told_beyond;
};

/* Of an open image, or of none (fd -1). `image` and `name` have to live as long. Control thread. */
void image_end_init(struct image_end *end, const struct image *image, const char *name);

/* Bytes that requests may reach. Any thread. */
static inline uint64_t image_end_limit(const struct image_end *end)
{
	return atomic_load_explicit(&end->limit, memory_order_relaxed);
}

/* Bytes that the disk has for its guest. Any thread. */
static inline uint64_t image_end_capacity(const struct image_end *end)
{
	return atomic_load_explicit(&end->capacity, memory_order_relaxed);
}

/* Should a write up to here ask first? Any thread. */
static inline bool image_end_asks(const struct image_end *end, uint64_t to)
{
	return to >= atomic_load_explicit(&end->ask_at, memory_order_relaxed);
}

/* Bytes that the image is known to have. Any thread. */
static inline uint64_t image_end_size(const struct image_end *end)
{
	return atomic_load_explicit(&end->size, memory_order_acquire);
}

/*
 * The image has been found to have `size` bytes, after image_end_size() had been `had`: where that
 * is less the limit is lowered, and the first time an error logged. Any thread.
 */
void image_end_found(struct image_end *end, uint64_t had, uint64_t size);

/*
 * A guest was begun to be served with the image that had this identity (0: not known): is it still
 * the same one? Logs an error if not, once: it was replaced, or is smaller. Any thread.
 */
void image_end_recognise(struct image_end *end, uint32_t identity);

/* A request reaches beyond the disk: was its guest told of a larger one? Once. Any thread. */
void image_end_reached(struct image_end *end, uint64_t capacity);

/*
 * Looks whether a file has been truncated, at the size that the kernel knows (of a network file
 * system without asking the server, so that it does not wait). Any thread; a system call.
 */
void image_end_check(struct image_end *end);

/*
 * The same, also of a device; and if the image has grown, the disk has, too, from now on: true.
 * Control thread.
 */
bool image_end_look(struct image_end *end);

#endif
