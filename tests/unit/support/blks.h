/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several virtio-blk requests of two queues in a world that is the test's own, as in blk.h, and on
 * a disk that is an array: an operation moves as many bytes as the test says, so that what requests
 * have moved in the end can be looked at. For tests of src/request/merge.c; there is one.
 *
 *	BLKS_ADD(.type = VIRTIO_BLK_T_IN, .offset = 4096, .size = 512);	request 0
 *	BLKS_ADD(.type = VIRTIO_BLK_T_IN, .offset = 4608, .size = 1024, .pieces = 2);
 *	blks_go();			begins them, and ends the round
 *	blks_check_op(0, 0, 1);		operation 0 is that of requests 0 to 1
 *	blks_complete(0, 1536);
 *	blks_check_answered(VIRTIO_BLK_S_OK);	each once, with the right length and data
 *
 * The checks are in blks-check.h.
 */
#ifndef BLKS_H
#define BLKS_H

#include <linux/virtio_blk.h>

#include "src/request/request.h"
#include "tests/tap.h"
#include "tests/unit/support/blk-disk.h"

#define BLKS           80u
#define BLKS_QUEUES    2u
#define BLKS_DISK      (1u << 20) /* bytes, of the array */
#define BLKS_POOL      (4u << 20)
#define BLKS_ALIGN     512u /* each piece of data, but those of `shift` */
#define BLKS_FILL      0xee /* what lies between them */
#define BLKS_ELEMENTS  512u
#define BLKS_BUFFERS   4u
#define BLKS_NO_STATUS 0xaa
#define BLKS_FILE      7

/* What the guest asks for, and in how many pieces. */
struct blks_shape {
	uint32_t type;
	uint64_t offset; /* bytes */
	uint32_t size;
	unsigned pieces;     /* of the data; 0: 1 */
	unsigned header_cut; /* pieces of the header; 0: 1 */
	unsigned shift;      /* bytes by which the data is not aligned */
	unsigned queue;
	bool elsewhere; /* the chain's elements are not in the slot */
};

struct blks_guest {
	struct blks_shape shape;
	struct virtio_blk_outhdr header;
	uint8_t status;
	unsigned answered, abandoned;
	uint32_t written;
	struct iovec piece[128];              /* of the data */
	struct iovec long_iov[BLKS_ELEMENTS]; /* where they are then */
};

extern struct blks_world {
	struct image image;
	struct blk_disk disk;
	struct blk_env env[BLKS_QUEUES];
	struct blk_counters counters;
	struct step_clock clock;
	struct blks_guest guest[BLKS];
	struct blk_req req[BLKS];
	unsigned n;

	struct target target;
	struct io *op[BLKS]; /* submitted and not completed, in order */
	unsigned n_ops;
	bool too_late; /* to cancel anything */

	uint8_t content[BLKS_DISK], before[BLKS_DISK];
	uint64_t end; /* of the file, bytes */
	_Alignas(4096) uint8_t pool[BLKS_POOL];
	size_t pool_used;
	struct bounce_pool bounces; /* of these buffers */
	struct bounce_user bounce_user;
	_Alignas(4096) uint8_t bounce[BLKS_BUFFERS][BOUNCE_SIZE];
} blks;

/* ---- life ---- */

/* A writable file with everything; what the operator says goes to a capture. */
void blks_setup(void);
void blks_teardown(void);

/* Forgets all requests, for a case of several rounds; the disk is as at first. */
void blks_restart(void);

/* The file has `end` bytes, and had `was` when it was opened. */
void blks_end_at(uint64_t end, uint64_t was);

/* ---- requests ---- */

static inline bool blks_is_write(const struct blks_shape *shape)
{
	return shape->type == VIRTIO_BLK_T_OUT;
}

/* Makes the next request; it is not begun. */
void blks_add(const struct blks_shape *shape);

#define BLKS_ADD(...) blks_add(&(struct blks_shape){__VA_ARGS__})

/*
 * Adjacent requests of several sizes and framings, `n` of them from byte 4096 on. Returns how many
 * bytes they are.
 */
uint32_t blks_add_run(uint32_t type, unsigned n);

void blks_end_round(void);

/* All of them in one round. */
void blks_go(void);

/* ---- the engine's side ---- */

/* The operation ends with this result. */
void blks_complete(unsigned op, int64_t result);

/* All that the file has of it; writes make it no longer. */
int64_t blks_all_of(const struct io *io);

/* All operations, and those that come of them, are done. */
void blks_complete_all(void);

#endif
