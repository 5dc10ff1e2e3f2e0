/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One measurement, see bench_run.h. The main thread makes everything, tells the client threads of
 * each phase, and looks after the connection meanwhile.
 */
#include "bench_run.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench_clock.h"
#include "bench_dev.h"
#include "bench_floor.h"
#include "bench_queue.h"
#include "bench_thread.h"
#include "bench_verify.h"

/* How long to wait, at the end, for what is in flight. */
#define DRAIN_SECONDS 10.0

volatile sig_atomic_t bench_interrupted;

struct run {
	const struct bench_options *options;
	struct bench_dev *dev;
	struct bench_queue *queue;
	unsigned int n_queues;        /* that are initialised */
	struct bench_dev *dev_beside; /* NULL: there is none */
	struct bench_queue beside;
	struct bench_thread *thread;
	unsigned int n_threads; /* that are started */
	unsigned int n_done;
	struct bench_shared shared;
	struct bench_floor floor;
	struct bench_backend backend;
	uint64_t cpu_before, cpu_after; /* of the back-end, ns */
	uint64_t syscalls;              /* that were counted, during ... */
	uint64_t syscalls_ios;          /* ... so many requests; 0: during the measuring */
	bool lost;                      /* the back-end is not to be talked to any more */
	char *error;
	size_t error_size;
};

/* The first trouble is the one told of. */
__attribute__((format(printf, 2, 3))) static int fail(struct run *run, const char *format, ...)
{
	va_list ap;

	if (run->error[0])
		return -1;
	va_start(ap, format);
	vsnprintf(run->error, run->error_size, format, ap);
	va_end(ap);
	return -1;
}

/* ---- waiting ---- */

/* What ppoll(2) in wait_for() looks at: the connection, the threads, then a ring's error each. */
#define FD_CONN   0
#define FD_BESIDE 1 /* its connection; its ring's error comes last */
#define FD_DONE   2
#define FD_ERR    3

static bool hung_up(const struct pollfd *fd)
{
	return fd->revents & (POLLHUP | POLLRDHUP | POLLERR);
}

static bool look_at(struct run *run, const struct pollfd *fds)
{
	eventfd_t n;

	if (hung_up(&fds[FD_CONN]) || hung_up(&fds[FD_BESIDE])) {
		run->lost = true;
		return fail(run, "the back-end%s closed the connection",
			    hung_up(&fds[FD_CONN]) ? "" : " beside");
	}
	if (fds[FD_DONE].revents && !eventfd_read(run->shared.done_fd, &n))
		run->n_done += (unsigned int)n;
	for (unsigned int i = 0; i < run->n_queues; i++)
		if (fds[FD_ERR + i].revents)
			return fail(run, "the back-end says that queue %u is broken", i);
	if (fds[FD_ERR + run->n_queues].revents)
		return fail(run, "the back-end beside says that its queue is broken");
	return false;
}

static struct timespec to_timespec(double seconds)
{
	if (seconds < 0)
		seconds = 0;
	return (struct timespec){
		.tv_sec = (time_t)seconds,
		.tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9),
	};
}

/*
 * Waits for so many seconds, or until all threads have ended; a signal ends it too, if it may.
 * 0, or -1: there was trouble.
 */
static int wait_for(struct run *run, double seconds, bool may_interrupt)
{
	const uint64_t begin = bench_now_ns();
	struct pollfd fds[FD_ERR + BENCH_MAX_QUEUES + 1];
	const struct bench_dev *beside = run->dev_beside;
	sigset_t none;

	sigemptyset(&none);
	fds[FD_CONN] = (struct pollfd){.fd = run->dev->fe.conn.fd, .events = POLLRDHUP};
	fds[FD_BESIDE] =
		(struct pollfd){.fd = beside ? beside->fe.conn.fd : -1, .events = POLLRDHUP};
	fds[FD_DONE] = (struct pollfd){.fd = run->shared.done_fd, .events = POLLIN};
	for (unsigned int i = 0; i < run->n_queues; i++)
		fds[FD_ERR + i] = (struct pollfd){.fd = run->queue[i].vq->err_fd, .events = POLLIN};
	fds[FD_ERR + run->n_queues] =
		(struct pollfd){.fd = beside ? run->beside.vq->err_fd : -1, .events = POLLIN};
	for (;;) {
		const double left = seconds - (double)(bench_now_ns() - begin) / 1e9;
		const struct timespec timeout = to_timespec(left);

		if (run->n_done == run->n_threads || left <= 0 ||
		    (may_interrupt && bench_interrupted))
			return 0;
		if (ppoll(fds, FD_ERR + run->n_queues + 1, &timeout, may_interrupt ? &none : NULL) >
			    0 &&
		    look_at(run, fds))
			return -1;
	}
}

