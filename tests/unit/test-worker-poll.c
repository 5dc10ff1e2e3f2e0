/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/worker/worker.c: when a worker looks at rings by itself, when it has to be kicked, and that
 * nothing is lost between the two. Real worker threads with several queues; the driver of them all
 * and the control thread are the test's own thread.
 */
#include "src/worker/worker.h"

#include <linux/virtio_blk.h>
#include <semaphore.h>

#include "src/io/uring/faults.h"
#include "src/queue/queue.h"
#include "tests/frontend/fe_time.h"
#include "tests/unit/support/gate.h"
#include "tests/unit/support/ring.h"
#include "tests/unit/support/try-engine.h"

#define REQUESTS    0x200000u /* where requests are in guest memory, 16 for each queue ... */
#define STRIDE      64u       /* ... 32 bytes for the header, then the status */
#define DEPTH       16u
#define RING_SIZE   64u
#define MAX_WORKERS 3
#define MAX_LINES   4

#define US 1000

/* A driver, its virtqueue, and who serves it. */
struct line {
	struct fe_vq driver;
	struct vublk_queue vq;
	struct queue *queue;
	struct worker *worker;
	struct queue_memory *memory; /* of its worker */
	uint64_t features;
	unsigned first_request;
};

static struct line line[MAX_LINES];
static struct worker *worker[MAX_WORKERS];
static struct worker_config config[MAX_WORKERS];
static unsigned n_lines, n_workers;
static struct image image;
static struct queue_disk disk, *disk_of_next = &disk;
static struct queue_memory memory[MAX_WORKERS];
static sem_t done;
static uint64_t rng;
static bool no_poll; /* of the disk, from its start on */

/* ---- calls ---- */

static struct {
	struct call call;
	struct line *line;
	int err;
} errand;

static void await(sem_t *sem)
{
	while (sem_wait(sem))
		; /* EINTR */
}

static void begin(struct call *call)
{
	(void)call;
	errand.err = queue_begin(errand.line->queue);
	sem_post(&done);
}

static void drained(struct queue *queue)
{
	(void)queue;
	sem_post(&done);
}

static void end(struct call *call)
{
	(void)call;
	queue_drain(errand.line->queue, drained);
}

/* Has the line's worker run it, and waits until it says that it is done. */
static void on_worker(struct line *l, void (*run)(struct call *call))
{
	errand.line = l;
	errand.err = 0;
	errand.call.run = run;
	worker_call(l->worker, &errand.call);
	await(&done);
	REQUIRE_OK(errand.err);
}

/* ---- life ---- */

static void open_workers(const struct engine *engine, unsigned n, int64_t poll)
{
	gate_make_disk(&disk, &image);
	disk.no_poll = no_poll;
	disk.target = engine->target;
	sem_init(&done, 0, 0);
	gate.tokens = 1u << 31;
	REQUIRE_EQ(fe_mem_add(&ring.mem, 0, RING_ROOM, 0), 0);
	ring.map = ring_map();
	for (; n_workers < n; n_workers++) {
		config[n_workers] = (struct worker_config){.reactor = engine->reactor,
							   .target = engine->target,
							   .poll_ns = poll,
							   .cpu = -1};
		REQUIRE_OK(worker_create(&worker[n_workers], &config[n_workers]));
	}
}

static void start_line(struct line *l)
{
	const struct vq_layout layout = {
		.size = RING_SIZE,
		.desc = fe_user_addr(&ring.mem, l->driver.desc_gpa),
		.avail = fe_user_addr(&ring.mem, l->driver.avail_gpa),
		.used = fe_user_addr(&ring.mem, l->driver.used_gpa),
		.base = l->driver.base,
	};

	REQUIRE_OK(vq_setup(&l->vq, &layout, ring.map, NULL, l->features));
	REQUIRE_OK(queue_create(&l->queue, &l->vq, l->worker, disk_of_next, l->memory));
	on_worker(l, begin);
}

static void stop_line(struct line *l)
{
	on_worker(l, end);
	queue_destroy(l->queue);
	l->driver.base = vq_base(&l->vq);
	vq_teardown(&l->vq);
}

