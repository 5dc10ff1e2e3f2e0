/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/queue/throttle.c: what a disk's limits hold of a queue, in which order it goes on, and what
 * does not wait for that. Rates are for unit/test-blk-limits.c; here a turn mostly never comes.
 */
#include <string.h>

#include "src/base/clock.h"
#include "tests/frontend/fe_time.h"
#include "tests/unit/support/one-queue.h"

static struct disk_limits limits;

/* A byte a second: one request begins, and the next one not while a test runs. */
static const struct limits_config writes_wait = {.limit[LIMIT_BPS_WRITE] = {.average = 1}};
static const struct limits_config reads_wait = {.limit[LIMIT_BPS_READ] = {.average = 1}};
static const struct limits_config all_wait = {.limit[LIMIT_BPS_TOTAL] = {.average = 1}};
static const struct limits_config none;

static void start(const struct limits_config *config, bool tracked)
{
	disk_limits_init(&limits, config);
	oq.limits = &limits;
	if (tracked)
		oq_open_tracked(64);
	else
		oq_open(64);
	oq_start();
}

static void end(void)
{
	oq_teardown();
	CHECK_EQ((uintptr_t)limits.queues, 0);
	disk_limits_destroy(&limits);
}

/* Request number i, of any type, with DATA bytes where there is data. */
static void add(unsigned i, uint32_t type, uint64_t sector)
{
	const uint64_t gpa = REQUESTS + i * STRIDE;
	const struct virtio_blk_outhdr header = {.type = type, .sector = sector};
	struct fe_seg segs[3] = {{.addr = gpa, .len = sizeof(header)}};
	unsigned n = 1;

	if (type != VIRTIO_BLK_T_FLUSH)
		segs[n++] = (struct fe_seg){.addr = RING_DATA + i * DATA,
					    .len = type == VIRTIO_BLK_T_GET_ID ? 20 : DATA,
					    .write = type != VIRTIO_BLK_T_OUT};
	segs[n++] = (struct fe_seg){.addr = gpa + 32, .len = 1, .write = true};
	REQUIRE_OK(fe_mem_write(&ring.mem, gpa, &header, sizeof(header)));
	*oq_status_of(i) = 0xaa;
	REQUIRE(fe_vq_add(&ring.driver, segs, n, NULL) >= 0);
}

static void add_write(unsigned i)
{
	add(i, VIRTIO_BLK_T_OUT, 8 * i);
}

static void add_writes(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		add_write(i);
	fe_vq_kick(&ring.driver);
}

static unsigned seen;

static void look(void)
{
	seen = oq.queue->throttle.n_held;
}

static void check_throttled(unsigned n)
{
	oq_on_worker(look);
	CHECK_EQ(seen, n);
}

/* Completions come until this one's status is there. */
static void await_status(unsigned i, uint8_t status)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	struct fe_used used;

	while (*oq_status_of(i) == 0xaa && fe_left_ms(deadline)) {
		REQUIRE_OK(fe_vq_wait(&ring.driver, deadline));
		while (fe_vq_reap(&ring.driver, &used) > 0)
			;
	}
	CHECK_EQ(*oq_status_of(i), status);
}

/* What the target has, by its sectors, in order. */
static uint64_t sectors[8];
static unsigned n_sectors;

static void note_sectors(void)
{
	n_sectors = 0;
	for (const struct io *io = gate.held.head; io && n_sectors < 8; io = io->next)
		sectors[n_sectors++] = io->offset / 512;
}

/* ---- what waits ---- */

static void what_is_too_much_waits(void)
{
	start(&writes_wait, false);
	add_writes(4);
	oq_check_held(1);
	check_throttled(3);
	end();
}

static void without_limits_nothing_does(void)
{
	start(&none, false);
	add_writes(4);
	oq_check_held(4);
	check_throttled(0);
	CHECK_EQ(counter_read(&oq.queue->counters.held), 0);
	CHECK_EQ(counter_read(&oq.queue->counters.throttled_ns), 0);
	end();
}

static void reads_do_not_wait_for_writes(void)
{
	start(&writes_wait, false);
	add_writes(3);
	oq_check_held(1);
	add(3, VIRTIO_BLK_T_IN, 0);
	add(4, VIRTIO_BLK_T_IN, 80);
	fe_vq_kick(&ring.driver);
	oq_check_held(3);
	check_throttled(2);
	end();
}

static void writes_do_not_wait_for_reads(void)
{
	start(&reads_wait, false);
	add(5, VIRTIO_BLK_T_IN, 80);
	add(6, VIRTIO_BLK_T_IN, 88);
	add_writes(3);
	oq_check_held(4);
	check_throttled(1);
	end();
}

