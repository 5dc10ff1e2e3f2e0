/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/worker/worker.c and src/queue/queue.c: rounds, requests that wait, and the ways in which a
 * queue ends.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <poll.h>

#include "tests/unit/support/capture.h"
#include "tests/unit/support/one-queue.h"

/* ---- requests ---- */

/* Requests 0 to n - 1, each an operation by itself. */
static void add_apart(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		oq_add(i, 0);
}

#define SHARE 45u /* bounce buffers that one disk may have; io/fair.h */

/* The same, but these need a bounce buffer where O_DIRECT is. */
static void add_unaligned(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		oq_add(i, RING_DATA + 1 + i * DATA);
}

/* ---- running ---- */

static void request_goes_there_and_back(void)
{
	oq_add(0, RING_DATA);
	fe_vq_kick(&ring.driver); /* or not, while the worker still looks */
	oq_check_held(1);
	CHECK_EQ(*oq_status_of(0), 0xaa);
	oq_release(1);
	oq_reap(1);
	CHECK_EQ(*oq_status_of(0), VIRTIO_BLK_S_OK);
}

static void every_kick_is_seen(void)
{
	oq_release(1 << 20);
	for (unsigned i = 0; i < 1000; i++) {
		oq_add(0, 0);
		fe_vq_kick(&ring.driver); /* or not, while the worker still looks */
		oq_reap(1);
	}
}

static void requests_in_any_number_at_once(void)
{
	add_apart(128);
	fe_vq_kick(&ring.driver);
	oq_check_held(128);
	oq_release(100);
	oq_reap(100);
	oq_check_held(28);
	oq_release(28);
	oq_reap(28);
}

/* All of a round: one operation, and each is answered. */
static void adjacent_requests_are_one_operation(void)
{
	oq_add_run(32);
	fe_vq_kick(&ring.driver);
	oq_check_held(1);
	for (unsigned i = 0; i < 32; i++)
		CHECK_EQ(*oq_status_of(i), 0xaa);
	oq_release(1);
	oq_reap(32);
	for (unsigned i = 0; i < 32; i++)
		CHECK_EQ(*oq_status_of(i), VIRTIO_BLK_S_OK);
}

/* What goes on where the last round ended does not wait for it, nor for the next one. */
static void nothing_is_held_beyond_the_round(void)
{
	for (unsigned i = 0; i < 4; i++) {
		oq_add_at(i, RING_DATA + i * DATA, i);
		fe_vq_kick(&ring.driver);
		oq_check_held(i + 1);
	}
	oq_release(4);
	oq_reap(4);
}

static void wait_until_broken(void)
{
	struct pollfd p = {.fd = ring.driver.err_fd, .events = POLLIN};

	CHECK_EQ(poll(&p, 1, (int)tap_stretch(5000)), 1);
}

/* Nor is it forgotten when the rest of the round is nonsense. */
static void run_before_a_broken_ring_is_done(void)
{
	oq_add_run(3);
	fe_vq_publish(&ring.driver);
	fe_vq_raw_push(&ring.driver, 9999);
	fe_vq_raw_kick(&ring.driver);
	wait_until_broken();
	oq_check_held(1);
	oq_release(1);
	oq_reap(3);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(*oq_status_of(i), VIRTIO_BLK_S_OK);
}

#define HEADER_PIECES 16u
#define DATA_PIECES   60u

/* A write at the first sector in many pieces, its header, too. */
static void add_in_pieces(void)
{
	const struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_OUT};
	struct fe_seg segs[HEADER_PIECES + DATA_PIECES + 1];
	unsigned n = 0;

	REQUIRE_OK(fe_mem_write(&ring.mem, REQUESTS, &header, sizeof(header)));
	for (; n < HEADER_PIECES; n++)
		segs[n] = (struct fe_seg){.addr = REQUESTS + n, .len = 1};
	for (unsigned i = 0; i < DATA_PIECES; i++)
		segs[n++] = (struct fe_seg){.addr = RING_DATA + i * DATA, .len = DATA};
	segs[n++] = (struct fe_seg){.addr = REQUESTS + 32, .len = 1, .write = true};
	REQUIRE(fe_vq_add(&ring.driver, segs, n, NULL) >= 0);
}

