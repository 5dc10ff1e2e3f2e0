/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Follows a descriptor chain and turns it into host memory ranges (virtio 2.7.4, 2.7.5). Worker
 * thread. The descriptors are the guest's and may change while we look: each is copied once,
 * and only the copy is used. Work is bounded by the number of descriptors in the tables, so a
 * loop ends the walk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vq.h"

/*
 * Elements that a chain may have in all, and descriptors that a table may: as many as the largest
 * ring has. Windows drivers reach 515, so this is a bound for hostile ones.
 */
#define MAX_ELEMENTS 65536u

/*
 * Elements that the long chains of one queue may have allocated together; what is more waits. One
 * chain alone always fits.
 */
#define MAX_ALLOCATED (2 * MAX_ELEMENTS)

void vublk_chain_init(struct vublk_chain *chain, struct iovec *array, unsigned capacity)
{
	*chain = (struct vublk_chain){
		.iov = array,
		.capacity = capacity,
		.own = array,
		.own_capacity = capacity,
	};
}

void vq_chain_release(struct vublk_queue *vq, struct vublk_chain *chain)
{
	if (chain->iov == chain->own)
		return;
	vq->allocated -= chain->capacity;
	free(chain->iov);
	chain->iov = chain->own;
	chain->capacity = chain->own_capacity;
}

/* Twice the room. -EAGAIN: not before other chains of the queue are given back. */
static int grow(struct vublk_queue *vq, struct vublk_chain *chain)
{
	const bool owns = chain->iov != chain->own;
	const unsigned capacity = chain->capacity * 2;
	const unsigned more = owns ? capacity / 2 : capacity;
	struct iovec *iov;

	if (capacity > MAX_ELEMENTS)
		return vq_break(vq, "a chain of more than %u pieces", chain->capacity);
	if (vq->allocated + more > MAX_ALLOCATED)
		return -EAGAIN;
	iov = realloc(owns ? chain->iov : NULL, capacity * sizeof(*iov));
	if (!iov)
		return vq_break(vq, "no memory for a chain of more than %u pieces",
				chain->capacity);
	if (!owns)
		memcpy(iov, chain->own, chain->own_capacity * sizeof(*iov));
	vq->allocated += more;
	chain->iov = iov;
	chain->capacity = capacity;
	return 0;
}

/* Adds one host range to the readable or the writable ones. */
static int append(struct vublk_queue *vq, struct vublk_chain *chain, void *host, uint64_t size,
		  bool write)
{
	const unsigned n = chain->n_out + chain->n_in;
	const int err = n == chain->capacity ? grow(vq, chain) : 0;

	if (err)
		return err;
	chain->iov[n] = (struct iovec){host, (size_t)size};
	if (write) {
		chain->n_in++;
		chain->in_size += size;
	} else {
		chain->n_out++;
		chain->out_size += size;
	}
	return 0;
}

/* Translates one descriptor's buffer, which may lie across regions that touch. */
static int add_buffer(struct vublk_queue *vq, struct vublk_chain *chain,
		      const struct vring_desc *desc)
{
	const bool write = desc->flags & VRING_DESC_F_WRITE;
	uint64_t gpa = desc->addr, left = desc->len;

	/* virtio 2.7.4.2: writable ones come after readable ones. */
	if (!write && chain->n_in)
		return vq_break(vq, "a readable descriptor after a writable one");
	if (gpa > UINT64_MAX - left)
		return vq_break(vq, "a buffer wraps around (0x%llx + %u)",
				(unsigned long long)desc->addr, desc->len);
	while (left) {
		uint64_t size = left;
		void *host = vhu_mem_gpa(chain->lease->mem, gpa, &size);
		int err;

		if (!host)
			return vq_break(vq, "a buffer (0x%llx + %u) outside the memory shared",
					(unsigned long long)desc->addr, desc->len);
		err = append(vq, chain, host, size, write);
		if (err)
			return err;
		gpa += size;
		left -= size;
	}
	return 0;
}

/* Copies entry i of a table of descriptors that lies in one piece. */
static struct vring_desc copy_desc(const struct vring_desc *table, unsigned i)
{
	struct vring_desc desc;

