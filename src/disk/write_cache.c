/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/write_cache.h. */
#include "disk/write_cache.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/log.h"
#include "image/image.h"
#include "vublk.h"

/* The next process will be told by us only. */
void write_cache_set(struct blk_disk *disk, struct vublk_dev *dev, bool on)
{
	atomic_store(&disk->wce, on);
	vublk_dev_flag_notes(dev, !on);
}

/* Only `wce` may be written: virtio 5.2.4, "writeback". */
int write_cache_set_config(struct blk_disk *disk, struct vublk_dev *dev, uint32_t offset,
			   const uint8_t *data, uint32_t size, bool migration)
{
	const uint32_t at = offsetof(struct virtio_blk_config, wce);

	if (migration) {
		/* The whole space may come; what else is in it is ours to say. */
		if (offset > at || size <= at - offset)
			return 0;
		data += at - offset;
	} else if (offset != at || size != 1) {
		log_warning("%s: the driver writes %u bytes at %u of the configuration space; only "
			    "byte %u (writeback) may be written",
			    disk->name, size, offset, at);
		return -EPERM;
	}
	write_cache_set(disk, dev, *data != 0);
	return 0;
}

void write_cache_set_features(struct blk_disk *disk, uint64_t features)
{
	disk->features = features;
	if (!features) /* a reset */
		atomic_store(&disk->wce, !disk->image->durable);
	/* virtio 5.2.5.2; legacy drivers find what they left (5.2.5.3). */
	if ((features >> VIRTIO_F_VERSION_1 & 1) && (features >> VIRTIO_BLK_F_CONFIG_WCE & 1) &&
	    !(features >> VIRTIO_BLK_F_FLUSH & 1))
		atomic_store(&disk->wce, false);
}
