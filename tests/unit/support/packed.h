/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring of ring.h as a packed one: its words, and requests in it. */
#ifndef PACKED_H
#define PACKED_H

#include "tests/unit/support/ring.h"

#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define AVAIL    (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED     (1u << VRING_PACKED_DESC_F_USED)

/* A base with both positions at the same place. */
uint32_t packed_base(unsigned idx, bool wrap);

const struct vring_packed_desc *packed_slot(unsigned i);

/* Sets the flags by which the driver says when it wants to be called. */
void packed_driver_flags(unsigned flags);

/* Makes one descriptor available: with `flags` besides AVAIL, and this id. */
void packed_offer(uint64_t addr, uint32_t len, unsigned flags, unsigned id);

/* Makes a list of n readable descriptors of 1 byte available, from RING_DATA + 16 * id on. */
void packed_offer_list(unsigned n, unsigned id);

/* Is this slot a used one of the lap with that wrap counter? */
void packed_check_used(unsigned i, unsigned id, uint32_t len, bool wrap);

#endif
