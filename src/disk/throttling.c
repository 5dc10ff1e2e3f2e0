/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/throttling.h. */
#include "disk/throttling.h"

#include "base/container.h"

static void holds(struct nudge *nudge)
{
	struct disk_limits *limits = container_of(nudge, struct disk_limits, holds);
	struct throttling *throttling = limits->opaque;

	throttling->begins(throttling, disk_limits_waited_for(limits));
	loop_set_timer(throttling->loop, &throttling->timer, THROTTLING_NS);
}

static void look(struct loop_timer *timer)
{
	struct throttling *throttling = container_of(timer, struct throttling, timer);

	if (!disk_limits_are_calm(throttling->limits))
		loop_set_timer(throttling->loop, timer, THROTTLING_NS);
}

void throttling_init(struct throttling *throttling, struct disk_limits *limits, struct loop *loop,
		     void (*begins)(struct throttling *throttling, const char *limit))
{
	*throttling = (struct throttling){
		.limits = limits,
		.loop = loop,
		.begins = begins,
		.timer = {.fire = look},
	};
	disk_limits_watch(limits, loop_mailbox(loop), holds, throttling);
}

void throttling_end(struct throttling *throttling)
{
	loop_clear_timer(throttling->loop, &throttling->timer);
}
