/* SPDX-License-Identifier: BSD-3-Clause */
/* What a virtio-blk request has to do (virtio 5.2.6). See ring_model.h. */
#include <linux/virtio_blk.h>

#include "tests/fuzz/ring_model.h"

static bool is_on_disk(uint64_t sector, uint64_t size)
{
	return size % SECTOR == 0 && sector <= DISK / SECTOR &&
	       size / SECTOR <= DISK / SECTOR - sector;
}

static int model_zeroes(struct guest *guest, bool discard)
{
	struct virtio_blk_discard_write_zeroes segment;

	if (model.read_only)
		return VIRTIO_BLK_S_IOERR;
	if (guest->out_size > 16 + sizeof(segment))
		return VIRTIO_BLK_S_UNSUPP;
	if (guest->out_size < 16 + sizeof(segment))
		return VIRTIO_BLK_S_IOERR;
	model_copy(guest, false, 16, (uint8_t *)&segment, sizeof(segment));
	if (segment.flags & ~1u || (discard && segment.flags))
		return VIRTIO_BLK_S_UNSUPP;
	guest->at = segment.sector * SECTOR;
	guest->size = (uint64_t)segment.num_sectors * SECTOR;
	if (guest->size > (discard ? DISCARD : 2 * DISCARD) ||
	    !is_on_disk(segment.sector, guest->size)) {
		guest->size = 0;
		return VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

/* Its status, at and size; -1: it has no room for a status. */
int model_begin(struct guest *guest)
{
	struct virtio_blk_outhdr header;

	guest->type = UINT32_MAX;
	guest->size = 0;
	if (!guest->in_size)
		return -1;
	if (guest->out_size < sizeof(header))
		return VIRTIO_BLK_S_IOERR;
	model_copy(guest, false, 0, (uint8_t *)&header, sizeof(header));
	guest->type = header.type;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		guest->size = header.type == VIRTIO_BLK_T_IN ? guest->in_size - 1
							     : guest->out_size - sizeof(header);
		guest->at = header.sector * SECTOR;
		if (is_on_disk(header.sector, guest->size) &&
		    (header.type == VIRTIO_BLK_T_IN || !model.read_only))
			return VIRTIO_BLK_S_OK;
		guest->size = 0;
		return VIRTIO_BLK_S_IOERR;
	case VIRTIO_BLK_T_FLUSH:
	case T_FLUSH_OUT:
	case VIRTIO_BLK_T_GET_ID:
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return model_zeroes(guest, header.type == VIRTIO_BLK_T_DISCARD);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* So many bytes more have been moved between memory and disk. */
void model_moved(struct guest *guest, uint64_t size)
{
	uint8_t *disk = model.expected_content + guest->at + guest->done;

	FUZZ_CHECK(size <= guest->size - guest->done);
	if (guest->type == VIRTIO_BLK_T_IN)
		model_copy(guest, true, guest->done, disk, size);
	else if (guest->type == VIRTIO_BLK_T_OUT)
		model_copy(guest, false, 16 + guest->done, disk, size);
	else
		memset(disk, 0, size);
	guest->done += size;
}

void model_finish(struct guest *guest, uint32_t written)
{
	const bool reads = guest->type == VIRTIO_BLK_T_IN;
	/* A discard that the host lacks is none, and no error. */
	const bool all = guest->done == guest->size || guest->type == VIRTIO_BLK_T_DISCARD;
	const int status = guest->failed ? VIRTIO_BLK_S_IOERR : guest->status;
	uint64_t filled = reads && !status ? guest->size : 0; /* from the front on */
	uint8_t byte = (uint8_t)status;

	FUZZ_CHECK(status != VIRTIO_BLK_S_OK || all);
	if (guest->type == VIRTIO_BLK_T_GET_ID) {
		uint8_t id[VIRTIO_BLK_ID_BYTES] = SERIAL;

		filled = guest->in_size - 1 < sizeof(id) ? guest->in_size - 1 : sizeof(id);
		model_copy(guest, true, 0, id, filled);
	}
	/* virtio 2.7.8.2: not more than was written from the front on. */
	FUZZ_CHECK(written == filled + (filled == guest->in_size - 1));
	model_copy(guest, true, guest->in_size - 1, &byte, 1);
}
