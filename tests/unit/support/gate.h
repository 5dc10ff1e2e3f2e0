/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A target for tests of the worker: no I/O, and a gate before its completions, which lets as many
 * go as there are tokens; and a reactor under it that refuses watches if it is to. There is one;
 * whoever touches it from outside of its worker's thread does so while that is not started, or by a
 * call.
 */
#ifndef GATE_H
#define GATE_H

#include <linux/virtio_blk.h>

#include "src/io/engine.h"
#include "src/io/list.h"
#include "src/queue/queue.h"

extern struct gate {
	struct target base;
	struct reactor_hook hook;
	/* Which one sleeps; that of epoll if none is named. */
	const struct reactor_class *inner;
	struct io_list held;
	unsigned n_held, tokens; /* as many may go */
	unsigned n_begun;        /* as many of those held, the oldest, are not taken back */
	int64_t cut;             /* bytes that a transfer moves at most; 0: all */
	unsigned n_files;
	int file_err, watch_err;
} gate;

extern struct reactor_class gate_reactor;
extern const struct target_class gate_target;
extern const struct engine gate_engine; /* of both */

/* The readable part of a request without data: a header, and a discard's segment. */
struct gate_header {
	struct virtio_blk_outhdr header;
	struct virtio_blk_discard_write_zeroes segment;
};

struct gate_header gate_header(bool discard, uint64_t sector);

/* A disk whose requests the gate can hold: nothing about it needs care. */
void gate_make_disk(struct queue_disk *disk, struct image *image);

#endif
