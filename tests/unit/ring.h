/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtqueue set up on a ring in memfd memory, with the tests' own driver on the other side. For
 * tests of lib/vq*.c; the memory has three regions, of which the last two touch:
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
#include "tests/unit/fds.h"

#define RING_ROOM      0x400000u
#define RING_DATA      0x10000000u
#define RING_DATA_SIZE 0x10000u
#define RING_MORE      (RING_DATA + RING_DATA_SIZE)
#define RING_END       (RING_MORE + RING_DATA_SIZE)

#define RING_INDIRECT  (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define RING_EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define RING_PACKED    (1ull << VIRTIO_F_RING_PACKED)

#define RING_IOVS 4u /* a chain's own; longer ones allocate */

static struct {
	struct fe_mem mem;
	struct fe_vq driver;
	struct vhu_mem *map;
	struct vhu_inflight *inflight; /* NULL: not tracked */
	uint64_t features;
	struct vq_layout layout;
	struct vublk_queue vq;
	struct vublk_chain chain;
	struct iovec iov[RING_IOVS];
} ring;

/* Shares all the memory there is. */
static inline struct vhu_mem *ring_map(void)
{
	static struct vhu_region regions[VHU_MAX_TABLE];
	int fds[VHU_MAX_TABLE];
	struct vhu_mem *map;

	for (unsigned i = 0; i < ring.mem.n_regions; i++) {
		regions[i] = ring.mem.region[i].wire;
		fds[i] = ring.mem.region[i].fd;
	}
	REQUIRE_OK(vhu_mem_new(&map, "test", regions, fds, ring.mem.n_regions));
	return map;
}

/* Memory, and a driver with a ring of `size` entries in it, but no virtqueue yet. */
static inline void ring_make(unsigned size, uint64_t features)
{
	REQUIRE_EQ(fe_mem_add(&ring.mem, 0, RING_ROOM, 0), 0);
	REQUIRE_EQ(fe_mem_add(&ring.mem, RING_DATA, RING_DATA_SIZE, 0), 1);
	REQUIRE_EQ(fe_mem_add(&ring.mem, RING_MORE, RING_DATA_SIZE, 0x3000), 2);
	REQUIRE_OK(fe_vq_init(&ring.driver, &ring.mem, size, features));
	ring.map = ring_map();
	ring.features = features;
	ring.layout = (struct vq_layout){
		.size = size,
		.desc = fe_user_addr(&ring.mem, ring.driver.desc_gpa),
		.avail = fe_user_addr(&ring.mem, ring.driver.avail_gpa),
		.used = fe_user_addr(&ring.mem, ring.driver.used_gpa),
		.base = ring.driver.base,
	};
	vq_init(&ring.vq, "test", 0);
	vublk_chain_init(&ring.chain, ring.iov, RING_IOVS);
}

static inline int ring_setup(void)
{
	return vq_setup(&ring.vq, &ring.layout, ring.map, ring.inflight, ring.features);
}

/* Gives the virtqueue its descriptors, as SET_VRING_KICK, _CALL and _ERR do. */
static inline void ring_give_fds(void)
{
	ring.vq.kick_fd = dup(ring.driver.kick_fd);
	ring.vq.call_fd = dup(ring.driver.call_fd);
	ring.vq.err_fd = dup(ring.driver.err_fd);
}

/* The same as ring_make(), and the virtqueue begins at `base`. */
static inline void ring_open_at(unsigned size, uint64_t features, uint32_t base)
{
	ring_make(size, features);
	fe_vq_reset(&ring.driver, base);
	ring.layout.base = base;
	REQUIRE_OK(ring_setup());
	/* The call at the start is not the affair of most cases. */
	REQUIRE_OK(vublk_queue_begin(&ring.vq));
	ring_give_fds();
}

static inline void ring_open(unsigned size, uint64_t features)
{
	ring_open_at(size, features, features & RING_PACKED ? FE_PACKED_FRESH : 0);
}

static inline void ring_close(void)
{
	vq_teardown(&ring.vq);
	vq_reset(&ring.vq);
	vhu_inflight_put(ring.inflight);
	ring.inflight = NULL;
	vhu_mem_put(ring.map);
	ring.map = NULL;
	fe_vq_free(&ring.driver);
	fe_mem_free(&ring.mem);
}

/* Writes descriptor `i` of a split ring's table, whatever is in it. */
static inline void ring_desc(unsigned i, uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
	ring.driver.ring.desc[i] = (struct vring_desc){addr, len, (uint16_t)flags, (uint16_t)next};
}

/* Makes the chain that begins at `head` available and takes it. */
static inline int ring_offer(unsigned head)
{
	fe_vq_raw_push(&ring.driver, (uint16_t)head);
	return vublk_queue_pop(&ring.vq, &ring.chain);
}

/* Where the queue has guest memory. */
static inline void *ring_host(uint64_t gpa)
{
	uint64_t size = 1;

	return vhu_mem_gpa(ring.map, gpa, &size);
}

/* Is this element of a list that guest memory? */
static inline bool ring_is_at(const struct iovec *iov, uint64_t gpa, uint64_t size)
{
	return iov->iov_base == ring_host(gpa) && iov->iov_len == size;
}

/* Is the ring broken, and has the driver been told, once? */
static inline void ring_check_broken(int result)
{
	CHECK_EQ(result, -EPROTO);
	CHECK(vublk_queue_broken(&ring.vq));
	CHECK_EQ(fd_take_events(ring.driver.err_fd), 1);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EPROTO);
	CHECK_EQ(fd_take_events(ring.driver.err_fd), 0);
}

#endif
