/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtqueue set up on a ring in memfd memory, with the tests' own driver on the other side. For
 * tests of lib/vq and of what serves a queue. There is one. The memory has three regions, of which
 * the last two touch:
 *
 *	0		the ring, and room
 *	RING_DATA	RING_DATA_SIZE bytes
 *	RING_MORE	RING_DATA_SIZE bytes, directly behind
 */
#ifndef RING_H
#define RING_H

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>

#include "lib/shared/inflight.h"
#include "lib/vq/ring.h"
#include "lib/vq/track.h"
#include "tests/frontend/fe_vq.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"

#define RING_ROOM      0x400000u
#define RING_DATA      0x10000000u
#define RING_DATA_SIZE 0x10000u
#define RING_MORE      (RING_DATA + RING_DATA_SIZE)
#define RING_END       (RING_MORE + RING_DATA_SIZE)

#define RING_INDIRECT  (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define RING_EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define RING_PACKED    (1ull << VIRTIO_F_RING_PACKED)

#define RING_IOVS   4u  /* a chain's own; longer ones allocate */
#define RING_CHAINS 64u /* in hand at once */

struct ring {
	struct fe_mem mem;
	struct fe_vq driver;
	struct vhu_mem *map;
	struct vhu_inflight *inflight; /* NULL: not tracked */
	uint64_t features;
	struct vq_layout layout;
	struct vublk_queue vq;
	struct vublk_chain chain;
	struct iovec iov[RING_IOVS];
	struct vublk_chain chains[RING_CHAINS];
	struct iovec iovs[RING_CHAINS][RING_IOVS];
};

extern struct ring ring;

/* Shares all the memory there is. */
struct vhu_mem *ring_map(void);

/* Memory, and a driver with a ring of `size` entries in it, but no virtqueue yet. */
void ring_make(unsigned size, uint64_t features);

int ring_setup(void);

/* Gives the virtqueue its descriptors, as SET_VRING_KICK, _CALL and _ERR do. */
void ring_give_fds(void);

/* The same as ring_make(), and the virtqueue begins at `base`. */
void ring_run_at(unsigned size, uint64_t features, uint32_t base);

void ring_run(unsigned size, uint64_t features);

void ring_free(void);

/* Writes descriptor `i` of a split ring's table, whatever is in it. */
void ring_desc(unsigned i, uint64_t addr, uint32_t len, unsigned flags, unsigned next);

/* Makes the chain that begins at `head` available and takes it. */
int ring_offer(unsigned head);

/* Takes the next chain, which there must be, into ring.chains[i]. */
struct vublk_chain *ring_pop(unsigned i);

/* Gives ring.chains[i] back, with nothing written. */
void ring_push(unsigned i);

/* Takes the next chain and gives it back. */
void ring_pop_and_push(uint32_t written);

void ring_publish(void);

/* Has the driver been called since the last time? */
bool ring_called(void);

/* Where the queue has guest memory. */
void *ring_host(uint64_t gpa);

/* Is this element of a list that guest memory? */
bool ring_is_at(const struct iovec *iov, uint64_t gpa, uint64_t size);

/* Is the ring broken, and has the driver been told, once? */
void ring_check_broken(int result);

#endif
