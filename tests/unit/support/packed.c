/* SPDX-License-Identifier: BSD-3-Clause */
/* See packed.h. */
#include "tests/unit/support/packed.h"

#define LONGEST 64u /* list */

uint32_t packed_base(unsigned idx, bool wrap)
{
	return (idx | (wrap ? 0x8000u : 0)) * 0x10001u;
}

const struct vring_packed_desc *packed_slot(unsigned i)
{
	return &ring.driver.packed.desc[i];
}

void packed_driver_flags(unsigned flags)
{
	ring.driver.packed.driver->flags = (uint16_t)flags;
}

void packed_offer(uint64_t addr, uint32_t len, unsigned flags, unsigned id)
{
	const struct vring_packed_desc desc = {addr, len, (uint16_t)id, (uint16_t)(flags | AVAIL)};

	fe_vq_raw_descs(&ring.driver, &desc, 1);
}

void packed_offer_list(unsigned n, unsigned id)
{
	struct vring_packed_desc desc[LONGEST];

	REQUIRE(n <= LONGEST);
	for (unsigned i = 0; i < n; i++)
		desc[i] = (struct vring_packed_desc){RING_DATA + 16 * id + i, 1,
						     (uint16_t)(i + 1 < n ? 0xbad : id),
						     (uint16_t)(AVAIL | (i + 1 < n ? NEXT : 0))};
	fe_vq_raw_descs(&ring.driver, desc, n);
}

void packed_check_used(unsigned i, unsigned id, uint32_t len, bool wrap)
{
	CHECK_EQ(packed_slot(i)->id, id);
	CHECK_EQ(packed_slot(i)->len, len);
	CHECK_EQ(packed_slot(i)->flags, (wrap ? AVAIL | USED : 0) | (len ? WRITE : 0));
}
