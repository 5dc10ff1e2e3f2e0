/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A real worker thread that serves a queue with an engine that holds every operation until the test
 * lets it go. Driver and control thread are the test's own thread. For tests of src/worker/worker.c
 * and src/queue/queue.c; one per program.
 *
 *	setup();
 *	add(0, RING_DATA);		request 0, a write
 *	fe_vq_kick(&ring.driver);
 *	check_held(1);			the engine has it
 *	release(1);
 *	reap(1);
 *	teardown();
 */
#ifndef ONE_QUEUE_H
#define ONE_QUEUE_H

#include "src/worker/worker.h"

#include <linux/virtio_blk.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>

#include "src/queue/queue.h"
#include "tests/frontend/fe_time.h"
#include "tests/unit/support/capture.h"
#include "tests/unit/support/gate.h"
#include "tests/unit/support/ring.h"

#define REQUESTS 0x100000u /* where requests are in guest memory ... */
#define STRIDE   64u       /* ... 32 bytes for the header, then the status */
#define DATA     512u

/* ---- having the worker do things ---- */

static struct worker *worker;
static struct queue *queue;
static struct image image;
static struct queue_disk disk;
static struct queue_memory memory;

static struct {
	struct call call;
	void (*run)(void);
	sem_t done;
} errand;

static inline void run_errand(struct call *call)
{
	(void)call;
	errand.run();
	sem_post(&errand.done);
}

/* Runs it on the worker's thread, between two rounds, and waits for that. */
static inline void on_worker(void (*run)(void))
{
	errand.run = run;
	errand.call.run = run_errand;
	worker_call(worker, &errand.call);
	while (sem_wait(&errand.done))
		; /* EINTR */
}

static unsigned seen_held;

static inline void look(void)
{
	seen_held = gate.n_held;
}

/* Waits until the engine holds so many operations, and makes sure that it stays so. */
static inline void check_held(unsigned n)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);

	do
		on_worker(look);
	while (seen_held != n && fe_left_ms(deadline));
	for (unsigned i = 0; i < 3; i++)
		on_worker(look);
	CHECK_EQ(seen_held, n);
}

static unsigned n_release;

static inline void add_tokens(void)
{
	gate.tokens += n_release;
}

static inline void release(unsigned n)
{
	n_release = n;
	on_worker(add_tokens);
}

static int begin_err;

static inline void begin(void)
{
	begin_err = queue_begin(queue);
}

static sem_t drained_sem;

static inline void drained(struct queue *q)
{
	CHECK(q == queue);
	sem_post(&drained_sem);
}

static inline void end(void)
{
	queue_drain(queue, drained);
}

static inline void abandon(void)
{
	queue_abandon(queue, drained);
}

static inline bool has_drained(void)
{
	return !sem_trywait(&drained_sem);
}

/* ---- life ---- */

static struct inflight_split *region;

static inline void make_region(unsigned size)
{
	struct vhu_inflight_desc desc = {.num_queues = 1, .queue_size = (uint16_t)size};
	int fd;

	REQUIRE_OK(vhu_inflight_create(1, size, false, &fd, &desc.mmap_size));
	REQUIRE_OK(vhu_inflight_adopt(&ring.inflight, "test", &desc, fd, false, 1));
	close(fd);
	region = vhu_inflight_queue(ring.inflight, 0);
}

static unsigned counted_in_flight;

static inline void count_in_flight(void)
{
	counted_in_flight = 0;
	for (unsigned i = 0; i < ring.driver.num; i++)
		counted_in_flight += region->desc[i].inflight;
}

/* How many requests the in-flight region says there are, between two iterations. */
static inline unsigned n_in_flight(void)
{
	on_worker(count_in_flight);
	return counted_in_flight;
}

static inline void open_ring_with(unsigned size, bool tracked)
{
	gate_make_disk(&disk, &image);
	capture_begin(STDERR_FILENO);
	sem_init(&errand.done, 0, 0);
	sem_init(&drained_sem, 0, 0);
	ring_make(size, 0);
	if (tracked)
		make_region(size);
	REQUIRE_OK(ring_setup());
	ring_give_fds();
	static const struct worker_config config = {
		.reactor = &gate_reactor, .target = &gate_target, .poll_ns = POLL_OFF, .cpu = -1};

	REQUIRE_OK(worker_create(&worker, &config));
	REQUIRE_OK(queue_create(&queue, &ring.vq, worker, &disk, &memory));
}

static inline void open_ring(unsigned size)
{
	open_ring_with(size, false);
}

static inline void start(void)
{
	on_worker(begin);
	REQUIRE_OK(begin_err);
}

static inline void setup(void)
{
	open_ring(256);
	start();
}

/* Ends the queue, letting go of all that is held. */
static inline void stop(void)
{
	release(1 << 20);
	on_worker(end);
	while (sem_wait(&drained_sem))
		; /* EINTR */
}

static inline void destroy(void)
{
	queue_destroy(queue);
	worker_destroy(worker);
	CHECK_EQ(gate.n_files, 0);
	ring_free();
	capture_end();
}

static inline void teardown(void)
{
	stop();
	destroy();
}

/* ---- the driver ---- */

static inline uint8_t *status_of(unsigned i)
{
	return fe_ptr(&ring.mem, REQUESTS + i * STRIDE + 32, 1);
}

/*
 * Request number i, for `sector`, whose data is at `data`; a discard if that is 0, which is one
 * operation, whatever its neighbours are. Not published.
 */
static inline void add_at(unsigned i, uint64_t data, uint64_t sector)
{
	const uint64_t gpa = REQUESTS + i * STRIDE;
	const struct gate_header header = gate_header(!data, sector);
	struct fe_seg segs[3] = {
		{.addr = gpa, .len = data ? sizeof(header.header) : sizeof(header)}};
	unsigned n = 1;

	if (data)
		segs[n++] = (struct fe_seg){.addr = data, .len = DATA};
	segs[n++] = (struct fe_seg){.addr = gpa + 32, .len = 1, .write = true};
	REQUIRE_OK(fe_mem_write(&ring.mem, gpa, &header, sizeof(header)));
	*status_of(i) = 0xaa;
	REQUIRE(fe_vq_add(&ring.driver, segs, n, NULL) >= 0);
}

static inline void add(unsigned i, uint64_t data)
{
	add_at(i, data, 0);
}

/* Requests 0 to n - 1, each of which goes on where the one before ends. */
static inline void add_run(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		add_at(i, RING_DATA + i * DATA, i);
}

/* Takes `n` completions. */
static inline void reap(unsigned n)
{
	struct fe_used used;

	for (unsigned i = 0; i < n; i++) {
		REQUIRE_OK(fe_vq_wait(&ring.driver, fe_deadline(FE_TIMEOUT_MS)));
		REQUIRE_EQ(fe_vq_reap(&ring.driver, &used), 1);
		CHECK_EQ(used.len, 1);
	}
	CHECK_EQ(fe_vq_reap(&ring.driver, &used), 0);
}

#endif
