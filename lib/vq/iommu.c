/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings and chains whose addresses are those of the guest's IOMMU (VIRTIO_F_ACCESS_PLATFORM): by
 * way of the device's IOTLB (shared/iotlb.h). Any thread that owns the queue; for rings the control
 * thread.
 *
 * A chain is translated before it is taken, so one that waits for the front-end is none of those
 * that a ring has to be drained of.
 */
#include <errno.h>
#include <stdlib.h>

#include "log.h"
#include "shared/iotlb.h"
#include "shared/view.h"
#include "vq/ring.h"

/*
 * Cuts what was found to the region of the map that it lies in: our address of it, and the region.
 * NULL: it lies in none, for the memory may be another one than when the front-end said so.
 */
static uint8_t *find_host(const struct vhu_mem *mem, struct vhu_iotlb_found *found,
			  struct vhu_mem_piece *region)
{
	uint64_t offset;

	*region = vhu_mem_piece_uva(mem, found->uaddr);
	if (!region->size)
		return NULL;
	offset = found->uaddr - region->gpa;
	if (found->size > region->size - offset)
		found->size = region->size - offset;
	return region->host + offset;
}

/* ---- chains ---- */

int vq_iommu_translate(struct vq_lease *lease, uint64_t addr, bool write,
		       struct vhu_mem_piece *piece)
{
	struct vhu_iotlb_found found;
	struct vhu_mem_piece region;
	uint8_t *host;
	int err = vhu_iotlb_find(lease->iotlb, lease->queue, addr,
				 write ? VHU_IOTLB_WRITE : VHU_IOTLB_READ, &found);

	if (err)
		return err;
	host = find_host(lease->mem, &found, &region);
	if (!host)
		return -EFAULT;
	*piece = (struct vhu_mem_piece){addr, found.size, host};
	return 0;
}

int vq_iommu_fault(struct vublk_queue *vq, struct vublk_chain *chain, uint64_t addr, uint32_t len,
		   bool write)
{
	uint64_t size = 1;
	void *host;
	int err;

	if (!vq->fault_told)
		vhu_log(VUBLK_LOG_WARNING,
			"%s: queue %u: the guest's IOMMU has nothing at 0x%llx that the disk may "
			"%s (%u bytes): the request fails",
			vq->name, vq->index, (unsigned long long)addr, write ? "write" : "read",
			len);
	vq->fault_told = true;
	if (!vq->faulted)
		vq->lost_in = UINT32_MAX;
	vq->faulted = true;
	if (!write)
		return 0;
	/* The end of it may be a status, and elsewhere. */
	err = vq_translate_addr(chain->lease, addr + len - 1, true, &size, &host);
	if (!err)
		return vq_chain_append(vq, chain, host, 1, true);
	if (err == -EFAULT)
		vq->lost_in = chain->n_in;
	return err == -EFAULT ? 0 : err;
}

void vq_iommu_cut(struct vublk_queue *vq, struct vublk_chain *chain)
{
	const bool known = chain->n_in && chain->n_in != vq->lost_in;

	if (known) {
		const struct iovec *last = &chain->iov[chain->n_out + chain->n_in - 1];

		chain->iov[0] = (struct iovec){(char *)last->iov_base + last->iov_len - 1, 1};
	}
	chain->n_out = 0;
	chain->out_size = 0;
	chain->n_in = known ? 1 : 0;
	chain->in_size = known ? 1 : 0;
	vq->faulted = false;
}

/* ---- rings ---- */

static uint8_t perm_of(const struct vq_part *part)
{
	return part->write ? VHU_IOTLB_READ_WRITE : VHU_IOTLB_READ;
}

/* Of two answers: a refusal is final, then all has to be known, then to be there. */
static int worse(int a, int b)
{
	static const int order[] = {-EFAULT, -EAGAIN, -ENOENT};

	for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (a == order[i] || b == order[i])
			return order[i];
	return 0;
}

