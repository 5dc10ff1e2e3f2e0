/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vq/dirty.c: whatever a queue writes to guest memory marks its page, and nothing else does.
 * Each case compares the memory with a copy of what it was.
 */
#include <stdlib.h>

#include "lib/shared/dirty_log.h"
#include "lib/vq/dirty.h"
#include "tests/unit/support/packed.h"
#include "tests/unit/support/ring.h"

#define PAGE     4096u
#define LOG_SIZE (RING_END / PAGE / 8 + 1)
#define REGIONS  3u

static uint8_t *marks, *before[REGIONS];
static int file;

static bool is_marked(uint64_t gpa)
{
	return marks[gpa / PAGE / 8] >> gpa / PAGE % 8 & 1;
}

static unsigned n_marked(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LOG_SIZE; i++)
		n += (unsigned)__builtin_popcount(marks[i]);
	return n;
}

/* From here on, nothing has been written nor marked. */
static void look(void)
{
	memset(marks, 0, LOG_SIZE);
	for (unsigned i = 0; i < REGIONS; i++)
		memcpy(before[i], ring.mem.region[i].host, ring.mem.region[i].size);
}

/* Is each page that was written since marked, and how many were? */
static unsigned check_written(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < REGIONS; i++) {
		const struct fe_region *r = &ring.mem.region[i];

		for (uint64_t at = 0; at < r->size; at += PAGE) {
			if (!memcmp(before[i] + at, r->host + at, PAGE))
				continue;
			n++;
			tap_check(is_marked(r->gpa + at), false, __FILE__, __LINE__,
				  "page 0x%llx was written", (unsigned long long)(r->gpa + at));
		}
	}
	return n;
}

