/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packed-ring driver, see fe_vq_kind.h. Obeys virtio 1.2, section 2.8 "Packed Virtqueues", the
 * driver's part.
 *
 * Theory of operation. Our descriptors go where `avail` is, and the device gives a chain back in
 * one of the slots behind it, at `used`, which then moves on over as many slots as the chain had:
 * those need not be the same ones, only their number is known. What names the chain is its buffer
 * id, so ids and slots have nothing to do with each other. Both positions run round the ring,
 * and each turns its wrap counter over at the end; a slot's AVAIL and USED bits tell, compared
 * with it, whose turn it is.
 *
 * Inside, a chain goes by an index below the queue size, as in the split ring. On the wire its id
 * is another number, so that a device that takes one for the other, or for a slot, is found out.
 * Ids are used again as late as possible: one that the device gives back twice is then idle.
 */
#include <string.h>

#include "fe_vq_kind.h"
#include "fe_vq_packed.h"

static uint16_t to_wire(const struct fe_vq *vq, uint16_t head)
{
	return (uint16_t)(head + 3 * vq->num);
}

/* An index that is out of range for an id that is none of ours. */
static uint16_t from_wire(const struct fe_vq *vq, uint16_t id)
{
	return (uint16_t)(id - 3 * vq->num);
}

static bool place(struct fe_vq *vq)
{
	const size_t desc_size = vq->num * sizeof(struct vring_packed_desc);
	const size_t event_size = sizeof(struct vring_packed_desc_event);
	struct fe_mem *mem = vq->mem;

	vq->desc_gpa = fe_alloc(mem, desc_size, 16);
	vq->avail_gpa = fe_alloc(mem, event_size, 4);
	vq->used_gpa = fe_alloc(mem, event_size, 4);
	vq->packed = (struct fe_packed){
		.desc = fe_ptr(mem, vq->desc_gpa, desc_size),
		.driver = fe_ptr(mem, vq->avail_gpa, event_size),
		.device = fe_ptr(mem, vq->used_gpa, event_size),
	};
	return vq->packed.desc && vq->packed.driver && vq->packed.device;
}

static void reset(struct fe_vq *vq, uint32_t base)
{
	struct fe_packed *p = &vq->packed;
	const struct fe_pos at = fe_packed_pos_from_wire((uint16_t)base);

	*p->driver = *p->device = (struct vring_packed_desc_event){0};
	p->avail = p->used = at;
	p->n_added = p->n_held = 0;
	p->free_tail = (uint16_t)(vq->num - 1);
	/* As if all had been used until here: from here on, on the lap before. */
	for (unsigned int i = 0; i < vq->num; i++)
		p->desc[i] = (struct vring_packed_desc){
			.flags = fe_packed_used_up(i < at.idx ? at.wrap : !at.wrap),
		};
}

static void fill(struct vring_packed_desc *desc, const struct fe_seg *seg, uint16_t id)
{
	desc->addr = seg->addr;
	desc->len = seg->len;
	desc->id = id;
}

/* 2.8.7: the next one follows, and WRITE is the only flag; the id means nothing. */
static void fill_table(void *table, const struct fe_seg *segs, unsigned int n)
{
	struct vring_packed_desc *desc = table;

	for (unsigned int i = 0; i < n; i++) {
		fill(&desc[i], &segs[i], UINT16_MAX);
		desc[i].flags = segs[i].write ? VRING_DESC_F_WRITE : 0;
	}
}

/* Only an id: the slots are whatever comes next. */
static uint16_t take(struct fe_vq *vq, const struct fe_chain *chain)
{
	const uint16_t head = vq->free_head;

	(void)chain;
	vq->free_head = vq->next[head];
	return head;
}

