/* SPDX-License-Identifier: BSD-3-Clause */
/* Stopping a request, wherever it waits. Worker thread. */
#include "request/exec.h"
#include "request/sync.h"

bool blk_req_cancel(struct blk_req *req)
{
	struct blk_env *env = req->env;

	if (req->syncing ? !blk_sync_leave(req)
			 : !bounce_cancel(env->bounce, env->bounce_user, &req->waiter) &&
				   !target_cancel(env->target, &req->io))
		return false;
	blk_req_abandon(req);
	return true;
}
