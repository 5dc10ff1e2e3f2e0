/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client thread, see bench_thread.h.
 *
 * Theory of operation. The thread goes through states of its own; the phase says where they shall
 * lead. With a count, the measuring begins and ends with nothing in flight, so that exactly that
 * many requests fall into it; without, it begins and ends in full flow.
 *
 *	WARMING ──► EMPTYING (counted) ──► MEASURING ──► DRAINING ──► end
 *
 * Who sleeps, sleeps in epoll_pwait2(2) on the call eventfds, edge-triggered, so that a sleep costs
 * one system call; the eventfds are read once, at the end, and then hold the number of all calls.
 */
#include "bench_thread.h"

#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench_clock.h"
#include "bench_io.h"

enum state {
	WARMING,
	EMPTYING,
	MEASURING,
	DRAINING,
};

struct loop {
	struct bench_thread *thread;
	struct bench_stats *stats, *stats_beside; /* where to count now */
	enum state state;
	int phase; /* that the state answers to */
	uint64_t now;
};

unsigned int bench_thread_in_flight(const struct bench_thread *thread)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < thread->n_queues; i++)
		n += thread->queue[i].in_flight;
	return n + (thread->beside ? thread->beside->in_flight : 0);
}

uint64_t bench_thread_unmeasured(const struct bench_thread *thread)
{
	return __atomic_load_n(&thread->scrap.ios, __ATOMIC_RELAXED);
}

/* ---- states ---- */

static void set_budgets(struct bench_thread *thread, uint64_t budget)
{
	for (unsigned int i = 0; i < thread->n_queues; i++)
		thread->queue[i].budget = budget;
}

/* As evenly as it goes. */
static void share_budget(struct bench_thread *thread)
{
	const uint64_t each = thread->budget / thread->n_queues;
	const uint64_t rest = thread->budget % thread->n_queues;

	for (unsigned int i = 0; i < thread->n_queues; i++)
		thread->queue[i].budget = each + (i < rest ? 1 : 0);
}

/* With a rate: the next requests are due from now on, those of the queues one after the other. */
static void set_due(struct bench_thread *thread, uint64_t now)
{
	for (unsigned int i = 0; i < thread->n_queues; i++)
		thread->queue[i].due =
			(double)now + thread->queue[i].interval * (double)i / thread->n_queues;
}

/* How many calls there were since this was last asked. */
static uint64_t take_calls(struct bench_thread *thread)
{
	uint64_t n = 0;
	eventfd_t count;

	for (unsigned int i = 0; i < thread->n_queues; i++)
		if (!eventfd_read(thread->queue[i].vq->call_fd, &count))
			n += count;
	return n;
}

static void begin_measuring(struct loop *loop)
{
	struct bench_thread *thread = loop->thread;

	take_calls(thread);
	if (thread->shared->counted)
		share_budget(thread);
	loop->state = MEASURING;
	loop->stats = &thread->stats;
	loop->stats_beside = &thread->stats_beside;
	loop->now = thread->begin = bench_ticks();
	set_due(thread, loop->now);
}

static void end_measuring(struct loop *loop, uint64_t now)
{
	loop->thread->end = now;
	loop->thread->stats.calls = take_calls(loop->thread);
	loop->stats = loop->stats_beside = &loop->thread->scrap;
}

static void stop(struct loop *loop)
{
	if (loop->state == MEASURING)
		end_measuring(loop, bench_ticks());
	loop->state = DRAINING;
	set_budgets(loop->thread, 0);
	if (loop->thread->beside)
		loop->thread->beside->budget = 0;
}

static void empty(struct loop *loop)
{
	loop->state = EMPTYING;
	set_budgets(loop->thread, 0);
}

static void follow_phase(struct loop *loop, int phase)
{
	loop->phase = phase;
	if (phase >= BENCH_STOP)
		stop(loop);
	else if (phase == BENCH_MEASURE && loop->thread->shared->counted)
		empty(loop);
	else if (phase == BENCH_MEASURE)
		begin_measuring(loop);
}

static bool budgets_are_spent(const struct bench_thread *thread)
{
	for (unsigned int i = 0; i < thread->n_queues; i++)
		if (thread->queue[i].budget)
			return false;
	return true;
}

/* Nothing is in flight: goes on to the next state, if that is what it takes. */
static bool go_on(struct loop *loop)
{
	if (loop->state == EMPTYING) {
		begin_measuring(loop);
		return true;
	}
	if (loop->state == MEASURING && budgets_are_spent(loop->thread)) {
		end_measuring(loop, loop->now);
		loop->state = DRAINING;
		return true;
	}
	return false;
}

/* ---- waiting ---- */

/* The time until the next request is due; false: there is none, only completions are awaited. */
static bool time_left(const struct bench_thread *thread, struct timespec *left)
{
	double due = 0;

	for (unsigned int i = 0; i < thread->n_queues; i++) {
		const struct bench_queue *q = &thread->queue[i];

		if (q->interval > 0 && q->n_ready && q->budget && (!due || q->due < due))
			due = q->due;
	}
	if (!due)
		return false;
	const double ns = bench_ticks_to_ns(due - (double)bench_ticks());

	*left = (struct timespec){0};
	if (ns > 0) {
		left->tv_sec = (time_t)(ns / 1e9);
		left->tv_nsec = (long)(ns - (double)left->tv_sec * 1e9);
	}
	return true;
}

