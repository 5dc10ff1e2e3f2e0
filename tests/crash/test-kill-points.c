/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon dies at each step of submit, complete and recovery that lib/ names (VQ_KILL_POINT),
 * and the next one goes on: exactly once, in the order of submission.
 *
 * With the null engine all is determined: the requests of one kick are one batch, and what is
 * submitted in order completes in order, so the order of completion tells that of resubmission. Two
 * batches go over a fresh ring; the first one begins so that it lies across the ring's end (and
 * that of the split ring's index). The second says whether the ring lives on. tests/crash/steps.h
 * is made from lib/: a step that is new there and never met here fails the test.
 *
 * VUBLKD must be a build with --enable-kill-points; others skip.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/crash.h"

#define MAX_BATCH 7
#define DATA_SIZE 512
#define LAST_WORD "killed at "

static const char *const steps[] = {
#include "tests/crash/steps.h"
};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static bool visited[N_STEPS];
static unsigned int n_deaths, n_runs;

/* Two batches of so many requests; a ring of `size` entries is wrapped by the first of them. */
struct scene {
	bool packed, indirect;
	unsigned int batch, size;
	uint32_t base;
};

/* ---- kills ---- */

static void arm(const char *step, unsigned int count)
{
	char value[100];

	snprintf(value, sizeof(value), "%s:%u", step, count);
	REQUIRE_OK(setenv("VUBLK_KILL", value, 1));
}

static void disarm(void)
{
	unsetenv("VUBLK_KILL");
}

static bool is_of(const char *step, bool packed)
{
	return !strncmp(step, "both-", 5) ||
	       !strncmp(step, packed ? "packed-" : "split-", packed ? 7 : 6);
}

/*
 * The daemon is dead: at a step, and not for a reason of its own. Writes down which, if not NULL.
 */
static void bury(char *where, size_t size)
{
	char log[4096], *at;

	REQUIRE_EQ(fe_daemon_wait(&server), 128 + SIGKILL);
	fe_daemon_stderr(&server, log, sizeof(log));
	at = strstr(log, LAST_WORD);
	REQUIRE(at != NULL);
	at += strlen(LAST_WORD);
	at[strcspn(at, "\n")] = 0;
	for (unsigned int i = 0; i < N_STEPS; i++)
		if (!strcmp(at, steps[i]))
			visited[i] = true;
	if (where)
		snprintf(where, size, "%s", at);
	n_deaths++;
}

/* ---- one run ---- */

/* What a driver has under way: numbers in the order of submission. */
static struct fe_blk blk_q;
static unsigned int n_submitted, n_completed;

static void serve_null(void)
{
	REQUIRE_OK(fe_daemon_serve(&server, (const char *const[]){"--engine=null", "--size=1M",
								  "--serial=killed",
								  "--log-level=error", NULL}));
}

/* Memory, rings, and the region if the daemon lives that long. 0, or an error if it does not. */
static int start_session(const struct scene *s)
{
	int ret;

	dev.options = (struct fe_dev_options){
		.features_off = s->indirect ? 0 : FE_BIT(VIRTIO_RING_F_INDIRECT_DESC),
		.packed = s->packed,
		.queue_size = s->size,
		.mem_size = MIB,
	};
	inflight = (struct fe_inflight){0};
	ret = fe_inflight_open(&dev, server.socket, &inflight);
	if (!ret)
		ret = fe_dev_make_vqs(&dev);
	REQUIRE_OK(ret); /* no step comes before a ring starts */
	fe_vq_reset(&dev.vq[0], s->base);
	REQUIRE_OK(fe_blk_init(&blk_q, &dev, 0, 2 * MAX_BATCH, DATA_SIZE));
	n_submitted = n_completed = 0;
	return fe_inflight_begin(&dev);
}

/* One batch: all of it becomes visible to the device at once. */
static void submit_batch(unsigned int n, uint32_t type)
{
	for (unsigned int i = 0; i < n; i++) {
		struct fe_blk_slot *slot = fe_blk_get(&blk_q);

		slot->cookie = (void *)(uintptr_t)n_submitted++;
		memset(slot->data, 0x5a, DATA_SIZE);
		REQUIRE_OK(fe_blk_submit(&blk_q, slot, type, i,
					 type == VIRTIO_BLK_T_GET_ID ? VIRTIO_BLK_ID_BYTES
								     : DATA_SIZE));
	}
	fe_vq_kick(&dev.vq[0]);
}

