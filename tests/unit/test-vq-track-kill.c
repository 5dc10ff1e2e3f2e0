/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vq/track*.c: a process that is killed after any store. A piece of code runs with a picture of
 * memory after each store (step-recorder.h), and a new queue goes on from every one of them.
 */
#include "tests/unit/support/step-recorder.h"
#include "tests/unit/support/track.h"

/* A ring with `n` requests available of which `taken` are, and some of those given back. */
struct plan {
	bool packed;
	unsigned size;
	uint32_t base;
	unsigned warm; /* rounds before, so that lists are in disorder */
	unsigned n, taken, before, batch;
};

static struct plan plan;
static struct fe_pos first_slot; /* packed: where the first of the n is */
static uint16_t first_idx;       /* split */

static unsigned slots_of(unsigned i)
{
	return plan.packed ? 1 + i % 3 : 1;
}

static unsigned id_of(unsigned i)
{
	return plan.packed ? 100 + i : (3 * i + 1) % plan.size;
}

static unsigned request_of(unsigned id)
{
	unsigned i = 0;

	while (i < plan.n && id_of(i) != id)
		i++;
	return i;
}

static void offer_request(unsigned i)
{
	if (plan.packed)
		packed_offer_list(slots_of(i), id_of(i));
	else
		track_offer(id_of(i));
}

/* The requests that the driver sees as used, in order; how many. */
static unsigned given(unsigned list[RING_CHAINS])
{
	const struct vring_packed_desc *desc = ring.driver.packed.desc;
	struct fe_pos at = first_slot;
	unsigned n = 0;

	if (!plan.packed) {
		const uint16_t idx = ring.driver.ring.used->idx;

		for (uint16_t k = first_idx; k != idx; k++) {
			REQUIRE(n < RING_CHAINS);
			list[n++] = request_of(ring.driver.ring.used->ring[k % plan.size].id);
		}
		return n;
	}
	while (n < plan.n &&
	       (desc[at.idx].flags & (AVAIL | USED)) == (at.wrap ? AVAIL | USED : 0)) {
		bool wrap = at.wrap;

		list[n] = request_of(desc[at.idx].id);
		if (list[n] == plan.n) /* the driver does not know it, and says so */
			return n + 1;
		vq_packed_advance(&ring.vq, &at.idx, &wrap, slots_of(list[n++]));
		at.wrap = wrap;
	}
	return n;
}

static int begin_err;

static void begin(void)
{
	begin_err = vublk_queue_begin(&ring.vq);
}

/* The base that QEMU sends to the next process. */
static uint32_t qemu_base(void)
{
	return plan.packed ? plan.base : ring.driver.ring.used->idx;
}

static void setup_next(void)
{
	ring.layout.base = qemu_base();
	REQUIRE_OK(ring_setup());
}

static bool all_is_well; /* so that a thousand failures are one line */

