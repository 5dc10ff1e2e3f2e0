/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vq/queue.c: where a ring may lie, its set-up, its descriptors, and changes while it runs. */
#include <fcntl.h>
#include <sys/socket.h>

#include "tests/unit/support/ring.h"

static void setup(void)
{
	ring_run(16, 0);
}

/* ---- where a ring may lie ---- */

/* In an otherwise empty region: parts that are far apart. */
#define DESC  0x100000u
#define AVAIL 0x200000u
#define USED  0x300000u

static uint64_t uva(uint64_t gpa)
{
	return fe_user_addr(&ring.mem, gpa);
}

static void make_layout(void)
{
	ring_make(16, 0);
	ring.layout = (struct vq_layout){
		.size = 16, .desc = uva(DESC), .avail = uva(AVAIL), .used = uva(USED)};
}

static int translate(bool event_idx)
{
	struct vq_ring found;

	return vq_translate(&ring.vq, &ring.layout, ring.map,
			    (ring.features & RING_PACKED) | (event_idx ? RING_EVENT_IDX : 0),
			    &found);
}

/* The result for a part at this address, all else being right. */
static int translate_with(uint64_t *part, uint64_t address, bool event_idx)
{
	const uint64_t before = *part;
	int err;

	*part = address;
	err = translate(event_idx);
	*part = before;
	return err;
}

static void parts_are_found(void)
{
	struct vq_ring found;

	REQUIRE_OK(vq_translate(&ring.vq, &ring.layout, ring.map, 0, &found));
	CHECK(found.split.desc == ring_host(DESC));
	CHECK(found.split.avail == ring_host(AVAIL));
	CHECK(found.split.used == ring_host(USED));
}

static void check_alignment(uint64_t *part, unsigned align)
{
	for (unsigned i = 0; i <= 16; i++)
		CHECK_EQ(translate_with(part, *part + i, false), i % align ? -EINVAL : 0);
}

static void parts_are_aligned(void)
{
	check_alignment(&ring.layout.desc, 16);
	check_alignment(&ring.layout.avail, 2);
	check_alignment(&ring.layout.used, 4);
}

/*
 * A region's user address and its place in the file need not agree in their last bits, so that a
 * part may be aligned in the front-end's addresses and not in ours. We would tear 16-bit indices.
 */
static void parts_are_aligned_with_us_too(void)
{
	static const uint64_t offsets[] = {1, 2, 4, 8, 16};

	for (unsigned i = 0; i < 5; i++) {
		const struct vhu_region region = {.guest_addr = 1ull << 40,
						  .size = RING_ROOM,
						  .user_addr = 1ull << 40,
						  .mmap_offset = offsets[i]};
		struct vq_layout layout = {.size = 16,
					   .desc = region.user_addr + DESC,
					   .avail = region.user_addr + AVAIL,
					   .used = region.user_addr + USED};
		int fd = fd_memory(RING_ROOM + 16);
		struct vq_ring found;
		struct vhu_mem *map;

		REQUIRE_OK(vhu_mem_new(&map, "test", &region, &fd, 1));
		CHECK_EQ(vq_translate(&ring.vq, &layout, map, 0, &found),
			 offsets[i] % 16 ? -EINVAL : 0);
		close(fd);
		vhu_mem_put(map);
	}
}

/* Each part may end with its region, and not behind it. */
static void check_end(uint64_t *part, unsigned size, unsigned align, bool event_idx)
{
	const uint64_t last = (uva(0) + RING_ROOM - size) & ~(uint64_t)(align - 1);

	CHECK_EQ(translate_with(part, last, event_idx), 0);
	CHECK_EQ(translate_with(part, last + align, event_idx), -EINVAL);
}

static void parts_end_within_the_region(void)
{
	for (unsigned event = 0; event <= 2; event += 2) {
		check_end(&ring.layout.desc, 16 * 16, 16, event);
		check_end(&ring.layout.avail, 4 + 2 * 16 + event, 2, event);
		check_end(&ring.layout.used, 4 + 8 * 16 + event, 4, event);
	}
}

