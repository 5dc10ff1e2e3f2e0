/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the driver is told of a disk: feature bits and configuration space (virtio 5.2.3, 5.2.4),
 * from the image and the options. Pure functions.
 */
#ifndef REQUEST_CONFIG_H
#define REQUEST_CONFIG_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"

/*
 * The pieces of data that a request may have at most (seg_max), unless the operator says otherwise:
 * a ring of 128 entries carries them, and the configuration space is read before ring sizes are
 * known. The most that he may say: a ring of 1024 carries these.
 */
#define BLK_SEG_MAX      126u
#define BLK_SEG_MAX_MOST 1022u

/* Feature bits (0-23) offered for an image. */
uint64_t blk_config_features(const struct image *image);

/* All feature bits (0-23) that the virtio-blk device type defines or once defined. */
uint64_t blk_config_known_features(void);

/* Fills in the configuration space; `size` is how many bytes the disk has now. */
void blk_config_fill(struct virtio_blk_config *config, const struct image *image, uint64_t size,
		     unsigned num_queues, unsigned seg_max, bool wce);

#endif