static void check_next_process(const struct picture *p, const char *when, unsigned step)
{
	unsigned list[RING_CHAINS], n_given, n = 0, expected[RING_CHAINS], n_expected = 0;
	bool seen[RING_CHAINS] = {0}, good = true;

	if (!all_is_well)
		return;
	recorder_restore(p);
	n_given = given(list);
	for (unsigned i = 0; i < n_given; i++) {
		good = good && list[i] < plan.n && !seen[list[i]];
		if (good)
			seen[list[i]] = true;
	}
	for (unsigned i = 0; i < plan.n; i++)
		if (!seen[i])
			expected[n_expected++] = i;
	setup_next();
	begin();
	good = good && !begin_err;
	for (; good && n <= n_expected; n++) {
		vublk_chain_init(&ring.chains[n], ring.iovs[n], RING_IOVS);
		if (vublk_queue_pop(&ring.vq, &ring.chains[n]) != 1)
			break;
		good = n < n_expected && ring.chains[n].id == id_of(expected[n]) &&
		       ring.chains[n].n_out == slots_of(expected[n]) &&
		       ring.chains[n].out[0].iov_base ==
			       ring_host(RING_DATA + (plan.packed ? 16 : 1) * id_of(expected[n]));
		if (!good)
			n++;
		if (!good)
			break;
	}
	good = good && n == n_expected && !vublk_queue_broken(&ring.vq);
	/* In two batches, both in disorder; then each was given back once. */
	for (unsigned half = 0; half < 2; half++) {
		for (unsigned i = n; i--;)
			if (i % 2 == half)
				ring_push(i);
		ring_publish();
	}
	memset(seen, 0, sizeof(seen));
	n_given = given(list);
	good = good && n_given == plan.n;
	for (unsigned i = 0; good && i < n_given; i++) {
		good = list[i] < plan.n && !seen[list[i]];
		if (good)
			seen[list[i]] = true;
	}
	for (unsigned i = 0; i < plan.size; i++)
		good = good && !(plan.packed ? pr->desc[i].inflight : sr->desc[i].inflight);
	if (plan.packed)
		good = good && pr->used.idx == pr->used.old_idx &&
		       pr->used.wrap == pr->used.old_wrap && pr->free_head == pr->old_free_head;
	else
		good = good && sr->used_idx == ring.driver.ring.used->idx;
	vq_teardown(&ring.vq);
	/* And the one after it finds nothing to do. */
	setup_next();
	begin();
	vublk_chain_init(&ring.chain, ring.iov, RING_IOVS);
	good = good && !begin_err && vublk_queue_pop(&ring.vq, &ring.chain) == 0;
	vq_teardown(&ring.vq);
	all_is_well = good;
	tap_check(good, false, __FILE__, __LINE__,
		  "%s ring of %u, base 0x%x, warm %u: %u of %u taken, %u given, %u being given: "
		  "killed %s at %u; %u popped of %u, %u given",
		  plan.packed ? "packed" : "split", plan.size, plan.base, plan.warm, plan.taken,
		  plan.n, plan.before, plan.batch, when, step, n, n_expected, n_given);
}

/* In what order they are given back. */
static unsigned order(unsigned i)
{
	static const unsigned disorder[6] = {2, 0, 1, 5, 3, 4};
	unsigned n = 0;

	for (unsigned k = 0; k < 6; k++)
		if (disorder[k] < plan.taken && n++ == i)
			return disorder[k];
	return 0;
}

static void run_warm_round(void)
{
	for (unsigned i = 0; i < 3; i++)
		offer_request(i);
	for (unsigned i = 0; i < 3; i++)
		ring_pop(i);
	ring_push(1);
	ring_push(0);
	ring_publish();
	ring_push(2);
	ring_publish();
}

static size_t region_size(void)
{
	return plan.packed ? 32 + 32 * plan.size : 16 + 16 * plan.size;
}

static void open_plan(const struct plan *p)
{
	plan = *p;
	track_make(plan.size, plan.size, plan.packed ? RING_PACKED : 0, plan.base);
	REQUIRE_OK(track_start());
	for (unsigned i = 0; i < plan.warm; i++)
		run_warm_round();
	first_slot = (struct fe_pos){ring.vq.used_idx, ring.vq.used_wrap};
	first_idx = ring.vq.used_idx;
	recorder_watch(fe_ptr(&ring.mem, ring.driver.desc_gpa, 1),
		       ring.driver.used_gpa + (plan.packed ? 4 : 4 + 8 * plan.size) -
			       ring.driver.desc_gpa,
		       sr, region_size());
	for (unsigned i = 0; i < plan.n; i++)
		offer_request(i);
	for (unsigned i = 0; i < plan.taken; i++)
		ring_pop(i);
	for (unsigned i = 0; i < plan.before; i++) {
		ring_push(order(i));
		ring_publish();
	}
}

/* The process that ran until here is no more. */
static void die(void)
{
	for (unsigned i = 0; i < plan.taken; i++)
		if (ring.chains[i].lease)
			track_drop(i);
	vq_teardown(&ring.vq);
}

static struct pictures first_kill, second_kill;

static void take_next(void)
{
	vublk_chain_init(&ring.chains[plan.taken], ring.iovs[plan.taken], RING_IOVS);
	vublk_queue_pop(&ring.vq, &ring.chains[plan.taken]);
}

