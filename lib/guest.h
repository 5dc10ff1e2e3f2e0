/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gate to guest memory: our stores into rings. Data of requests goes by lib/iov.c, their status
 * by vublk_guest_store8(), and what is read into them by the kernel, which is told where by
 * src/request/data.c. All of these ask vublk_guest_writable() for the address; so there are few
 * places, and one question, for what has to know of each store.
 *
 * Stores are whole: the guest sees the old value or the new one. Worker thread.
 *
 * In builds with --enable-guest-gate guest memory is mapped twice, to be read and to be written;
 * only the gate, and the kernel, are told of the second mapping (shared/gate.h).
 */
#ifndef GUEST_H
#define GUEST_H

#include <linux/virtio_ring.h>
#include <stdint.h>

#include "vublk.h"

static inline void guest_store16(uint16_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)vublk_guest_writable(at), value, __ATOMIC_RELAXED);
}

/* The same; whoever sees the value sees what was stored before. */
static inline void guest_release16(uint16_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)vublk_guest_writable(at), value, __ATOMIC_RELEASE);
}

/*
 * A used element, which is not looked at before the used index has moved over it. It may lie across
 * two pages.
 */
static inline void guest_store_used(struct vring_used_elem *at, uint32_t id, uint32_t len)
{
	*(uint32_t *)vublk_guest_writable(&at->id) = id;
	*(uint32_t *)vublk_guest_writable(&at->len) = len;
}

/* The same in a packed ring: all but the flags. */
static inline void guest_store_used_packed(struct vring_packed_desc *at, uint16_t id, uint32_t len)
{
	at = vublk_guest_writable(at);
	at->id = id;
	at->len = len;
}

#endif