static void parts_outside_memory(void)
{
	CHECK_EQ(translate_with(&ring.layout.desc, 0, false), -EINVAL);
	CHECK_EQ(translate_with(&ring.layout.avail, -(uint64_t)2, false), -EINVAL);
	CHECK_EQ(translate_with(&ring.layout.used, -(uint64_t)4, false), -EINVAL);
}

static void parts_may_touch_but_not_overlap(void)
{
	struct vq_layout *l = &ring.layout;
	const uint64_t avail_size = 4 + 2 * 16, used_size = 4 + 8 * 16;

	CHECK_EQ(translate_with(&l->avail, l->desc + 256, false), 0);
	CHECK_EQ(translate_with(&l->avail, l->desc + 254, false), -EINVAL);
	CHECK_EQ(translate_with(&l->avail, l->desc - avail_size, false), 0);
	CHECK_EQ(translate_with(&l->avail, l->desc - avail_size + 2, false), -EINVAL);
	CHECK_EQ(translate_with(&l->avail, l->desc, false), -EINVAL);
	CHECK_EQ(translate_with(&l->used, l->desc + 256, false), 0);
	CHECK_EQ(translate_with(&l->used, l->desc + 252, false), -EINVAL);
	CHECK_EQ(translate_with(&l->used, l->avail - used_size, false), 0);
	CHECK_EQ(translate_with(&l->used, l->avail - used_size + 4, false), -EINVAL);
	/* The event that follows the ring belongs to it. */
	CHECK_EQ(translate_with(&l->used, l->avail + avail_size, false), 0);
	CHECK_EQ(translate_with(&l->used, l->avail + avail_size, true), -EINVAL);
}

/* ---- packed rings ---- */

static void make_packed_layout(void)
{
	make_layout();
	ring.features = RING_PACKED;
}

static void packed_parts_are_found(void)
{
	struct vq_ring found;

	REQUIRE_OK(vq_translate(&ring.vq, &ring.layout, ring.map, RING_PACKED, &found));
	CHECK(found.packed.desc == ring_host(DESC));
	CHECK(found.packed.driver == ring_host(AVAIL));
	CHECK(found.packed.device == ring_host(USED));
}

static void packed_parts_are_aligned(void)
{
	check_alignment(&ring.layout.desc, 16);
	check_alignment(&ring.layout.avail, 4);
	check_alignment(&ring.layout.used, 4);
}

static void packed_parts_end_within_the_region(void)
{
	for (unsigned event = 0; event < 2; event++) {
		check_end(&ring.layout.desc, 16 * 16, 16, event);
		check_end(&ring.layout.avail, 4, 4, event);
		check_end(&ring.layout.used, 4, 4, event);
	}
}

static void packed_parts_do_not_overlap(void)
{
	struct vq_layout *l = &ring.layout;

	CHECK_EQ(translate_with(&l->avail, l->desc + 256, false), 0);
	CHECK_EQ(translate_with(&l->avail, l->desc + 252, false), -EINVAL);
	CHECK_EQ(translate_with(&l->used, l->avail, false), -EINVAL);
	CHECK_EQ(translate_with(&l->used, l->avail + 4, true), 0);
	CHECK_EQ(translate_with(&l->used, l->avail - 4, true), 0);
}

/* Split: powers of two from 2 on; packed: any. */
static void sizes_of_rings(void)
{
	for (unsigned size = 0; size <= 33000; size++) {
		const bool power = size && !(size & (size - 1));

		REQUIRE_EQ(vq_is_size(size, 0), power && size >= 2 && size <= 32768);
		REQUIRE_EQ(vq_is_size(size, RING_EVENT_IDX), power && size >= 2 && size <= 32768);
		REQUIRE_EQ(vq_is_size(size, RING_PACKED), size >= 1 && size <= 32768);
	}
	CHECK(!vq_is_size(65536, RING_PACKED));
	CHECK(!vq_is_size(UINT32_MAX, RING_PACKED));
	ring.layout.size = 7;
	CHECK_OK(translate(false));
	ring.features = 0;
	CHECK_EQ(translate(false), -EINVAL);
}

/* ---- set-up ---- */

static void setup_takes_a_reference_on_memory(void)
{
	void *host = ring_host(0);

	vhu_mem_put(ring.map);
	ring.map = NULL;
	CHECK(is_mapped(host));
	vq_teardown(&ring.vq);
	CHECK(!is_mapped(host));
}