/* What the first request's rest is about. */
static struct iovec seen_rest[DATA_PIECES + 1];
static unsigned seen_n;

static void look_at_rest(void)
{
	const struct io *io = gate.held.head;

	seen_n = 0;
	while (io && io->offset != DATA)
		io = io->next;
	for (; io && seen_n < io->niov && seen_n <= DATA_PIECES; seen_n++)
		seen_rest[seen_n] = io->iov[seen_n];
}

/* Made into one operation with others or not: what is done anew is its own data, all of it. */
static void request_in_pieces_goes_on(void)
{
	const uint64_t size = DATA_PIECES * DATA;
	const uint64_t next = size / 512;

	oq_open(256);
	add_in_pieces();
	oq_add(1, RING_DATA + size);
	REQUIRE_OK(fe_mem_write(&ring.mem, REQUESTS + STRIDE + 8, &next, sizeof(next)));
	fe_vq_publish(&ring.driver);
	oq_start();
	while (!oq_n_held())
		;
	gate.cut = DATA;
	oq_release(1);
	do
		oq_on_worker(look_at_rest);
	while (!seen_n);
	REQUIRE_EQ(seen_n, DATA_PIECES - 1);
	for (unsigned i = 0; i < seen_n; i++) {
		void *at = ring_host(RING_DATA + (i + 1) * DATA);

		CHECK(seen_rest[i].iov_base == vublk_guest_writable(at));
		CHECK_EQ(seen_rest[i].iov_len, DATA);
	}
	gate.cut = 0;
	oq_release(1 << 20);
	oq_reap(2);
}

/* A ring that is started again may have some that nobody kicks for. */
static void requests_that_were_there_before(void)
{
	oq_open(16);
	oq_add(0, 0);
	fe_vq_publish(&ring.driver);
	oq_start();
	oq_check_held(1);
}

static void ring_longer_than_there_are_slots(void)
{
	const unsigned n = QUEUE_MAX_REQUESTS + 500;

	oq_open(4096);
	oq_start();
	add_apart(n);
	fe_vq_kick(&ring.driver);
	oq_check_held(QUEUE_MAX_REQUESTS);
	oq_release(1);
	oq_reap(1);
	oq_check_held(QUEUE_MAX_REQUESTS);
	oq_release(n);
	oq_reap(n - 1);
}

/* More unaligned requests than there are bounce buffers: they wait, in order, and none is lost. */
static void bounce_buffers_run_out(void)
{
	oq_open(256);
	oq.image.direct = true;
	oq.image.mem_align = oq.image.offset_align = 512;
	oq_start();
	add_unaligned(80);
	fe_vq_kick(&ring.driver);
	oq_check_held(SHARE);
	oq_release(1);
	oq_reap(1);
	oq_check_held(SHARE);
	CHECK_EQ(*oq_status_of(0), VIRTIO_BLK_S_OK);
	/* One that is aligned needs none. */
	oq_add(80, RING_DATA);
	fe_vq_kick(&ring.driver);
	oq_check_held(SHARE + 1);
	oq_release(80);
	oq_reap(80);
	for (unsigned i = 0; i <= 80; i++)
		CHECK_EQ(*oq_status_of(i), VIRTIO_BLK_S_OK);
}

/* ---- drained ---- */

static void end_waits_for_what_is_in_flight(void)
{
	oq_open(16);
	oq_start();
	oq_add(0, 0);
	oq_add(1, 0);
	fe_vq_kick(&ring.driver);
	oq_check_held(2);
	oq_end();
	/* Nothing more is taken. */
	oq_add(2, 0);
	fe_vq_raw_kick(&ring.driver);
	fe_vq_publish(&ring.driver);
	oq_release(1);
	oq_reap(1);
	oq_check_held(1);
	CHECK(!oq_has_drained());
	oq_release(1);
	oq_reap(1);
	oq_wait_until_drained();
	oq_check_held(0);
	CHECK_EQ(*oq_status_of(2), 0xaa);
	oq_destroy();
}

