/* SPDX-License-Identifier: BSD-3-Clause */
/* src/request/config.c: features, the configuration space, and when a write has to be durable. */
#include "src/request/config.h"

#include <stddef.h>
#include <string.h>

#include "src/request/disk.h"
#include "tests/tap.h"

#define BIT(n) (1ull << (n))
#define ALWAYS \
	(BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_TOPOLOGY) | \
	 BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_MQ))

static const struct image plain = {
	.size = 1 << 30,
	.block_size = 512,
	.physical_block_size = 512,
};

static void features_of_a_plain_image(void)
{
	CHECK_EQ(blk_config_features(&plain), ALWAYS);
}

static void features_follow_the_image(void)
{
	struct image image = plain;

	image.read_only = true;
	CHECK_EQ(blk_config_features(&image), ALWAYS | BIT(VIRTIO_BLK_F_RO));
	image = plain;
	image.can_discard = true;
	CHECK_EQ(blk_config_features(&image), ALWAYS | BIT(VIRTIO_BLK_F_DISCARD));
	image = plain;
	image.can_write_zeroes = true;
	CHECK_EQ(blk_config_features(&image), ALWAYS | BIT(VIRTIO_BLK_F_WRITE_ZEROES));
}

static void offered_features_are_known(void)
{
	struct image image = plain;

	image.read_only = image.can_discard = image.can_write_zeroes = true;
	CHECK_EQ(blk_config_features(&image) & ~blk_config_known_features(), 0);
	CHECK_EQ(blk_config_known_features() >> 24, 0);
	/* Bits 3 and 8 were never a feature. */
	CHECK_EQ(blk_config_known_features() & (BIT(3) | BIT(8)), 0);
}

static unsigned seg_max = BLK_SEG_MAX;

static struct virtio_blk_config fill(const struct image *image)
{
	struct virtio_blk_config config;

	memset(&config, 0xff, sizeof(config));
	blk_config_fill(&config, image, image->size, 4, seg_max, true);
	return config;
}

/* A ring of 128 carries the default, with two descriptors more; the operator may say less. */
static void seg_max_is_as_asked(void)
{
	CHECK_EQ(fill(&plain).seg_max, 126);
	for (seg_max = 1; seg_max <= BLK_SEG_MAX_MOST; seg_max += 1021)
		CHECK_EQ(fill(&plain).seg_max, seg_max);
}

static void space_of_a_plain_image(void)
{
	const struct virtio_blk_config config = fill(&plain);
	struct virtio_blk_config expected;

	memset(&expected, 0, sizeof(expected));
	expected.capacity = (1 << 30) / 512;
	expected.seg_max = seg_max;
	expected.blk_size = 512;
	expected.min_io_size = 1;
	expected.wce = 1;
	expected.num_queues = 4;
	CHECK(!memcmp(&config, &expected, sizeof(config)));
}

static void capacity_is_in_sectors_whatever_the_block_size(void)
{
	struct image image = plain;

	image.block_size = image.physical_block_size = 4096;
	image.size = 5ull << 42;
	CHECK_EQ(fill(&image).capacity, (5ull << 42) / 512);
	CHECK_EQ(fill(&image).blk_size, 4096);
}

static void topology_is_in_blocks(void)
{
	struct image image = plain;

	image.physical_block_size = 4096;
	image.optimal_io_size = 65536;
	CHECK_EQ(fill(&image).physical_block_exp, 3);
	CHECK_EQ(fill(&image).alignment_offset, 0);
	CHECK_EQ(fill(&image).min_io_size, 8);
	CHECK_EQ(fill(&image).opt_io_size, 128);
	image.block_size = 4096;
	CHECK_EQ(fill(&image).physical_block_exp, 0);
	CHECK_EQ(fill(&image).min_io_size, 1);
	CHECK_EQ(fill(&image).opt_io_size, 16);
	image = plain;
	image.physical_block_size = 1u << 31;
	CHECK_EQ(fill(&image).physical_block_exp, 22);
	CHECK_EQ(fill(&image).min_io_size, UINT16_MAX);
}

