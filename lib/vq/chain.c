/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From descriptors to host memory ranges (virtio 2.7.4, 2.7.5, 2.8.6, 2.8.7), for both kinds of
 * ring. Worker thread. Descriptors are the guest's and may change while we look: callers copy
 * each once, and only the copy is used. Work is bounded by the number of descriptors in the
 * tables, so a loop ends the walk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vq/ring.h"

/*
 * Elements that a chain may have in all: a table of the largest size, each of whose descriptors
 * lies in two regions. Windows drivers reach 515, so this is a bound for hostile ones.
 */
#define MAX_ELEMENTS 65536u

/*
 * Elements that the long chains of one queue may have allocated together; what is more waits. One
 * chain alone always fits.
 */
#define MAX_ALLOCATED (2 * MAX_ELEMENTS)

static_assert(sizeof(struct vring_desc) == sizeof(struct vring_packed_desc), "one walk for both");

void vublk_chain_init(struct vublk_chain *chain, struct iovec *array, unsigned capacity)
{
	*chain = (struct vublk_chain){
		.iov = array,
		.capacity = capacity,
		.own = array,
		.own_capacity = capacity,
	};
}

void vq_chain_free(struct vublk_queue *vq, struct vublk_chain *chain)
{
	vq->allocated -= chain->capacity;
	free(chain->iov);
	chain->iov = chain->own;
	chain->capacity = chain->own_capacity;
}

/* Twice the room. -EAGAIN: not before other chains of the queue are completed. */
static int grow(struct vublk_queue *vq, struct vublk_chain *chain)
{
	const bool owns = chain->iov != chain->own;
	const unsigned capacity = chain->capacity * 2;
	const unsigned more = owns ? capacity / 2 : capacity;
	struct iovec *iov;

	if (capacity > MAX_ELEMENTS)
		return vq_break(vq, "a chain of more than %u segments", chain->capacity);
	if (vq->allocated + more > MAX_ALLOCATED)
		return -EAGAIN;
	iov = realloc(owns ? chain->iov : NULL, capacity * sizeof(*iov));
	if (!iov)
		return vq_break(vq, "out of memory for a chain of more than %u segments",
				chain->capacity);
	if (!owns)
		memcpy(iov, chain->own, chain->own_capacity * sizeof(*iov));
	vq->allocated += more;
	chain->iov = iov;
	chain->capacity = capacity;
	return 0;
}

