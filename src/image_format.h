/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does an image begin like a file of another format than raw? It is served as it is, whatever it
 * holds: what looks like qcow2 may be the guest's own data, and to follow what a guest can write
 * would let it open any file of the host. But an operator who takes one for a disk is told.
 */
#ifndef IMAGE_FORMAT_H
#define IMAGE_FORMAT_H

/*
 * The name of the format that an open file or block device (O_DIRECT or not) begins like, as
 * "qcow2"; NULL: of none that is known. Any thread; waits for a read.
 */
const char *image_format_find(int fd);

#endif
