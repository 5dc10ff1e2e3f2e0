/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --verify, see bench_verify.h. The client thread. Nothing of what was read is trusted.
 *
 * What a read must find:
 *   a block that this run has written: the stamp of the last write;
 *   any other: the whole stamp of any run, of the right sector; or zeros, if this run writes, since
 *   it may have got a new disk.
 * After a write that failed nothing is known about the block.
 */
#include "bench_verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_clock.h"
#include "bench_queue.h"

#define SECTOR 512u
#define WORDS  (SECTOR / sizeof(uint64_t))
#define BUSY   (1u << 31) /* of a block's generation: a request on it is in flight */
#define NONE   0u         /* a generation: none is known */

struct bench_verify {
	uint64_t n_blocks;
	uint32_t run;  /* tells runs apart */
	uint32_t next; /* the next write's generation */
	char trouble[160];
	uint32_t generation[]; /* of each block */
};

int bench_verify_new(struct bench_verify **verifyp, uint64_t n_blocks, unsigned int depth)
{
	struct bench_verify *verify;

	if (n_blocks <= depth)
		return -ENOSPC; /* each request needs a block of its own */
	verify = calloc(1, sizeof(*verify) + n_blocks * sizeof(verify->generation[0]));
	if (!verify)
		return -ENOMEM;
	verify->n_blocks = n_blocks;
	verify->run = (uint32_t)bench_now_ns() | 1;
	verify->next = 1;
	*verifyp = verify;
	return 0;
}

void bench_verify_free(struct bench_verify *verify)
{
	free(verify);
}

bool bench_verify_may_use(const struct bench_verify *verify, uint64_t block)
{
	return !(verify->generation[block] & BUSY);
}

/* Word i of a sector: the first two say which it is, the others follow from them. */
static uint64_t word_of(uint64_t sector, uint64_t stamp, unsigned int i)
{
	uint64_t x = (sector + 1) * 0x9e3779b97f4a7c15u ^ (stamp + i) * 0xd6e8feb86659fd93u;

	if (i == 0)
		return sector;
	if (i == 1)
		return stamp;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	return x ^ x >> 32;
}

static uint64_t sector_of(const struct bench_queue *queue, const struct bench_slot *slot)
{
	return queue->first_sector + slot->block * queue->sectors_per_block;
}

static uint64_t stamp_of(const struct bench_verify *verify, uint32_t generation)
{
	return (uint64_t)verify->run << 32 | generation;
}

static void write_stamp(struct bench_queue *queue, struct bench_slot *slot)
{
	struct bench_verify *verify = queue->verify;
	const uint64_t first = sector_of(queue, slot);
	uint8_t *to = slot->data;

	slot->stamping = verify->next;
	verify->next = (verify->next + 1) & ~BUSY;
	if (verify->next == NONE)
		verify->next++;
	for (uint64_t s = 0; s < queue->sectors_per_block; s++)
		for (unsigned int i = 0; i < WORDS; i++, to += sizeof(uint64_t)) {
			const uint64_t word =
				word_of(first + s, stamp_of(verify, slot->stamping), i);

			memcpy(to, &word, sizeof(word));
		}
}

/* So that what an earlier request has left there is not taken for what was read. */
static void spoil(const struct bench_queue *queue, struct bench_slot *slot)
{
	for (uint64_t s = 0; s < queue->sectors_per_block; s++)
		memset(slot->data + s * SECTOR, 0xff, sizeof(uint64_t));
}

void bench_verify_submit(struct bench_queue *queue, struct bench_slot *slot)
{
	if (slot->write)
		write_stamp(queue, slot);
	else
		spoil(queue, slot);
	queue->verify->generation[slot->block] |= BUSY;
}

static bool is_zero(const uint8_t *data)
{
	return !data[0] && !memcmp(data, data + 1, SECTOR - 1);
}

/* Remembers the first mismatch: later ones mostly have the same cause. */
static bool complain(struct bench_verify *verify, uint64_t sector, unsigned int word,
		     uint64_t expected, uint64_t found)
{
	if (!verify->trouble[0])
		snprintf(verify->trouble, sizeof(verify->trouble),
			 "sector %llu, bytes %u to %u: expected %016llx, read %016llx",
			 (unsigned long long)sector, word * 8, word * 8 + 7,
			 (unsigned long long)expected, (unsigned long long)found);
	return false;
}

/* Is the sector whole? `stamp` 0: any run's. */
static bool check_sector(struct bench_verify *verify, const uint8_t *data, uint64_t sector,
			 uint64_t stamp)
{
	for (unsigned int i = 0; i < WORDS; i++) {
		uint64_t found, expected;

		memcpy(&found, data + i * sizeof(found), sizeof(found));
		if (i == 1 && !stamp)
			stamp = found;
		expected = word_of(sector, stamp, i);
		if (found != expected)
			return complain(verify, sector, i, expected, found);
	}
	return true;
}

static bool check_read(struct bench_queue *queue, const struct bench_slot *slot)
{
	struct bench_verify *verify = queue->verify;
	const uint32_t generation = verify->generation[slot->block];
	const uint64_t stamp = generation == NONE ? 0 : stamp_of(verify, generation);
	const bool may_be_new = generation == NONE && queue->mixed;

	for (uint64_t s = 0; s < queue->sectors_per_block; s++) {
		const uint8_t *data = slot->data + s * SECTOR;

		if (may_be_new && is_zero(data))
			continue;
		if (!check_sector(verify, data, sector_of(queue, slot) + s, stamp))
			return false;
	}
	return true;
}

bool bench_verify_complete(struct bench_queue *queue, struct bench_slot *slot, bool ok)
{
	uint32_t *generation = &queue->verify->generation[slot->block];

	*generation &= ~BUSY;
	if (slot->write) {
		*generation = ok ? slot->stamping : NONE;
		return true;
	}
	return !ok || check_read(queue, slot);
}

const char *bench_verify_trouble(const struct bench_verify *verify)
{
	return verify->trouble;
}