static void setup_forgets_the_last_run(void)
{
	vublk_queue_break(&ring.vq, "because");
	vq_teardown(&ring.vq);
	fe_vq_reset(&ring.driver, 40);
	ring.layout.base = 40;
	REQUIRE_OK(ring_setup());
	REQUIRE_OK(vublk_queue_begin(&ring.vq));
	CHECK(!vublk_queue_broken(&ring.vq));
	ring_desc(0, RING_DATA, 1, 0, 0);
	REQUIRE_EQ(ring_offer(0), 1);
	vublk_queue_push(&ring.vq, &ring.chain, 0);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(ring.driver.ring.used->idx, 41);
}

static void setup_fails_without_harm(void)
{
	const uint64_t desc = ring.layout.desc;
	void *host = ring_host(0);

	vq_teardown(&ring.vq);
	ring.layout.desc++;
	CHECK_EQ(ring_setup(), -EINVAL);
	ring.layout.desc = desc;
	vhu_mem_put(ring.map);
	ring.map = NULL;
	CHECK(!is_mapped(host));
}

static void setup_takes_over_features(void)
{
	CHECK(!ring.vq.event_idx && !ring.vq.packed);
	vq_teardown(&ring.vq);
	ring.features = RING_INDIRECT | RING_EVENT_IDX;
	REQUIRE_OK(ring_setup());
	CHECK(ring.vq.indirect && ring.vq.event_idx && !ring.vq.packed);
	CHECK_EQ(vublk_queue_size(&ring.vq), 16);
}

/* A call to the session before may have gone unseen. */
static void begin_calls_the_driver(void)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		ring_free();
		ring_make(16, packed ? RING_PACKED : 0);
		ring_give_fds();
		REQUIRE_OK(ring_setup());
		CHECK_EQ(fd_take_events(ring.driver.call_fd), 0);
		REQUIRE_OK(vublk_queue_begin(&ring.vq));
		CHECK_EQ(fd_take_events(ring.driver.call_fd), 1);
		vq_teardown(&ring.vq);
		fe_vq_silence(&ring.driver, true);
		REQUIRE_OK(ring_setup());
		REQUIRE_OK(vublk_queue_begin(&ring.vq));
		CHECK_EQ(fd_take_events(ring.driver.call_fd), 0);
	}
}

