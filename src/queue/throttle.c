/* SPDX-License-Identifier: BSD-3-Clause */
/* See queue/throttle.h. */
#include "queue/throttle.h"

#include "base/clock.h"
#include "base/container.h"
#include "request/exec.h"
#include "request/merge.h"

/* What is begun of a direction before others have their turn; as what a queue pops. */
#define BEGUN_AT_ONCE 64
#define BYTES_AT_ONCE ((uint64_t)1 << 20)

/* ---- a disk's limits ---- */

void disk_limits_init(struct disk_limits *limits, const struct limits_config *config)
{
	pthread_mutex_init(&limits->lock, NULL);
	limits_init(&limits->limits, config, now_ns());
	limits->queues = NULL;
	limits->listener = NULL;
	limits->held = limits->told = false;
}

void disk_limits_watch(struct disk_limits *limits, struct mailbox *listener,
		       void (*run)(struct nudge *nudge), void *opaque)
{
	limits->listener = listener;
	limits->opaque = opaque;
	limits->holds = (struct nudge){.run = run};
}

bool disk_limits_are_calm(struct disk_limits *limits)
{
	bool calm;

	pthread_mutex_lock(&limits->lock);
	calm = !limits->held && !limits_are_exceeded(&limits->limits, now_ns());
	limits->held = false;
	if (calm)
		limits->told = false;
	pthread_mutex_unlock(&limits->lock);
	return calm;
}

const char *disk_limits_waited_for(struct disk_limits *limits)
{
	const char *name;

	pthread_mutex_lock(&limits->lock);
	name = limits_name(limits->limits.waited_for);
	pthread_mutex_unlock(&limits->lock);
	return name;
}

void disk_limits_destroy(struct disk_limits *limits)
{
	pthread_mutex_destroy(&limits->lock);
}

void disk_limits_set(struct disk_limits *limits, const struct limits_config *config)
{
	pthread_mutex_lock(&limits->lock);
	limits_change(&limits->limits, config, now_ns());
	for (struct throttle *queue = limits->queues; queue; queue = queue->next)
		mailbox_nudge(queue->env->mailbox, &queue->nudge);
	pthread_mutex_unlock(&limits->lock);
}

/* ---- counters ---- */

/* Something was held since the last time. */
static void count_time(struct throttle *throttle, int64_t now)
{
	counter_add(&throttle->env->counters->throttled_ns, (uint64_t)(now - throttle->since));
	throttle->since = now;
}

/* ---- turns ---- */

/* That of the worker's iteration: it is read once for all. */
static int64_t time_of(const struct throttle *throttle)
{
	return clock_read(throttle->env->clock);
}

static bool is_write(const struct blk_req *req)
{
	return req->type->changes;
}

typedef int64_t take_turn(struct limits *limits, bool write, uint64_t bytes, int64_t now);

/* Somebody has to wait. The lock is held. */
static void note_wait(struct disk_limits *shared)
{
	shared->held = true;
	if (shared->told || !shared->listener)
		return;
	shared->told = true;
	mailbox_nudge(shared->listener, &shared->holds);
}

/* When the request's turn is, ns. */
static int64_t turn_of(struct throttle *throttle, const struct blk_req *req, int64_t now,
		       take_turn *take)
{
	struct disk_limits *shared = throttle->shared;
	int64_t wait;

	pthread_mutex_lock(&shared->lock);
	wait = take(&shared->limits, is_write(req), req->left, now);
	if (wait > 0)
		note_wait(shared);
	pthread_mutex_unlock(&shared->lock);
	return now + wait;
}

/* The first of a list has a turn, now or later. */
static void give_turn(struct throttle *throttle, struct throttle_list *list, int64_t now)
{
	if (list->has_turn)
		return;
	list->turn = turn_of(throttle, list->first, now, limits_take);
	list->has_turn = true;
}

/* ---- what is held ---- */

static void append(struct throttle *throttle, struct throttle_list *list, struct blk_req *req)
{
	req->next = NULL;
	*list->last = req;
	list->last = &req->next;
	throttle->n_held++;
	counter_add(&throttle->env->counters->held, 1);
	counter_set(&throttle->env->counters->held_now, throttle->n_held);
}

static struct blk_req *pop(struct throttle *throttle, struct throttle_list *list)
{
	struct blk_req *req = list->first;

	list->first = req->next;
	if (!list->first)
		list->last = &list->first;
	list->has_turn = false;
	throttle->n_held--;
	counter_set(&throttle->env->counters->held_now, throttle->n_held);
	return req;
}

/* Has the timer fire when the next one is due. */
static void set_timer(struct throttle *throttle, int64_t now)
{
	int64_t wait = INT64_MAX;

	if (!throttle->n_held) {
		reactor_clear_timer(throttle->reactor, &throttle->timer);
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		const struct throttle_list *list = &throttle->list[i];

		if (list->first && list->turn - now < wait)
			wait = list->turn - now;
	}
	/* What is due already is left from a batch. */
	if (wait <= 0 || throttle->open)
		wait = 0;
	else if (wait < THROTTLE_GRAIN)
		wait = THROTTLE_GRAIN;
	reactor_set_timer(throttle->reactor, &throttle->timer, wait);
}

