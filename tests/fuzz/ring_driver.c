/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver on the other side of the ring. See ring_model.h. */
#include <linux/virtio_blk.h>

#include "tests/fuzz/ring_model.h"

struct offer {
	struct vring_desc desc[16];
	unsigned n;
};

static void offer_add(struct offer *offer, uint64_t gpa, uint32_t len, bool write)
{
	offer->desc[offer->n++] = (struct vring_desc){gpa, len, write ? VRING_DESC_F_WRITE : 0, 0};
}

/* The table for an indirect descriptor, in the form of the ring. */
static void make_table(struct offer *offer, uint64_t gpa)
{
	for (unsigned i = 0; i < offer->n; i++) {
		struct vring_desc desc = offer->desc[i];

		desc.next = (uint16_t)(i + 1);
		if (i + 1 < offer->n)
			desc.flags |= VRING_DESC_F_NEXT;
		if (model.packed)
			desc = (struct vring_desc){desc.addr, desc.len, 0, desc.flags};
		model_poke(gpa + 16u * i, &desc, sizeof(desc));
	}
	offer->desc[0] = (struct vring_desc){gpa, 16 * offer->n, VRING_DESC_F_INDIRECT, 0};
	offer->n = 1;
}

static void offer_split(const struct offer *offer)
{
	const uint16_t head = model.next_desc;

	for (unsigned i = 0; i < offer->n; i++) {
		struct vring_desc desc = offer->desc[i];
		const uint16_t at = model.next_desc;

		model.next_desc = (uint16_t)((at + 1u) % model.size);
		desc.next = model.next_desc;
		if (i + 1 < offer->n)
			desc.flags |= VRING_DESC_F_NEXT;
		model_poke(DESC + 16u * at, &desc, sizeof(desc));
	}
	model_poke16(AVAIL + 4 + 2u * (model.avail_idx % model.size), head);
	model_poke16(AVAIL + 2, ++model.avail_idx);
}

static void offer_packed(const struct offer *offer)
{
	for (unsigned i = 0; i < offer->n; i++) {
		const struct vring_desc *desc = &offer->desc[i];
		const unsigned mark = model.wrap ? 1u << VRING_PACKED_DESC_F_AVAIL
						 : 1u << VRING_PACKED_DESC_F_USED;
		const struct vring_packed_desc packed = {
			.addr = desc->addr,
			.len = desc->len,
			.id = model.offers,
			.flags = (uint16_t)(desc->flags | mark |
					    (i + 1 < offer->n ? VRING_DESC_F_NEXT : 0)),
		};

		model_poke(DESC + 16u * model.next_desc, &packed, sizeof(packed));
		model_step_on(&model.next_desc, &model.wrap, 1);
	}
}

static const uint8_t types[] = {
	VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_OUT,          VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID,
	VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, T_FLUSH_OUT,        VIRTIO_BLK_T_SCSI_CMD,
};

/* A request as a driver makes it, nearly. */
void driver_offer(struct fuzz_input *in)
{
	const uint8_t kind = fuzz_u8(in), framing = fuzz_u8(in), pieces = framing % 6;
	const unsigned slot = model.offers % OFFERS;
	const uint8_t type = types[kind % 8];
	const struct virtio_blk_outhdr header = {.type = type, .sector = fuzz_u8(in)};
	const uint64_t header_at = HEADERS + 64 * slot, status_at = STATUSES + 16 * slot;
	const bool writable = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct offer offer = {.n = 0};
	const uint8_t none = 0xaa;

	model_poke(header_at, &header, sizeof(header));
	model_poke(status_at, &none, 1);
	if (kind & 8) { /* in two pieces */
		offer_add(&offer, header_at, 5, false);
		offer_add(&offer, header_at + 5, 11, false);
	} else {
		offer_add(&offer, header_at, 16, false);
	}
	if (type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES) {
		const struct virtio_blk_discard_write_zeroes segment = {
			.sector = fuzz_u8(in),
			.num_sectors = fuzz_u8(in),
			.flags = fuzz_u8(in) % 3,
		};

		model_poke(header_at + 16, &segment, sizeof(segment));
		offer_add(&offer, header_at + 16, sizeof(segment), false);
	} else {
		for (unsigned i = 0; i < pieces; i++) {
			const uint16_t at = fuzz_u16(in), size = fuzz_u16(in);

			offer_add(&offer, kind & 16 ? at : DATA + at % 0x6000u,
				  kind & 32 ? size % 2048u : (size % 8u + 1) * SECTOR, writable);
		}
	}
	if (!(kind & 64) || (kind & 128))
		offer_add(&offer, status_at, 1, true);
	if (framing & 64)
		make_table(&offer, TABLES + 128 * slot);
	if (model.packed)
		offer_packed(&offer);
	else
		offer_split(&offer);
	model.offers++;
}

void driver_write(struct fuzz_input *in)
{
	const uint16_t at = fuzz_u16(in);
	const uint8_t size = fuzz_u8(in) % 65;
	uint8_t bytes[64];

	fuzz_bytes(in, bytes, size);
	model_poke(at, bytes, size);
}
