/* SPDX-License-Identifier: BSD-3-Clause */
/* See vq/dirty.h. */
#include "vq/dirty.h"

#include "shared/dirty_log.h"
#include "shared/view.h"

/* Mostly one range is in the region where the last one was. */
static void mark(struct vublk_queue *vq, struct vq_lease *lease, const void *at, size_t size)
{
	const uint8_t *host = at;
	struct vhu_mem_piece *piece = &lease->marked;

	if (!piece->size || (uintptr_t)host - (uintptr_t)piece->host >= piece->size)
		*piece = vhu_mem_piece_at(lease->mem, host);
	if (piece->size)
		vhu_dirty_log_mark(vq->log, piece->gpa + (uint64_t)(host - piece->host), size);
}

/* Marks what a view shows, where it is; false: it is none of the view's. */
static bool mark_origin(struct vublk_queue *vq, const struct vhu_view *view, const void *at,
			size_t size)
{
	while (size) {
		size_t n = size;
		const void *origin = vhu_view_origin(view, at, &n);

		if (!origin)
			return false;
		mark(vq, vq->lease, origin, n);
		at = (const char *)at + n;
		size -= n;
	}
	return true;
}

void vq_dirty(struct vublk_queue *vq, const void *at, size_t size)
{
	for (unsigned i = 0; i < 3; i++)
		if (vq->ring.view[i] && mark_origin(vq, vq->ring.view[i], at, size))
			return;
	mark(vq, vq->lease, at, size);
}

void vq_dirty_chain(struct vublk_queue *vq, const struct vublk_chain *chain)
{
	for (unsigned i = 0; i < chain->n_in; i++)
		mark(vq, chain->lease, chain->in[i].iov_base, chain->in[i].iov_len);
}

void vq_dirty_ring(struct vublk_queue *vq)
{
	if (vq->packed) {
		vq_dirty(vq, vq->ring.packed.desc, sizeof(struct vring_packed_desc) * vq->size);
		vq_dirty(vq, vq->ring.packed.device, sizeof(struct vring_packed_desc_event));
	} else {
		vq_dirty(vq, vq->ring.split.used,
			 sizeof(struct vring_used) + sizeof(struct vring_used_elem) * vq->size +
				 (vq->event_idx ? sizeof(uint16_t) : 0));
	}
	vhu_dirty_log_signal(vq->log);
}