/* Begins those of a list whose turn it is, a batch at most. */
static void begin_due(struct throttle *throttle, struct throttle_list *list, int64_t now)
{
	uint64_t bytes = 0;

	for (unsigned n = 0; list->first; n++) {
		give_turn(throttle, list, now);
		if ((list->turn > now && !throttle->open) || n == BEGUN_AT_ONCE ||
		    bytes >= BYTES_AT_ONCE)
			return;
		bytes += list->first->left;
		blk_req_resume(pop(throttle, list));
	}
}

/* After some have begun, or may have. */
static void settle(struct throttle *throttle, int64_t now)
{
	blk_merge_flush(throttle->env);
	set_timer(throttle, now);
	/* As long as anything is held, what comes has to get in line. */
	if (!throttle->n_held && !throttle->limited)
		throttle->env->admit = NULL;
}

static void begin_all_due(struct throttle *throttle)
{
	const int64_t now = time_of(throttle);

	if (throttle->n_held) {
		count_time(throttle, now);
		throttle->hooks->before(throttle);
	}
	begin_due(throttle, &throttle->list[0], now);
	begin_due(throttle, &throttle->list[1], now);
	settle(throttle, now);
}

static void fire(struct reactor_timer *timer)
{
	begin_all_due(container_of(timer, struct throttle, timer));
}

bool throttle_admit(struct throttle *throttle, struct blk_req *req)
{
	struct throttle_list *list = &throttle->list[is_write(req)];
	const bool is_first = !list->first;
	int64_t now = 0, turn = 0;

	if (is_first) {
		now = time_of(throttle);
		turn = turn_of(throttle, req, now, limits_take);
		if (turn <= now || throttle->open)
			return true;
		if (!throttle->n_held)
			throttle->since = now;
		list->turn = turn;
		list->has_turn = true;
	}
	append(throttle, list, req);
	if (is_first)
		set_timer(throttle, now);
	return false;
}

static void abandon_all(struct throttle *throttle)
{
	for (unsigned i = 0; i < 2; i++)
		while (throttle->list[i].first)
			blk_req_abandon(pop(throttle, &throttle->list[i]));
	reactor_clear_timer(throttle->reactor, &throttle->timer);
}

void throttle_open(struct throttle *throttle)
{
	throttle->open = true;
	if (!throttle->n_held)
		return;
	if (throttle->env->abandoning)
		abandon_all(throttle);
	else
		begin_all_due(throttle);
}

void throttle_hurry(struct throttle *throttle,
		    bool (*which)(const struct blk_req *req, const void *opaque),
		    const void *opaque)
{
	const int64_t now = throttle->n_held ? time_of(throttle) : 0;

	if (!throttle->n_held)
		return;
	count_time(throttle, now);
	throttle->hooks->before(throttle);
	for (unsigned i = 0; i < 2; i++) {
		struct throttle_list *list = &throttle->list[i];
		const struct blk_req *last = NULL;

		for (const struct blk_req *req = list->first; req; req = req->next)
			if (which(req, opaque))
				last = req;
		while (last) {
			give_turn(throttle, list, now);
			if (list->first == last)
				last = NULL;
			blk_req_resume(pop(throttle, list));
		}
		if (list->first)
			give_turn(throttle, list, now);
	}
	settle(throttle, now);
}

/* ---- life ---- */

void throttle_look_again(struct throttle *throttle)
{
	const int64_t now = time_of(throttle);

	pthread_mutex_lock(&throttle->shared->lock);
	throttle->limited = limits_config_any(&throttle->shared->limits.config);
	pthread_mutex_unlock(&throttle->shared->lock);
	throttle->env->admit = throttle->hooks->admit;
	for (unsigned i = 0; i < 2; i++) {
		struct throttle_list *list = &throttle->list[i];

		if (list->first)
			list->turn = turn_of(throttle, list->first, now, limits_retake);
	}
	begin_all_due(throttle);
}

void throttle_begin(struct throttle *throttle, struct reactor *reactor)
{
	struct disk_limits *shared = throttle->shared;

	throttle->reactor = reactor;
	if (!shared)
		return;
	pthread_mutex_lock(&shared->lock);
	throttle->next = shared->queues;
	shared->queues = throttle;
	throttle->linked = true;
	throttle->limited = limits_config_any(&shared->limits.config);
	pthread_mutex_unlock(&shared->lock);
	throttle->env->admit = throttle->limited ? throttle->hooks->admit : NULL;
}

bool throttle_end(struct throttle *throttle)
{
	struct disk_limits *shared = throttle->shared;

	if (throttle->linked) {
		struct throttle **at = &shared->queues;

		pthread_mutex_lock(&shared->lock);
		while (*at != throttle)
			at = &(*at)->next;
		*at = throttle->next;
		throttle->linked = false;
		pthread_mutex_unlock(&shared->lock);
	}
	/* From now on nobody posts it; but one may be on its way. */
	return !atomic_load(&throttle->nudge.posted);
}

void throttle_init(struct throttle *throttle, struct disk_limits *shared, struct blk_env *env,
		   const struct throttle_hooks *hooks)
{
	*throttle = (struct throttle){
		.shared = shared,
		.hooks = hooks,
		.env = env,
		.timer = {.fire = fire},
		.nudge = {.run = hooks->changed},
	};
	for (unsigned i = 0; i < 2; i++)
		throttle->list[i].last = &throttle->list[i].first;
}