/* Discards wait behind writes. */
static void discards_are_writes(void)
{
	start(&writes_wait, false);
	add_writes(1);
	oq_add_at(1, 0, 800);
	fe_vq_kick(&ring.driver);
	oq_check_held(1);
	check_throttled(1);
	end();
}

static void what_is_no_transfer_does_not_wait(void)
{
	start(&all_wait, false);
	add_writes(2);
	oq_check_held(1);
	add(2, VIRTIO_BLK_T_GET_ID, 0);
	fe_vq_kick(&ring.driver);
	await_status(2, VIRTIO_BLK_S_OK);
	add(3, VIRTIO_BLK_T_FLUSH, 0);
	fe_vq_kick(&ring.driver);
	oq_check_held(2);
	check_throttled(1);
	end();
}

static void what_is_wrong_is_answered_at_once(void)
{
	start(&all_wait, false);
	add_writes(2);
	oq_check_held(1);
	add(2, VIRTIO_BLK_T_OUT, UINT64_MAX / 2);
	fe_vq_kick(&ring.driver);
	await_status(2, VIRTIO_BLK_S_IOERR);
	check_throttled(1);
	end();
}

/* ---- how it goes on ---- */

/* Ten a second, and nobody but the timer wakes the worker. */
static void turns_come_by_themselves(void)
{
	static const struct limits_config config = {.limit[LIMIT_IOPS_TOTAL] = {.average = 10}};
	const int64_t begin = now_ns();

	start(&config, false);
	oq_release(100);
	add_writes(4);
	await_status(3, VIRTIO_BLK_S_OK);
	CHECK(now_ns() - begin >= 299000000);
	CHECK_EQ(counter_read(&oq.queue->counters.held), 3);
	CHECK(counter_read(&oq.queue->counters.throttled_ns) >= 299000000);
	end();
}

static void order_is_kept(void)
{
	start(&writes_wait, false);
	add_writes(5);
	oq_check_held(1);
	disk_limits_set(&limits, &none);
	oq_check_held(5);
	oq_on_worker(note_sectors);
	for (unsigned i = 0; i < 5; i++)
		CHECK_EQ(sectors[i], 8 * i);
	end();
}

/* What comes when the limits are gone, but not all that they held: behind that. */
static void nobody_overtakes(void)
{
	static const struct limits_config wide = {.limit[LIMIT_BPS_WRITE] = {.average = 1 << 30}};

	start(&writes_wait, false);
	add_writes(2);
	oq_check_held(1);
	add_write(2);
	disk_limits_set(&limits, &wide);
	fe_vq_kick(&ring.driver);
	oq_check_held(3);
	oq_on_worker(note_sectors);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(sectors[i], 8 * i);
	end();
}

static struct io *last_held;

static void note_last(void)
{
	last_held = gate.held.head;
	while (last_held && last_held->next)
		last_held = last_held->next;
}

/* The worker hears of both in one iteration. */
static void lift_and_kick(void)
{
	disk_limits_set(&limits, &none);
	throttle_look_again(&oq.queue->throttle);
	fe_vq_kick(&ring.driver);
	worker_schedule(oq.worker, &oq.queue->task);
}

/* So many that they are begun in several batches. */
static void nobody_comes_between_batches(void)
{
	disk_limits_init(&limits, &writes_wait);
	oq.limits = &limits;
	oq_open(1024);
	oq_start();
	for (unsigned i = 0; i < 300; i++)
		oq_add_at(i, RING_DATA, 8 * i);
	fe_vq_kick(&ring.driver);
	oq_check_held(1);
	check_throttled(299);
	oq_add_at(300, RING_DATA, 8 * 300);
	oq_on_worker(lift_and_kick);
	oq_check_held(301);
	oq_on_worker(note_last);
	CHECK_EQ(last_held->offset, 8 * 300 * 512);
	end();
}

/* Those that go on together are one operation. */
static void adjacent_ones_are_merged(void)
{
	start(&writes_wait, false);
	add_writes(1);
	oq_check_held(1);
	for (unsigned i = 1; i < 9; i++)
		add(i, VIRTIO_BLK_T_OUT, 100 + i);
	fe_vq_kick(&ring.driver);
	oq_check_held(1);
	check_throttled(8);
	disk_limits_set(&limits, &none);
	oq_check_held(2);
	oq_release(2);
	for (unsigned i = 0; i < 9; i++)
		await_status(i, VIRTIO_BLK_S_OK);
	end();
}

