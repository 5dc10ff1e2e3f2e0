/* SPDX-License-Identifier: BSD-3-Clause */
/* How large a disk is made of a file of so many bytes: at the start, and when it has grown. */
#ifndef IMAGE_SIZE_H
#define IMAGE_SIZE_H

#include <stdint.h>

/*
 * Up to where each sector of a file that ends at `end` can be read and, through `fd`, written, in
 * bytes: rounded up to 512, or where no file can end there, down to `block_size`. fd -1: it is not
 * written, or no file. Any thread, if nobody depends on the descriptor's offset.
 */
uint64_t image_size_round(int fd, uint64_t end, uint32_t block_size);

#endif
