/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/openings.h. */
#include "disk/openings.h"

#include <string.h>

#include "base/container.h"
#include "base/host_limits.h"
#include "base/log.h"
#include "base/thread.h"

#define PATIENCE_NS UINT64_C(5000000000) /* with who opens, while others wait */
#define RETRY_NS    UINT64_C(1000000000) /* of a thread that was not to be had */
#define MOST_TRIES  5                    /* while none of ours is at work */

static void note_trouble(struct openings *openings, int err)
{
	if (!openings->trouble && err)
		log_warning("no thread to open a disk on: %s%s; it waits, and is tried again",
			    strerror(-err), limits_advice(LIMITS_THREAD, err));
	if (openings->trouble && !err)
		log_info("there are threads to open disks on again");
	openings->trouble = err;
}

static void take_first(struct openings *openings)
{
	openings->waiting = openings->waiting->next;
	if (!openings->waiting)
		openings->last = &openings->waiting;
}

static void refuse_all(struct openings *openings)
{
	while (openings->waiting) {
		struct opening *opening = openings->waiting;

		take_first(openings);
		opening->refused(opening->arg, openings->trouble);
	}
	openings->trouble = 0;
	openings->tries = 0;
	loop_clear_timer(openings->loop, &openings->timer);
}

/* Those for which there are places, in order. */
static void begin(struct openings *openings)
{
	while (openings->waiting && openings->n_places < OPENINGS_MOST) {
		struct opening *opening = openings->waiting;
		const int err = openings->start(opening->run, opening->arg);

		note_trouble(openings, err);
		if (err)
			break;
		take_first(openings);
		openings->tries = 0;
		opening->begun = true;
		opening->round = openings->round;
		openings->n_places++;
	}
	if (!openings->waiting)
		loop_clear_timer(openings->loop, &openings->timer);
	else if (openings->trouble)
		loop_set_timer(openings->loop, &openings->timer, RETRY_NS);
	else if (!openings->timer.set)
		loop_set_timer(openings->loop, &openings->timer, PATIENCE_NS);
}

/*
 * Have all places been taken for so long? Then they are given on. Or is a thread to be tried for
 * again? The thread of one that has done may end a moment later: only what this timer tries counts.
 */
static void time_is_over(struct loop_timer *timer)
{
	struct openings *openings = container_of(timer, struct openings, timer);

	if (!openings->trouble) {
		openings->round++;
		openings->n_places = 0;
	}
	begin(openings);
	if (openings->trouble && !openings->n_places && ++openings->tries >= MOST_TRIES)
		refuse_all(openings);
}

void openings_init(struct openings *openings, struct loop *loop)
{
	*openings = (struct openings){
		.loop = loop,
		.last = &openings->waiting,
		.timer = {.fire = time_is_over},
		.start = thread_detached,
	};
}

void openings_add(struct openings *openings, struct opening *opening)
{
	opening->next = NULL;
	*openings->last = opening;
	openings->last = &opening->next;
	begin(openings);
}

bool openings_cancel(struct openings *openings, struct opening *opening)
{
	struct opening **at = &openings->waiting;

	if (opening->begun)
		return false;
	while (*at && *at != opening)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = opening->next;
	if (openings->last == &opening->next)
		openings->last = at;
	begin(openings);
	return true;
}

void openings_done(struct openings *openings, struct opening *opening)
{
	if (!opening->begun || opening->round != openings->round)
		return;
	openings->n_places--;
	openings->tries = 0;
	/* Somebody goes on: whoever hangs may do so for as long again. */
	loop_clear_timer(openings->loop, &openings->timer);
	begin(openings);
}
