/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a request needs to know of its disk. The control thread writes it, workers read it: all
 * of it is constant while a queue runs, but for `wce` and what `end` points to.
 */
#ifndef REQUEST_DISK_H
#define REQUEST_DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/end.h"
#include "image/image.h"
#include "request/io_errors.h"

struct blk_sync;

struct blk_disk {
	const char *name; /* for messages */
	const char *serial;
	const struct image *image;
	struct blk_sync *sync; /* of the image */
	struct image_end *end; /* of the image; what is reached beyond its limit is an error */
	struct io_errors *errors;
	uint64_t features; /* negotiated */
	atomic_bool wce;   /* the configuration space's writeback field */
};

/*
 * Must a write be durable before it completes? virtio 5.2.6.2: when neither CONFIG_WCE nor FLUSH
 * was negotiated, or writeback is 0; or the operator said so.
 */
bool blk_disk_durable(const struct blk_disk *disk);

#endif