/* Kills it at each step of what it does next, and with `twice` the next one as it recovers. */
static void kill_it(const struct plan *p, bool twice)
{
	unsigned n;

	open_plan(p);
	for (unsigned i = 0; i < plan.batch; i++)
		ring_push(order(plan.before + i));
	if (!plan.batch)
		plan.taken++;
	if (!plan.batch && plan.taken <= plan.n) {
		plan.taken--;
		recorder_run(&first_kill, take_next);
		plan.taken++;
	} else {
		recorder_run(&first_kill, ring_publish);
	}
	die();
	n = first_kill.n;
	CHECK(n > (plan.batch ? 4 : 1)); /* it has seen something */
	for (unsigned i = 0; i < n; i++) {
		check_next_process(&first_kill.p[i], plan.batch ? "giving" : "taking", i);
		if (!twice || !all_is_well)
			continue;
		recorder_restore(&first_kill.p[i]);
		setup_next();
		recorder_run(&second_kill, begin);
		CHECK_OK(begin_err);
		vq_teardown(&ring.vq);
		for (unsigned k = 0; k < second_kill.n; k++)
			check_next_process(&second_kill.p[k], "recovering", k);
	}
	ring_free();
}

static void kill_all(bool packed, bool twice)
{
	static const uint32_t split_bases[] = {0, 65533, 5};
	const uint32_t packed_bases[] = {FE_PACKED_FRESH, packed_base(10, true),
					 packed_base(7, false)};

	all_is_well = true;
	for (unsigned b = 0; b < 3; b++)
		for (unsigned warm = 0; warm < 3; warm++)
			for (unsigned taken = 0; taken <= 6; taken++)
				for (unsigned before = 0; before <= taken && before < 3; before++)
					for (unsigned batch = 0; batch <= taken - before; batch++) {
						const struct plan p = {
							.packed = packed,
							.size = packed ? 13 : 8,
							.base = packed ? packed_bases[b]
								       : split_bases[b],
							.warm = warm,
							.n = packed ? 6 : 7,
							.taken = taken,
							.before = before,
							.batch = batch,
						};

						if (!batch && taken == p.n)
							continue;
						/* Twice takes long: some of them. */
						if (twice && (b != 1 || taken % 3 || batch % 2 ||
							      before == 2))
							continue;
						/* Each base and each number of rounds once. */
						if ((b + warm) % 3 != 2)
							continue;
						kill_it(&p, twice);
					}
}

static void split_killed_anywhere(void)
{
	kill_all(false, false);
}

static void packed_killed_anywhere(void)
{
	kill_all(true, false);
}

static void split_killed_twice(void)
{
	kill_all(false, true);
}

static void packed_killed_twice(void)
{
	kill_all(true, true);
}

/* The first start of all, killed. */
static void check_fresh(bool packed)
{
	plan = (struct plan){.packed = packed,
			     .size = packed ? 13 : 8,
			     .n = 5,
			     .base = packed ? packed_base(11, true) : 65530};
	all_is_well = true;
	open_plan(&plan);
	vq_teardown(&ring.vq);
	memset(sr, 0, region_size());
	setup_next();
	recorder_run(&first_kill, begin);
	CHECK_OK(begin_err);
	vq_teardown(&ring.vq);
	CHECK(first_kill.n > 3);
	for (unsigned i = 0; i < first_kill.n; i++)
		check_next_process(&first_kill.p[i], "in its first start", i);
	ring_free();
}

static void killed_in_its_first_start(void)
{
	check_fresh(false);
	check_fresh(true);
}

static const struct tap_case kill_cases[] = {
	{"split_killed_anywhere", split_killed_anywhere},
	{"packed_killed_anywhere", packed_killed_anywhere},
	{"split_killed_twice", split_killed_twice},
	{"packed_killed_twice", packed_killed_twice},
	{"killed_in_its_first_start", killed_in_its_first_start},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "track kill", .seconds = 120, .cases = kill_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
