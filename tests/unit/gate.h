/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An engine for tests of the worker: that without I/O, and a gate before its completions, which
 * lets as many go as there are tokens. There is one; whoever touches it from outside of its
 * worker's thread does so while that is not started, or by a call.
 */
#ifndef GATE_H
#define GATE_H

#include <errno.h>
#include <linux/virtio_blk.h>

#include "src/io/internal.h"
#include "src/queue/queue.h"
#include "src/request/sync.h"

static struct {
	struct engine base;
	/* Watches and files are its affair; of the null engine if no other class is named. */
	struct engine *inner;
	const struct engine_class *inner_class;
	struct io_list held;
	unsigned n_held, tokens; /* as many may go */
	unsigned n_begun;        /* as many of those held, the oldest, are not taken back */
	int64_t cut;             /* bytes that a transfer moves at most; 0: all */
	unsigned n_files;
	int file_err, watch_err;
} gate;

static const struct engine_class gate_class;

static int gate_open(struct engine **enginep, const struct engine_config *config)
{
	gate.base.class = &gate_class;
	gate.base.config = *config;
	*enginep = &gate.base;
	return (gate.inner_class ? gate.inner_class : &engine_null)->open(&gate.inner, config);
}

static void gate_close(struct engine *engine)
{
	(void)engine;
	engine_close(gate.inner);
}

static int gate_add_file(struct engine *engine, int fd)
{
	(void)engine;
	if (gate.file_err)
		return gate.file_err;
	gate.n_files++;
	return engine_add_file(gate.inner, fd);
}

static void gate_remove_file(struct engine *engine, int file)
{
	(void)engine;
	gate.n_files--;
	engine_remove_file(gate.inner, file);
}

static int gate_watch(struct engine *engine, struct engine_watch *watch)
{
	(void)engine;
	return gate.watch_err ? gate.watch_err : engine_watch(gate.inner, watch);
}

static void gate_unwatch(struct engine *engine, struct engine_watch *watch)
{
	(void)engine;
	engine_unwatch(gate.inner, watch);
}

static void gate_submit(struct engine *engine, struct io *io)
{
	(void)engine;
	io_list_push(&gate.held, io);
	gate.n_held++;
}

/* Too late for those that "the kernel" holds: the first ones. */
static bool gate_cancel(struct engine *engine, struct io *io)
{
	struct io *at = gate.held.head;

	(void)engine;
	for (unsigned i = 0; i < gate.n_begun && at; i++, at = at->next)
		if (at == io)
			return false;
	if (!io_list_remove(&gate.held, io))
		return false;
	gate.n_held--;
	return true;
}

static int64_t result_of(const struct io *io)
{
	const int64_t size = io->niov ? (int64_t)vublk_iov_size(io->iov, io->niov) : 0;

	return gate.cut && gate.cut < size ? gate.cut : size;
}

static int gate_run(struct engine *engine, int64_t timeout_ns)
{
	int n = engine_run(gate.inner, gate.tokens && gate.held.head ? 0 : timeout_ns);

	for (; gate.tokens && gate.held.head; gate.tokens--, n++) {
		struct io *io = io_list_pop(&gate.held);

		gate.n_held--;
		engine_complete(engine, io, result_of(io));
	}
	return n;
}

static const struct engine_class gate_class = {
	.name = "gate",
	.open = gate_open,
	.close = gate_close,
	.add_file = gate_add_file,
	.remove_file = gate_remove_file,
	.watch = gate_watch,
	.unwatch = gate_unwatch,
	.submit = gate_submit,
	.cancel = gate_cancel,
	.run = gate_run,
};

/* The readable part of a request without data: a header, and a discard's segment. */
struct gate_header {
	struct virtio_blk_outhdr header;
	struct virtio_blk_discard_write_zeroes segment;
};

static inline struct gate_header gate_header(bool discard, uint64_t sector)
{
	return (struct gate_header){
		.header = {.type = discard ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_OUT,
			   .sector = sector},
		.segment = {.num_sectors = 1},
	};
}

/* A disk whose requests the gate can hold: nothing about it needs care. */
static void gate_make_disk(struct queue_disk *disk, struct image *image)
{
	static struct image_end end;
	static struct blk_sync sync;
	static const struct memory_fence fence = {{-1, -1}};
	static struct io_errors errors = {.posted = true};
	static struct sharing_signs signs;

	*image = (struct image){.fd = 0,
				.end = 1 << 30,
				.size = 1 << 30,
				.block_size = 512,
				.mem_align = 1,
				.offset_align = 1,
				.range_align = 1,
				.can_discard = true,
				.max_discard = 1 << 30};
	blk_sync_init(&sync);
	image_end_init(&end, image, "test");
	end.fd = -1; /* nor asks for its size */
	end.ask_at = UINT64_MAX;
	*disk = (struct queue_disk){
		.blk = {.name = "test",
			.serial = "",
			.image = image,
			.errors = &errors,
			.end = &end,
			.sync = &sync,
			.features = 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_DISCARD,
			.wce = true},
		.fd = image->fd,
		.fence = &fence,
		.signs = &signs,
	};
}

#endif
