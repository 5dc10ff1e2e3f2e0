/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue as its client thread sees it: its requests, prepared once, and what is to be done with
 * them. Made by the main thread; from then on the client thread's alone.
 */
#ifndef BENCH_QUEUE_H
#define BENCH_QUEUE_H

#include <linux/virtio_blk.h>

#include "bench_dev.h"
#include "bench_options.h"
#include "tests/frontend/fe_fixed.h"

/* What a request shares with the device beside its data: one cache line. */
struct bench_line {
	struct virtio_blk_outhdr header;
	uint8_t status;
} __attribute__((aligned(64)));

/* What we know about a request. The first line is all that a split ring needs for one. */
struct bench_slot {
	uint64_t start; /* ticks, when it was submitted, or with a rate, was to be */
	struct bench_line *line;
	uint8_t *data;
	uint64_t block;    /* number within the queue's part of the area */
	uint32_t stamping; /* --verify: the generation being written */
	bool write;
	bool in_flight;
	uint16_t *data_flags; /* of the data's descriptor: WRITE there says that it is a read */
	struct fe_fixed fixed;
} __attribute__((aligned(64)));

struct bench_verify; /* bench_verify.h */

struct bench_queue {
	struct fe_vq *vq;
	struct bench_slot *slot;   /* by head; where no request has that head, line is NULL */
	struct bench_slot **ready; /* not in flight, the next one to be submitted first */
	unsigned int n_ready;
	unsigned int in_flight;
	uint64_t budget;     /* requests that may yet be submitted */
	uint16_t silenced;   /* the used index when calls were last declined */
	const char *trouble; /* what the back-end did that it may not do; NULL: nothing */

	uint64_t random; /* state of the generator, never 0 */
	bool is_random;
	bool mixed;            /* reads and writes, by ... */
	uint64_t read_limit;   /* ... random numbers below this being reads */
	uint64_t first_sector; /* of the queue's part of the area */
	uint64_t n_blocks;
	uint64_t next_block;
	uint64_t sectors_per_block;
	uint32_t block_size;

	double interval; /* ticks between two requests of this queue, 0: no rate */
	double due;      /* ticks, when the next one is */

	struct bench_verify *verify; /* NULL: not asked for */
};

/*
 * Prepares queue `index` of the device. 0 or -errno; bench_queue_free() in any case, of a zeroed
 * queue also.
 */
int bench_queue_init(struct bench_queue *queue, struct bench_dev *dev, unsigned int index,
		     const struct bench_options *options);
void bench_queue_free(struct bench_queue *queue);

/* Where the device puts the status of the request with this head, NULL: none has it. */
uint8_t *bench_queue_status(const struct bench_queue *queue, unsigned int head);

#endif
