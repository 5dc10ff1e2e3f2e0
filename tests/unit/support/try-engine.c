/* SPDX-License-Identifier: BSD-3-Clause */
/* See try-engine.h. */
#include "tests/unit/support/try-engine.h"

int try_engine(const struct engine_class *class)
{
	struct engine *engine;
	int err = engine_open(class, &engine, &(struct engine_config){.depth = 1});

	if (!err)
		engine_close(engine);
	return err;
}