/* ---- phases ---- */

static void set_phase(struct run *run, enum bench_phase phase)
{
	__atomic_store_n(&run->shared.phase, phase, __ATOMIC_RELEASE);
	if (phase >= BENCH_STOP)
		eventfd_write(run->shared.stop_fd, 1);
}

static unsigned int in_flight(const struct run *run)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < run->n_threads; i++)
		n += bench_thread_in_flight(&run->thread[i]);
	return n;
}

/* After the end: has everything come back, and nothing else? */
static int check_end(struct run *run)
{
	for (unsigned int i = 0; i < run->n_queues; i++)
		if (run->queue[i].trouble)
			return fail(run, "the back-end %s (queue %u)", run->queue[i].trouble, i);
	if (run->beside.trouble)
		return fail(run, "the back-end beside %s", run->beside.trouble);
	return run->error[0] ? -1 : 0;
}

static void join_all(struct run *run)
{
	for (unsigned int i = 0; i < run->n_threads; i++)
		bench_thread_join(&run->thread[i]);
}

/* Ends the threads, with what is in flight if it does come back. */
static int finish(struct run *run, bool trouble)
{
	set_phase(run, BENCH_STOP);
	if (trouble || wait_for(run, DRAIN_SECONDS, false) || run->n_done < run->n_threads) {
		set_phase(run, BENCH_ABORT);
		join_all(run);
		run->lost = true;
		return fail(run, "%u requests have not come back within %g seconds", in_flight(run),
			    DRAIN_SECONDS);
	}
	join_all(run);
	return check_end(run);
}

static int start_threads(struct run *run, enum bench_phase phase)
{
	run->shared.phase = phase;
	while (run->n_threads < run->options->n_threads) {
		const int ret = bench_thread_start(&run->thread[run->n_threads]);

		if (ret)
			return fail(run, "cannot start a thread: %s", strerror(-ret));
		run->n_threads++;
	}
	return 0;
}

static uint64_t unmeasured(const struct run *run)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < run->n_threads; i++)
		n += bench_thread_unmeasured(&run->thread[i]);
	return n;
}

/*
 * The second half of it is where system calls are counted, as that would slow down what is to be
 * measured.
 */
static int warm_up(struct run *run)
{
	const double half = run->options->warmup / 2;
	uint64_t begin;
	int ret = wait_for(run, half, true);

	if (ret)
		return ret;
	/* To open a counter may take the kernel some ms, and it counts when that is done. */
	bench_backend_count(&run->backend);
	begin = unmeasured(run);
	ret = wait_for(run, half, true);
	run->syscalls_ios = unmeasured(run) - begin;
	run->syscalls = bench_backend_counted(&run->backend);
	return ret;
}

static int measure(struct run *run)
{
	const struct bench_options *o = run->options;
	int ret = start_threads(run, BENCH_WARMUP);

	if (!ret && o->warmup > 0)
		ret = warm_up(run);
	if (!ret) {
		if (!run->syscalls_ios)
			bench_backend_count(&run->backend);
		run->cpu_before = bench_backend_cpu(&run->backend);
		set_phase(run, BENCH_MEASURE);
		ret = wait_for(run, o->count ? 1e9 : o->seconds, true);
		run->cpu_after = bench_backend_cpu(&run->backend);
		if (!run->syscalls_ios)
			run->syscalls = bench_backend_counted(&run->backend);
	}
	return finish(run, ret);
}

/* ---- making everything ---- */