/* Asks for calls, or for none. Has something come back in the meantime? */
static bool want_calls_of(const struct bench_queue *queue, bool want)
{
	fe_vq_silence(queue->vq, !want);
	return fe_vq_has_used(queue->vq);
}

static bool want_calls(struct bench_thread *thread, bool want)
{
	bool has_used = thread->beside && want_calls_of(thread->beside, want);

	for (unsigned int i = 0; i < thread->n_queues; i++)
		has_used |= want_calls_of(&thread->queue[i], want);
	return has_used;
}

static void sleep_until_called(struct loop *loop)
{
	struct bench_thread *thread = loop->thread;
	struct epoll_event event;
	struct timespec left;

	if (!want_calls(thread, true)) {
		const bool due = time_left(thread, &left);

		epoll_pwait2(thread->epoll_fd, &event, 1, due ? &left : NULL, NULL);
	}
	/* An event index that has been passed asks for nothing any more; flags do. */
	if (!thread->queue[0].vq->event_idx)
		want_calls(thread, false);
}

static void wait_a_little(struct loop *loop)
{
	if (loop->thread->shared->call)
		sleep_until_called(loop);
	else
		bench_relax();
}

/* ---- the loop ---- */

static unsigned int turn(struct loop *loop, struct bench_queue *q, struct bench_stats *stats)
{
	const unsigned int work = loop->thread->shared->packed
					  ? bench_turn_packed(q, stats, &loop->now)
					  : bench_turn_split(q, stats, &loop->now);

	if (__builtin_expect(q->trouble != NULL, false))
		loop->phase = BENCH_ABORT;
	return work;
}

static unsigned int turn_all(struct loop *loop)
{
	struct bench_thread *thread = loop->thread;
	unsigned int work = 0;

	for (unsigned int i = 0; i < thread->n_queues; i++)
		work += turn(loop, &thread->queue[i], loop->stats);
	if (thread->beside)
		work += turn(loop, thread->beside, loop->stats_beside);
	return work;
}

static void run(struct loop *loop)
{
	while (loop->phase != BENCH_ABORT) {
		const int phase = __atomic_load_n(&loop->thread->shared->phase, __ATOMIC_RELAXED);

		if (phase != loop->phase)
			follow_phase(loop, phase);
		else if (turn_all(loop))
			continue;
		else if (bench_thread_in_flight(loop->thread))
			wait_a_little(loop);
		else if (loop->state == DRAINING)
			return;
		else if (!go_on(loop))
			wait_a_little(loop); /* until a request is due, or the next phase */
	}
}

static void *thread_main(void *arg)
{
	struct bench_thread *thread = arg;
	struct loop loop = {
		.thread = thread, .stats = &thread->scrap, .stats_beside = &thread->scrap};

	prctl(PR_SET_NAME, "client");
	prctl(PR_SET_TIMERSLACK, 1); /* ns; or each sleep until the next request takes 50 us more */
	loop.now = bench_ticks();
	set_due(thread, loop.now);
	run(&loop);
	eventfd_write(thread->shared->done_fd, 1);
	return NULL;
}

/* ---- making one ---- */

static int add_fd(int epoll_fd, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int make_epoll(struct bench_thread *thread)
{
	int ret;

	thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (thread->epoll_fd < 0)
		return -errno;
	ret = add_fd(thread->epoll_fd, thread->shared->stop_fd, EPOLLIN);
	for (unsigned int i = 0; i < thread->n_queues && !ret; i++)
		ret = add_fd(thread->epoll_fd, thread->queue[i].vq->call_fd, EPOLLIN | EPOLLET);
	if (!ret && thread->beside)
		ret = add_fd(thread->epoll_fd, thread->beside->vq->call_fd, EPOLLIN | EPOLLET);
	return ret;
}

static int set_cpu(pthread_attr_t *attr, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return -pthread_attr_setaffinity_np(attr, sizeof(set), &set);
}

int bench_thread_start(struct bench_thread *thread)
{
	pthread_attr_t attr;
	int ret = make_epoll(thread);

	if (ret)
		return ret;
	bench_hist_init(&thread->stats.latency);
	bench_hist_init(&thread->stats_beside.latency);
	bench_hist_init(&thread->scrap.latency);
	pthread_attr_init(&attr);
	if (thread->cpu >= 0)
		ret = set_cpu(&attr, thread->cpu);
	if (!ret)
		ret = -pthread_create(&thread->id, &attr, thread_main, thread);
	pthread_attr_destroy(&attr);
	thread->started = !ret;
	return ret;
}

void bench_thread_join(struct bench_thread *thread)
{
	if (thread->started)
		pthread_join(thread->id, NULL);
	if (thread->epoll_fd >= 0)
		close(thread->epoll_fd);
	thread->epoll_fd = -1;
	thread->started = false;
}
