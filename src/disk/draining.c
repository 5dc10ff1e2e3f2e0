/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/draining.h. */
#include "disk/draining.h"

#include "base/container.h"
#include "base/log.h"

#define LOG_NS UINT64_C(2000000000)

static void lasts(struct loop_timer *timer)
{
	struct draining *draining = container_of(timer, struct draining, timer);

	log_warning("%s: still waiting for the I/O of %u queues to end", draining->name,
		    draining->n);
	loop_set_timer(draining->loop, timer, LOG_NS);
}

void draining_init(struct draining *draining, const char *name, struct loop *loop)
{
	*draining = (struct draining){.name = name, .loop = loop, .timer = {.fire = lasts}};
}

void draining_add(struct draining *draining)
{
	if (!draining->n++)
		loop_set_timer(draining->loop, &draining->timer, LOG_NS);
}

void draining_remove(struct draining *draining)
{
	if (!--draining->n)
		loop_clear_timer(draining->loop, &draining->timer);
}
