/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does an image begin like a file of another format than raw? It is served as it is, whatever it
 * holds: what looks like qcow2 may be the guest's own data, and to follow what a guest can write
 * would let it open any file of the host. But an operator who takes one for a disk is told.
 */
#ifndef IMAGE_FORMAT_H
#define IMAGE_FORMAT_H

#include "image/probe.h"

/* The name of the format that an image begins like, as "qcow2"; NULL: of none that is known. */
const char *image_format_find(const unsigned char head[IMAGE_HEAD]);

#endif
