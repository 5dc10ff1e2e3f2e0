/* SPDX-License-Identifier: BSD-3-Clause */
/* How a queue's requests are prepared, see bench_queue.h. Main thread; the guest memory is ours. */
#include "bench_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench_clock.h"
#include "bench_verify.h"

#define PAGE   4096u
#define LINE   64u
#define SECTOR 512u

/* A table fits into a line. */
static_assert(FE_FIXED_MAX * sizeof(struct vring_desc) <= LINE, "size of a line");

/* Data that no back-end and no disk can make smaller. */
static void fill(uint8_t *data, uint32_t size, uint64_t *random)
{
	for (uint32_t i = 0; i < size; i += sizeof(*random)) {
		*random ^= *random << 13;
		*random ^= *random >> 7;
		*random ^= *random << 17;
		memcpy(data + i, random, sizeof(*random));
	}
}

/*
 * Where a queue's requests have their parts: those of a kind together. (Beside its data each would
 * be a page from the next one, and all of them in the same few sets of a cache.)
 */
struct places {
	uint64_t line;
	uint64_t table; /* FE_NO_ADDR: none is needed */
	uint64_t data;
	uint64_t data_size; /* from one to the next */
};

static int find_places(struct places *places, struct fe_mem *mem,
		       const struct bench_options *options)
{
	const uint64_t n = options->depth;

	places->data_size = (options->block_size + PAGE - 1) / PAGE * PAGE;
	places->line = fe_alloc(mem, n * sizeof(struct bench_line), LINE);
	places->table = options->indirect ? fe_alloc(mem, n * LINE, LINE) : FE_NO_ADDR;
	places->data = fe_alloc(mem, n * places->data_size, PAGE);
	if (places->line == FE_NO_ADDR || places->data == FE_NO_ADDR)
		return -ENOMEM;
	return options->indirect && places->table == FE_NO_ADDR ? -ENOMEM : 0;
}

/* Makes request `i`, a read unless all are writes. */
static int prepare(struct bench_queue *queue, struct bench_dev *dev,
		   const struct bench_options *options, const struct places *places, unsigned int i)
{
	struct fe_mem *mem = &dev->fe.mem;
	const bool write = !options->read_percent;
	const uint64_t line = places->line + i * sizeof(struct bench_line);
	const uint64_t table = options->indirect ? places->table + i * LINE : FE_NO_ADDR;
	const uint64_t data = places->data + i * places->data_size;
	const struct fe_seg segs[] = {
		{.addr = line, .len = sizeof(struct virtio_blk_outhdr)},
		{.addr = data, .len = options->block_size, .write = !write},
		{.addr = line + offsetof(struct bench_line, status), .len = 1, .write = true},
	};
	struct fe_fixed fixed;
	struct bench_slot *slot;
	int ret;

	ret = fe_fixed_init(queue->vq, &fixed, segs, FE_FIXED_MAX, table);
	if (ret)
		return ret;
	slot = &queue->slot[fixed.head];
	*slot = (struct bench_slot){
		.line = fe_ptr(mem, line, sizeof(struct bench_line)),
		.data = fe_ptr(mem, data, options->block_size),
		.write = write,
		.fixed = fixed,
	};
	slot->data_flags = fe_fixed_flags(queue->vq, &slot->fixed, 1, table);
	slot->line->header.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
	fill(slot->data, options->block_size, &queue->random);
	queue->ready[queue->n_ready++] = slot;
	return 0;
}

/*
 * The queue's part of the area: the same as all others' for random I/O, but its own where queues go
 * through it one block after the other, or where somebody must know who writes what.
 */
static void choose_part(struct bench_queue *queue, const struct bench_dev *dev, unsigned int index,
			const struct bench_options *options)
{
	const uint64_t blocks = dev->area / options->block_size;
	const uint64_t part = blocks / options->n_queues;
	const bool shared = options->random && !options->verify;

	queue->block_size = options->block_size;
	queue->sectors_per_block = options->block_size / SECTOR;
	queue->n_blocks = shared ? blocks : part;
	queue->first_sector =
		options->offset / SECTOR + (shared ? 0 : index * part * queue->sectors_per_block);
}

static void choose_work(struct bench_queue *queue, unsigned int index,
			const struct bench_options *options)
{
	queue->is_random = options->random;
	queue->mixed = options->read_percent > 0 && options->read_percent < 100;
	queue->read_limit = UINT64_MAX / 100 * options->read_percent;
	queue->random = (bench_now_ns() ^ index * 0x9e3779b97f4a7c15u) | 1;
	queue->budget = UINT64_MAX;
	if (options->rate > 0)
		queue->interval = bench_ns_to_ticks(1e9 * options->n_queues / options->rate);
}

int bench_queue_init(struct bench_queue *queue, struct bench_dev *dev, unsigned int index,
		     const struct bench_options *options)
{
	const size_t slots_size = options->queue_size * sizeof(*queue->slot);
	struct places places;
	int ret;

	*queue = (struct bench_queue){.vq = &dev->fe.vq[index]};
	queue->slot = aligned_alloc(LINE, slots_size);
	queue->ready = calloc(options->depth, sizeof(*queue->ready));
	if (!queue->slot || !queue->ready)
		return -ENOMEM;
	memset(queue->slot, 0, slots_size);
	choose_part(queue, dev, index, options);
	choose_work(queue, index, options);
	ret = find_places(&places, &dev->fe.mem, options);
	for (unsigned int i = 0; i < options->depth && !ret; i++)
		ret = prepare(queue, dev, options, &places, i);
	if (!ret && options->verify)
		ret = bench_verify_new(&queue->verify, queue->n_blocks, options->depth);
	return ret;
}

void bench_queue_free(struct bench_queue *queue)
{
	bench_verify_free(queue->verify);
	free(queue->ready);
	free(queue->slot);
	*queue = (struct bench_queue){0};
}

uint8_t *bench_queue_status(const struct bench_queue *queue, unsigned int head)
{
	struct bench_line *line = queue->slot[head].line;

	return line ? &line->status : NULL;
}
