/* SPDX-License-Identifier: BSD-3-Clause */
/* See one-queue.h. */
#include "tests/unit/support/one-queue.h"

#include <semaphore.h>
#include <unistd.h>

#include "tests/frontend/fe_time.h"
#include "tests/unit/support/capture.h"

struct one_queue oq;

static void await(sem_t *sem)
{
	while (sem_wait(sem))
		; /* EINTR */
}

/* ---- having the worker do things ---- */

static struct {
	struct call call;
	void (*run)(void);
	sem_t done;
} errand;

static void run_errand(struct call *call)
{
	(void)call;
	errand.run();
	sem_post(&errand.done);
}

void oq_on_worker(void (*run)(void))
{
	errand.run = run;
	errand.call.run = run_errand;
	worker_call(oq.worker, &errand.call);
	await(&errand.done);
}

static unsigned seen_held;

static void look(void)
{
	seen_held = gate.n_held;
}

unsigned oq_n_held(void)
{
	oq_on_worker(look);
	return seen_held;
}

void oq_check_held(unsigned n)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);

	while (oq_n_held() != n && fe_left_ms(deadline))
		;
	for (unsigned i = 0; i < 3; i++)
		oq_on_worker(look);
	CHECK_EQ(seen_held, n);
}

static unsigned n_release;

static void add_tokens(void)
{
	gate.tokens += n_release;
}

void oq_release(unsigned n)
{
	n_release = n;
	oq_on_worker(add_tokens);
}

static int begin_err;

static void begin(void)
{
	begin_err = queue_begin(oq.queue);
}

int oq_begin(void)
{
	oq_on_worker(begin);
	return begin_err;
}

void oq_start(void)
{
	REQUIRE_OK(oq_begin());
}

static sem_t drained_sem;

void oq_drained(struct queue *queue)
{
	CHECK(queue == oq.queue);
	/* It may be destroyed from now on. */
	CHECK(!atomic_load(&queue->throttle.nudge.posted));
	sem_post(&drained_sem);
}

static void end(void)
{
	queue_drain(oq.queue, oq_drained);
}

void oq_end(void)
{
	oq_on_worker(end);
}

static void abandon(void)
{
	queue_abandon(oq.queue, oq_drained);
}

void oq_abandon(void)
{
	oq_on_worker(abandon);
}

bool oq_has_drained(void)
{
	return !sem_trywait(&drained_sem);
}

void oq_wait_until_drained(void)
{
	await(&drained_sem);
}

static unsigned counted_in_flight;

static void count_in_flight(void)
{
	counted_in_flight = 0;
	for (unsigned i = 0; i < ring.driver.num; i++)
		counted_in_flight += oq.region->desc[i].inflight;
}

unsigned oq_n_in_flight(void)
{
	oq_on_worker(count_in_flight);
	return counted_in_flight;
}

/* ---- memory that is taken away ---- */

atomic_uint oq_n_revoked;
static struct vhu_revoked revoked;
static struct vublk_update update;

static void told(struct queue *queue)
{
	CHECK(queue == oq.queue);
	oq_n_revoked++;
}

static void revoke_on_worker(void)
{
	CHECK_OK(queue_apply(oq.queue, &update));
	queue_revoke(oq.queue, &update, told);
}

void oq_take_away(const struct vhu_revoked *what)
{
	revoked = *what;
	update = (struct vublk_update){.revoked = &revoked};
	oq_on_worker(revoke_on_worker);
}

void oq_take_away_at(uint64_t gpa, uint64_t size)
{
	uint64_t uva = 0;

	REQUIRE(vhu_mem_uva_at(ring.map, vhu_mem_gpa(ring.map, gpa, size), &uva));
	oq_take_away(&(struct vhu_revoked){.n = 1, .range[0] = {uva, uva + size - 1}});
}

/* ---- life ---- */

static void make_region(unsigned size)
{
	struct vhu_inflight_desc desc = {.num_queues = 1, .queue_size = (uint16_t)size};
	int fd;

	REQUIRE_OK(vhu_inflight_create(1, size, false, &fd, &desc.mmap_size));
	REQUIRE_OK(vhu_inflight_adopt(&ring.inflight, "test", &desc, fd, false, 1));
	close(fd);
	oq.region = vhu_inflight_queue(ring.inflight, 0);
}

static void open_ring(unsigned size, bool tracked)
{
	static const struct worker_config config = {
		.reactor = &gate_reactor, .target = &gate_target, .poll_ns = POLL_OFF, .cpu = -1};

	gate_make_disk(&oq.disk, &oq.image);
	oq.disk.limits = oq.limits;
	capture_begin(STDERR_FILENO);
	sem_init(&errand.done, 0, 0);
	sem_init(&drained_sem, 0, 0);
	ring_make(size, 0);
	if (tracked)
		make_region(size);
	REQUIRE_OK(ring_setup());
	ring_give_fds();
	REQUIRE_OK(worker_create(&oq.worker, &config));
	REQUIRE_OK(queue_create(&oq.queue, &ring.vq, oq.worker, &oq.disk, &oq.memory));
}

void oq_open(unsigned size)
{
	open_ring(size, false);
}

void oq_open_tracked(unsigned size)
{
	open_ring(size, true);
}

void oq_setup(void)
{
	oq_open(256);
	oq_start();
}

void oq_destroy(void)
{
	queue_destroy(oq.queue);
	worker_destroy(oq.worker);
	CHECK_EQ(gate.n_files, 0);
	ring_free();
	capture_end();
}

void oq_teardown(void)
{
	oq_release(1 << 20);
	oq_end();
	oq_wait_until_drained();
	oq_destroy();
}

/* ---- the driver ---- */

uint8_t *oq_status_of(unsigned i)
{
	return fe_ptr(&ring.mem, REQUESTS + i * STRIDE + 32, 1);
}

void oq_add_at(unsigned i, uint64_t data, uint64_t sector)
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
	*oq_status_of(i) = 0xaa;
	REQUIRE(fe_vq_add(&ring.driver, segs, n, NULL) >= 0);
}

void oq_add(unsigned i, uint64_t data)
{
	oq_add_at(i, data, 0);
}

void oq_add_run(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		oq_add_at(i, RING_DATA + i * DATA, i);
}

void oq_reap(unsigned n)
{
	struct fe_used used;

	for (unsigned i = 0; i < n; i++) {
		REQUIRE_OK(fe_vq_wait(&ring.driver, fe_deadline(FE_TIMEOUT_MS)));
		REQUIRE_EQ(fe_vq_reap(&ring.driver, &used), 1);
		CHECK_EQ(used.len, 1);
	}
	CHECK_EQ(fe_vq_reap(&ring.driver, &used), 0);
}