/* Changes reach who waits, to and fro. */
static void changes_are_heard(void)
{
	start(&none, false);
	add_writes(1);
	oq_check_held(1);
	disk_limits_set(&limits, &writes_wait);
	for (unsigned i = 1; i < 4; i++)
		add_write(i);
	fe_vq_kick(&ring.driver);
	oq_check_held(2);
	disk_limits_set(&limits, &reads_wait);
	oq_check_held(4);
	check_throttled(0);
	end();
}

static void truncated(void)
{
	atomic_store(&oq.disk.blk.end->limit, 512);
}

/* A file would grow again. */
static void what_is_cut_off_meanwhile_is_not_written(void)
{
	start(&writes_wait, false);
	add_writes(2);
	oq_check_held(1);
	oq_on_worker(truncated);
	disk_limits_set(&limits, &none);
	await_status(1, VIRTIO_BLK_S_IOERR);
	CHECK_EQ(oq_n_held(), 1);
	end();
}

/* ---- what is told of it ---- */

static struct mailbox listener;
static unsigned n_told;

static void note_told(struct nudge *nudge)
{
	CHECK(nudge == &limits.holds);
	n_told++;
}

/* So often it was told since the last time. */
static void check_told(unsigned n)
{
	n_told = 0;
	mailbox_run(&listener);
	CHECK_EQ(n_told, n);
}

static void start_listening(const struct limits_config *config)
{
	REQUIRE_OK(mailbox_init(&listener));
	disk_limits_init(&limits, config);
	disk_limits_watch(&limits, &listener, note_told, NULL);
	oq.limits = &limits;
	oq_open(64);
	oq_start();
}

static void it_is_told_once_until_it_was_calm(void)
{
	start_listening(&writes_wait);
	add_writes(1);
	oq_check_held(1);
	check_told(0);
	add_write(1);
	add_write(2);
	fe_vq_kick(&ring.driver);
	oq_check_held(1);
	check_told(1);
	CHECK(!strcmp(disk_limits_waited_for(&limits), "bps-write"));
	CHECK_EQ(counter_read(&oq.queue->counters.held_now), 2);
	/* It goes on: something is held still, though nothing new. */
	CHECK(!disk_limits_are_calm(&limits));
	CHECK(!disk_limits_are_calm(&limits));
	add_write(3);
	fe_vq_kick(&ring.driver);
	oq_check_held(1);
	check_throttled(3);
	check_told(0);
	disk_limits_set(&limits, &none);
	oq_check_held(4);
	CHECK_EQ(counter_read(&oq.queue->counters.held_now), 0);
	CHECK(disk_limits_are_calm(&limits));
	disk_limits_set(&limits, &writes_wait);
	add_write(4);
	add_write(5);
	fe_vq_kick(&ring.driver);
	oq_check_held(5);
	check_told(1);
	end();
	mailbox_destroy(&listener);
}

/* ---- memory that is taken away ---- */

/* The third one has it: it begins, and who is before it, too. */
static void revoked_memory_does_not_wait(void)
{
	start(&writes_wait, false);
	add_writes(5);
	oq_check_held(1);
	oq_take_away_at(RING_DATA + 2 * DATA, 1);
	oq_check_held(3);
	check_throttled(2);
	CHECK_EQ(oq_n_revoked, 0);
	oq_release(3);
	for (unsigned i = 0; i < 3; i++)
		await_status(i, VIRTIO_BLK_S_OK);
	oq_check_held(0);
	CHECK_EQ(oq_n_revoked, 1);
	end();
}

static void other_memory_does(void)
{
	start(&writes_wait, false);
	add_writes(5);
	oq_check_held(1);
	oq_take_away_at(RING_DATA + 32 * DATA, 1);
	CHECK_EQ(oq_n_revoked, 1);
	oq_check_held(1);
	check_throttled(4);
	end();
}

/* ---- the end ---- */

/* It has drained. */
static void finish(void)
{
	oq_destroy();
	CHECK_EQ((uintptr_t)limits.queues, 0);
	disk_limits_destroy(&limits);
}

/* More than are begun at once. */
static void drain_waits_for_no_turn(void)
{
	disk_limits_init(&limits, &writes_wait);
	oq.limits = &limits;
	oq_open(256);
	oq_start();
	for (unsigned i = 0; i < 80; i++)
		oq_add_at(i, RING_DATA, 8 * i);
	fe_vq_kick(&ring.driver);
	oq_check_held(1);
	check_throttled(79);
	oq_end();
	oq_check_held(80);
	CHECK(!oq_has_drained());
	oq_release(80);
	oq_wait_until_drained();
	for (unsigned i = 0; i < 80; i++)
		CHECK_EQ(*oq_status_of(i), VIRTIO_BLK_S_OK);
	finish();
}

