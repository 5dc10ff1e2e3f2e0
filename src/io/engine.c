/* SPDX-License-Identifier: BSD-3-Clause */
/* See io/engine.h. */
#include "io/engine.h"

#include <string.h>

const struct engine engine_uring = {"io_uring", &reactor_uring, &target_uring};
const struct engine engine_aio = {"libaio", &reactor_epoll, &target_aio};
/* Its floor is the same on every host. */
const struct engine engine_null = {"null", &reactor_epoll, &target_null};

const struct engine *engine_find(const char *name)
{
	static const struct engine *const engines[] = {&engine_uring, &engine_aio, &engine_null};

	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	return NULL;
}
