/* SPDX-License-Identifier: BSD-3-Clause */
/* support/blk-disk.h for the fuzz targets, which link nothing of the unit tests: with its code. */
#include "tests/unit/support/blk-disk.c"
