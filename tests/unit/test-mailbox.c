/* SPDX-License-Identifier: BSD-3-Clause */
/* src/base/mailbox.c: calls between threads, each run once, in order, and with a wake-up. */
#include "src/base/mailbox.h"

#include <poll.h>
#include <stdlib.h>

#include "src/base/container.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"

#define CALLS   20000u
#define SENDERS 4u

struct numbered {
	struct call call;
	unsigned sender, number;
};

static struct mailbox box;
static unsigned n_run;
static unsigned next_number[SENDERS]; /* expected of each */
static bool in_order = true;

static void setup(void)
{
	REQUIRE_OK(mailbox_init(&box));
}

static void teardown(void)
{
	mailbox_destroy(&box);
}

static void run(struct call *call)
{
	struct numbered *n = container_of(call, struct numbered, call);

	in_order = in_order && n->number == next_number[n->sender];
	next_number[n->sender]++;
	n_run++;
}

static bool is_readable(void)
{
	struct pollfd p = {.fd = box.event_fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void empty_box_runs_nothing(void)
{
	CHECK(!is_readable());
	mailbox_run(&box);
	CHECK_EQ(n_run, 0);
}

static void calls_run_once_and_in_order(void)
{
	struct numbered calls[5];

	for (unsigned i = 0; i < 5; i++) {
		calls[i] = (struct numbered){.call.run = run, .number = i};
		mailbox_post(&box, &calls[i].call);
	}
	CHECK_EQ(n_run, 0);
	CHECK(is_readable());
	mailbox_run(&box);
	CHECK_EQ(n_run, 5);
	CHECK(in_order);
	CHECK(!is_readable());
	mailbox_run(&box);
	CHECK_EQ(n_run, 5);
}

static void run_and_free(struct call *call)
{
	n_run++;
	free(container_of(call, struct numbered, call));
}

static void call_may_free_itself(void)
{
	for (unsigned i = 0; i < 3; i++) {
		struct numbered *n = calloc(1, sizeof(*n));

		REQUIRE(n);
		n->call.run = run_and_free;
		mailbox_post(&box, &n->call);
	}
	mailbox_run(&box);
	CHECK_EQ(n_run, 3);
}

static void run_and_post_again(struct call *call)
{
	n_run++;
	mailbox_post(&box, call);
}

/* It runs in the next round, so that one round ends. */
static void call_may_post_itself_again(void)
{
	struct call call = {.run = run_and_post_again};

	mailbox_post(&box, &call);
	for (unsigned i = 1; i <= 3; i++) {
		CHECK(is_readable());
		mailbox_run(&box);
		CHECK_EQ(n_run, i);
	}
}

static void *send_calls(void *arg)
{
	struct numbered *calls = arg;

	for (unsigned i = 0; i < CALLS; i++)
		mailbox_post(&box, &calls[i].call);
	return NULL;
}

/* Sleeps on the descriptor like a loop does: a lost wake-up would hang here. */
static void receive_calls(unsigned n)
{
	struct pollfd p = {.fd = box.event_fd, .events = POLLIN};

	while (n_run < n) {
		REQUIRE_EQ(poll(&p, 1, (int)tap_stretch(10000)), 1);
		mailbox_run(&box);
	}
}

static struct numbered *make_calls(unsigned sender)
{
	struct numbered *calls = calloc(CALLS, sizeof(*calls));

	REQUIRE(calls);
	for (unsigned i = 0; i < CALLS; i++)
		calls[i] = (struct numbered){.call.run = run, .sender = sender, .number = i};
	return calls;
}

static void calls_of_several_threads(void)
{
	struct numbered *calls[SENDERS];
	pthread_t threads[SENDERS];

	for (unsigned i = 0; i < SENDERS; i++) {
		calls[i] = make_calls(i);
		REQUIRE_OK(pthread_create(&threads[i], NULL, send_calls, calls[i]));
	}
	receive_calls(SENDERS * CALLS);
	for (unsigned i = 0; i < SENDERS; i++) {
		pthread_join(threads[i], NULL);
		free(calls[i]);
	}
	CHECK_EQ(n_run, SENDERS * CALLS);
	CHECK(in_order);
	mailbox_run(&box);
	CHECK_EQ(n_run, SENDERS * CALLS);
}

/* What the poster wrote before is there for the receiver; TSan sees it if not. */
struct question {
	struct call call;
	struct mailbox *from;
	unsigned value;
};

static void take_answer(struct call *call)
{
	n_run = container_of(call, struct question, call)->value;
}

static void answer(struct call *call)
{
	struct question *q = container_of(call, struct question, call);

	q->value++;
	q->call.run = take_answer;
	mailbox_post(q->from, call);
}

static void *answer_questions(void *arg)
{
	struct mailbox *mine = arg;
	struct pollfd p = {.fd = mine->event_fd, .events = POLLIN};

	for (unsigned i = 0; i < 1000; i++) {
		poll(&p, 1, -1);
		mailbox_run(mine);
	}
	return NULL;
}

static void call_and_answer(void)
{
	struct question q = {.from = &box};
	struct mailbox other;
	pthread_t thread;

	REQUIRE_OK(mailbox_init(&other));
	REQUIRE_OK(pthread_create(&thread, NULL, answer_questions, &other));
	for (unsigned i = 1; i <= 1000; i++) {
		q.call.run = answer;
		mailbox_post(&other, &q.call);
		receive_calls(i);
		REQUIRE_EQ(q.value, i);
	}
	pthread_join(thread, NULL);
	mailbox_destroy(&other);
}

static void destroy_closes_the_descriptor(void)
{
	const unsigned before = fds_open();
	struct mailbox another;

	REQUIRE_OK(mailbox_init(&another));
	CHECK_EQ(fcntl(another.event_fd, F_GETFD), FD_CLOEXEC);
	mailbox_destroy(&another);
	CHECK_EQ(fds_open(), before);
}

static const struct tap_case cases[] = {
	{"empty_box_runs_nothing", empty_box_runs_nothing},
	{"calls_run_once_and_in_order", calls_run_once_and_in_order},
	{"call_may_free_itself", call_may_free_itself},
	{"call_may_post_itself_again", call_may_post_itself_again},
	{"calls_of_several_threads", calls_of_several_threads},
	{"call_and_answer", call_and_answer},
	{"destroy_closes_the_descriptor", destroy_closes_the_descriptor},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "mailbox", .setup = setup, .teardown = teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
