/* SPDX-License-Identifier: BSD-3-Clause */
/* See recover.h. */
#include "tests/unit/support/recover.h"

void recover_split(void)
{
	track_make(8, 8, 0, 40);
	sr->version = 1;
	sr->desc_num = 8;
	sr->used_idx = 40;
	sr->last_batch_head = 3; /* of long ago */
	sr->desc[3].next = 6;
	for (unsigned i = 0; i < 4; i++)
		track_offer(i);
}

void recover_in_flight(unsigned head, uint64_t counter)
{
	sr->desc[head].inflight = 1;
	sr->desc[head].counter = counter;
}

/* A used element that the dead process wrote. */
static void used_element(unsigned at, unsigned head)
{
	ring.driver.ring.used->ring[at % 8] = (struct vring_used_elem){head, 0};
}

void recover_split_give(bool linked, bool used, unsigned cleared)
{
	recover_split();
	for (unsigned i = 0; i < 4; i++)
		recover_in_flight(i, 10 + i);
	used_element(40, 2);
	used_element(41, 1);
	sr->desc[2].next = 3;
	sr->last_batch_head = 2;
	if (linked) {
		sr->desc[1].next = 2;
		sr->last_batch_head = 1;
	}
	if (used)
		ring.driver.ring.used->idx = 42;
	if (cleared > 0)
		sr->desc[2].inflight = 0;
	if (cleared > 1)
		sr->desc[1].inflight = 0;
}

void recover_entry(unsigned i, unsigned next, unsigned id, unsigned flags)
{
	pr->desc[i].next = (uint16_t)next;
	pr->desc[i].id = (uint16_t)id;
	pr->desc[i].flags = (uint16_t)flags;
	pr->desc[i].addr = RING_DATA + i;
	pr->desc[i].len = 1;
}

void recover_in_flight_packed(unsigned first, unsigned last, unsigned num, uint64_t counter)
{
	pr->desc[first].inflight = 1;
	pr->desc[first].last = (uint16_t)last;
	pr->desc[first].num = (uint16_t)num;
	pr->desc[first].counter = counter;
}

void recover_packed(void)
{
	track_make(8, 8, RING_PACKED, packed_base(5, true));
	packed_offer_list(2, 1);
	packed_offer_list(1, 2);
	packed_offer_list(2, 3);
	packed_offer_list(1, 4);
	pr->version = 1;
	pr->desc_num = 8;
	recover_entry(3, 4, 0xbad, AVAIL | NEXT);
	recover_entry(4, 99, 1, AVAIL);
	recover_in_flight_packed(3, 4, 2, 50);
	recover_entry(0, 77, 2, AVAIL);
	recover_in_flight_packed(0, 0, 1, 51);
	recover_entry(6, 1, 0xbad, USED | NEXT);
	recover_entry(1, 5, 3, USED);
	recover_in_flight_packed(6, 1, 2, 52);
	recover_entry(5, 2, 0, 0);
	recover_entry(2, 7, 0, 0);
	recover_entry(7, 8, 0, 0);
	pr->free_head = pr->old_free_head = 5;
	pr->used = (union inflight_used_packed){.idx = 5, .old_idx = 5, .wrap = 1, .old_wrap = 1};
}

void recover_start(void)
{
	REQUIRE_OK(track_start_at(FE_PACKED_FRESH));
}
