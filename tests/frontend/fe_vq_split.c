/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The split-ring driver, see fe_vq_kind.h. Obeys virtio 1.2, section 2.7 "Split Virtqueues", the
 * driver's part.
 */
#include <string.h>

#include "fe_vq_kind.h"
#include "fe_vq_split.h"

static size_t desc_size(const struct fe_vq *vq)
{
	return vq->num * sizeof(struct vring_desc);
}

/* Both with the event index that follows them. */
static size_t avail_size(const struct fe_vq *vq)
{
	return (3 + (size_t)vq->num) * sizeof(uint16_t);
}

static size_t used_size(const struct fe_vq *vq)
{
	return 3 * sizeof(uint16_t) + vq->num * sizeof(struct vring_used_elem);
}

static bool place(struct fe_vq *vq)
{
	struct fe_mem *mem = vq->mem;

	vq->desc_gpa = fe_alloc(mem, desc_size(vq), VRING_DESC_ALIGN_SIZE);
	vq->avail_gpa = fe_alloc(mem, avail_size(vq), VRING_AVAIL_ALIGN_SIZE);
	vq->used_gpa = fe_alloc(mem, used_size(vq), VRING_USED_ALIGN_SIZE);
	vq->ring = (struct vring){
		.num = vq->num,
		.desc = fe_ptr(mem, vq->desc_gpa, desc_size(vq)),
		.avail = fe_ptr(mem, vq->avail_gpa, avail_size(vq)),
		.used = fe_ptr(mem, vq->used_gpa, used_size(vq)),
	};
	return vq->ring.desc && vq->ring.avail && vq->ring.used;
}

static void reset(struct fe_vq *vq, uint32_t base)
{
	memset(vq->ring.desc, 0, desc_size(vq));
	memset(vq->ring.avail, 0, avail_size(vq));
	memset(vq->ring.used, 0, used_size(vq));
	vq->avail_idx = vq->kicked = vq->used_idx = (uint16_t)base;
	STORE(vq->ring.used->idx, (uint16_t)base);
	STORE(vq->ring.avail->idx, (uint16_t)base);
}

static void fill(struct vring_desc *desc, const struct fe_seg *seg, uint16_t flags, uint16_t next)
{
	*desc = (struct vring_desc){
		.addr = seg->addr,
		.len = seg->len,
		.flags = flags,
		.next = flags & VRING_DESC_F_NEXT ? next : 0,
	};
}

static void fill_table(void *table, const struct fe_seg *segs, unsigned int n)
{
	const struct fe_chain chain = {.direct = segs, .n_direct = n, .n = n};
	struct vring_desc *desc = table;
	uint16_t flags;

	for (unsigned int i = 0; i < n; i++) {
		const struct fe_seg *seg = fe_chain_seg(&chain, i, &flags);

		fill(&desc[i], seg, flags, (uint16_t)(i + 1));
	}
}

static uint16_t take(struct fe_vq *vq, const struct fe_chain *chain)
{
	const uint16_t head = vq->free_head;
	uint16_t flags;

	for (unsigned int i = 0; i < chain->n; i++) {
		const struct fe_seg *seg = fe_chain_seg(chain, i, &flags);
		const uint16_t d = vq->free_head;

		vq->free_head = vq->next[d];
		fill(&vq->ring.desc[d], seg, flags, vq->next[d]);
	}
	return head;
}

static uint16_t add(struct fe_vq *vq, const struct fe_chain *chain)
{
	const uint16_t head = take(vq, chain);

	fe_split_push(vq, head);
	return head;
}

void fe_vq_raw_push(struct fe_vq *vq, uint16_t head)
{
	fe_split_push(vq, head);
	fe_split_publish(vq);
}

void fe_vq_raw_avail_idx(struct fe_vq *vq, uint16_t idx)
{
	STORE(vq->ring.avail->idx, idx);
}

static uint32_t used_base(const struct fe_vq *vq)
{
	return LOAD(vq->ring.used->idx);
}

static bool peek(const struct fe_vq *vq, struct fe_used *used)
{
	if (!fe_split_n_used(vq))
		return false;

	const struct vring_used_elem elem = vq->ring.used->ring[vq->used_idx & (vq->num - 1)];

	*used = (struct fe_used){
		.head = elem.id < vq->num ? (uint16_t)elem.id : UINT16_MAX,
		.len = elem.len,
	};
	return true;
}

static void consume(struct fe_vq *vq, const uint16_t *head)
{
	vq->used_idx++;
	if (!head)
		return;

	uint16_t tail = *head;

	for (unsigned int i = 1; i < vq->n_chain[*head]; i++)
		tail = vq->next[tail];
	vq->next[tail] = vq->free_head;
	vq->free_head = *head;
}

static bool split_rests(const struct fe_vq *vq)
{
	if (vq->event_idx)
		return LOAD(*fe_split_avail_event(vq)) == vq->avail_idx;
	return !(LOAD(vq->ring.used->flags) & VRING_USED_F_NO_NOTIFY);
}

const struct fe_vq_kind fe_vq_split = {
	.place = place,
	.reset = reset,
	.take = take,
	.add = add,
	.fill_table = fill_table,
	.publish = fe_split_publish,
	.wants_kick = fe_split_wants_kick,
	.rests = split_rests,
	.peek = peek,
	.consume = consume,
	.n_used = fe_split_n_used,
	.used_base = used_base,
	.want_call = fe_split_want_call,
	.want_no_call = fe_split_want_no_call,
};
