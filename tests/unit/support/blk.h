/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One virtio-blk request in a world that is the test's own (request/env.h): an engine that holds
 * one operation, one bounce buffer, and whom it tells of its end. For tests of src/request; there
 * is one. Several requests at once are in blks.h.
 *
 *	blk_begin(VIRTIO_BLK_T_IN, 8);	readable ranges: the header, ...
 *	blk_in(buffer, 512);		... then writable ones
 *	blk_go();			adds the status byte and begins
 *	CHECK_EQ(blk.io->op, IO_READ);	what the engine has got
 *	blk_complete(512);
 *	blk_check_done(VIRTIO_BLK_S_OK, 513);
 */
#ifndef BLK_H
#define BLK_H

#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "src/request/request.h"
#include "tests/tap.h"
#include "tests/unit/support/blk-disk.h"

#define BLK_IOVS      2048u
#define BLK_NO_STATUS 0xaa

extern struct blk_world {
	struct image image;
	struct blk_disk disk;
	struct blk_env env;
	struct blk_counters counters;
	struct step_clock clock;
	struct blk_req req;
	struct iovec iov[BLK_IOVS];
	struct virtio_blk_outhdr header;
	uint8_t status;

	struct target target;
	struct io *io;        /* submitted and not completed, or NULL */
	unsigned n_submitted; /* in all */

	bool finished, abandoned, malformed;
	bool too_late;    /* to cancel anything */
	uint32_t written; /* for the used ring */

	struct bounce_pool pool; /* of one buffer */
	struct bounce_user bounce_user;
	_Alignas(4096) uint8_t bounce[BOUNCE_SIZE];
} blk;

/* ---- life ---- */

/* A writable file with everything; what the operator says goes to a capture. */
void blk_setup(void);
void blk_teardown(void);

/* The file is opened with O_DIRECT: everything in multiples of 512. */
void blk_make_direct(void);

/* Is the bounce buffer in use? */
bool blk_bounces(void);

/* Others have it; or they do not any more. */
void blk_take_bounce(void);
void blk_give_bounce(void);

/* ---- a request ---- */

/* One without a header. */
void blk_begin_raw(void);

/* A request begins with its header. */
void blk_begin(uint32_t type, uint64_t sector);

/* A readable range. */
void blk_out(const void *data, size_t size);

/* A writable range. */
void blk_in(void *data, size_t size);

void blk_go(void);

/* The engine is done with what it has. */
void blk_complete(int64_t result);

/* The bytes that it is about. */
uint64_t blk_io_size(void);

/* Was the request answered so, `written` bytes being told to the driver? */
#define blk_check_done(expected_status, expected_written) \
	do { \
		CHECK(blk.finished); \
		CHECK_EQ(blk.status, expected_status); \
		CHECK_EQ(blk.written, expected_written); \
	} while (0)

/* Does the engine have an operation on this range? */
#define blk_check_io(expected_op, expected_offset, expected_size) \
	do { \
		REQUIRE(blk.io); \
		CHECK_EQ(blk.io->op, expected_op); \
		CHECK_EQ(blk.io->offset, expected_offset); \
		CHECK_EQ(blk_io_size(), expected_size); \
	} while (0)

#endif
