/* SPDX-License-Identifier: BSD-3-Clause */
/* Which worker serves a queue: each disk's are spread evenly, and those of all disks. */
#include "disk/placement.h"

#include <stdlib.h>

#include "tests/tap.h"

#define DISKS   16u
#define WORKERS 5u /* of the last case */
#define QUEUES  7u

static struct placement placement;
static unsigned own[DISKS][64];

static unsigned load[64]; /* by worker, percent */

static unsigned load_of(const struct placement *of, unsigned worker)
{
	REQUIRE(of == &placement && worker < placement.num_workers);
	return load[worker];
}

static void begin(unsigned num_workers)
{
	REQUIRE_EQ(placement_init(&placement, num_workers, load_of), 0);
}

/* Of a disk that may be anywhere. */
static unsigned take(unsigned *of, unsigned index)
{
	return placement_take(&placement, of, index, 0);
}

static void end(void)
{
	for (unsigned i = 0; i < placement.num_workers; i++)
		CHECK_EQ(placement.queues[i], 0);
	placement_end(&placement);
}

static void one_disk_goes_round(void)
{
	begin(3);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 7; i++)
			CHECK_EQ(take(own[0], i), i % 3);
		for (unsigned i = 0; i < 7; i++)
			placement_give_back(&placement, own[0], i % 3);
	}
	end();
}

static void one_that_starts_again_stays(void)
{
	begin(2);
	for (unsigned i = 0; i < 4; i++)
		take(own[0], i);
	placement_give_back(&placement, own[0], 1);
	CHECK_EQ(take(own[0], 3), 1);
	for (unsigned i = 0; i < 4; i++)
		placement_give_back(&placement, own[0], i % 2);
	end();
}

static void first_queues_do_not_meet(void)
{
	begin(4);
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(take(own[i], 0), i % 4);
	/* Where one has left there is room for the next. */
	placement_give_back(&placement, own[2], 2);
	CHECK_EQ(take(own[8], 0), 2);
	for (unsigned i = 0; i < 9; i++)
		if (i != 2)
			placement_give_back(&placement, own[i], i == 8 ? 2 : i % 4);
	end();
}

static void even_ones_only(void)
{
	begin(2);
	CHECK_EQ(take(own[0], 0), 0);
	CHECK_EQ(take(own[0], 2), 1);
	placement_give_back(&placement, own[0], 0);
	placement_give_back(&placement, own[0], 1);
	end();
}

/* The disk's own come first: it has two queues, for which it wants two workers. */
static void a_disk_is_even_beside_others(void)
{
	begin(2);
	CHECK_EQ(take(own[0], 0), 0);
	CHECK_EQ(take(own[1], 0), 1);
	CHECK_EQ(take(own[2], 0), 0);
	CHECK_EQ(take(own[3], 0), 1);
	CHECK_EQ(take(own[3], 1), 0);
	CHECK_EQ(take(own[4], 0), 1);
	CHECK_EQ(take(own[4], 1), 0);
	placement_give_back(&placement, own[0], 0);
	placement_give_back(&placement, own[1], 1);
	placement_give_back(&placement, own[2], 0);
	for (unsigned disk = 3; disk < 5; disk++)
		for (unsigned i = 0; i < 2; i++)
			placement_give_back(&placement, own[disk], i);
	end();
}

static void a_disk_stays_where_it_may_be(void)
{
	const uint64_t among = 1 << 1 | 1 << 3;

	begin(4);
	for (unsigned i = 0; i < 6; i++)
		CHECK_EQ(placement_take(&placement, own[0], i, among), i % 2 ? 3 : 1);
	/* Others keep out of its way, and it out of theirs, as far as it may. */
	CHECK_EQ(take(own[1], 1), 2);
	CHECK_EQ(take(own[2], 3), 0);
	CHECK_EQ(placement_take(&placement, own[3], 2, 1 << 2 | 1 << 3), 2);
	CHECK_EQ(placement_take(&placement, own[3], 3, 1 << 2 | 1 << 3), 3);
	for (unsigned i = 0; i < 6; i++)
		placement_give_back(&placement, own[0], i % 2 ? 3 : 1);
	placement_give_back(&placement, own[1], 2);
	placement_give_back(&placement, own[2], 0);
	placement_give_back(&placement, own[3], 2);
	placement_give_back(&placement, own[3], 3);
	end();
}