static int make_queues(struct run *run)
{
	run->queue = calloc(run->options->n_queues, sizeof(*run->queue));
	if (!run->queue)
		return fail(run, "no memory for the queues");
	while (run->n_queues < run->options->n_queues) {
		const int ret = bench_queue_init(&run->queue[run->n_queues], run->dev,
						 run->n_queues, run->options);

		run->n_queues++;
		if (ret == -ENOSPC)
			return fail(run, "--verify needs more blocks per queue than --queue-depth");
		if (ret)
			return fail(run, "cannot prepare requests: %s", strerror(-ret));
	}
	return 0;
}

/* Connects to the disk beside, and prepares its queue. */
static int make_beside(struct run *run)
{
	const struct bench_options options = bench_options_beside(run->options);
	int ret;

	if (!options.beside)
		return 0;
	run->dev_beside = calloc(1, sizeof(*run->dev_beside));
	if (!run->dev_beside)
		return fail(run, "no memory");
	if (bench_dev_open(run->dev_beside, options.beside, &options))
		return fail(run, "beside: %s", run->dev_beside->error);
	ret = bench_queue_init(&run->beside, run->dev_beside, 0, &options);
	return ret ? fail(run, "cannot prepare requests: %s", strerror(-ret)) : 0;
}

/* A part of `total` for the threads that have the queues `first` to `first` + n - 1. */
static uint64_t share_of(uint64_t total, unsigned int first, unsigned int n, unsigned int n_queues)
{
	const uint64_t each = total / n_queues, rest = total % n_queues;
	const uint64_t more = first >= rest ? 0 : rest - first < n ? rest - first : n;

	return each * n + more;
}

static int make_threads(struct run *run)
{
	const struct bench_options *o = run->options;

	run->thread = calloc(o->n_threads, sizeof(*run->thread));
	if (!run->thread)
		return fail(run, "no memory for the threads");
	for (unsigned int i = 0; i < o->n_threads; i++) {
		const unsigned int first = i * o->n_queues / o->n_threads;
		const unsigned int end = (i + 1) * o->n_queues / o->n_threads;

		run->thread[i] = (struct bench_thread){
			.shared = &run->shared,
			.queue = &run->queue[first],
			.n_queues = end - first,
			.budget = share_of(o->count, first, end - first, o->n_queues),
			.cpu = o->n_cpus ? o->cpu[i % o->n_cpus] : -1,
			.epoll_fd = -1,
		};
	}
	if (run->dev_beside)
		run->thread[0].beside = &run->beside;
	return 0;
}

static int make_shared(struct run *run)
{
	run->shared = (struct bench_shared){
		.stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
		.done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
		.packed = run->options->packed,
		.call = run->options->call,
		.counted = run->options->count,
	};
	if (run->shared.stop_fd < 0 || run->shared.done_fd < 0)
		return fail(run, "eventfd: %s", strerror(errno));
	return 0;
}

static int start_floor(struct run *run)
{
	const struct bench_options *o = run->options;
	const int cpu = o->n_cpus ? o->cpu[o->n_threads % o->n_cpus] : -1;
	const int ret = bench_floor_start(&run->floor, run->queue, run->n_queues,
					  bench_entries_per_request(o), cpu);

	return ret ? fail(run, "cannot start the floor's thread: %s", strerror(-ret)) : 0;
}

