/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-blk requests, see fe_blk.h. Owns the slots. Obeys virtio 1.2, section 5.2.6 "Device
 * Operation", the driver's part.
 */
#define _GNU_SOURCE
#include "fe_blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fe_time.h"

#define PAGE         4096u
#define TABLE_SIZE   ((FE_BLK_MAX_SEG + 2) * sizeof(struct vring_desc))
#define STATUS_AFTER 16u /* the status byte lies right behind the header */

int fe_blk_init(struct fe_blk *blk, struct fe_dev *dev, unsigned int index, unsigned int depth,
		uint32_t data_size)
{
	*blk = (struct fe_blk){
		.dev = dev,
		.vq = &dev->vq[index],
		.data_size = data_size,
		.depth = depth,
		.indirect = fe_dev_has(dev, VIRTIO_RING_F_INDIRECT_DESC),
		.slot = calloc(depth, sizeof(*blk->slot)),
	};
	if (!blk->slot)
		return -ENOMEM;
	for (unsigned int i = 0; i < depth; i++) {
		struct fe_blk_slot *s = &blk->slot[i];

		s->data_gpa = fe_alloc(&dev->mem, data_size, PAGE);
		s->header_gpa = fe_alloc(&dev->mem, STATUS_AFTER + 1, 8);
		s->status_gpa = s->header_gpa + STATUS_AFTER;
		s->table_gpa = fe_alloc(&dev->mem, TABLE_SIZE, VRING_DESC_ALIGN_SIZE);
		s->data = fe_ptr(&dev->mem, s->data_gpa, data_size);
		s->header = fe_ptr(&dev->mem, s->header_gpa, STATUS_AFTER + 1);
		if (!s->data || !s->header || !fe_ptr(&dev->mem, s->table_gpa, TABLE_SIZE)) {
			fe_blk_free(blk);
			return -ENOMEM;
		}
		s->status = (uint8_t *)s->header + STATUS_AFTER;
		fe_blk_put(blk, s);
	}
	return 0;
}

void fe_blk_free(struct fe_blk *blk)
{
	free(blk->slot);
	*blk = (struct fe_blk){0};
}

struct fe_blk_slot *fe_blk_get(struct fe_blk *blk)
{
	struct fe_blk_slot *slot = blk->free;

	if (slot)
		blk->free = slot->next_free;
	return slot;
}

void fe_blk_put(struct fe_blk *blk, struct fe_blk_slot *slot)
{
	slot->next_free = blk->free;
	blk->free = slot;
}

int fe_blk_submit_segs(struct fe_blk *blk, struct fe_blk_slot *slot, uint32_t type, uint64_t sector,
		       const struct fe_seg *data, unsigned int n)
{
	struct fe_seg segs[FE_BLK_MAX_SEG + 2];
	int head;

	if (n > FE_BLK_MAX_SEG)
		return -EMSGSIZE;
	*slot->header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
	*slot->status = FE_NO_STATUS;
	segs[0] = (struct fe_seg){.addr = slot->header_gpa, .len = sizeof(*slot->header)};
	for (unsigned int i = 0; i < n; i++)
		segs[1 + i] = data[i];
	segs[1 + n] = (struct fe_seg){.addr = slot->status_gpa, .len = 1, .write = true};
	if (blk->indirect)
		head = fe_vq_add_chain(blk->vq, NULL, 0, segs, n + 2, slot->table_gpa, slot);
	else
		head = fe_vq_add(blk->vq, segs, n + 2, slot);
	if (head < 0)
		return head;
	blk->in_flight++;
	return 0;
}

static bool device_writes(uint32_t type)
{
	return type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
}

int fe_blk_submit(struct fe_blk *blk, struct fe_blk_slot *slot, uint32_t type, uint64_t sector,
		  uint32_t len)
{
	struct fe_seg data = {.addr = slot->data_gpa, .len = len, .write = device_writes(type)};

	return fe_blk_submit_segs(blk, slot, type, sector, &data, len ? 1 : 0);
}

int fe_blk_reap(struct fe_blk *blk, struct fe_blk_slot **slot)
{
	struct fe_used used;
	int ret = fe_vq_reap(blk->vq, &used);

	if (ret <= 0)
		return ret;
	blk->in_flight--;
	blk->last_len = used.len;
	*slot = used.cookie;
	return 1;
}

int fe_blk_await(struct fe_blk *blk, struct fe_blk_slot **slot)
{
	int ret;

	while (!(ret = fe_blk_reap(blk, slot)))
		FE_TRY(fe_vq_wait(blk->vq, fe_deadline(FE_TIMEOUT_MS)));
	return ret < 0 ? ret : 0;
}

