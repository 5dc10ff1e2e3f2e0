/* SPDX-License-Identifier: BSD-3-Clause */
/* Fixed chains: how they are prepared, see fe_fixed.h. Owns nothing. */
#include "fe_fixed.h"

#include <errno.h>

/* A packed ring has no descriptors of its own for a chain; they are copied at each use. */
static void make_template(struct fe_fixed *fixed, const struct fe_chain *chain)
{
	for (unsigned int i = 0; i < chain->n; i++) {
		uint16_t flags;
		const struct fe_seg *seg = fe_chain_seg(chain, i, &flags);

		fixed->desc[i] = (struct vring_packed_desc){
			.addr = seg->addr,
			.len = seg->len,
			.id = fixed->head,
			.flags = flags,
		};
	}
}

int fe_fixed_init(struct fe_vq *vq, struct fe_fixed *fixed, const struct fe_seg *segs,
		  unsigned int n, uint64_t table)
{
	const bool indirect = table != FE_NO_ADDR;
	const uint32_t table_size = (uint32_t)(n * sizeof(struct vring_desc));
	const struct fe_chain chain = {
		.direct = segs,
		.n_direct = indirect ? 0 : n,
		.table = {.addr = table, .len = table_size},
		.n = indirect ? 1 : n,
	};

	if (!chain.n || chain.n > FE_FIXED_MAX || chain.n > vq->n_free)
		return -ENOSPC;
	if (indirect) {
		void *host = fe_ptr(vq->mem, table, table_size);

		if (!host)
			return -EFAULT;
		vq->kind->fill_table(host, segs, n);
	}
	*fixed = (struct fe_fixed){.n = (uint16_t)chain.n};
	fixed->head = vq->kind->take(vq, &chain);
	make_template(fixed, &chain);
	vq->n_free -= chain.n;
	return 0;
}

uint16_t *fe_fixed_flags(struct fe_vq *vq, struct fe_fixed *fixed, unsigned int i, uint64_t table)
{
	const bool packed = fe_vq_is_packed(vq);
	uint16_t d = fixed->head;

	if (table != FE_NO_ADDR) {
		void *host = fe_ptr(vq->mem, table, (i + 1) * sizeof(struct vring_desc));

		return packed ? &((struct vring_packed_desc *)host)[i].flags
			      : &((struct vring_desc *)host)[i].flags;
	}
	if (packed)
		return &fixed->desc[i].flags;
	while (i--)
		d = vq->ring.desc[d].next;
	return &vq->ring.desc[d].flags;
}
