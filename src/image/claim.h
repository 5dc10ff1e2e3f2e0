/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A block device for us alone. The lock bytes of image/lock.h belong to an inode, and a block
 * device may have many: the node in another /dev, a container's that was restarted, one made by
 * hand. What the kernel knows of the device itself is who has opened it with O_EXCL, and one only
 * may have, mounted file systems and devices made of it included (open(2), "O_EXCL").
 *
 * The claim belongs to the open file and stands until that is closed, and the last I/O that was
 * submitted to it has ended: so this is where a disk's I/O has to go. QEMU and other programs that
 * open without O_EXCL are not kept out by it, and do not keep us out.
 */
#ifndef IMAGE_CLAIM_H
#define IMAGE_CLAIM_H

/*
 * Opens the block device that `device` is a descriptor of once more, with the same access and
 * flags, exclusively. 0 and *fd, the caller's; -EAGAIN: it is claimed, by whomever; -errno of
 * open(2), which goes through /proc. Any thread.
 */
int image_claim(int device, int *fd);

#endif
