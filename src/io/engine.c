/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list of engine classes: find one by name. Stateless, any thread.
 */
#include "io/engine.h"

#include <string.h>

static const struct engine_class *const classes[] = {&engine_uring, &engine_aio, &engine_null};

const struct engine_class *engine_find(const char *name)
{
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (!strcmp(classes[i]->name, name))
			return classes[i];
	return NULL;
}