static void give_back(unsigned *of, unsigned worker)
{
	placement_give_back(&placement, of, worker);
}

static void queues_go_where_least_is_done(void)
{
	begin(3);
	CHECK_EQ(take(own[0], 0), 0);
	load[0] = 90;
	load[1] = 30;
	load[2] = 10;
	CHECK_EQ(take(own[1], 0), 2);
	CHECK_EQ(take(own[2], 0), 2); /* however many queues there are */
	CHECK_EQ(take(own[2], 1), 1); /* but where it has none itself */
	CHECK_EQ(take(own[2], 2), 0);
	CHECK_EQ(take(own[2], 3), 2);
	CHECK_EQ(placement_take(&placement, own[3], 0, 3), 1); /* and where it may be */
	give_back(own[0], 0);
	give_back(own[1], 2);
	for (unsigned i = 0; i < 3; i++)
		give_back(own[2], i);
	give_back(own[2], 2);
	give_back(own[3], 1);
	end();
}

/* Then the number of queues is what they differ by. */
static void a_little_more_to_do_is_nothing(void)
{
	begin(2);
	CHECK_EQ(take(own[0], 0), 0);
	load[1] = 24;
	CHECK_EQ(take(own[1], 0), 1);
	load[0] = 100;
	load[1] = 76;
	CHECK_EQ(take(own[2], 0), 1);
	load[0] = 50;
	load[1] = 74;
	CHECK_EQ(take(own[3], 0), 0);
	for (unsigned i = 0; i < 4; i++)
		give_back(own[i], i == 1 || i == 2);
	end();
}

/* What firmware has done before does not move the driver's queues about. */
static void a_disk_by_itself_does_not_care(void)
{
	begin(4);
	load[0] = 100;
	load[2] = 50;
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(take(own[0], i), i % 4);
	for (unsigned i = 0; i < 8; i++)
		give_back(own[0], i % 4);
	end();
}

/* Whatever bit it is that says so. */
static void the_last_of_many_will_do(void)
{
	begin(64);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(placement_take(&placement, own[0], i, UINT64_C(1) << 63), 63);
	for (unsigned i = 0; i < 3; i++)
		placement_give_back(&placement, own[0], 63);
	end();
}

static unsigned spread(const unsigned *n)
{
	unsigned least = n[0], most = n[0];

	for (unsigned i = 1; i < WORKERS; i++) {
		least = n[i] < least ? n[i] : least;
		most = n[i] > most ? n[i] : most;
	}
	return most - least;
}

/* Whatever the numbers of queues are, as long as they only come. */
static void all_of_them_are_even(void)
{
	unsigned where[DISKS][QUEUES] = {0};

	begin(WORKERS);
	for (unsigned disk = 0; disk < DISKS; disk++)
		for (unsigned i = 0; i < 1 + disk % QUEUES; i++) {
			where[disk][i] = take(own[disk], i);
			CHECK(spread(own[disk]) <= 1);
			CHECK(spread(placement.queues) <= 1 + (i != 0));
		}
	CHECK(spread(placement.queues) <= 1);
	for (unsigned disk = 0; disk < DISKS; disk++)
		for (unsigned i = 0; i < 1 + disk % QUEUES; i++)
			placement_give_back(&placement, own[disk], where[disk][i]);
	end();
}

static const struct tap_case cases[] = {
	{"one_disk_goes_round", one_disk_goes_round},
	{"one_that_starts_again_stays", one_that_starts_again_stays},
	{"first_queues_do_not_meet", first_queues_do_not_meet},
	{"even_ones_only", even_ones_only},
	{"a_disk_stays_where_it_may_be", a_disk_stays_where_it_may_be},
	{"the_last_of_many_will_do", the_last_of_many_will_do},
	{"queues_go_where_least_is_done", queues_go_where_least_is_done},
	{"a_little_more_to_do_is_nothing", a_little_more_to_do_is_nothing},
	{"a_disk_by_itself_does_not_care", a_disk_by_itself_does_not_care},
	{"a_disk_is_even_beside_others", a_disk_is_even_beside_others},
	{"all_of_them_are_even", all_of_them_are_even},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "placement", .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