/* What is held stays in the region, at once; what the kernel has is waited for. */
static void abandon_waits_for_no_turn(void)
{
	start(&writes_wait, true);
	gate.n_begun = 1;
	add_writes(5);
	oq_check_held(1);
	CHECK_EQ(oq_n_in_flight(), 5);
	oq_abandon();
	check_throttled(0);
	oq_check_held(1);
	oq_release(1);
	oq_wait_until_drained();
	CHECK_EQ(oq_n_in_flight(), 4);
	CHECK_EQ(*oq_status_of(0), VIRTIO_BLK_S_OK);
	CHECK_EQ(*oq_status_of(1), 0xaa);
	finish();
}

/* Without a region there is nobody who would go on with it. */
static void abandon_without_region_is_drain(void)
{
	start(&writes_wait, false);
	add_writes(5);
	oq_check_held(1);
	oq_abandon();
	oq_check_held(5);
	oq_release(5);
	oq_wait_until_drained();
	finish();
}

/* What is on its way to a queue that ends is waited for. */
static void change_and_abandon(void)
{
	disk_limits_set(&limits, &all_wait);
	queue_abandon(oq.queue, oq_drained);
}

static void end_waits_for_the_last_change(void)
{
	start(&writes_wait, true);
	add_writes(5);
	oq_check_held(1);
	oq_on_worker(change_and_abandon);
	oq_wait_until_drained();
	CHECK_EQ(oq_n_in_flight(), 5);
	finish();
}

/* Nobody is told of a change who is gone. */
static void changes_and_end_meet(void)
{
	start(&writes_wait, true);
	add_writes(5);
	oq_release(100);
	for (unsigned i = 0; i < 200; i++) {
		disk_limits_set(&limits, i % 2 ? &writes_wait : &all_wait);
		if (i == 100)
			oq_abandon();
	}
	oq_wait_until_drained();
	disk_limits_set(&limits, &none);
	finish();
}

int main(int argc, char **argv)
{
	static const struct tap_case waits[] = {
		{"what_is_too_much_waits", what_is_too_much_waits},
		{"without_limits_nothing_does", without_limits_nothing_does},
		{"reads_do_not_wait_for_writes", reads_do_not_wait_for_writes},
		{"writes_do_not_wait_for_reads", writes_do_not_wait_for_reads},
		{"discards_are_writes", discards_are_writes},
		{"what_is_no_transfer_does_not_wait", what_is_no_transfer_does_not_wait},
		{"what_is_wrong_is_answered_at_once", what_is_wrong_is_answered_at_once},
		{0},
	};
	static const struct tap_case goes_on[] = {
		{"turns_come_by_themselves", turns_come_by_themselves},
		{"order_is_kept", order_is_kept},
		{"nobody_overtakes", nobody_overtakes},
		{"nobody_comes_between_batches", nobody_comes_between_batches},
		{"adjacent_ones_are_merged", adjacent_ones_are_merged},
		{"changes_are_heard", changes_are_heard},
		{"what_is_cut_off_meanwhile_is_not_written",
		 what_is_cut_off_meanwhile_is_not_written},
		{0},
	};
	static const struct tap_case told[] = {
		{"it_is_told_once_until_it_was_calm", it_is_told_once_until_it_was_calm},
		{0},
	};
	static const struct tap_case revokes[] = {
		{"revoked_memory_does_not_wait", revoked_memory_does_not_wait},
		{"other_memory_does", other_memory_does},
		{0},
	};
	static const struct tap_case ends[] = {
		{"drain_waits_for_no_turn", drain_waits_for_no_turn},
		{"abandon_waits_for_no_turn", abandon_waits_for_no_turn},
		{"abandon_without_region_is_drain", abandon_without_region_is_drain},
		{"end_waits_for_the_last_change", end_waits_for_the_last_change},
		{"changes_and_end_meet", changes_and_end_meet},
		{0},
	};
	static const struct tap_suite suites[] = {
		{.name = "waits", .cases = waits}, {.name = "goes on", .cases = goes_on},
		{.name = "told", .cases = told},   {.name = "revoke", .cases = revokes},
		{.name = "end", .cases = ends},    {0},
	};

	return tap_main(argc, argv, suites);
}
