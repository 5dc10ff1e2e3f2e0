/* SPDX-License-Identifier: BSD-3-Clause */
/* See ring.h. */
#include "tests/unit/support/mem-at.h"
#include "tests/unit/support/ring.h"

struct ring ring;

struct vhu_mem *ring_map(void)
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

void ring_make(unsigned size, uint64_t features)
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

int ring_setup(void)
{
	return vq_setup(&ring.vq, &ring.layout, ring.map, ring.inflight, ring.features);
}

void ring_give_fds(void)
{
	ring.vq.kick_fd = dup(ring.driver.kick_fd);
	ring.vq.call_fd = dup(ring.driver.call_fd);
	ring.vq.err_fd = dup(ring.driver.err_fd);
}

void ring_run_at(unsigned size, uint64_t features, uint32_t base)
{
	ring_make(size, features);
	fe_vq_reset(&ring.driver, base);
	ring.layout.base = base;
	REQUIRE_OK(ring_setup());
	/* The call at the start is not the affair of most cases. */
	REQUIRE_OK(vublk_queue_begin(&ring.vq));
	ring_give_fds();
}

void ring_run(unsigned size, uint64_t features)
{
	ring_run_at(size, features, features & RING_PACKED ? FE_PACKED_FRESH : 0);
}

void ring_free(void)
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

void ring_desc(unsigned i, uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
	ring.driver.ring.desc[i] = (struct vring_desc){addr, len, (uint16_t)flags, (uint16_t)next};
}

int ring_offer(unsigned head)
{
	fe_vq_raw_push(&ring.driver, (uint16_t)head);
	return vublk_queue_pop(&ring.vq, &ring.chain);
}

struct vublk_chain *ring_pop(unsigned i)
{
	vublk_chain_init(&ring.chains[i], ring.iovs[i], RING_IOVS);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chains[i]), 1);
	return &ring.chains[i];
}

void ring_push(unsigned i)
{
	vublk_queue_push(&ring.vq, &ring.chains[i], 0);
}

void ring_pop_and_push(uint32_t written)
{
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	vublk_queue_push(&ring.vq, &ring.chain, written);
}

void ring_publish(void)
{
	vublk_queue_publish(&ring.vq);
}

bool ring_called(void)
{
	return fd_take_events(ring.driver.call_fd);
}

void *ring_host(uint64_t gpa)
{
	uint64_t size = 1;

	return mem_at(ring.map, gpa, &size);
}

bool ring_is_at(const struct iovec *iov, uint64_t gpa, uint64_t size)
{
	return iov->iov_base == ring_host(gpa) && iov->iov_len == size;
}

void ring_check_broken(int result)
{
	CHECK_EQ(result, -EPROTO);
	CHECK(vublk_queue_broken(&ring.vq));
	CHECK_EQ(fd_take_events(ring.driver.err_fd), 1);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chain), -EPROTO);
	CHECK_EQ(fd_take_events(ring.driver.err_fd), 0);
}
