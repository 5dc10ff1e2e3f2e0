/* SPDX-License-Identifier: BSD-3-Clause */
/* For cases that need an engine which this host may not have. */
#ifndef TRY_ENGINE_H
#define TRY_ENGINE_H

#include "src/io/engine.h"

/* Can it be had on this host? Makes and closes an engine. 0, or -errno as open() gave it. */
int try_engine(const struct engine *engine);

#endif
