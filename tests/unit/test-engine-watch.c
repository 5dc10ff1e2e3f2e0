/* SPDX-License-Identifier: BSD-3-Clause */
/* The I/O engines: descriptors that are watched, and callbacks that change what is. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/support/engines.h"

struct watched {
	struct reactor_watch watch;
	unsigned calls;
	bool drain;
	struct watched *end;   /* to be unwatched from ready() */
	struct watched *begin; /* and what to watch then */
};

static void ready(struct reactor_watch *watch)
{
	struct watched *w = container_of(watch, struct watched, watch);
	eventfd_t count;

	CHECK(!eng.inside);
	w->calls++;
	if (w->drain)
		CHECK_OK(eventfd_read(watch->fd, &count));
	if (w->end)
		reactor_unwatch(eng.reactor, &w->end->watch);
	if (w->begin)
		CHECK_OK(reactor_watch(eng.reactor, &w->begin->watch));
}

static struct watched watched_eventfd(unsigned count)
{
	struct watched w = {
		.watch = {.fd = eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC), .ready = ready},
		.drain = true,
	};

	REQUIRE(w.watch.fd >= 0);
	return w;
}

static void start_watch(struct watched *w)
{
	eng.inside = true;
	REQUIRE_OK(reactor_watch(eng.reactor, &w->watch));
	eng.inside = false;
}

static void stop_watch(struct watched *w)
{
	reactor_unwatch(eng.reactor, &w->watch);
	close(w->watch.fd);
}

static void test_watch(void)
{
	struct watched w = watched_eventfd(0);

	start_watch(&w);
	eng_run_a_while();
	CHECK_EQ(w.calls, 0);
	for (unsigned i = 1; i <= 5; i++) {
		eventfd_write(w.watch.fd, 1);
		RUN_UNTIL(w.calls == i);
	}
	w.drain = false; /* one more call may come, but there is nothing to read */
	eng_run_a_while();
	CHECK(w.calls <= 6);
	stop_watch(&w);
}

static void test_watch_readable_already(void)
{
	struct watched w = watched_eventfd(1);

	start_watch(&w);
	RUN_UNTIL(w.calls == 1);
	stop_watch(&w);
}

/* A kick from another thread ends a wait without limit. */
static void *kick_later(void *arg)
{
	usleep(20000);
	eventfd_write(*(int *)arg, 1);
	return NULL;
}

static void test_watch_wakes(void)
{
	struct watched w = watched_eventfd(0);
	pthread_t thread;

	eng_need_others_awake();
	start_watch(&w);
	eng_run_a_while();
	REQUIRE_OK(pthread_create(&thread, NULL, kick_later, &w.watch.fd));
	while (!w.calls)
		REQUIRE(reactor_run(eng.reactor, -1) >= 0);
	CHECK_EQ(w.calls, 1);
	pthread_join(thread, NULL);
	stop_watch(&w);
}

static void test_watch_refused(void)
{
	struct watched w = {.watch = {.fd = eng.fd, .ready = ready}};

	CHECK_EQ(reactor_watch(eng.reactor, &w.watch), -EPERM);
	w.watch.fd = 12345;
	CHECK_EQ(reactor_watch(eng.reactor, &w.watch), -EBADF);
	eng_run_a_while();
	CHECK_EQ(w.calls, 0);
	reactor_unwatch(eng.reactor, &w.watch); /* never was: no effect */
}

static void test_watch_hang_up(void)
{
	struct watched end_of_pipe = {.watch.ready = ready}, end_of_socket = {.watch.ready = ready};
	int pipe_fds[2], sockets[2];

	REQUIRE_OK(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC));
	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
	end_of_pipe.watch.fd = pipe_fds[0];
	end_of_socket.watch.fd = sockets[0];
	start_watch(&end_of_pipe);
	start_watch(&end_of_socket);
	eng_run_a_while();
	CHECK_EQ(end_of_pipe.calls + end_of_socket.calls, 0);
	close(pipe_fds[1]);
	close(sockets[1]);
	RUN_UNTIL(end_of_pipe.calls && end_of_socket.calls);
	stop_watch(&end_of_pipe);
	stop_watch(&end_of_socket);
}