/* Adds one host range to the readable or the writable ones. */
static inline int append(struct vublk_queue *vq, struct vublk_chain *chain, void *host,
			 uint64_t size, bool write)
{
	const unsigned n = chain->n_out + chain->n_in;
	const int err = __builtin_expect(n == chain->capacity, 0) ? grow(vq, chain) : 0;

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

void vq_chain_begin(struct vublk_queue *vq, struct vublk_chain *chain)
{
	chain->n_out = chain->n_in = 0;
	chain->out_size = chain->in_size = 0;
	chain->lease = vq->lease;
}

void vq_chain_end(struct vublk_chain *chain)
{
	chain->out = chain->iov;
	chain->in = chain->iov + chain->n_out;
	chain->lease->users++;
}

bool vublk_chain_is_lost(const struct vublk_chain *chain)
{
	return chain->lease && vhu_mem_is_lost(chain->lease->mem);
}

int vq_chain_append(struct vublk_queue *vq, struct vublk_chain *chain, void *host, uint64_t size,
		    bool write)
{
	return append(vq, chain, host, size, write);
}

int vq_translate_elsewhere(struct vq_lease *lease, uint64_t addr, bool write, uint64_t *size,
			   void **host)
{
	struct vhu_mem_piece piece;
	uint64_t offset;
	const int err = lease->translate(lease, addr, write, &piece);

	if (err)
		return err;
	if (!lease->iotlb)
		lease->last = piece;
	offset = addr - piece.gpa;
	if (*size > piece.size - offset)
		*size = piece.size - offset;
	*host = piece.host + offset;
	return 0;
}

/* There is no such memory; or it is not known yet (-EAGAIN), which harms nobody. */
static int no_memory(struct vublk_queue *vq, int err, const char *what, uint64_t addr, uint32_t len)
{
	if (err == -EAGAIN)
		return err;
	return vq_break(vq, "%s (0x%llx + %u) outside the memory shared", what,
			(unsigned long long)addr, len);
}

/* The same of a buffer: with an IOMMU it is the request that fails. */
static int no_buffer(struct vublk_queue *vq, struct vublk_chain *chain, int err, uint64_t addr,
		     uint32_t len, bool write)
{
	if (chain->lease->iotlb && err == -EFAULT)
		return vq_iommu_fault(vq, chain, addr, len, write);
	return no_memory(vq, err, "a buffer", addr, len);
}

static inline __attribute__((always_inline)) int add(struct vublk_queue *vq,
						     struct vublk_chain *chain, uint64_t addr,
						     uint32_t len, bool write)
{
	uint64_t gpa = addr, left = len;

	/* virtio 2.7.4.2: writable ones come after readable ones. */
	if (!write && chain->n_in)
		return vq_break(vq, "a readable descriptor after a writable one");
	if (gpa > UINT64_MAX - left)
		return vq_break(vq, "a buffer wraps around (0x%llx + %u)", (unsigned long long)addr,
				len);
	while (left) {
		uint64_t size = left;
		void *host;
		int err = vq_translate_addr(chain->lease, gpa, write, &size, &host);

		if (__builtin_expect(err, 0))
			return no_buffer(vq, chain, err, addr, len, write);
		err = append(vq, chain, host, size, write);
		if (err)
			return err;
		gpa += size;
		left -= size;
	}
	return 0;
}

int vq_chain_add(struct vublk_queue *vq, struct vublk_chain *chain, uint64_t addr, uint32_t len,
		 bool write)
{
	return add(vq, chain, addr, len, write);
}

/* An indirect table: mostly in one piece, or else read piece by piece. */
struct table {
	struct vublk_queue *vq;
	struct vq_lease *lease;
	uint64_t gpa;
	const struct vring_desc *desc; /* NULL: it lies across regions */
};

static void find_table(struct table *table, struct vublk_queue *vq, struct vq_lease *lease,
		       uint64_t gpa, unsigned n)
{
	uint64_t size = 16ull * n;
	void *host;
	const int err = vq_translate_addr(lease, gpa, false, &size, &host);

	*table = (struct table){vq, lease, gpa, !err && size == 16ull * n ? host : NULL};
}

/* Copies one descriptor of a table that may lie across regions. */
static int copy_pieces(const struct table *table, unsigned i, struct vring_desc *desc)
{
	const uint64_t gpa = table->gpa + 16ull * i;
	size_t done = 0;

	while (done < sizeof(*desc)) {
		uint64_t size = sizeof(*desc) - done;
		void *host;
		const int err = vq_translate_addr(table->lease, gpa + done, false, &size, &host);

		if (err)
			return no_memory(table->vq, err, "an indirect table", gpa, sizeof(*desc));
		memcpy((char *)desc + done, host, (size_t)size);
		done += (size_t)size;
	}
	/* Keep the compiler from going back to the original. */
	__asm__ volatile("" : "+m"(*desc));
	return 0;
}

/* Copies a descriptor, once. It need not be aligned. */
static inline int copy_desc(const struct table *table, unsigned i, struct vring_desc *desc)
{
	if (__builtin_expect(!table->desc, 0))
		return copy_pieces(table, i, desc);
	vq_copy_desc(desc, &table->desc[i]);
	return 0;
}

/* virtio 2.7.5.3: a chain of its own, which begins at descriptor 0. */
static int add_split_table(struct vublk_queue *vq, struct vublk_chain *chain, uint64_t addr,
			   unsigned n)
{
	struct table table;
	unsigned i = 0;

	find_table(&table, vq, chain->lease, addr, n);
	for (unsigned seen = 0; seen < n; seen++) {
		struct vring_desc desc;
		int err = copy_desc(&table, i, &desc);

		if (err)
			return err;
		if (desc.flags & VRING_DESC_F_INDIRECT)
			return vq_break(vq, "an indirect table within an indirect table");
		err = add(vq, chain, desc.addr, desc.len, desc.flags & VRING_DESC_F_WRITE);
		if (err || !(desc.flags & VRING_DESC_F_NEXT))
			return err;
		i = desc.next;
		if (i >= n)
			return vq_break(vq, "descriptor %u of an indirect table of %u", i, n);
	}
	return vq_break(vq, "a loop in an indirect table");
}

/* virtio 2.8.7: one after the other; of the flags only WRITE means anything. */
static int add_packed_table(struct vublk_queue *vq, struct vublk_chain *chain, uint64_t addr,
			    unsigned n)
{
	struct table table;

	find_table(&table, vq, chain->lease, addr, n);
	for (unsigned i = 0; i < n; i++) {
		struct vring_packed_desc desc;
		struct vring_desc copy;
		int err = copy_desc(&table, i, &copy);

		if (err)
			return err;
		memcpy(&desc, &copy, sizeof(desc));
		err = add(vq, chain, desc.addr, desc.len, desc.flags & VRING_DESC_F_WRITE);
		if (err)
			return err;
	}
	return 0;
}

int vq_chain_add_indirect(struct vublk_queue *vq, struct vublk_chain *chain, uint64_t addr,
			  uint32_t len)
{
	const unsigned n = len / sizeof(struct vring_desc);

	if (!vq->indirect)
		return vq_break(vq, "an indirect descriptor, which was not negotiated");
	if (!n || n > VQ_MAX_SIZE || len % sizeof(struct vring_desc))
		return vq_break(vq, "an indirect table of %u bytes", len);
	if (addr > UINT64_MAX - len)
		return vq_break(vq, "an indirect table that wraps around");
	return vq->packed ? add_packed_table(vq, chain, addr, n)
			  : add_split_table(vq, chain, addr, n);
}
