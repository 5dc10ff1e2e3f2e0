/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The in-flight region: memory shared with the front-end, in which a back-end writes down which
 * requests it has fetched and not yet completed, so that the next one can go on where it died
 * ("Inflight I/O tracking" of vhost-user.rst). This file owns the memory and its layout, vq_track
 * what is written in it.
 *
 * The front-end can write to it, and may hand in anything: sizes are checked here before it is
 * mapped, its content in vq_track before it is used. Control thread; references may be dropped
 * anywhere.
 */
#ifndef SHARED_INFLIGHT_H
#define SHARED_INFLIGHT_H

#include <stdbool.h>
#include <stddef.h>

#include "proto.h"

/* "DescStateSplit" and "QueueRegionSplit" */
struct inflight_desc_split {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};
static_assert(sizeof(struct inflight_desc_split) == 16, "layout of the specification");

struct inflight_split {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct inflight_desc_split desc[];
};
static_assert(sizeof(struct inflight_split) == 16, "layout of the specification");

/* "DescStatePacked" and "QueueRegionPacked" */
struct inflight_desc_packed {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next;
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};
static_assert(sizeof(struct inflight_desc_packed) == 32, "layout of the specification");

/*
 * The two used indexes with their wrap counters share an aligned 8 bytes, so that they can be moved
 * together by one store.
 */
union inflight_used_packed {
	struct {
		uint16_t idx, old_idx;
		uint8_t wrap, old_wrap;
		uint8_t padding[2];
	};
	uint64_t all;
};
static_assert(sizeof(union inflight_used_packed) == 8, "one store");

struct inflight_packed {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	union inflight_used_packed used;
	uint8_t padding[8];
	struct inflight_desc_packed desc[];
};
static_assert(offsetof(struct inflight_packed, used) == 16, "layout of the specification");
static_assert(sizeof(struct inflight_packed) == 32, "layout of the specification");

#define INFLIGHT_VERSION 1 /* 0: not yet initialised */

/*
 * The entries of a queue's region, at least. What a front-end asks for is no bound of its rings:
 * QEMU 10 asks for its `queue-size`, 128, and makes rings of 1024, the most that it knows.
 */
#define VHU_INFLIGHT_MIN_ENTRIES 1024u

struct vhu_inflight;

/*
 * Makes the memory for num_queues rings of up to queue_size entries, all zeros, in a sealed memfd.
 * The front-end hands it in again to have it used. 0, *fd (the caller's) and *size (bytes);
 * -EINVAL; -errno.
 */
int vhu_inflight_create(unsigned num_queues, unsigned queue_size, bool packed, int *fd,
			uint64_t *size);

/*
 * Maps a region that a front-end hands in. The descriptor stays the caller's. How many entries a
 * queue has follows from what the region holds and from its size: at least desc->queue_size. 0 and
 * one reference; -EINVAL, logged under `name`, if it is too small for what it is said to hold, not
 * aligned, or for more than max_queues; -errno of mmap(2).
 */
int vhu_inflight_adopt(struct vhu_inflight **inflightp, const char *name,
		       const struct vhu_inflight_desc *desc, int fd, bool packed,
		       unsigned max_queues);

/* One reference more, one less; NULL is allowed. */
struct vhu_inflight *vhu_inflight_get(struct vhu_inflight *inflight);
void vhu_inflight_put(struct vhu_inflight *inflight);

/* The region of a queue, or NULL if it has none. Its layout is vhu_inflight_is_packed()'s. */
void *vhu_inflight_queue(const struct vhu_inflight *inflight, unsigned index);

/* The queue's region counts as never used. Nobody works with it. */
void vhu_inflight_forget_queue(const struct vhu_inflight *inflight, unsigned index);

/* Entries of each queue's region. */
unsigned vhu_inflight_queue_size(const struct vhu_inflight *inflight);

bool vhu_inflight_is_packed(const struct vhu_inflight *inflight);

/* Its file, a duplicate of the region's own, or -1, and where in it it begins (bytes). */
int vhu_inflight_file(const struct vhu_inflight *inflight, uint64_t *offset);

/* Has the front-end truncated it? NULL: no. */
bool vhu_inflight_is_lost(const struct vhu_inflight *inflight);

#endif