static void check_completion(const struct fe_blk_slot *slot)
{
	const bool id = slot->header->type == VIRTIO_BLK_T_GET_ID;

	REQUIRE_EQ((uintptr_t)slot->cookie, n_completed);
	REQUIRE_EQ(*slot->status, VIRTIO_BLK_S_OK);
	REQUIRE_EQ(blk_q.last_len, (id ? VIRTIO_BLK_ID_BYTES : DATA_SIZE) + 1);
	if (id)
		REQUIRE(!strcmp((const char *)slot->data, "killed"));
	n_completed++;
}

static void reap(void)
{
	struct fe_blk_slot *slot;
	int ret;

	while ((ret = fe_blk_reap(&blk_q, &slot)) > 0) {
		check_completion(slot);
		fe_blk_put(&blk_q, slot);
	}
	REQUIRE_OK(ret);
}

/* Until all that was submitted has completed, or the daemon is dead: true if it lives. */
static bool await_completions(void)
{
	const uint64_t deadline = fe_deadline(COMPLETE_MS);

	for (;;) {
		struct pollfd p = {.fd = dev.vq[0].call_fd, .events = POLLIN};

		reap();
		if (n_completed == n_submitted)
			return true;
		if (!fe_daemon_alive(&server)) {
			reap(); /* what it had published before it died */
			return false;
		}
		REQUIRE(fe_left_ms(deadline) > 0);
		fe_vq_silence(&dev.vq[0], false);
		poll(&p, 1, 1);
		fe_vq_take_event(p.fd);
	}
}

/* What is to be killed in a new daemon when the old one has died: see the callers. */
struct sequel {
	bool (*next)(struct sequel *sequel, const char *where);
	unsigned int n;
	unsigned int in_recovery; /* deaths before the rings had started again */
};

/* Starts daemons until one has started the ring again. */
static void go_on(struct sequel *sequel)
{
	char where[64];
	int ret;

	do {
		fe_dev_hang_up(&dev);
		bury(where, sizeof(where));
		if (!sequel || !sequel->next(sequel, where))
			disarm();
		serve_null();
		ret = fe_inflight_reconnect(&dev, server.socket, &inflight, crash_random(FE_BASES));
		if (!ret)
			return;
		/*
		 * The ring did not start because there is nobody any more, and for no other reason.
		 */
		REQUIRE(ret == -EPIPE || ret == -ECONNRESET);
	} while (true);
}

/*
 * The whole life of a ring, with whatever kill has been armed. True if it was met.
 */
static bool live(const struct scene *s, struct sequel *sequel)
{
	const unsigned int before = n_deaths;
	uint32_t base;

	n_runs++;
	serve_null();
	if (start_session(s))
		go_on(sequel);
	submit_batch(s->batch, VIRTIO_BLK_T_IN);
	while (!await_completions())
		go_on(sequel);
	submit_batch(s->batch, VIRTIO_BLK_T_GET_ID);
	while (!await_completions())
		go_on(sequel);
	/* The last steps come after the driver has seen its requests complete. */
	while (fe_ask_base(&dev.conn, 0, &base))
		go_on(sequel);
	disarm();
	REQUIRE_EQ(base, fe_vq_used_base(&dev.vq[0]));
	REQUIRE_EQ(fe_inflight_count(&inflight, 0), 0);
	reap();
	fe_blk_free(&blk_q);
	fe_dev_close(&dev);
	fe_inflight_free(&inflight);
	/* Not by SIGTERM: that takes longer, and is somebody else's test. */
	crash_kill();
	return n_deaths > before;
}

/* ---- what to visit ---- */

static struct scene make_scene(bool packed, bool indirect, unsigned int batch)
{
	const unsigned int slots = batch * (indirect ? 1 : 3);
	struct scene s = {.packed = packed, .indirect = indirect, .batch = batch};

	if (packed) {
		/* Not a power of two, and little more than a batch. */
		s.size = slots + 2;
		s.base = ((s.size - (slots + 1) / 2) | 0x8000u) * 0x10001u;
	} else {
		s.size = 2;
		while (s.size < slots)
			s.size *= 2;
		s.base = 0x10000u - (batch + 1) / 2;
	}
	return s;
}

static void say(const struct scene *s, const char *step, unsigned int count)
{
	if (tap_failed())
		return;
	if (getenv("FE_CRASH_VERBOSE"))
		tap_diag("%s %s, batches of %u: %s:%u", s->packed ? "packed" : "split",
			 s->indirect ? "indirect" : "direct", s->batch, step, count);
}

/* How often the first batch can come to a step. */
static unsigned int most_visits(const struct scene *s, const char *step)
{
	return s->batch * (!s->indirect && strstr(step, "-desc") ? 3 : 1);
}

