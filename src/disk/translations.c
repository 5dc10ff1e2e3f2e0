/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/translations.h. */
#include "disk/translations.h"

#include "base/container.h"
#include "vublk.h"

static void attend_now(struct translations *translations)
{
	const uint64_t again = vublk_dev_attend(translations->dev);

	if (again)
		loop_set_timer(translations->loop, &translations->timer, again);
	else
		loop_clear_timer(translations->loop, &translations->timer);
}

static void nudged(struct nudge *nudge)
{
	attend_now(container_of(nudge, struct translations, nudge));
}

static void again(struct loop_timer *timer)
{
	attend_now(container_of(timer, struct translations, timer));
}

void translations_init(struct translations *translations, struct loop *loop, struct vublk_dev *dev)
{
	*translations = (struct translations){
		.loop = loop,
		.dev = dev,
		.nudge = {.run = nudged},
		.timer = {.fire = again},
	};
}

void translations_attend(struct translations *translations)
{
	mailbox_nudge(loop_mailbox(translations->loop), &translations->nudge);
}

void translations_end_session(struct translations *translations)
{
	loop_clear_timer(translations->loop, &translations->timer);
}