static void open_line(uint64_t features)
{
	struct line *l = &line[n_lines];

	l->worker = worker[n_lines % n_workers];
	l->memory = &memory[n_lines % n_workers];
	l->features = features;
	l->first_request = n_lines * DEPTH;
	REQUIRE_OK(fe_vq_init(&l->driver, &ring.mem, RING_SIZE, features));
	vq_init(&l->vq, "test", n_lines);
	l->vq.kick_fd = dup(l->driver.kick_fd);
	l->vq.call_fd = dup(l->driver.call_fd);
	l->vq.err_fd = dup(l->driver.err_fd);
	n_lines++;
	start_line(l);
}

static void teardown(void)
{
	while (n_lines) {
		struct line *l = &line[--n_lines];

		stop_line(l);
		vq_reset(&l->vq);
		fe_vq_free(&l->driver);
	}
	while (n_workers)
		worker_destroy(worker[--n_workers]);
	vhu_mem_put(ring.map);
	ring.map = NULL;
	fe_mem_free(&ring.mem);
}

/* ---- the driver ---- */

static uint8_t *status_of(const struct line *l, unsigned i)
{
	return fe_ptr(&ring.mem, REQUESTS + (l->first_request + i) * STRIDE + 32, 1);
}

/* Discard number i, not yet published. */
static void add(struct line *l, unsigned i)
{
	const uint64_t gpa = REQUESTS + (l->first_request + i) * STRIDE;
	const struct gate_header header = gate_header(true, 0);
	const struct fe_seg segs[2] = {{.addr = gpa, .len = sizeof(header)},
				       {.addr = gpa + 32, .len = 1, .write = true}};

	REQUIRE_OK(fe_mem_write(&ring.mem, gpa, &header, sizeof(header)));
	*status_of(l, i) = 0xaa;
	REQUIRE(fe_vq_add(&l->driver, segs, 2, NULL) >= 0);
}

static void reap(struct line *l, unsigned n)
{
	struct fe_used used;

	for (unsigned i = 0; i < n; i++) {
		REQUIRE_OK(fe_vq_wait(&l->driver, fe_deadline(FE_TIMEOUT_MS)));
		REQUIRE_EQ(fe_vq_reap(&l->driver, &used), 1);
	}
	for (unsigned i = 0; i < n; i++)
		REQUIRE_EQ(*status_of(l, i), VIRTIO_BLK_S_OK);
}

/* One request, there and back. Was a kick wanted for it? */
static bool one(struct line *l)
{
	bool kicked;

	add(l, 0);
	kicked = fe_vq_kick(&l->driver);
	reap(l, 1);
	return kicked;
}

static unsigned dice(unsigned n)
{
	/* xorshift64 */
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (unsigned)(rng >> 32) % n;
}

/* A moment that a worker may use to go to sleep, or not. No sleep of ours is that short. */
static void dawdle(uint64_t ns)
{
	const uint64_t until = fe_now_ns() + ns;

	while (fe_now_ns() < until)
		;
}

/* ---- all kinds of rings ---- */

static const uint64_t kinds[] = {0, RING_EVENT_IDX, RING_PACKED, RING_PACKED | RING_EVENT_IDX};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void open_all_kinds(const struct engine *engine, unsigned workers, int64_t poll)
{
	open_workers(engine, workers, poll);
	for (unsigned i = 0; i < N_KINDS; i++)
		open_line(kinds[i]);
}

/* ---- cases ---- */

static void hot_queue_is_served_without_kicks(void)
{
	open_all_kinds(&engine_null, 1, POLL_ALWAYS);
	for (unsigned k = 0; k < n_lines; k++) {
		one(&line[k]);
		/* Gaps that would let it cool, if anything did. */
		for (unsigned i = 0; i < 200; i++) {
			REQUIRE(!one(&line[k]));
			if (i % 20 == 0)
				dawdle(500 * US);
		}
	}
}

