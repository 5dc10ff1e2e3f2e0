/* SPDX-License-Identifier: BSD-3-Clause */
/* See request/config.h. Pure functions. */
#include "request/config.h"

#include <endian.h>
#include <string.h>

#define BIT(n) (1ull << (n))

uint64_t blk_config_features(const struct image *image)
{
	uint64_t features = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
			    BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH) |
			    BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_MQ);

	if (image->read_only)
		features |= BIT(VIRTIO_BLK_F_RO);
	if (image->can_discard)
		features |= BIT(VIRTIO_BLK_F_DISCARD);
	if (image->can_write_zeroes)
		features |= BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	return features;
}

uint64_t blk_config_known_features(void)
{
	const unsigned lifetime = 15, zoned = 17; /* younger than the oldest headers */

	return BIT(VIRTIO_BLK_F_BARRIER) | BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) |
	       BIT(VIRTIO_BLK_F_GEOMETRY) | BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
	       BIT(VIRTIO_BLK_F_SCSI) | BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_TOPOLOGY) |
	       BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_MQ) | BIT(VIRTIO_BLK_F_DISCARD) |
	       BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(lifetime) | BIT(VIRTIO_BLK_F_SECURE_ERASE) |
	       BIT(zoned);
}

static uint32_t min_u32(uint64_t value, uint32_t limit)
{
	return value < limit ? (uint32_t)value : limit;
}

void blk_config_fill(struct virtio_blk_config *config, const struct image *image, uint64_t size,
		     unsigned num_queues, unsigned seg_max, bool wce)
{
	const uint32_t blocks_per_physical = image->physical_block_size / image->block_size;
	const uint32_t optimal = image->optimal_io_size / image->block_size;

	memset(config, 0, sizeof(*config));
	config->capacity = htole64(size / 512);
	config->seg_max = htole32(seg_max);
	config->blk_size = htole32(image->block_size);
	config->physical_block_exp = (uint8_t)__builtin_ctz(blocks_per_physical);
	config->min_io_size = htole16((uint16_t)min_u32(blocks_per_physical, UINT16_MAX));
	config->opt_io_size = htole32(optimal);
	config->wce = wce;
	config->num_queues = htole16((uint16_t)num_queues);
	if (image->can_discard) {
		config->max_discard_sectors =
			htole32(min_u32(image->max_discard / 512, UINT32_MAX));
		config->max_discard_seg = htole32(1);
		config->discard_sector_alignment = htole32(image->discard_alignment / 512);
	}
	if (image->can_write_zeroes) {
		config->max_write_zeroes_sectors =
			htole32(min_u32(image->max_write_zeroes / 512, UINT32_MAX));
		config->max_write_zeroes_seg = htole32(1);
		config->write_zeroes_may_unmap = image->unmap_zeroes;
	}
}