/* Each step of submit and complete, each time that the first batch comes to it. */
static void visit_each(const struct scene *s)
{
	for (unsigned int i = 0; i < N_STEPS; i++) {
		const unsigned int most = most_visits(s, steps[i]);

		if (!is_of(steps[i], s->packed))
			continue;
		for (unsigned int n = 1; n <= most; n++) {
			arm(steps[i], n);
			say(s, steps[i], n);
			if (!live(s, NULL))
				break;
		}
	}
}

/* Again and again: the new one dies one step further than the one before. */
static bool one_further(struct sequel *sequel, const char *where)
{
	sequel->in_recovery += strstr(where, "-recover-") != NULL;
	/* What follows recovery has been visited: look at some of it. */
	sequel->n += strstr(where, "-recover-") || sequel->n < 3 ? 1 : 5;
	arm("*", sequel->n);
	return true;
}

/* After a death at each step, each step of the recovery, in one life. */
static unsigned int visit_recoveries(const struct scene *s)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < N_STEPS; i++) {
		struct sequel sequel = {.next = one_further};

		if (!is_of(steps[i], s->packed) || strstr(steps[i], "-recover-"))
			continue;
		/* In the middle of the batch, if it is a step of each request. */
		for (unsigned int count = (s->batch + 1) / 2; count; count /= 2) {
			arm(steps[i], count);
			say(s, steps[i], count);
			if (live(s, &sequel))
				break;
		}
		n += sequel.in_recovery;
	}
	return n;
}

static void check_all_visited(bool packed)
{
	for (unsigned int i = 0; i < N_STEPS; i++)
		if (is_of(steps[i], packed))
			tap_check(visited[i], false, __FILE__, __LINE__, "%s was never met",
				  steps[i]);
}

static void visit_all(bool packed)
{
	static const struct {
		bool indirect;
		unsigned int batch;
	} how[] = {{true, 1}, {true, 2}, {true, 7}, {false, 7}};
	unsigned int in_recovery = 0;

	disarm();
	crash_needs_kill_points();
	for (unsigned int i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
		const struct scene s = make_scene(packed, how[i].indirect, how[i].batch);

		visit_each(&s);
		in_recovery += visit_recoveries(&s);
	}
	check_all_visited(packed);
	tap_diag("%u lives, %u deaths, %u of them in recovery", n_runs, n_deaths, in_recovery);
}

static void split(void)
{
	visit_all(false);
}

static void packed(void)
{
	visit_all(true);
}

/* ---- the same with data ---- */

/* A new daemon, armed, under a full queue; until it dies or has had its time. */
static void one_death_with_data(const char *step)
{
	const uint64_t deadline = fe_deadline(100);
	int ret;

	arm(step, 1 + (unsigned int)crash_random(12));
	crash_restart();
	disarm();
	ret = fe_inflight_reconnect(&dev, server.socket, &inflight, crash_random(FE_BASES));
	while (!ret && fe_daemon_alive(&server) && fe_left_ms(deadline))
		crash_pump(1000);
	crash_reap();
	if (fe_daemon_alive(&server))
		crash_kill();
	else
		bury(NULL, 0);
}

/* With a real engine nobody knows the batches, but the data are real. */
static void with_data(bool packed)
{
	const struct crash_config c = {.packed = packed,
				       .indirect = true,
				       .event_idx = true,
				       .n_queues = 2,
				       .queue_size = 32,
				       .depth = 16};

	disarm();
	crash_needs_kill_points();
	crash_seed();
	crash_begin(&c);
	crash_pump(1000);
	crash_kill();
	for (unsigned int i = 0; i < N_STEPS; i++)
		if (is_of(steps[i], packed) && !strstr(steps[i], "-fresh-"))
			for (unsigned int n = 0; n < 3; n++)
				one_death_with_data(steps[i]);
	crash_restart();
	crash_reconnect(FE_BASE_QEMU);
	crash_end();
	tap_diag("%u deaths at a step, %llu requests", n_deaths, (unsigned long long)crash_done);
	REQUIRE_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
}

static void split_with_data(void)
{
	with_data(false);
}

static void packed_with_data(void)
{
	with_data(true);
}

static void no_step_is_forgotten(void)
{
	for (unsigned int i = 0; i < N_STEPS; i++)
		tap_check(is_of(steps[i], false) || is_of(steps[i], true), false, __FILE__,
			  __LINE__, "%s: a step's name begins with split-, packed- or both-",
			  steps[i]);
}

static const struct tap_case cases[] = {
	{"no_step_is_forgotten", no_step_is_forgotten},
	{"split", split},
	{"packed", packed},
	{"split_with_data", split_with_data},
	{"packed_with_data", packed_with_data},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "kill-points",
	 .setup = proto_setup,
	 .teardown = proto_teardown,
	 .seconds = 300,
	 .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