static int set_up(struct run *run, const char *path)
{
	if (bench_dev_open(run->dev, path, run->options))
		return fail(run, "%s", run->dev->error);
	if (make_shared(run) || make_queues(run) || make_beside(run) || make_threads(run))
		return -1;
	if (bench_dev_start_rings(run->dev))
		return fail(run, "%s", run->dev->error);
	if (run->dev_beside && bench_dev_start_rings(run->dev_beside))
		return fail(run, "beside: %s", run->dev_beside->error);
	bench_backend_open(&run->backend, run->options->pid ? run->options->pid : run->dev->pid);
	return path ? 0 : start_floor(run);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void take_down(struct run *run)
{
	bench_floor_stop(&run->floor);
	bench_backend_close(&run->backend);
	bench_dev_close(run->dev, run->lost);
	for (unsigned int i = 0; i < run->n_queues; i++)
		bench_queue_free(&run->queue[i]);
	if (run->dev_beside)
		bench_dev_close(run->dev_beside, run->lost);
	bench_queue_free(&run->beside);
	free(run->dev_beside);
	close_fd(run->shared.stop_fd);
	close_fd(run->shared.done_fd);
	free(run->queue);
	free(run->thread);
	free(run->dev);
}

/* ---- the result ---- */

static void set_latency(struct bench_latency *latency, const struct bench_hist *hist)
{
	static const double shares[BENCH_N_PERCENTILES] = {0.5, 0.9, 0.99, 0.999, 0.9999};

	if (!hist->n)
		return;
	latency->min = bench_ticks_to_ns((double)hist->min);
	latency->max = bench_ticks_to_ns((double)hist->max);
	latency->mean = bench_ticks_to_ns((double)hist->sum / (double)hist->n);
	for (int i = 0; i < BENCH_N_PERCENTILES; i++)
		latency->percentile[i] = bench_ticks_to_ns(bench_hist_percentile(hist, shares[i]));
}

/* From the first thread's beginning to the last one's end, ticks. */
static uint64_t duration(const struct run *run)
{
	uint64_t begin = UINT64_MAX, end = 0;

	for (unsigned int i = 0; i < run->n_threads; i++) {
		const struct bench_thread *thread = &run->thread[i];

		begin = thread->begin && thread->begin < begin ? thread->begin : begin;
		end = thread->end > end ? thread->end : end;
	}
	return end > begin ? end - begin : 0;
}

static void set_usage(struct bench_result *result, struct run *run, double ios)
{
	const double syscalls_ios = run->syscalls_ios ? (double)run->syscalls_ios : ios;

	result->cpu_ns_per_io = (double)(run->cpu_after - run->cpu_before) / ios;
	result->syscalls_per_io = (double)run->syscalls / syscalls_ios;
	result->memory = bench_backend_memory(&run->backend);
	result->backend = run->backend;
	/* It may be the same process that serves both: nobody can tell what is for whom. */
	if (run->dev_beside) {
		snprintf(result->backend.no_cpu, BENCH_WHY, "another disk is beside");
		snprintf(result->backend.no_syscalls, BENCH_WHY, "another disk is beside");
	}
}

static void set_result(struct bench_result *result, struct run *run, const char *path)
{
	static struct bench_hist all; /* large, for a stack */
	uint64_t kicks = 0, calls = 0, ios_beside = 0;

	bench_hist_init(&all);
	*result = (struct bench_result){.socket = path, .beside = run->options->beside};
	for (unsigned int i = 0; i < run->n_threads; i++) {
		const struct bench_stats *stats = &run->thread[i].stats;

		result->ios += stats->ios;
		result->mismatches += stats->mismatches;
		result->errors += stats->errors + stats->mismatches;
		result->errors += run->thread[i].stats_beside.errors;
		ios_beside += run->thread[i].stats_beside.ios;
		kicks += stats->kicks;
		calls += stats->calls;
		bench_hist_merge(&all, &stats->latency);
	}
	/* Something to divide by if there was none. */
	const double ios = result->ios ? (double)result->ios : 1;

	result->seconds = bench_ticks_to_ns((double)duration(run)) / 1e9;
	result->iops = result->seconds > 0 ? (double)result->ios / result->seconds : 0;
	result->iops_beside = result->seconds > 0 ? (double)ios_beside / result->seconds : 0;
	result->bytes_per_second = result->iops * run->options->block_size;
	result->kicks_per_io = (double)kicks / ios;
	result->calls_per_io = (double)calls / ios;
	set_latency(&result->latency, &all);
	set_usage(result, run, ios);
	for (unsigned int i = 0; i < run->n_queues && !result->trouble[0]; i++)
		if (run->queue[i].verify)
			snprintf(result->trouble, sizeof(result->trouble), "%s",
				 bench_verify_trouble(run->queue[i].verify));
}

int bench_run(const struct bench_options *options, const char *path, struct bench_result *result,
	      char *error, size_t size)
{
	struct run run = {
		.options = options,
		.dev = calloc(1, sizeof(*run.dev)),
		.shared = {.stop_fd = -1, .done_fd = -1},
		.error = error,
		.error_size = size,
	};
	int ret;

	error[0] = 0;
	if (!run.dev)
		return fail(&run, "no memory");
	ret = set_up(&run, path);
	if (!ret)
		ret = measure(&run);
	if (!ret)
		set_result(result, &run, path);
	take_down(&run);
	return ret;
}
