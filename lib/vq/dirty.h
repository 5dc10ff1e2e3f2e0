/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which pages a queue writes to, while the guest is being migrated (shared/dirty_log.h). Whatever
 * was stored is marked afterwards; what the log is for:
 *
 *	data, status	when the chain is pushed, or abandoned: all that the device may write of it,
 *			for an operation that failed has written, too
 *	the ring	store by store; and all of it whenever marking begins, since an earlier
 *			process may have died between a store and its mark
 *
 * Rings are marked where the memory map says that they are, by which the descriptors of a packed
 * ring are found as well: SET_VRING_ADDR has an address to be logged for the used ring alone.
 *
 * The queue's owner. The functions are for a queue with a log.
 */
#ifndef VQ_DIRTY_H
#define VQ_DIRTY_H

#include "vq/ring.h"

/* `size` bytes (> 0) of the ring, at our address. */
void vq_dirty(struct vublk_queue *vq, const void *at, size_t size);

/* All that a chain's `in` names, by the map that it was translated with. */
void vq_dirty_chain(struct vublk_queue *vq, const struct vublk_chain *chain);

/* All of a ring that the device may write. */
void vq_dirty_ring(struct vublk_queue *vq);

#endif
