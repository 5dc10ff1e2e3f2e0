/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looks whether the disk holds what its model (fe_shadow) says. The first difference ends the case,
 * with a sentence about it.
 */
#ifndef SHADOW_CHECK_H
#define SHADOW_CHECK_H

#include "tests/frontend/fe_shadow.h"

/* A read of blocks [first, first + n) has brought `data`. Releases them, which it had claimed. */
void shadow_check_read(struct fe_shadow *shadow, uint64_t first, uint32_t n, const void *data);

/* All of the image, a whole number of MiB. */
void shadow_check_image(const struct fe_shadow *shadow, const char *path);

#endif
