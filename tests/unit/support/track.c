/* SPDX-License-Identifier: BSD-3-Clause */
/* See track.h. */
#include <unistd.h>

#include "tests/unit/support/track.h"

struct inflight_split *sr;
struct inflight_packed *pr;

void track_make_region(unsigned queues, unsigned entries, bool packed)
{
	struct vhu_inflight_desc desc = {.num_queues = (uint16_t)queues,
					 .queue_size = (uint16_t)entries};
	int fd;

	REQUIRE_OK(vhu_inflight_create(queues, entries, packed, &fd, &desc.mmap_size));
	REQUIRE_OK(vhu_inflight_adopt(&ring.inflight, "test", &desc, fd, packed, queues));
	close(fd);
	sr = vhu_inflight_queue(ring.inflight, 0);
	pr = vhu_inflight_queue(ring.inflight, 0);
}

void track_make(unsigned size, unsigned entries, uint64_t features, uint32_t base)
{
	ring_make(size, features);
	fe_vq_reset(&ring.driver, base);
	ring.layout.base = base;
	track_make_region(1, entries, features & RING_PACKED);
}

int track_start_at(uint32_t base)
{
	ring.layout.base = base;
	REQUIRE_OK(ring_setup());
	return vublk_queue_begin(&ring.vq);
}

int track_start(void)
{
	return track_start_at(ring.layout.base);
}

void track_open(unsigned size, uint64_t features, uint32_t base)
{
	track_make(size, size, features, base);
	REQUIRE_OK(track_start());
}

void track_drop(unsigned i)
{
	vublk_queue_abandon(&ring.vq, &ring.chains[i]);
}

void track_offer(unsigned head)
{
	ring_desc(head, RING_DATA + head, 1, 0, 0);
	fe_vq_raw_push(&ring.driver, (uint16_t)head);
}

void track_check_pops(const char *expected)
{
	unsigned n;

	for (n = 0; expected[n]; n++)
		CHECK_EQ(ring_pop(n)->id, (unsigned)(expected[n] - '0'));
	vublk_chain_init(&ring.chains[n], ring.iovs[n], RING_IOVS);
	CHECK_EQ(vublk_queue_pop(&ring.vq, &ring.chains[n]), 0);
	while (n)
		ring_push(--n);
}

void track_check_settled(unsigned idx, bool wrap)
{
	CHECK_EQ(pr->free_head, pr->old_free_head);
	CHECK_EQ(pr->used.idx, idx);
	CHECK_EQ(pr->used.wrap, wrap);
	CHECK_EQ(pr->used.old_idx, idx);
	CHECK_EQ(pr->used.old_wrap, wrap);
}