static void discard_limits_are_in_sectors(void)
{
	struct image image = plain;

	image.can_discard = true;
	image.max_discard = 1 << 20;
	image.discard_alignment = 4096;
	CHECK_EQ(fill(&image).max_discard_sectors, 2048);
	CHECK_EQ(fill(&image).max_discard_seg, 1);
	CHECK_EQ(fill(&image).discard_sector_alignment, 8);
	CHECK_EQ(fill(&image).max_write_zeroes_seg, 0);
	image.max_discard = UINT64_MAX / 512 * 512;
	CHECK_EQ(fill(&image).max_discard_sectors, UINT32_MAX);
}

static void write_zeroes_limits_are_in_sectors(void)
{
	struct image image = plain;

	image.can_write_zeroes = true;
	image.max_write_zeroes = 1 << 20;
	CHECK_EQ(fill(&image).max_write_zeroes_sectors, 2048);
	CHECK_EQ(fill(&image).max_write_zeroes_seg, 1);
	CHECK_EQ(fill(&image).write_zeroes_may_unmap, 0);
	CHECK_EQ(fill(&image).max_discard_seg, 0);
	image.unmap_zeroes = true;
	CHECK_EQ(fill(&image).write_zeroes_may_unmap, 1);
	image.max_write_zeroes = UINT64_MAX / 512 * 512;
	CHECK_EQ(fill(&image).max_write_zeroes_sectors, UINT32_MAX);
}

static void limits_of_what_is_not_offered_are_0(void)
{
	struct image image = plain;

	image.max_discard = image.max_write_zeroes = 1 << 20;
	image.discard_alignment = 4096;
	image.unmap_zeroes = true;
	CHECK_EQ(fill(&image).max_discard_sectors, 0);
	CHECK_EQ(fill(&image).max_write_zeroes_sectors, 0);
	CHECK_EQ(fill(&image).write_zeroes_may_unmap, 0);
}

static void writeback_is_as_told(void)
{
	struct virtio_blk_config config;

	blk_config_fill(&config, &plain, plain.size, 256, 62, false);
	CHECK_EQ(config.wce, 0);
	CHECK_EQ(config.num_queues, 256);
	blk_config_fill(&config, &plain, plain.size, 256, 62, true);
	CHECK_EQ(config.wce, 1);
	CHECK_EQ(offsetof(struct virtio_blk_config, wce), 32);
}

static bool durable(uint64_t features, bool wce, bool writethrough)
{
	const struct image image = {.durable = writethrough};
	const struct blk_disk disk = {.image = &image, .features = features, .wce = wce};

	return blk_disk_durable(&disk);
}

/* virtio 5.2.6.2 */
static void durable_unless_the_driver_flushes(void)
{
	const uint64_t flush = BIT(VIRTIO_BLK_F_FLUSH), config_wce = BIT(VIRTIO_BLK_F_CONFIG_WCE);

	CHECK(durable(0, true, false));
	CHECK(durable(0, false, false));
	CHECK(!durable(flush, true, false));
	CHECK(!durable(flush, false, false)); /* the field is not the driver's */
	CHECK(durable(config_wce, true, false));
	CHECK(!durable(flush | config_wce, true, false));
	CHECK(durable(flush | config_wce, false, false));
}

static void durable_if_the_operator_says_so(void)
{
	CHECK(durable(BIT(VIRTIO_BLK_F_FLUSH), true, true));
	CHECK(durable(BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE), true, true));
}

static const struct tap_case cases[] = {
	{"features_of_a_plain_image", features_of_a_plain_image},
	{"features_follow_the_image", features_follow_the_image},
	{"offered_features_are_known", offered_features_are_known},
	{"seg_max_is_as_asked", seg_max_is_as_asked},
	{"space_of_a_plain_image", space_of_a_plain_image},
	{"capacity_is_in_sectors_whatever_the_block_size",
	 capacity_is_in_sectors_whatever_the_block_size},
	{"topology_is_in_blocks", topology_is_in_blocks},
	{"discard_limits_are_in_sectors", discard_limits_are_in_sectors},
	{"write_zeroes_limits_are_in_sectors", write_zeroes_limits_are_in_sectors},
	{"limits_of_what_is_not_offered_are_0", limits_of_what_is_not_offered_are_0},
	{"writeback_is_as_told", writeback_is_as_told},
	{"durable_unless_the_driver_flushes", durable_unless_the_driver_flushes},
	{"durable_if_the_operator_says_so", durable_if_the_operator_says_so},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "blk config", .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
