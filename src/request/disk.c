/* SPDX-License-Identifier: BSD-3-Clause */
/* See request/disk.h. Worker thread. */
#include "request/disk.h"

#include <linux/virtio_blk.h>

#define BIT(n) (1ull << (n))

bool blk_disk_durable(const struct blk_disk *disk)
{
	if (disk->image->durable)
		return true;
	if (disk->features & BIT(VIRTIO_BLK_F_CONFIG_WCE))
		/* Without FLUSH, writeback is 0 whatever was written (virtio 5.2.5.2). */
		return !(disk->features & BIT(VIRTIO_BLK_F_FLUSH)) || !atomic_load(&disk->wce);
	return !(disk->features & BIT(VIRTIO_BLK_F_FLUSH));
}