/* The queue marks from now on. */
static void log_from_now_on(void)
{
	const struct vhu_log desc = {LOG_SIZE, 0};
	struct vublk_update update = {.logging = true};

	file = fd_memory(LOG_SIZE);
	marks = mmap(NULL, LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	REQUIRE(marks != MAP_FAILED);
	REQUIRE_OK(vhu_dirty_log_new(&update.log, "test", &desc, file, -1));
	vublk_queue_apply(&ring.vq, &update);
	CHECK(!update.log);
}

static uint64_t features;

static void setup_with(uint64_t with)
{
	features = with;
	/* A ring of several pages. */
	if (with & RING_PACKED)
		ring_run_at(1024, with, FE_PACKED_FRESH);
	else
		ring_run(1024, with);
	for (unsigned i = 0; i < REGIONS; i++)
		before[i] = malloc(ring.mem.region[i].size);
	log_from_now_on();
}

static void setup_split(void)
{
	setup_with(0);
}

static void setup_split_event(void)
{
	setup_with(RING_EVENT_IDX);
}

static void setup_packed(void)
{
	setup_with(RING_PACKED);
}

static void setup_packed_event(void)
{
	setup_with(RING_PACKED | RING_EVENT_IDX);
}

static void teardown(void)
{
	munmap(marks, LOG_SIZE);
	close(file);
	for (unsigned i = 0; i < REGIONS; i++)
		free(before[i]);
	ring_free();
}

/* Makes a chain available: 8 bytes for the device to read, the rest for it to write. */
static void offer(uint64_t in, uint32_t in_size)
{
	const struct fe_seg segs[] = {{.addr = RING_DATA, .len = 8},
				      {.addr = in, .len = in_size, .write = true}};

	REQUIRE(fe_vq_add(&ring.driver, segs, 2, NULL) >= 0);
	fe_vq_publish(&ring.driver);
}

static void take(void)
{
	struct fe_used used;

	REQUIRE_EQ(fe_vq_reap(&ring.driver, &used), 1);
}

static void beginning_marks_all_of_the_ring(void)
{
	const uint64_t used = ring.driver.used_gpa, desc = ring.driver.desc_gpa;

	if (features & RING_PACKED) {
		for (unsigned i = 0; i < 1024; i++)
			CHECK(is_marked(desc + i * sizeof(struct vring_packed_desc)));
		CHECK(is_marked(used));
	} else {
		for (uint64_t at = 0; at < sizeof(struct vring_used) + 8 * 1024; at++)
			CHECK(is_marked(used + at));
	}
	CHECK(n_marked() <= 6);
}

static void data_is_marked_when_the_chain_is_pushed(void)
{
	offer(RING_DATA + 2 * PAGE - 1, PAGE + 2);
	look();
	vublk_chain_init(&ring.chain, ring.iov, RING_IOVS);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	CHECK_EQ(n_marked(), 0);
	CHECK_EQ(vublk_iov_zero(ring.chain.in, ring.chain.n_in, 0, PAGE + 2), PAGE + 2);
	/* An operation that fails has written, too: whatever is said of it, all is marked. */
	vublk_queue_push(&ring.vq, &ring.chain, 0);
	CHECK(is_marked(RING_DATA + PAGE));
	CHECK(is_marked(RING_DATA + 2 * PAGE));
	CHECK(is_marked(RING_DATA + 3 * PAGE));
	CHECK_EQ(n_marked(), 3);
	CHECK(!is_marked(RING_DATA)); /* it was read */
	check_written();
}

static void data_across_regions(void)
{
	offer(RING_MORE - 1, 2);
	look();
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	vublk_queue_push(&ring.vq, &ring.chain, 2);
	CHECK(is_marked(RING_MORE - 1));
	CHECK(is_marked(RING_MORE));
	CHECK_EQ(n_marked(), 2);
}

static void abandoned_data_is_marked(void)
{
	offer(RING_DATA + PAGE, 8);
	look();
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	vublk_queue_abandon(&ring.vq, &ring.chain);
	CHECK(is_marked(RING_DATA + PAGE));
	CHECK_EQ(n_marked(), 1);
}

/* By the map that the chain was translated with, whatever the queue has now. */
static void data_in_a_region_that_has_gone(void)
{
	struct vublk_update update = {0};
	struct vhu_mem *map;

	offer(RING_DATA + PAGE, 8);
	REQUIRE_EQ(vublk_queue_pop(&ring.vq, &ring.chain), 1);
	REQUIRE_OK(vhu_mem_remove(&map, "test", ring.map, &ring.mem.region[1].wire));
	update.lease = vq_lease_new(map, NULL, 0);
	update.ring = ring.vq.ring;
	vublk_queue_apply(&ring.vq, &update);
	look();
	vublk_queue_push(&ring.vq, &ring.chain, 8);
	CHECK(is_marked(RING_DATA + PAGE));
	CHECK_EQ(n_marked(), 1);
	vhu_mem_put(map);
}

/* Three times round the ring, in batches: after each the pages written are those marked. */
static void ring_is_marked_where_it_is_written(void)
{
	for (unsigned done = 0, i = 0; done < 3 * 1024; i++) {
		const unsigned n = 1 + i * 7 % 40;

		for (unsigned k = 0; k < n; k++)
			offer(RING_MORE, 1);
		look();
		for (unsigned k = 0; k < n; k++) {
			ring_pop(k);
			ring_push(k);
		}
		ring_publish();
		CHECK(check_written());
		/* The data, the index, elements on two pages at most. */
		CHECK(n_marked() <= 4);
		for (unsigned k = 0; k < n; k++)
			take();
		done += n;
	}
}

static void wishes_are_marked(void)
{
	look();
	vublk_queue_want_kicks(&ring.vq, false);
	check_written();
	offer(RING_MORE, 1);
	ring_pop_and_push(0);
	ring_publish();
	look();
	vublk_queue_want_kicks(&ring.vq, true);
	CHECK(check_written());
	CHECK_EQ(n_marked(), 1);
}

static void no_log_no_marks(void)
{
	struct vublk_update update = {.logging = true};

	vublk_queue_apply(&ring.vq, &update);
	look();
	offer(RING_MORE, 1);
	ring_pop_and_push(1);
	ring_publish();
	CHECK_EQ(n_marked(), 0);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"beginning_marks_all_of_the_ring", beginning_marks_all_of_the_ring},
		{"data_is_marked_when_the_chain_is_pushed",
		 data_is_marked_when_the_chain_is_pushed},
		{"data_across_regions", data_across_regions},
		{"abandoned_data_is_marked", abandoned_data_is_marked},
		{"data_in_a_region_that_has_gone", data_in_a_region_that_has_gone},
		{"ring_is_marked_where_it_is_written", ring_is_marked_where_it_is_written},
		{"wishes_are_marked", wishes_are_marked},
		{"no_log_no_marks", no_log_no_marks},
		{0},
	};
	static const struct tap_suite suites[] = {
		{.name = "split", .setup = setup_split, .teardown = teardown, .cases = cases},
		{.name = "split event_idx",
		 .setup = setup_split_event,
		 .teardown = teardown,
		 .cases = cases},
		{.name = "packed", .setup = setup_packed, .teardown = teardown, .cases = cases},
		{.name = "packed event_idx",
		 .setup = setup_packed_event,
		 .teardown = teardown,
		 .cases = cases},
		{0},
	};

	return tap_main(argc, argv, suites);
}