/* What cannot begin has done nothing. */
static void begin_that_fails_calls_nobody(void)
{
	ring_free();
	ring_make(16, RING_PACKED);
	ring_give_fds();
	ring.layout.base = 0x80008010;
	ring.driver.packed.device->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	REQUIRE_OK(ring_setup());
	CHECK_EQ(vublk_queue_begin(&ring.vq), -EINVAL);
	CHECK_EQ(fd_take_events(ring.driver.call_fd), 0);
	CHECK_EQ(ring.driver.packed.device->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	CHECK_EQ(vq_base(&ring.vq), 0x80008010);
}

static void reset_closes_the_descriptors(void)
{
	const unsigned before = fds_open();

	vq_teardown(&ring.vq);
	vq_reset(&ring.vq);
	CHECK_EQ(fds_open(), before - 3);
	CHECK_EQ(vublk_queue_kick_fd(&ring.vq), -1);
}

/* ---- descriptors ---- */

static void replace_kick(int fd)
{
	struct vublk_update update = {.kick = true, .kick_fd = fd};

	vublk_queue_apply(&ring.vq, &update);
}

static void drain_kick_empties_an_eventfd(void)
{
	eventfd_write(ring.driver.kick_fd, 3);
	CHECK_OK(vublk_queue_drain_kick(&ring.vq));
	CHECK(!fd_take_events(ring.driver.kick_fd));
	CHECK_OK(vublk_queue_drain_kick(&ring.vq));
}

static void drain_kick_of_a_pipe_until_its_end(void)
{
	int pair[2];

	REQUIRE_OK(pipe2(pair, O_NONBLOCK));
	replace_kick(pair[0]);
	CHECK_OK(vublk_queue_drain_kick(&ring.vq));
	REQUIRE_EQ(write(pair[1], "12345678", 8), 8);
	CHECK_OK(vublk_queue_drain_kick(&ring.vq));
	close(pair[1]);
	CHECK_EQ(vublk_queue_drain_kick(&ring.vq), -EPIPE);
}

static void drain_kick_of_what_cannot_be_read(void)
{
	int pair[2];

	REQUIRE_OK(pipe2(pair, O_NONBLOCK));
	replace_kick(pair[1]);
	CHECK_EQ(vublk_queue_drain_kick(&ring.vq), -EBADF);
	close(pair[0]);
}

/* ---- changes while it runs ---- */

static void apply_replaces_only_what_it_says(void)
{
	const int kick = ring.vq.kick_fd, call = ring.vq.call_fd, err = ring.vq.err_fd;
	const int new = fd_event();

	replace_kick(new);
	CHECK_EQ(vublk_queue_kick_fd(&ring.vq), new);
	CHECK(!fd_is_open(kick));
	CHECK_EQ(ring.vq.call_fd, call);
	CHECK_EQ(ring.vq.err_fd, err);
	CHECK(fd_is_open(call) && fd_is_open(err));
	replace_kick(-1);
	CHECK_EQ(vublk_queue_kick_fd(&ring.vq), -1);
	CHECK(!fd_is_open(new));
}

/* What was to be told over the old one may have gone unseen. */
static void new_call_descriptor_is_called(void)
{
	struct vublk_update update = {.call = true, .call_fd = fd_event()};

	vublk_queue_apply(&ring.vq, &update);
	CHECK_EQ(fd_take_events(ring.vq.call_fd), 1);
	CHECK_EQ(fd_take_events(ring.driver.call_fd), 0);
}

static void driver_that_polls_gets_no_call(void)
{
	struct vublk_update update = {.call = true, .call_fd = fd_event()};

	ring.driver.ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	vublk_queue_apply(&ring.vq, &update);
	CHECK_EQ(fd_take_events(ring.vq.call_fd), 0);
}

static void stopped_ring_calls_nobody(void)
{
	struct vublk_update update = {.call = true, .call_fd = fd_event()};

	vq_teardown(&ring.vq);
	vublk_queue_apply(&ring.vq, &update);
	CHECK_EQ(fd_take_events(ring.vq.call_fd), 0);
}

static void new_error_descriptor_of_a_broken_ring(void)
{
	struct vublk_update update = {.err = true, .err_fd = fd_event()};

	vublk_queue_apply(&ring.vq, &update);
	CHECK_EQ(fd_take_events(ring.vq.err_fd), 0);
	vublk_queue_break(&ring.vq, "because");
	CHECK_EQ(fd_take_events(ring.vq.err_fd), 1);
	update = (struct vublk_update){.err = true, .err_fd = fd_event()};
	vublk_queue_apply(&ring.vq, &update);
	CHECK_EQ(fd_take_events(ring.vq.err_fd), 1);
}

/* Moves the ring to a map of the same memory at other addresses of ours. */
static void move_ring(void)
{
	struct vhu_mem *map = ring_map();
	struct vublk_update update = {.lease = vq_lease_new(map, NULL, 0)};

	REQUIRE(update.lease);
	REQUIRE_OK(vq_translate(&ring.vq, &ring.layout, map, 0, &update.ring));
	vublk_queue_apply(&ring.vq, &update);
	CHECK(!update.lease);
	vhu_mem_put(ring.map);
	ring.map = map;
}

static void ring_moves_with_memory(void)
{
	ring_desc(0, RING_DATA, 1, 0, 0);
	REQUIRE_EQ(ring_offer(0), 1);
	vublk_queue_push(&ring.vq, &ring.chain, 0);
	move_ring();
	ring_desc(1, RING_DATA, 7, 0, 0);
	REQUIRE_EQ(ring_offer(1), 1);
	CHECK(ring_is_at(ring.chain.out, RING_DATA, 7));
	vublk_queue_push(&ring.vq, &ring.chain, 0);
	vublk_queue_publish(&ring.vq);
	CHECK_EQ(ring.driver.ring.used->idx, 2);
}

static void chain_keeps_the_memory_it_was_translated_with(void)
{
	void *old = ring_host(RING_DATA);

	ring_desc(0, RING_DATA, 8, VRING_DESC_F_WRITE, 0);
	REQUIRE_EQ(ring_offer(0), 1);
	move_ring();
	CHECK(is_mapped(old));
	CHECK(ring.chain.in->iov_base == old);
	memcpy(vublk_guest_writable(ring.chain.in->iov_base), "in time", 8);
	vublk_queue_push(&ring.vq, &ring.chain, 8);
	CHECK(!is_mapped(old));
	vublk_queue_publish(&ring.vq);
	CHECK(!strcmp(fe_ptr(&ring.mem, RING_DATA, 8), "in time"));
	CHECK_EQ(ring.driver.ring.used->idx, 1);
}

static void old_memory_goes_at_once_when_nothing_uses_it(void)
{
	void *old = ring_host(RING_DATA);

	move_ring();
	CHECK(!is_mapped(old));
}

static void opaque_and_index(void)
{
	vublk_queue_set_opaque(&ring.vq, &ring);
	CHECK(vublk_queue_opaque(&ring.vq) == &ring);
	vq_init(&ring.vq, "test", 7);
	CHECK_EQ(vublk_queue_index(&ring.vq), 7);
}

static const struct tap_case place_cases[] = {
	{"parts_are_found", parts_are_found},
	{"parts_are_aligned", parts_are_aligned},
	{"parts_are_aligned_with_us_too", parts_are_aligned_with_us_too},
	{"parts_end_within_the_region", parts_end_within_the_region},
	{"parts_outside_memory", parts_outside_memory},
	{"parts_may_touch_but_not_overlap", parts_may_touch_but_not_overlap},
	{"opaque_and_index", opaque_and_index},
	{0},
};

static const struct tap_case packed_cases[] = {
	{"packed_parts_are_found", packed_parts_are_found},
	{"packed_parts_are_aligned", packed_parts_are_aligned},
	{"packed_parts_end_within_the_region", packed_parts_end_within_the_region},
	{"packed_parts_do_not_overlap", packed_parts_do_not_overlap},
	{"sizes_of_rings", sizes_of_rings},
	{0},
};

static const struct tap_case setup_cases[] = {
	{"setup_takes_a_reference_on_memory", setup_takes_a_reference_on_memory},
	{"setup_forgets_the_last_run", setup_forgets_the_last_run},
	{"setup_fails_without_harm", setup_fails_without_harm},
	{"setup_takes_over_features", setup_takes_over_features},
	{"begin_calls_the_driver", begin_calls_the_driver},
	{"begin_that_fails_calls_nobody", begin_that_fails_calls_nobody},
	{"reset_closes_the_descriptors", reset_closes_the_descriptors},
	{0},
};

static const struct tap_case fd_cases[] = {
	{"drain_kick_empties_an_eventfd", drain_kick_empties_an_eventfd},
	{"drain_kick_of_a_pipe_until_its_end", drain_kick_of_a_pipe_until_its_end},
	{"drain_kick_of_what_cannot_be_read", drain_kick_of_what_cannot_be_read},
	{0},
};

static const struct tap_case apply_cases[] = {
	{"apply_replaces_only_what_it_says", apply_replaces_only_what_it_says},
	{"new_call_descriptor_is_called", new_call_descriptor_is_called},
	{"driver_that_polls_gets_no_call", driver_that_polls_gets_no_call},
	{"stopped_ring_calls_nobody", stopped_ring_calls_nobody},
	{"new_error_descriptor_of_a_broken_ring", new_error_descriptor_of_a_broken_ring},
	{"ring_moves_with_memory", ring_moves_with_memory},
	{"chain_keeps_the_memory_it_was_translated_with",
	 chain_keeps_the_memory_it_was_translated_with},
	{"old_memory_goes_at_once_when_nothing_uses_it",
	 old_memory_goes_at_once_when_nothing_uses_it},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "vq place", .setup = make_layout, .teardown = ring_free, .cases = place_cases},
	{.name = "vq packed place",
	 .setup = make_packed_layout,
	 .teardown = ring_free,
	 .cases = packed_cases},
	{.name = "vq setup", .setup = setup, .teardown = ring_free, .cases = setup_cases},
	{.name = "vq fds", .setup = setup, .teardown = ring_free, .cases = fd_cases},
	{.name = "vq apply", .setup = setup, .teardown = ring_free, .cases = apply_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