static uint16_t add(struct fe_vq *vq, const struct fe_chain *chain)
{
	struct fe_packed *p = &vq->packed;
	const uint16_t head = take(vq, chain), id = to_wire(vq, head);
	uint16_t flags;

	for (unsigned int i = 0; i < chain->n; i++) {
		const struct fe_seg *seg = fe_chain_seg(chain, i, &flags);

		/* 2.8.6: "Buffer ID is included in the last descriptor in the list." */
		fill(&p->desc[p->avail.idx], seg, i + 1 < chain->n ? UINT16_MAX : id);
		fe_packed_put_flags(vq, flags | fe_packed_available(p->avail.wrap));
	}
	return head;
}

void fe_vq_raw_descs(struct fe_vq *vq, const struct vring_packed_desc *descs, unsigned int n)
{
	struct fe_packed *p = &vq->packed;

	for (unsigned int i = 0; i < n; i++) {
		struct vring_packed_desc *desc = &p->desc[p->avail.idx];
		const bool turned = !p->avail.wrap;

		desc->addr = descs[i].addr;
		desc->len = descs[i].len;
		desc->id = descs[i].id;
		fe_packed_put_flags(vq,
				    (uint16_t)(descs[i].flags ^
					       (turned ? FE_PACKED_AVAIL | FE_PACKED_USED : 0)));
	}
	fe_packed_publish(vq);
}

static bool peek(const struct fe_vq *vq, struct fe_used *used)
{
	const struct vring_packed_desc *desc = &vq->packed.desc[vq->packed.used.idx];

	if (!fe_packed_is_used(vq, vq->packed.used))
		return false;
	*used = (struct fe_used){
		.head = from_wire(vq, desc->id),
		/* 2.8.4: without the flag the length is reserved. */
		.len = desc->flags & VRING_DESC_F_WRITE ? desc->len : 0,
	};
	return true;
}

/* Over nobody's completion there is no way: nobody knows how many slots it had. */
static void consume(struct fe_vq *vq, const uint16_t *head)
{
	struct fe_packed *p = &vq->packed;

	if (!head)
		return;
	p->used = fe_packed_advance(vq, p->used, vq->n_chain[*head]);
	/* Behind the free ids, of which there are none if all that is free are their slots. */
	vq->next[p->free_tail] = *head;
	if (vq->free_head >= vq->num)
		vq->free_head = *head;
	vq->next[*head] = (uint16_t)vq->num;
	p->free_tail = *head;
}

/* Steps over what is used and not reaped; how many there are. */
static unsigned int look_ahead(const struct fe_vq *vq, struct fe_pos *pos)
{
	unsigned int n = 0;

	*pos = vq->packed.used;
	for (unsigned int slots = 0; slots < vq->num && fe_packed_is_used(vq, *pos); n++) {
		const uint16_t head = from_wire(vq, vq->packed.desc[pos->idx].id);

		if (head >= vq->num || !vq->n_chain[head])
			break;
		slots += vq->n_chain[head];
		*pos = fe_packed_advance(vq, *pos, vq->n_chain[head]);
	}
	return n;
}

static unsigned int n_used(const struct fe_vq *vq)
{
	struct fe_pos pos;

	return look_ahead(vq, &pos);
}

static uint32_t used_base(const struct fe_vq *vq)
{
	struct fe_pos pos;

	look_ahead(vq, &pos);
	return fe_packed_pos_to_wire(pos) * 0x10001u;
}

static bool packed_rests(const struct fe_vq *vq)
{
	const struct fe_packed *p = &vq->packed;
	const uint32_t both = LOAD(*(uint32_t *)(void *)p->device);
	const uint16_t flags = both >> 16 & 3;
	const struct fe_pos event = fe_packed_pos_from_wire((uint16_t)both);

	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
	return event.idx == p->avail.idx && event.wrap == p->avail.wrap;
}

const struct fe_vq_kind fe_vq_packed = {
	.place = place,
	.reset = reset,
	.take = take,
	.add = add,
	.fill_table = fill_table,
	.publish = fe_packed_publish,
	.wants_kick = fe_packed_wants_kick,
	.rests = packed_rests,
	.peek = peek,
	.consume = consume,
	.n_used = n_used,
	.used_base = used_base,
	.want_call = fe_packed_want_call,
	.want_no_call = fe_packed_want_no_call,
};
