/* SPDX-License-Identifier: BSD-3-Clause */
/* See request/tally.h. Worker thread. */
#include "request/tally.h"

void blk_tally_flush(struct blk_env *env)
{
	struct blk_tally *tally = &env->tally;

	if (!tally->n)
		return;
	blk_counters_complete(env->counters, tally->type->counted, tally->n,
			      (uint64_t)(clock_read(env->clock) - tally->begun));
	counter_add(&env->counters->kind[tally->type->counted].bytes, tally->bytes);
	tally->n = tally->bytes = 0;
}

void blk_tally_change(struct blk_req *req, int err)
{
	struct blk_env *env = req->env;

	blk_tally_flush(env);
	env->tally = (struct blk_tally){
		.type = req->type,
		.begun = req->begun,
		.n = 1,
		.bytes = err ? 0 : req->size,
	};
	if (err)
		counter_add(&env->counters->kind[req->type->counted].errors, 1);
}
