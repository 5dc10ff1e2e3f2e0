/* SPDX-License-Identifier: BSD-3-Clause */
/* See shadow_check.h. No state. */
#define _GNU_SOURCE
#include "tests/proto/shadow_check.h"

#include <stdlib.h>

#include "tests/proto/proto.h"

void shadow_check_read(struct fe_shadow *shadow, uint64_t first, uint32_t n, const void *data)
{
	char why[200];

	if (!fe_shadow_verify(shadow, first, n, data, why, sizeof(why)))
		tap_check(false, true, __FILE__, __LINE__, "%s", why);
	fe_shadow_read_done(shadow, first, n);
}

void shadow_check_image(const struct fe_shadow *shadow, const char *path)
{
	const uint32_t per_step = (uint32_t)(MIB / shadow->block_size);
	char *buf = malloc(MIB), why[200];

	for (uint64_t b = 0; b < shadow->n_blocks; b += per_step) {
		REQUIRE_OK(fe_image_read(path, b * shadow->block_size, buf, MIB));
		if (!fe_shadow_verify(shadow, b, per_step, buf, why, sizeof(why)))
			tap_check(false, true, __FILE__, __LINE__, "the image %s: %s", path, why);
	}
	free(buf);
}
