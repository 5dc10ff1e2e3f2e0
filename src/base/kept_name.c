/* SPDX-License-Identifier: BSD-3-Clause */
/* See base/kept_name.h. */
#include "base/kept_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void kept_name_make(char name[KEPT_NAME_SIZE], enum kept_kind kind, uint32_t number)
{
	snprintf(name, KEPT_NAME_SIZE, "v.%c.%" PRIx32, kind, number);
}

bool kept_name_parse(const char *name, enum kept_kind kind, uint32_t *number)
{
	char again[KEPT_NAME_SIZE], found;

	if (sscanf(name, "v.%c.%8" SCNx32, &found, number) != 2)
		return false;
	kept_name_make(again, kind, *number);
	return !strcmp(name, again);
}
