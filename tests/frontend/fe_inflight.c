/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front-end's part of in-flight tracking, see fe_inflight.h. Owns the region's fd and mapping.
 */
#define _GNU_SOURCE
#include "fe_inflight.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGNMENT 64u /* of each queue's region, as all back-ends do */

/* ---- the region ---- */

static uint32_t payload_size(const struct fe_inflight *inflight)
{
	return inflight->payload ? inflight->payload : FE_INFLIGHT_QEMU;
}

static int map(struct fe_inflight *inflight)
{
	const struct vhu_inflight_desc *desc = &inflight->desc;

	/* From the file's beginning: an offset need not be a page's. */
	inflight->map = mmap(NULL, desc->mmap_offset + desc->mmap_size, PROT_READ | PROT_WRITE,
			     MAP_SHARED, inflight->fd, 0);
	if (inflight->map == MAP_FAILED) {
		inflight->map = NULL;
		return -errno;
	}
	inflight->region = (uint8_t *)inflight->map + desc->mmap_offset;
	return 0;
}

int fe_inflight_get(struct fe_dev *dev, struct fe_inflight *inflight, unsigned int queue_size)
{
	const uint32_t size = payload_size(inflight);
	struct vhu_inflight_desc desc = {
		.num_queues = (uint16_t)(dev->options.n_queues ? dev->options.n_queues : 1),
		.queue_size = (uint16_t)queue_size,
	};
	struct fe_msg reply;
	int ret = fe_ask(&dev->conn, VHU_GET_INFLIGHT_FD, &desc, size, &reply);

	if (ret)
		return ret;
	if (reply.header.size != size || reply.n_fds > 1) {
		fe_msg_close_fds(&reply);
		return -EPROTO;
	}
	if (!reply.n_fds || !reply.payload.inflight.mmap_size) {
		fe_msg_close_fds(&reply);
		return -ENOMSG;
	}
	memcpy(&inflight->desc, &reply.payload, size);
	inflight->fd = reply.fds[0];
	inflight->packed = fe_dev_has(dev, VIRTIO_F_RING_PACKED);
	ret = map(inflight);
	if (ret)
		close(inflight->fd);
	return ret;
}

int fe_inflight_set(struct fe_dev *dev, const struct fe_inflight *inflight)
{
	return fe_tell(&dev->conn, VHU_SET_INFLIGHT_FD, &inflight->desc, payload_size(inflight),
		       &inflight->fd, 1);
}

int fe_inflight_copy(struct fe_inflight *to, const struct fe_inflight *from, uint64_t offset,
		     uint64_t slack)
{
	int ret;

	*to = *from;
	to->map = NULL;
	to->desc.mmap_offset = offset;
	to->fd = memfd_create("in-flight", MFD_CLOEXEC);
	if (to->fd < 0)
		return -errno;
	ret = ftruncate(to->fd, (off_t)(offset + to->desc.mmap_size + slack)) ? -errno : map(to);
	if (ret) {
		close(to->fd);
		return ret;
	}
	memcpy(to->region, from->region, from->desc.mmap_size);
	return 0;
}

void fe_inflight_free(struct fe_inflight *inflight)
{
	const struct fe_inflight empty = {
		.queue_size = inflight->queue_size,
		.payload = inflight->payload,
	};

	if (!inflight->map)
		return;
	munmap(inflight->map, inflight->desc.mmap_offset + inflight->desc.mmap_size);
	close(inflight->fd);
	*inflight = empty;
}

uint64_t fe_inflight_stride(const struct fe_inflight *inflight)
{
	/* The size is the back-end's answer; the queue size is only what it was asked for. */
	return inflight->desc.mmap_size / inflight->desc.num_queues & ~(uint64_t)(ALIGNMENT - 1);
}

unsigned int fe_inflight_entries(const struct fe_inflight *inflight)
{
	const uint64_t stride = fe_inflight_stride(inflight);

	return (unsigned int)(inflight->packed ? (stride - sizeof(struct inflight_packed)) /
							 sizeof(struct inflight_desc_packed)
					       : (stride - sizeof(struct inflight_split)) /
							 sizeof(struct inflight_desc_split));
}

struct inflight_split *fe_inflight_split(const struct fe_inflight *inflight, unsigned int index)
{
	return (void *)(inflight->region + index * fe_inflight_stride(inflight));
}