/* All pages are asked for at once. The addresses do not wrap around. */
static int check_part(const struct vq_part *part, unsigned index, struct vhu_iotlb *iotlb,
		      const struct vhu_mem *mem)
{
	const uint64_t end = part->addr + part->size;
	int err = 0;

	for (uint64_t at = part->addr; at < end;) {
		struct vhu_iotlb_found found;
		int e = vhu_iotlb_find(iotlb, index, at, perm_of(part), &found);

		if (!e) {
			struct vhu_mem_piece region;

			if (!find_host(mem, &found, &region))
				e = -ENOENT;
			at = found.size < end - at ? at + found.size : end;
		} else {
			at = (at | (VHU_IOTLB_PAGE - 1)) + 1;
		}
		err = worse(err, e);
	}
	return err;
}

static bool wraps(const struct vq_part *part)
{
	return part->addr > UINT64_MAX - part->size - VHU_IOTLB_PAGE;
}

int vq_iommu_check_ring(unsigned index, const struct vq_layout *layout, uint64_t features,
			const struct vhu_mem *mem)
{
	struct vq_part part[3];
	int err = 0;

	vq_describe(part, layout, features);
	for (unsigned i = 0; i < 3; i++) {
		int e = wraps(&part[i]) ? -EFAULT : check_part(&part[i], index, layout->iotlb, mem);

		err = worse(err, e);
	}
	return err;
}

static bool part_lost(const struct vq_part *part, struct vhu_iotlb *iotlb)
{
	const uint64_t end = part->addr + part->size;

	for (uint64_t at = part->addr; at < end;) {
		struct vhu_iotlb_found found;

		if (vhu_iotlb_peek(iotlb, at, perm_of(part), &found))
			return true;
		at = found.size < end - at ? at + found.size : end;
	}
	return false;
}

bool vq_iommu_ring_lost(const struct vq_layout *layout, uint64_t features, uint64_t first,
			uint64_t last)
{
	struct vq_part part[3];

	vq_describe(part, layout, features);
	for (unsigned i = 0; i < 3; i++)
		if (wraps(&part[i]) ||
		    (first < part[i].addr + part[i].size && part[i].addr <= last) ||
		    part_lost(&part[i], layout->iotlb))
			return true;
	return false;
}

/*
 * What is at the IOVA, as far as it lies in one region, which begins at *host. 0 or -EFAULT.
 * Regions that happen to lie side by side here are different memory.
 */
static int find_piece(uint64_t at, const struct vq_part *part, struct vhu_iotlb *iotlb,
		      const struct vhu_mem *mem, struct iovec *piece, const uint8_t **host)
{
	struct vhu_iotlb_found found;
	struct vhu_mem_piece region;
	uint8_t *at_host;

	if (vhu_iotlb_peek(iotlb, at, perm_of(part), &found))
		return -EFAULT;
	at_host = find_host(mem, &found, &region);
	if (!at_host)
		return -EFAULT;
	if (found.size > part->addr + part->size - at)
		found.size = part->addr + part->size - at;
	*piece = (struct iovec){at_host, (size_t)found.size};
	*host = region.host;
	return 0;
}

int vq_iommu_find_part(struct vq_part *part, struct vhu_iotlb *iotlb, const struct vhu_mem *mem)
{
	const unsigned most = (unsigned)(part->size / VHU_IOTLB_PAGE) + 2;
	struct iovec *piece = calloc(most, sizeof(*piece));
	const uint8_t *region = NULL;
	uint64_t done = 0;
	unsigned n = 0;
	int err = piece ? 0 : -ENOMEM;

	while (!err && done < part->size) {
		const uint8_t *host;
		struct iovec next;

		err = find_piece(part->addr + done, part, iotlb, mem, &next, &host);
		if (err)
			break;
		done += next.iov_len;
		if (n && host == region &&
		    (char *)piece[n - 1].iov_base + piece[n - 1].iov_len == next.iov_base)
			piece[n - 1].iov_len += next.iov_len;
		else if (n == most) /* pieces that are smaller than pages */
			err = -EINVAL;
		else
			piece[n++] = next;
		region = host;
	}
	if (!err && n == 1)
		part->host = piece[0].iov_base;
	else if (!err)
		err = vhu_view_new(&part->view, mem, piece, n);
	if (part->view)
		part->host = vhu_view_host(part->view);
	free(piece);
	return err;
}