/* Within a window that is never over, too: the next request finds the queue hot. */
static void window_keeps_the_queue_hot(void)
{
	open_all_kinds(&engine_null, 1, INT64_C(3600) * 1000000000);
	for (unsigned k = 0; k < n_lines; k++) {
		one(&line[k]);
		for (unsigned i = 0; i < 200; i++)
			REQUIRE(!one(&line[k]));
	}
}

static void cools(int64_t poll)
{
	open_all_kinds(&engine_null, 1, poll);
	for (unsigned k = 0; k < n_lines; k++) {
		const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);

		/* After a gap that is longer than the window; on a busy machine not the first. */
		do {
			REQUIRE(fe_left_ms(deadline));
			one(&line[k]);
			dawdle(1000 * US);
		} while (!one(&line[k]));
	}
}

/* Whatever the policy is: its queues have to be kicked, and its worker sleeps. */
static void a_disk_is_not_polled_for(int64_t poll)
{
	struct worker_counters before, after;

	no_poll = true;
	cools(poll);
	worker_counters(worker[0], &before);
	for (unsigned i = 0; i < 20; i++)
		one(&line[0]);
	worker_counters(worker[0], &after);
	CHECK(after.sleeps > before.sleeps);
	CHECK_EQ(after.polling_ns, before.polling_ns);
	/* It may change while it runs, and both ways. */
	atomic_store(&disk.no_poll, false);
	one(&line[0]);
	for (unsigned i = 0; poll == POLL_ALWAYS && i < 200; i++)
		REQUIRE(!one(&line[0]));
	atomic_store(&disk.no_poll, true);
	for (const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS); !one(&line[0]);
	     dawdle(1000 * US))
		REQUIRE(fe_left_ms(deadline));
}

static void a_disk_is_not_polled_for_with_always(void)
{
	a_disk_is_not_polled_for(POLL_ALWAYS);
}

static void a_disk_is_not_polled_for_with_a_window(void)
{
	a_disk_is_not_polled_for(INT64_C(3600) * 1000000000);
}

static void a_disk_is_not_polled_for_with_auto(void)
{
	a_disk_is_not_polled_for(POLL_AUTO);
}

/* One that is, on the same worker, is as hot as ever. */
static void others_are_polled_for(void)
{
	static struct queue_disk other;

	open_workers(&engine_null, 1, POLL_ALWAYS);
	gate_make_disk(&other, &image);
	other.target = engine_null.target;
	other.no_poll = true;
	open_line(0);
	disk_of_next = &other;
	open_line(0);
	one(&line[0]);
	for (unsigned i = 0; i < 200; i++) {
		REQUIRE(!one(&line[0]));
		one(&line[1]);
	}
}

static void kicks_are_wanted_without_polling(void)
{
	cools(POLL_OFF);
}

static void kicks_are_wanted_again_after_the_window(void)
{
	cools(20 * US);
}

static void kicks_are_wanted_again_when_polling_adapts(void)
{
	cools(POLL_AUTO);
}

/*
 * Work for line 0, one after the other, during which line `other` has none: at least that many
 * rounds. A worker that is busy does not go to sleep.
 */
#define MORE_THAN_COLD_AFTER 5000u

static bool needs_a_kick_after_others_were_busy(int64_t poll, uint64_t features)
{
	bool kicked;

	open_workers(&engine_null, 1, poll);
	open_line(0);
	open_line(features);
	one(&line[1]);
	CHECK(!one(&line[1]));
	for (unsigned i = 0; i < MORE_THAN_COLD_AFTER; i++)
		one(&line[0]);
	/* The worker itself is as hot as ever. */
	CHECK(!one(&line[0]));
	kicked = one(&line[1]);
	/* It has been kicked, and is hot again. */
	CHECK(!one(&line[1]));
	return kicked;
}

#define A_WINDOW_WITHOUT_END (INT64_C(3600) * 1000000000)

static void empty_queue_cools_alone(void)
{
	CHECK(needs_a_kick_after_others_were_busy(A_WINDOW_WITHOUT_END, 0));
}

static void empty_queue_cools_alone_with_event_idx(void)
{
	CHECK(needs_a_kick_after_others_were_busy(A_WINDOW_WITHOUT_END, RING_EVENT_IDX));
}