static void end_of_an_idle_queue(void)
{
	oq_open(16);
	oq_start();
	oq_end();
	oq_wait_until_drained();
	oq_destroy();
}

/* ---- abandoned ---- */

/* Another process, or another start, goes on with what was left; and then all is done. */
static void go_on(unsigned n, unsigned n_left, unsigned held)
{
	vq_teardown(&ring.vq);
	ring.layout.base = vq_base(&ring.vq);
	queue_destroy(oq.queue);
	REQUIRE_OK(ring_setup());
	REQUIRE_OK(queue_create(&oq.queue, &ring.vq, oq.worker, &oq.disk, &oq.memory));
	oq_start();
	oq_check_held(held);
	oq_release(n_left);
	oq_reap(n_left);
	CHECK_EQ(oq_n_in_flight(), 0);
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(*oq_status_of(i), VIRTIO_BLK_S_OK);
	oq_teardown();
}

/* What a tracked queue has when it is abandoned, and what becomes of it. */
struct abandoned {
	void (*add)(unsigned n);
	unsigned n;     /* requests */
	unsigned held;  /* operations that they are, or those of them that have begun */
	unsigned begun; /* as many of those, the first, the kernel has, and they are waited for */
	int64_t cut;    /* bytes that one of them moves at most; 0: all */
	unsigned done;  /* requests that they complete */
	unsigned held_again; /* operations that the others are */
};

/* The queue is open, and has not begun. */
static void check_abandoned(struct abandoned a)
{
	oq_start();
	a.add(a.n);
	fe_vq_kick(&ring.driver);
	oq_check_held(a.held);
	gate.n_begun = a.begun;
	gate.cut = a.cut;
	oq_abandon();
	oq_check_held(a.begun);
	CHECK_EQ(oq_n_in_flight(), a.n);
	if (a.begun) {
		CHECK(!oq_has_drained());
		oq_release(a.begun);
	}
	oq_wait_until_drained();
	oq_reap(a.done);
	oq_check_held(0);
	CHECK_EQ(oq_n_in_flight(), a.n - a.done);
	for (unsigned i = a.done; i < a.n; i++)
		CHECK_EQ(*oq_status_of(i), 0xaa);
	CHECK_EQ(vq_base(&ring.vq), a.done);
	CHECK_EQ(ring.driver.ring.used->idx, a.done);
	CHECK_EQ(gate.n_files, 0);
	gate.n_begun = 0;
	gate.cut = 0;
	go_on(a.n, a.n - a.done, a.held_again);
}

static void abandon_leaves_what_the_kernel_has_not_seen(void)
{
	oq_open_tracked(16);
	check_abandoned((struct abandoned){
		.add = add_apart, .n = 5, .held = 5, .begun = 2, .done = 2, .held_again = 3});
}

static void abandon_of_what_is_all_cancelled(void)
{
	oq_open_tracked(16);
	check_abandoned((struct abandoned){.add = add_apart, .n = 5, .held = 5, .held_again = 5});
}

/*
 * Some hold a bounce buffer, of which the kernel has the first; others wait for one. None of them
 * may be begun by what the others put back. All buffers are there again.
 */
static void abandon_with_bounce_buffers(void)
{
	oq_open_tracked(256);
	oq.image.direct = true;
	oq.image.mem_align = oq.image.offset_align = 512;
	check_abandoned((struct abandoned){.add = add_unaligned,
					   .n = 80,
					   .held = SHARE,
					   .begun = 1,
					   .done = 1,
					   .held_again = SHARE});
}

/* A request of which a part is done, and the rest would be submitted now: it stays in flight. */
static void abandon_between_two_parts(void)
{
	oq_open_tracked(16);
	check_abandoned((struct abandoned){.add = oq_add_run,
					   .n = 1,
					   .held = 1,
					   .begun = 1,
					   .cut = DATA / 2,
					   .held_again = 1});
}

/* Several requests that are one operation are cancelled as one ... */
static void abandon_of_a_run(void)
{
	oq_open_tracked(16);
	check_abandoned((struct abandoned){.add = oq_add_run, .n = 5, .held = 1, .held_again = 1});
}

