/* SPDX-License-Identifier: BSD-3-Clause */
/* See try-engine.h. */
#include "tests/unit/support/engines.h"
#include "tests/unit/support/try-engine.h"

int try_engine(const struct engine *engine)
{
	struct reactor *reactor;
	struct target *target;
	int err = eng_try(engine, &(struct reactor_config){.depth = 1}, &reactor, &target);

	if (!err)
		eng_close(reactor, target);
	return err;
}
