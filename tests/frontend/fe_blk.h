/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-blk requests on one queue. Each of `depth` slots owns, in guest memory, a request header,
 * a data buffer, a status byte and an indirect table; submit and reap allocate nothing. On top
 * sync helpers that answer the status byte (VIRTIO_BLK_S_*, 0 is OK) or -errno, and
 * fe_blk_exchange() for requests in any framing. Sectors are 512 bytes.
 */
#ifndef FE_BLK_H
#define FE_BLK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/frontend/fe_dev.h"

#define FE_SECTOR      512u
#define FE_NO_STATUS   0xffu /* what the status byte holds until the device writes it */
#define FE_BLK_MAX_SEG 128   /* data segments of one slot's request */

struct fe_blk_slot {
	struct virtio_blk_outhdr *header;
	uint8_t *data; /* of blk->data_size bytes */
	uint8_t *status;
	uint64_t header_gpa;
	uint64_t data_gpa;
	uint64_t status_gpa;
	uint64_t table_gpa;
	void *cookie; /* the submitter's */
	struct fe_blk_slot *next_free;
};

struct fe_blk {
	struct fe_dev *dev;
	struct fe_vq *vq;
	uint32_t data_size;
	unsigned int depth;
	bool indirect; /* one descriptor a request; else direct chains */
	struct fe_blk_slot *slot;
	struct fe_blk_slot *free;
	unsigned int in_flight;
	uint32_t last_len; /* the used length of the last request reaped */
};

/*
 * Makes `depth` slots with data buffers of `data_size` bytes each (page aligned) for queue `index`
 * of a started device. The guest memory goes with the device. 0 or -errno.
 */
int fe_blk_init(struct fe_blk *blk, struct fe_dev *dev, unsigned int index, unsigned int depth,
		uint32_t data_size);
void fe_blk_free(struct fe_blk *blk);

/* A free slot, whose `data` the caller may fill, or NULL. fe_blk_put() gives it back unused. */
struct fe_blk_slot *fe_blk_get(struct fe_blk *blk);
void fe_blk_put(struct fe_blk *blk, struct fe_blk_slot *slot);

/*
 * Makes a request of the slot, with `len` bytes of its data buffer or with any data segments. Not
 * seen by the device before fe_vq_kick(blk->vq). 0, or -ENOSPC (the slot stays the caller's).
 */
int fe_blk_submit(struct fe_blk *blk, struct fe_blk_slot *slot, uint32_t type, uint64_t sector,
		  uint32_t len);
int fe_blk_submit_segs(struct fe_blk *blk, struct fe_blk_slot *slot, uint32_t type, uint64_t sector,
		       const struct fe_seg *data, unsigned int n);

/* Takes one completed request; the caller looks at its status and data, then fe_blk_put(). */
int fe_blk_reap(struct fe_blk *blk, struct fe_blk_slot **slot);

/* The same, and waits for one to take. 0 or -errno. */
int fe_blk_await(struct fe_blk *blk, struct fe_blk_slot **slot);

/* Kicks, and waits for all that is in flight. The first status that is not OK, 0 or -errno. */
int fe_blk_drain(struct fe_blk *blk);

/* One request, synchronous; nothing else may be in flight on the queue. */
int fe_blk_segs(struct fe_blk *blk, uint32_t type, uint64_t sector, const struct fe_seg *data,
		unsigned int n);
int fe_blk_read(struct fe_blk *blk, uint64_t sector, void *buf, uint32_t len);
int fe_blk_write(struct fe_blk *blk, uint64_t sector, const void *buf, uint32_t len);
int fe_blk_flush(struct fe_blk *blk);
int fe_blk_discard(struct fe_blk *blk, uint64_t sector, uint32_t n_sectors, uint32_t flags);
int fe_blk_write_zeroes(struct fe_blk *blk, uint64_t sector, uint32_t n_sectors, uint32_t flags);
/* DISCARD or WRITE_ZEROES with any number of ranges, or any bytes in their place. */
int fe_blk_ranges(struct fe_blk *blk, uint32_t type, const void *ranges, uint32_t len);
/* GET_ID into a buffer of `len` bytes. */
int fe_blk_get_id(struct fe_blk *blk, char *id, uint32_t len);

/*
 * Cuts [gpa, gpa + len) into segments whose lengths are sizes[0], sizes[1] ..., round and round.
 * Returns their number, at most `max`; 0 if that is too few.
 */
unsigned int fe_cut(struct fe_seg *segs, unsigned int max, uint64_t gpa, uint64_t len, bool write,
		    const uint32_t *sizes, unsigned int n_sizes);

/*
 * One chain, whatever it holds, on a queue with nothing else in flight: adds, kicks, waits, reaps.
 * The first n_direct segments are descriptors of the ring, the others go to an indirect table at
 * `table` (0: all direct). `used_len` may be NULL. 0 or -errno.
 */
int fe_vq_exchange(struct fe_vq *vq, const struct fe_seg *segs, unsigned int n,
		   unsigned int n_direct, uint64_t table, uint32_t *used_len);

#endif