/* ... or, if it is too late for that, what the kernel did not do stays in flight. */
static void abandon_of_a_run_that_comes_back_short(void)
{
	oq_open_tracked(16);
	check_abandoned((struct abandoned){.add = oq_add_run,
					   .n = 5,
					   .held = 1,
					   .begun = 1,
					   .cut = 2 * DATA + DATA / 2,
					   .done = 2,
					   .held_again = 1});
}

static void abandon_of_an_idle_queue(void)
{
	oq_open_tracked(16);
	oq_start();
	oq_release(1);
	oq_add(0, 0);
	fe_vq_kick(&ring.driver);
	oq_reap(1);
	oq_abandon();
	oq_wait_until_drained();
	CHECK_EQ(vq_base(&ring.vq), 1);
	go_on(1, 0, 0);
}

/* Without tracking nothing may be left. */
static void abandon_without_tracking_is_an_end(void)
{
	oq_open(16);
	oq_start();
	oq_add(0, 0);
	oq_add(1, 0);
	fe_vq_kick(&ring.driver);
	oq_check_held(2);
	oq_abandon();
	oq_check_held(2);
	CHECK(!oq_has_drained());
	oq_release(2);
	oq_reap(2);
	oq_wait_until_drained();
	CHECK_EQ(vq_base(&ring.vq), 2);
	oq_destroy();
}

/* An end that is asked for does not leave anything, tracked or not. */
static void end_of_a_tracked_queue_waits(void)
{
	oq_open_tracked(16);
	oq_start();
	oq_add(0, 0);
	fe_vq_kick(&ring.driver);
	oq_check_held(1);
	oq_end();
	oq_check_held(1);
	CHECK(!oq_has_drained());
	oq_release(1);
	oq_reap(1);
	oq_wait_until_drained();
	CHECK_EQ(oq_n_in_flight(), 0);
	CHECK_EQ(vq_base(&ring.vq), 1);
	oq_destroy();
}

/* ---- refusals ---- */

static void queue_that_cannot_begin(void)
{
	oq_open_tracked(16);
	oq.region->version = 9;
	CHECK_EQ(oq_begin(), -EINVAL);
	CHECK_EQ(gate.n_files, 0);
	oq_destroy();
}

static void engine_that_takes_no_file(void)
{
	oq_open(16);
	gate.file_err = -ENFILE;
	CHECK_EQ(oq_begin(), -ENFILE);
	oq_destroy();
}

/* ---- kick descriptors ---- */

static struct vublk_update update;
static int update_err;

static void apply(void)
{
	update_err = queue_apply(oq.queue, &update);
}

static void replace_kick(int fd)
{
	update = (struct vublk_update){.kick = true, .kick_fd = fd};
	oq_on_worker(apply);
}

static void new_kick_descriptor_is_watched(void)
{
	int fd = fd_event();

	replace_kick(dup(fd));
	CHECK_OK(update_err);
	oq_check_held(0);
	oq_add(0, 0);
	fe_vq_publish(&ring.driver);
	eventfd_write(fd, 1);
	oq_check_held(1);
	close(fd);
}

/* Then the ring is looked at all the time. */
static void without_a_kick_descriptor(void)
{
	replace_kick(-1);
	CHECK_OK(update_err);
	for (unsigned i = 0; i < 3; i++) {
		oq_add(i, 0);
		fe_vq_publish(&ring.driver);
		oq_check_held(i + 1);
	}
	replace_kick(dup(ring.driver.kick_fd));
	CHECK_OK(update_err);
}

static void kick_descriptor_at_its_end(void)
{
	int pair[2];

	REQUIRE_OK(pipe2(pair, O_NONBLOCK));
	replace_kick(pair[0]);
	CHECK_OK(update_err);
	close(pair[1]);
	oq_check_held(0);
	/* Nobody can kick any more; it is served nevertheless. */
	oq_add(1, 0);
	fe_vq_publish(&ring.driver);
	oq_check_held(1);
	/* A new one helps. */
	replace_kick(dup(ring.driver.kick_fd));
	CHECK_OK(update_err);
	oq_add(0, 0);
	fe_vq_kick(&ring.driver);
	oq_check_held(2);
}