static void empty_packed_queue_cools_alone(void)
{
	CHECK(needs_a_kick_after_others_were_busy(A_WINDOW_WITHOUT_END,
						  RING_PACKED | RING_EVENT_IDX));
}

static void always_is_always(void)
{
	CHECK(!needs_a_kick_after_others_were_busy(POLL_ALWAYS, RING_EVENT_IDX));
}

/*
 * Between the last look at a ring and the sleep there is a moment; a request that comes in it must
 * be found by the look, or be kicked for. So: many requests, and after each a gap, most often one
 * that ends about when the window does.
 */
#define HAMMER_ROUNDS 800u

static unsigned gap(int64_t window)
{
	const unsigned end = window > 0 && window < 50 * US ? (unsigned)window : 0;

	switch (dice(4)) {
	case 0:
		return dice(60 * US);
	case 1:
		return dice(4 * US);
	default:
		return end + dice(US);
	}
}

/* Some requests, all at once or each when the worker is about to be done with the one before. */
static void hammer_once(struct line *l, int64_t window)
{
	const unsigned n = 1 + (dice(2) ? 0 : dice(DEPTH));
	const bool at_once = !dice(4);

	fe_vq_silence(&l->driver, dice(4)); /* who looks is back at once */
	for (unsigned r = 0; r < n; r++) {
		add(l, r);
		if (at_once)
			continue;
		fe_vq_kick(&l->driver);
		dawdle(dice(2 * US));
	}
	fe_vq_kick(&l->driver);
	reap(l, n);
	dawdle(gap(window));
}

static void hammer(const struct engine *engine, unsigned workers, int64_t poll)
{
	/* Who never sleeps has no such moment. */
	const unsigned rounds = poll == POLL_ALWAYS ? HAMMER_ROUNDS / 16 : HAMMER_ROUNDS;

	open_all_kinds(engine, workers, poll);
	rng = fe_now_ns() | 1;
	tap_diag("seed %llu", (unsigned long long)rng);
	for (unsigned i = 0; i < rounds; i++)
		for (unsigned k = 0; k < n_lines; k++)
			hammer_once(&line[k], poll == POLL_AUTO ? POLL_AUTO_MOST : poll);
}

#define HAMMER(name, engine, workers, poll) \
	static void nothing_is_lost_##name(void) \
	{ \
		hammer(engine, workers, poll); \
	}
HAMMER(null_off, &engine_null, 1, POLL_OFF)
HAMMER(null_auto, &engine_null, 1, POLL_AUTO)
HAMMER(null_window, &engine_null, 1, 20 * US)
HAMMER(null_always, &engine_null, 1, POLL_ALWAYS)
#define HAMMER_WITHOUT(name, engine, workers, poll) \
	static void nothing_is_lost_##name(void) \
	{ \
		no_poll = true; \
		hammer(engine, workers, poll); \
	}
HAMMER_WITHOUT(not_polled_for_auto, &engine_null, 1, POLL_AUTO)
HAMMER_WITHOUT(not_polled_for_always, &engine_null, 1, POLL_ALWAYS)
HAMMER_WITHOUT(gate_not_polled_for, &gate_engine, 1, POLL_ALWAYS)
HAMMER(gate_off, &gate_engine, 1, POLL_OFF)
HAMMER(gate_auto, &gate_engine, 1, POLL_AUTO)
HAMMER(gate_window, &gate_engine, 1, 20 * US)
HAMMER(gate_always, &gate_engine, 1, POLL_ALWAYS)
HAMMER(three_workers_off, &engine_null, 3, POLL_OFF)
HAMMER(three_workers_auto, &engine_null, 3, POLL_AUTO)
HAMMER(three_workers_window, &engine_null, 3, 20 * US)
HAMMER(three_workers_always, &engine_null, 3, POLL_ALWAYS)

