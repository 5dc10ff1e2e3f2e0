/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an operator calls an engine (--engine=): a reactor, and the target on it that files go to.
 * Stateless, any thread.
 */
#ifndef IO_ENGINE_H
#define IO_ENGINE_H

#include "io/target.h"

struct engine {
	const char *name; /* as in --engine= */
	const struct reactor_class *reactor;
	const struct target_class *target;
};

extern const struct engine engine_uring, engine_aio, engine_null;

/* The engine called `name` ("io_uring", "libaio", "null"), or NULL. */
const struct engine *engine_find(const char *name);

#endif