/* Two events of one batch: whichever comes first ends the other watch. */
static void test_unwatch_other_from_ready(void)
{
	struct watched a = watched_eventfd(0), b = watched_eventfd(0);

	a.end = &b;
	b.end = &a;
	start_watch(&a);
	start_watch(&b);
	eng_run_a_while();
	eventfd_write(a.watch.fd, 1);
	eventfd_write(b.watch.fd, 1);
	RUN_UNTIL(a.calls + b.calls);
	eng_run_a_while();
	CHECK_EQ(a.calls + b.calls, 1);
	stop_watch(&a);
	stop_watch(&b);
}

/* The same, and the slot of the one that ended goes to a third at once. */
static void test_replace_other_from_ready(void)
{
	struct watched a = watched_eventfd(0), b = watched_eventfd(0), c = watched_eventfd(0);

	a.end = &b;
	b.end = &a;
	a.begin = b.begin = &c;
	start_watch(&a);
	start_watch(&b);
	eng_run_a_while();
	eventfd_write(a.watch.fd, 1);
	eventfd_write(b.watch.fd, 1);
	RUN_UNTIL(a.calls + b.calls);
	eng_run_a_while();
	CHECK_EQ(a.calls + b.calls, 1);
	CHECK_EQ(c.calls, 0);
	eventfd_write(c.watch.fd, 1);
	RUN_UNTIL(c.calls == 1);
	stop_watch(&a);
	stop_watch(&b);
	stop_watch(&c);
}

static void test_unwatch_self_from_ready(void)
{
	struct watched w = watched_eventfd(1);

	w.end = &w;
	start_watch(&w);
	RUN_UNTIL(w.calls == 1);
	eventfd_write(w.watch.fd, 1);
	eng_run_a_while();
	CHECK_EQ(w.calls, 1);
	start_watch(&w);
	RUN_UNTIL(w.calls == 2);
	stop_watch(&w);
}

/* An event that the kernel holds already is not given to the next user of slot or fd. */
static void test_unwatch_with_event(void)
{
	for (int i = 0; i < 20; i++) {
		struct watched *gone = malloc(sizeof(*gone)), next;
		int number;

		*gone = watched_eventfd(0);
		number = gone->watch.fd;
		start_watch(gone);
		REQUIRE(reactor_run(eng.reactor, 0) >= 0);
		eventfd_write(number, 1);
		if (i % 2) /* io_uring: the completion is in memory by now, or nearly */
			usleep(100);
		stop_watch(gone);
		free(gone);
		next = watched_eventfd(0);
		CHECK_EQ(next.watch.fd, number);
		start_watch(&next);
		for (int j = 0; j < 40; j++)
			REQUIRE(reactor_run(eng.reactor, MS / 10) >= 0);
		CHECK_EQ(next.calls, 0);
		eventfd_write(number, 1);
		RUN_UNTIL(next.calls == 1);
		stop_watch(&next);
	}
}

/* Between watch() and unwatch() no reactor_run(): nothing has reached the kernel yet. */
static void test_unwatch_at_once(void)
{
	struct watched w = watched_eventfd(1);

	for (int i = 0; i < 100; i++) {
		start_watch(&w);
		reactor_unwatch(eng.reactor, &w.watch);
	}
	eng_run_a_while();
	CHECK_EQ(w.calls, 0);
	start_watch(&w);
	RUN_UNTIL(w.calls == 1);
	stop_watch(&w);
}

#define WATCHES 300

