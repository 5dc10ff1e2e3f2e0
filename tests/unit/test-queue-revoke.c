/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/queue/queue.c behind an IOMMU: translations that are taken away are waited for as long as a
 * request has the memory, and no longer; and a drain does not wait for a translation.
 */
#include <errno.h>

#include "tests/frontend/fe_time.h"
#include "tests/unit/support/one-queue.h"

static void await_told(void)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);

	while (!oq_n_revoked && fe_left_ms(deadline))
		oq_n_held();
	CHECK_EQ(oq_n_revoked, 1);
}

/* Two writes that do not follow each other, held. */
static void hold_two(void)
{
	oq_add_at(0, RING_DATA, 8);
	oq_add_at(1, RING_DATA + 0x2000, 80);
	fe_vq_kick(&ring.driver);
	oq_check_held(2);
}

static void who_has_it_is_waited_for(void)
{
	hold_two();
	oq_take_away_at(RING_DATA + DATA - 1, 1);
	oq_check_held(2);
	CHECK_EQ(oq_n_revoked, 0);
	oq_release(1); /* the first one */
	await_told();
	CHECK_EQ(oq_n_held(), 1);
}

static void who_has_not_is_not(void)
{
	hold_two();
	oq_take_away_at(RING_DATA + DATA, 0x1000);
	CHECK_EQ(oq_n_revoked, 1);
}

/* Which names no addresses, so it may be anybody's. */
static void everything_is_waited_for(void)
{
	hold_two();
	oq_take_away(&(struct vhu_revoked){.all = true});
	oq_release(1);
	oq_check_held(1);
	CHECK_EQ(oq_n_revoked, 0);
	oq_release(1);
	await_told();
}

static void status_counts_too(void)
{
	hold_two();
	oq_take_away_at(REQUESTS + STRIDE + 32, 1);
	CHECK_EQ(oq_n_revoked, 0);
	oq_release(2);
	await_told();
}

/* ---- drains ---- */

static bool known;

static int translate_later(struct vq_lease *lease, uint64_t addr, bool write,
			   struct vhu_mem_piece *piece)
{
	(void)write;
	if (!known)
		return -EAGAIN;
	*piece = vhu_mem_piece(lease->mem, addr);
	return piece->size ? 0 : -EFAULT;
}

static void know_nothing(void)
{
	ring.vq.lease->translate = translate_later;
	ring.vq.lease->last = (struct vhu_mem_piece){0};
}

static void what_was_not_taken_is_not_waited_for(void)
{
	oq_on_worker(know_nothing);
	oq_add(0, RING_DATA);
	fe_vq_kick(&ring.driver);
	oq_check_held(0);
	oq_end();
	oq_wait_until_drained();
	CHECK_EQ(vq_base(&ring.vq), 0);
	oq_destroy();
}

/* An earlier process has taken a request, whose memory is not known at first. */
static void start_with_one_taken(void)
{
	oq_open_tracked(16);
	oq_add(0, RING_DATA);
	fe_vq_publish(&ring.driver);
	oq.region->version = 1;
	oq.region->desc_num = 16;
	oq.region->desc[0].inflight = 1;
	know_nothing();
	oq_start();
}

/* What an earlier process took stays in the region. */
static void what_cannot_be_had_stays_in_flight(void)
{
	start_with_one_taken();
	oq_check_held(0);
	oq_end();
	oq_wait_until_drained();
	CHECK_EQ(oq_n_in_flight(), 1);
	CHECK_EQ(vq_base(&ring.vq), 0);
	oq_destroy();
}

static void what_can_be_had_is_done(void)
{
	known = true;
	start_with_one_taken();
	oq_end();
	oq_check_held(1);
	CHECK(!oq_has_drained());
	oq_release(1);
	oq_wait_until_drained();
	CHECK_EQ(oq_n_in_flight(), 0);
	oq_destroy();
}

int main(int argc, char **argv)
{
	static const struct tap_case running[] = {
		{"who_has_it_is_waited_for", who_has_it_is_waited_for},
		{"who_has_not_is_not", who_has_not_is_not},
		{"everything_is_waited_for", everything_is_waited_for},
		{"status_counts_too", status_counts_too},
		{0},
	};
	static const struct tap_case ends[] = {
		{"what_was_not_taken_is_not_waited_for", what_was_not_taken_is_not_waited_for},
		{0},
	};
	static const struct tap_case tracked[] = {
		{"what_cannot_be_had_stays_in_flight", what_cannot_be_had_stays_in_flight},
		{"what_can_be_had_is_done", what_can_be_had_is_done},
		{0},
	};
	static const struct tap_suite suites[] = {
		{.name = "revoke", .setup = oq_setup, .teardown = oq_teardown, .cases = running},
		{.name = "drain", .setup = oq_setup, .cases = ends},
		{.name = "recovery", .cases = tracked},
		{0},
	};

	return tap_main(argc, argv, suites);
}
