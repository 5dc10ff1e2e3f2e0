/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the image ends, and whether it still does: a file may be truncated under a running disk.
 * What lay beyond is lost then, and must be neither invented (as zeros) nor written, which would
 * make the file grow again and hide the loss. So the first who finds the image shorter than it was
 * when it was opened lowers the limit, for good: until the image is opened again.
 *
 * Who finds out:
 *	a read that comes short			asks			request/rw.c
 *	a write up to the last byte		asks first, since it would restore the size
 *	the first write after a rest		looks first		request/parse.c
 *	the control thread, while a guest writes, ten times a second	image/watch.h
 */
#ifndef IMAGE_END_H
#define IMAGE_END_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"

/* Read with each request, written once in a lifetime. */
struct image_end {
	_Alignas(64) _Atomic uint64_t limit; /* bytes: requests end here at the latest */
	uint64_t size;                       /* bytes, of the image when it was opened */
	uint64_t ask_at;                     /* writes that end there or beyond ask first */
	uint32_t identity;                   /* of this image, not 0; see image_end_recognise() */
	int fd;
	bool is_device;
	const char *name; /* for messages */
	atomic_bool told, told_other, told_beyond;
};

/* Of an open image, or of none (fd -1). `name` has to live as long. Control thread. */
void image_end_init(struct image_end *end, const struct image *image, const char *name);

/* Bytes that requests may reach. Any thread. */
static inline uint64_t image_end_limit(const struct image_end *end)
{
	return atomic_load_explicit(&end->limit, memory_order_relaxed);
}

/*
 * The image has been found to have `size` bytes: where that is less than it had, the limit is
 * lowered, and the first time an error logged. Any thread.
 */
void image_end_found(struct image_end *end, uint64_t size);

/*
 * A guest was begun to be served with the image that had this identity (0: not known): is it still
 * the same one? Logs an error if not, once: it was replaced, or has another size, and the guest
 * does not know. Any thread.
 */
void image_end_recognise(struct image_end *end, uint32_t identity);

/* A request reaches beyond the disk: was its guest told of a larger one? Once. Any thread. */
void image_end_reached(struct image_end *end, uint64_t capacity);

/*
 * Looks at the size that the kernel knows (of a network file system without asking the server, so
 * that it does not wait). Any thread; a system call.
 */
void image_end_check(struct image_end *end);

#endif