static void set_watch_err(void)
{
	gate.watch_err = -ENOSPC; /* epoll's limit of watches, say */
}

static void clear_watch_err(void)
{
	gate.watch_err = 0;
}

/* For want of something: then the ring is looked at. */
static void kick_that_cannot_be_watched_now(void)
{
	oq_on_worker(set_watch_err);
	replace_kick(dup(ring.driver.kick_fd));
	CHECK_OK(update_err);
	CHECK(strstr(capture_so_far(), "polling the ring") != NULL);
	for (unsigned i = 0; i < 3; i++) {
		oq_add(i, 0);
		fe_vq_publish(&ring.driver);
		oq_check_held(i + 1);
	}
	oq_on_worker(clear_watch_err);
	replace_kick(dup(ring.driver.kick_fd));
	CHECK_OK(update_err);
	oq_add(3, 0);
	fe_vq_kick(&ring.driver);
	oq_check_held(4);
}

/* The worker sleeps on, instead of looking at the ring for ever. */
static void broken_ring_is_left_alone(void)
{
	fe_vq_raw_push(&ring.driver, 9999);
	fe_vq_raw_kick(&ring.driver);
	wait_until_broken();
	oq_check_held(0);
}

static const struct tap_case running_cases[] = {
	{"request_goes_there_and_back", request_goes_there_and_back},
	{"every_kick_is_seen", every_kick_is_seen},
	{"requests_in_any_number_at_once", requests_in_any_number_at_once},
	{"adjacent_requests_are_one_operation", adjacent_requests_are_one_operation},
	{"nothing_is_held_beyond_the_round", nothing_is_held_beyond_the_round},
	{"run_before_a_broken_ring_is_done", run_before_a_broken_ring_is_done},
	{"new_kick_descriptor_is_watched", new_kick_descriptor_is_watched},
	{"without_a_kick_descriptor", without_a_kick_descriptor},
	{"kick_descriptor_at_its_end", kick_descriptor_at_its_end},
	{"kick_that_cannot_be_watched_now", kick_that_cannot_be_watched_now},
	{"broken_ring_is_left_alone", broken_ring_is_left_alone},
	{0},
};

static const struct tap_case start_cases[] = {
	{"requests_that_were_there_before", requests_that_were_there_before},
	{"ring_longer_than_there_are_slots", ring_longer_than_there_are_slots},
	{"bounce_buffers_run_out", bounce_buffers_run_out},
	{"request_in_pieces_goes_on", request_in_pieces_goes_on},
	{0},
};

static const struct tap_case end_cases[] = {
	{"end_waits_for_what_is_in_flight", end_waits_for_what_is_in_flight},
	{"end_of_an_idle_queue", end_of_an_idle_queue},
	{"abandon_leaves_what_the_kernel_has_not_seen",
	 abandon_leaves_what_the_kernel_has_not_seen},
	{"abandon_of_what_is_all_cancelled", abandon_of_what_is_all_cancelled},
	{"abandon_of_an_idle_queue", abandon_of_an_idle_queue},
	{"abandon_without_tracking_is_an_end", abandon_without_tracking_is_an_end},
	{"end_of_a_tracked_queue_waits", end_of_a_tracked_queue_waits},
	{"abandon_with_bounce_buffers", abandon_with_bounce_buffers},
	{"abandon_between_two_parts", abandon_between_two_parts},
	{"abandon_of_a_run", abandon_of_a_run},
	{"abandon_of_a_run_that_comes_back_short", abandon_of_a_run_that_comes_back_short},
	{"queue_that_cannot_begin", queue_that_cannot_begin},
	{"engine_that_takes_no_file", engine_that_takes_no_file},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "worker", .setup = oq_setup, .teardown = oq_teardown, .cases = running_cases},
	{.name = "worker start", .teardown = oq_teardown, .cases = start_cases},
	{.name = "worker end", .cases = end_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