static void test_many_watches(void)
{
	struct watched *w = calloc(WATCHES, sizeof(*w));
	unsigned calls = 0;

	for (int i = 0; i < WATCHES; i++) {
		w[i] = watched_eventfd(i % 2);
		start_watch(&w[i]);
	}
	for (int round = 1; round <= 3; round++) {
		for (int i = 0; i < WATCHES; i++)
			if (round > 1 || i % 2 == 0)
				eventfd_write(w[i].watch.fd, 1);
		for (int64_t end = eng_now() + (int64_t)tap_stretch(10) * S; eng_now() < end;) {
			REQUIRE(reactor_run(eng.reactor, 100 * MS) >= 0);
			calls = 0;
			for (int i = 0; i < WATCHES; i++)
				calls += w[i].calls >= (unsigned)round;
			if (calls == WATCHES)
				break;
		}
		CHECK_EQ(calls, WATCHES);
		/* A spurious call would find nothing to drain: settle first. */
		for (int i = 0; i < WATCHES; i++)
			w[i].drain = false;
		eng_run_a_while();
		for (int i = 0; i < WATCHES; i++) {
			w[i].drain = true;
			w[i].calls = (unsigned)round;
		}
	}
	for (int i = 0; i < WATCHES; i++)
		stop_watch(&w[i]);
	free(w);
}

static void forever(struct eng_op *op)
{
	if (op->then)
		eng_submit(op);
}

static void run_until_called(const struct watched *w, unsigned calls, int64_t timeout)
{
	const int64_t until = eng_now() + (int64_t)tap_stretch(5) * S;

	while (w->calls < calls && eng_now() < until)
		REQUIRE(reactor_run(eng.reactor, timeout) >= 0);
	CHECK_EQ(w->calls, calls);
}

static void test_watch_not_starved(void)
{
	unsigned char *buf = eng_buffer(1, 0);
	struct watched w = watched_eventfd(0);
	struct eng_op op = eng_transfer(IO_WRITE, eng.file, buf, BLOCK, 0);

	op.io.iov = &op.iov;
	op.then = forever;
	eng_submit(&op);
	start_watch(&w);
	eng_run_a_while();
	eventfd_write(w.watch.fd, 1);
	run_until_called(&w, 1, 0);
	/* Nor with nothing to do and no wait. */
	op.then = NULL;
	eng_run_a_while();
	eventfd_write(w.watch.fd, 1);
	run_until_called(&w, 2, eng.options.sqpoll ? MS : 0);
	stop_watch(&w);
	free(buf);
}

/* The same of a watched descriptor, by the next reactor_run(), or by close. */
static void test_watch_let_go(void)
{
	for (int closed = 0; closed < 2; closed++) {
		struct watched w = {.watch.ready = ready};
		int ends[2];

		REQUIRE_OK(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
		w.watch.fd = ends[0];
		start_watch(&w);
		eng_run_a_while();
		REQUIRE_EQ(write(ends[1], "", 1), 1);
		stop_watch(&w);
		if (closed)
			eng_reopen(8);
		else
			eng_run_a_while();
		RUN_UNTIL(!eng.options.sqpoll || write(ends[1], "", 1) < 0);
		CHECK_EQ(write(ends[1], "", 1), -1);
		CHECK_EQ(errno, EPIPE);
		CHECK_EQ(w.calls, 0);
		close(ends[1]);
	}
}

static const struct tap_case cases[] = {
	{"watch", test_watch},
	{"watch_readable_already", test_watch_readable_already},
	{"watch_wakes", test_watch_wakes},
	{"watch_refused", test_watch_refused},
	{"watch_hang_up", test_watch_hang_up},
	{"unwatch_other_from_ready", test_unwatch_other_from_ready},
	{"replace_other_from_ready", test_replace_other_from_ready},
	{"unwatch_self_from_ready", test_unwatch_self_from_ready},
	{"unwatch_with_event", test_unwatch_with_event},
	{"unwatch_at_once", test_unwatch_at_once},
	{"many_watches", test_many_watches},
	{"watch_not_starved", test_watch_not_starved},
	{"watch_let_go", test_watch_let_go},
	{0},
};

int main(int argc, char **argv)
{
	return eng_main(argc, argv, cases);
}