int fe_blk_drain(struct fe_blk *blk)
{
	uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	struct fe_blk_slot *slot;
	int first = 0;

	fe_vq_kick(blk->vq);
	while (blk->in_flight) {
		int ret = fe_vq_wait(blk->vq, deadline);

		if (ret)
			return ret;
		while ((ret = fe_blk_reap(blk, &slot)) > 0) {
			if (!first)
				first = *slot->status;
			fe_blk_put(blk, slot);
		}
		if (ret < 0)
			return ret;
	}
	return first;
}

int fe_blk_segs(struct fe_blk *blk, uint32_t type, uint64_t sector, const struct fe_seg *data,
		unsigned int n)
{
	struct fe_blk_slot *slot = fe_blk_get(blk);

	if (!slot)
		return -EBUSY;
	int ret = fe_blk_submit_segs(blk, slot, type, sector, data, n);

	if (ret) {
		fe_blk_put(blk, slot);
		return ret;
	}
	return fe_blk_drain(blk);
}

/* One request with data in the slot's buffer: copied from `out` before, to `in` after. */
static int transfer(struct fe_blk *blk, uint32_t type, uint64_t sector, const void *out, void *in,
		    uint32_t len)
{
	struct fe_blk_slot *slot = fe_blk_get(blk);
	int ret;

	if (!slot)
		return -EBUSY;
	if (len > blk->data_size) {
		fe_blk_put(blk, slot);
		return -EMSGSIZE;
	}
	if (out)
		memcpy(slot->data, out, len);
	ret = fe_blk_submit(blk, slot, type, sector, len);
	if (ret) {
		fe_blk_put(blk, slot);
		return ret;
	}
	ret = fe_blk_drain(blk);
	if (!ret && in)
		memcpy(in, slot->data, len);
	return ret;
}

int fe_blk_read(struct fe_blk *blk, uint64_t sector, void *buf, uint32_t len)
{
	return transfer(blk, VIRTIO_BLK_T_IN, sector, NULL, buf, len);
}

int fe_blk_write(struct fe_blk *blk, uint64_t sector, const void *buf, uint32_t len)
{
	return transfer(blk, VIRTIO_BLK_T_OUT, sector, buf, NULL, len);
}

int fe_blk_flush(struct fe_blk *blk)
{
	return transfer(blk, VIRTIO_BLK_T_FLUSH, 0, NULL, NULL, 0);
}

int fe_blk_get_id(struct fe_blk *blk, char *id, uint32_t len)
{
	return transfer(blk, VIRTIO_BLK_T_GET_ID, 0, NULL, id, len);
}

int fe_blk_ranges(struct fe_blk *blk, uint32_t type, const void *ranges, uint32_t len)
{
	return transfer(blk, type, 0, ranges, NULL, len);
}

static int one_range(struct fe_blk *blk, uint32_t type, uint64_t sector, uint32_t n_sectors,
		     uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes range = {
		.sector = sector, .num_sectors = n_sectors, .flags = flags};

	return fe_blk_ranges(blk, type, &range, sizeof(range));
}

int fe_blk_discard(struct fe_blk *blk, uint64_t sector, uint32_t n_sectors, uint32_t flags)
{
	return one_range(blk, VIRTIO_BLK_T_DISCARD, sector, n_sectors, flags);
}

int fe_blk_write_zeroes(struct fe_blk *blk, uint64_t sector, uint32_t n_sectors, uint32_t flags)
{
	return one_range(blk, VIRTIO_BLK_T_WRITE_ZEROES, sector, n_sectors, flags);
}

unsigned int fe_cut(struct fe_seg *segs, unsigned int max, uint64_t gpa, uint64_t len, bool write,
		    const uint32_t *sizes, unsigned int n_sizes)
{
	unsigned int n = 0;

	for (; len; n++) {
		uint32_t size = sizes[n % n_sizes];

		if (n == max)
			return 0;
		if (size > len)
			size = (uint32_t)len;
		segs[n] = (struct fe_seg){.addr = gpa, .len = size, .write = write};
		gpa += size;
		len -= size;
	}
	return n;
}

int fe_vq_exchange(struct fe_vq *vq, const struct fe_seg *segs, unsigned int n,
		   unsigned int n_direct, uint64_t table, uint32_t *used_len)
{
	uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	struct fe_used used;
	int ret;

	if (!table)
		n_direct = n;
	ret = fe_vq_add_chain(vq, segs, n_direct, segs + n_direct, n - n_direct, table, vq);
	if (ret < 0)
		return ret;

	int head = ret;

	fe_vq_kick(vq);
	ret = fe_vq_wait(vq, deadline);
	if (ret)
		return ret;
	ret = fe_vq_reap(vq, &used);
	if (ret < 0)
		return ret;
	if (used_len)
		*used_len = used.len;
	return used.head == head ? 0 : -EPROTO;
}
