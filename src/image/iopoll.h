/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Can I/O of the image be waited for by polling its device (--iopoll)? Found out before a guest
 * depends on it. Control thread.
 */
#ifndef IMAGE_IOPOLL_H
#define IMAGE_IOPOLL_H

#include "image/image.h"

/*
 * Looks what the kernel says of the device, then reads a block of the image that way. 0, or -errno
 * with the reason, and what could be done about it, logged in one line: -EOPNOTSUPP if it cannot.
 */
int image_iopoll_probe(const struct image *image);

#endif