struct inflight_packed *fe_inflight_packed(const struct fe_inflight *inflight, unsigned int index)
{
	return (void *)(inflight->region + index * fe_inflight_stride(inflight));
}

unsigned int fe_inflight_count(const struct fe_inflight *inflight, unsigned int index)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < fe_inflight_entries(inflight); i++)
		n += inflight->packed ? fe_inflight_packed(inflight, index)->desc[i].inflight != 0
				      : fe_inflight_split(inflight, index)->desc[i].inflight != 0;
	return n;
}

/* ---- sessions ---- */

/*
 * fe_dev_negotiate() takes what every back-end can do; this bit is asked for by those who use it.
 */
static int negotiate(struct fe_dev *dev)
{
	const uint64_t bit = FE_BIT(VHU_PROTOCOL_F_INFLIGHT_SHMFD);

	FE_TRY(fe_dev_negotiate(dev));
	if (!(dev->protocol_offered & bit))
		return -EOPNOTSUPP;
	if (dev->protocol & bit)
		return 0;
	dev->protocol |= bit;
	return fe_tell_u64(&dev->conn, VHU_SET_PROTOCOL_FEATURES, dev->protocol);
}

static int open_on(struct fe_dev *dev, const char *path, struct fe_inflight *inflight)
{
	const unsigned int size = inflight->queue_size      ? inflight->queue_size
				  : dev->options.queue_size ? dev->options.queue_size
							    : FE_DEFAULT_QUEUE_SIZE;

	FE_TRY(fe_conn_open(&dev->conn, path));
	FE_TRY(negotiate(dev));
	if (!inflight->map)
		FE_TRY(fe_inflight_get(dev, inflight, size));
	FE_TRY(fe_inflight_set(dev, inflight));
	if (!dev->mem.n_regions) {
		int region = fe_mem_add(&dev->mem, 0, dev->options.mem_size, 0);

		if (region < 0)
			return region;
	}
	return fe_dev_share_memory(dev);
}

int fe_inflight_open(struct fe_dev *dev, const char *path, struct fe_inflight *inflight)
{
	if (dev->conn.fd > 0)
		fe_dev_hang_up(dev);
	return open_on(dev, path, inflight);
}

int fe_inflight_begin(struct fe_dev *dev)
{
	for (unsigned int i = 0; i < dev->n_queues; i++)
		FE_TRY(fe_dev_start_vq(dev, i));
	return fe_dev_set_driver_ok(dev);
}

int fe_inflight_start(struct fe_dev *dev, const char *path, const struct fe_dev_options *options,
		      struct fe_inflight *inflight)
{
	dev->options = *options;
	if (!dev->options.mem_size)
		dev->options.mem_size = FE_DEFAULT_MEM_SIZE;
	FE_TRY(open_on(dev, path, inflight));
	FE_TRY(fe_dev_make_vqs(dev));
	return fe_inflight_begin(dev);
}

static uint32_t base_of(const struct fe_inflight *inflight, const struct fe_vq *vq,
			unsigned int index, enum fe_base base)
{
	const uint16_t used = (uint16_t)fe_vq_used_base(vq);

	if (!fe_inflight_split(inflight, index)->version)
		base = FE_BASE_QEMU;
	switch (base) {
	case FE_BASE_ZERO:
		return 0;
	case FE_BASE_ANY:
		return inflight->packed ? used * 0x9e3779b1u : (uint16_t)(used * 40503u + 12345);
	case FE_BASE_AVAIL:
		if (!inflight->packed)
			return (uint16_t)(used + fe_inflight_count(inflight, index));
		break;
	case FE_BASE_DRIVER:
		if (!inflight->packed)
			return vq->ring.avail->idx;
		break;
	case FE_BASE_STALE:
		if (!inflight->packed)
			return (uint16_t)(used - 1 - used % 7);
		break;
	default:
		break;
	}
	/* Packed: what the last start said; the region alone knows better (field notes, 3.11). */
	return inflight->packed ? vq->base : used;
}

int fe_inflight_reconnect(struct fe_dev *dev, const char *path, struct fe_inflight *inflight,
			  enum fe_base base)
{
	FE_TRY(fe_inflight_open(dev, path, inflight));
	for (unsigned int i = 0; i < dev->n_queues; i++)
		dev->vq[i].base = base_of(inflight, &dev->vq[i], i, base);
	return fe_inflight_begin(dev);
}