/* Neither kicks nor the mailbox are heard: they are looked at. */
static void nothing_is_lost_unwatched(void)
{
	if (try_engine(&engine_uring))
		tap_skip("there is no io_uring here");
	uring_faults = URING_FAULT_WATCHES;
	gate.inner = &reactor_uring;
	hammer(&gate_engine, 1, POLL_OFF);
}

/* All of them have something in hand at the same time. */
static void workers_work_at_once(void)
{
	open_all_kinds(&engine_null, MAX_WORKERS, POLL_AUTO);
	for (unsigned i = 0; i < 500; i++) {
		for (unsigned k = 0; k < n_lines; k++) {
			for (unsigned r = 0; r < DEPTH; r++)
				add(&line[k], r);
			fe_vq_kick(&line[k].driver);
		}
		for (unsigned k = 0; k < n_lines; k++)
			reap(&line[k], DEPTH);
	}
}

/* One that never sleeps hears of its end nevertheless, with queues and without, busy or not. */
static void worker_that_never_sleeps_ends(void)
{
	uint64_t start;

	open_all_kinds(&engine_null, 2, POLL_ALWAYS);
	for (unsigned k = 0; k < n_lines; k++)
		one(&line[k]);
	start = fe_now_ns();
	teardown();
	CHECK(fe_now_ns() - start < tap_stretch(2000) * UINT64_C(1000000));
}

/* A queue that ends while the others go on is not hot any more; nor do they suffer. */
static void queue_ends_while_others_are_hot(void)
{
	open_all_kinds(&engine_null, 1, POLL_ALWAYS);
	for (unsigned k = 0; k < n_lines; k++)
		one(&line[k]);
	for (unsigned i = 0; i < 100; i++) {
		for (unsigned r = 0; r < DEPTH; r++)
			add(&line[0], r);
		fe_vq_kick(&line[0].driver);
		stop_line(&line[1]);
		reap(&line[0], DEPTH);
		start_line(&line[1]);
		one(&line[1]);
	}
}

static const struct tap_case hot_cases[] = {
	{"hot_queue_is_served_without_kicks", hot_queue_is_served_without_kicks},
	{"window_keeps_the_queue_hot", window_keeps_the_queue_hot},
	{"kicks_are_wanted_without_polling", kicks_are_wanted_without_polling},
	{"kicks_are_wanted_again_after_the_window", kicks_are_wanted_again_after_the_window},
	{"kicks_are_wanted_again_when_polling_adapts", kicks_are_wanted_again_when_polling_adapts},
	{"empty_queue_cools_alone", empty_queue_cools_alone},
	{"empty_queue_cools_alone_with_event_idx", empty_queue_cools_alone_with_event_idx},
	{"empty_packed_queue_cools_alone", empty_packed_queue_cools_alone},
	{"always_is_always", always_is_always},
	{"a_disk_is_not_polled_for_with_always", a_disk_is_not_polled_for_with_always},
	{"a_disk_is_not_polled_for_with_a_window", a_disk_is_not_polled_for_with_a_window},
	{"a_disk_is_not_polled_for_with_auto", a_disk_is_not_polled_for_with_auto},
	{"others_are_polled_for", others_are_polled_for},
	{0},
};

#define CASE(name) \
	{ \
		"nothing_is_lost_" #name, nothing_is_lost_##name \
	}
static const struct tap_case hammer_cases[] = {
	CASE(null_off),
	CASE(null_auto),
	CASE(null_window),
	CASE(null_always),
	CASE(not_polled_for_auto),
	CASE(not_polled_for_always),
	CASE(gate_not_polled_for),
	CASE(gate_off),
	CASE(gate_auto),
	CASE(gate_window),
	CASE(gate_always),
	CASE(unwatched),
	CASE(three_workers_off),
	CASE(three_workers_auto),
	CASE(three_workers_window),
	CASE(three_workers_always),
	{"workers_work_at_once", workers_work_at_once},
	{"worker_that_never_sleeps_ends", worker_that_never_sleeps_ends},
	{"queue_ends_while_others_are_hot", queue_ends_while_others_are_hot},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "hot and cold", .teardown = teardown, .cases = hot_cases},
	{.name = "nothing is lost", .teardown = teardown, .cases = hammer_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