	memcpy(&desc, &table[i], sizeof(desc));
	/* Keep the compiler from going back to the original. */
	__asm__ volatile("" : "+m"(desc));
	return desc;
}

/*
 * An indirect table may lie across regions too, so its entries are copied as guest memory is. Slow
 * but rare: the common case is a table in one piece.
 */
static int copy_split_desc(struct vublk_queue *vq, const struct vhu_mem *mem, uint64_t gpa,
			   struct vring_desc *desc)
{
	size_t done = 0;

	while (done < sizeof(*desc)) {
		uint64_t size = sizeof(*desc) - done;
		const void *host = vhu_mem_gpa(mem, gpa + done, &size);

		if (!host)
			return vq_break(vq, "an indirect table outside the memory shared");
		memcpy((char *)desc + done, host, (size_t)size);
		done += (size_t)size;
	}
	return 0;
}

/* virtio 2.7.5.3 "Indirect Descriptors" */
static int walk_indirect(struct vublk_queue *vq, struct vublk_chain *chain,
			 const struct vring_desc *head)
{
	const unsigned n = head->len / sizeof(struct vring_desc);
	uint64_t size = head->len;
	const struct vring_desc *table;
	unsigned i = 0;

	if (!vq->indirect)
		return vq_break(vq, "an indirect descriptor, which was not negotiated");
	if (head->flags & VRING_DESC_F_NEXT)
		return vq_break(vq, "an indirect descriptor with a next one");
	if (!n || n > VQ_MAX_SIZE || head->len % sizeof(struct vring_desc))
		return vq_break(vq, "an indirect table of %u bytes", head->len);
	if (head->addr > UINT64_MAX - head->len)
		return vq_break(vq, "an indirect table that wraps around");
	table = vhu_mem_gpa(chain->lease->mem, head->addr, &size);
	if (size < head->len || (uintptr_t)table % _Alignof(struct vring_desc))
		table = NULL; /* in pieces or unaligned: entry by entry */
	for (unsigned seen = 0; seen < n; seen++) {
		struct vring_desc desc;
		int err = 0;

		if (table)
			desc = copy_desc(table, i);
		else
			err = copy_split_desc(vq, chain->lease->mem,
					      head->addr + (uint64_t)i * sizeof(desc), &desc);
		if (err)
			return err;
		if (desc.flags & VRING_DESC_F_INDIRECT)
			return vq_break(vq, "an indirect table within an indirect table");
		err = add_buffer(vq, chain, &desc);
		if (err || !(desc.flags & VRING_DESC_F_NEXT))
			return err;
		i = desc.next;
		if (i >= n)
			return vq_break(vq, "descriptor %u of an indirect table of %u", i, n);
	}
	return vq_break(vq, "a loop in an indirect table");
}

static int walk(struct vublk_queue *vq, struct vublk_chain *chain, uint16_t head)
{
	unsigned i = head;

	for (unsigned seen = 0; seen < vq->size; seen++) {
		const struct vring_desc desc = copy_desc(vq->split.desc, i);
		int err;

		/* "zero or more normal descriptors followed by a single indirect one" */
		if (desc.flags & VRING_DESC_F_INDIRECT)
			return walk_indirect(vq, chain, &desc);
		err = add_buffer(vq, chain, &desc);
		if (err || !(desc.flags & VRING_DESC_F_NEXT))
			return err;
		i = desc.next;
		if (i >= vq->size)
			return vq_break(vq, "descriptor %u of a table of %u", i, vq->size);
	}
	return vq_break(vq, "a loop in the chain that begins at descriptor %u", head);
}

int vq_chain_walk(struct vublk_queue *vq, struct vublk_chain *chain, uint16_t head)
{
	int err;

	chain->n_out = chain->n_in = 0;
	chain->out_size = chain->in_size = 0;
	chain->id = head;
	chain->lease = vq->lease;
	err = walk(vq, chain, head);
	if (err) {
		vq_chain_release(vq, chain);
		return err;
	}
	chain->out = chain->iov;
	chain->in = chain->iov + chain->n_out;
	chain->lease->users++;
	return 0;
}
