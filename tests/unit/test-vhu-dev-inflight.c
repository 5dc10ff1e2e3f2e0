/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu/dev.c: the in-flight region is made, handed in and used, and GET_VRING_BASE that leaves
 * requests in it.
 */
#include "lib/shared/inflight.h"
#include "tests/unit/support/session.h"

#define BIT(n) (1ull << (n))

#define BASE_INFLIGHT VHU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT
#define SKIP_DRAIN    VHU_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN

/* GET_INFLIGHT_FD in a payload of so many bytes; *fd is the caller's, or -1. */
static struct vhu_inflight_desc get_inflight(unsigned queues, unsigned queue_size, uint32_t payload,
					     int *fd)
{
	const struct vhu_inflight_desc desc = {.mmap_size = 0xdead,
					       .mmap_offset = 0xdead,
					       .num_queues = (uint16_t)queues,
					       .queue_size = (uint16_t)queue_size};
	struct fe_msg reply;

	REQUIRE_EQ(session_send(VHU_GET_INFLIGHT_FD, 0, &desc, payload, NULL, 0), 0);
	REQUIRE(!session_is_quiet());
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, VHU_GET_INFLIGHT_FD);
	CHECK_EQ(reply.header.size, payload);
	CHECK_EQ(reply.payload.inflight.num_queues, queues);
	CHECK_EQ(reply.payload.inflight.queue_size, queue_size);
	CHECK_EQ(reply.payload.inflight.mmap_offset, 0);
	*fd = reply.n_fds ? reply.fds[0] : -1;
	CHECK_EQ(reply.n_fds, reply.payload.inflight.mmap_size ? 1 : 0);
	return reply.payload.inflight;
}

static int set_inflight(const struct vhu_inflight_desc *desc, uint32_t payload, int fd)
{
	return session_tell(VHU_SET_INFLIGHT_FD, desc, payload, &fd, 1);
}

static void region_is_made_and_handed_in(void)
{
	for (uint32_t payload = 20; payload <= 24; payload += 4) {
		const unsigned before = fds_open();
		int fd;
		const struct vhu_inflight_desc desc = get_inflight(2, 128, payload, &fd);

		/* Rings may be longer than what is asked for: 1024, as QEMU 10 makes them. */
		CHECK_EQ(desc.mmap_size, 2 * 16448);
		CHECK_EQ(lseek(fd, 0, SEEK_END), 2 * 16448);
		CHECK_EQ(set_inflight(&desc, payload, fd), 0);
		CHECK_EQ(set_inflight(&desc, payload, fd), 0); /* replaces it */
		close(fd);
		/* The library keeps a duplicate of the last one, by which the session is known. */
		CHECK_EQ(fds_open(), before + (payload == 20));
		CHECK_EQ(lseek(vublk_dev_files(session.dev).inflight, 0, SEEK_END), 2 * 16448);
		CHECK_EQ(vublk_dev_files(session.dev).inflight_offset, 0);
	}
	session_check("");
}

static void packed_region_is_larger(void)
{
	struct vhu_inflight_desc desc;
	int fd;

	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(VIRTIO_F_RING_PACKED)),
		 0);
	desc = get_inflight(1, 128, 24, &fd);
	CHECK_EQ(desc.mmap_size, 32832);
	CHECK_EQ(set_inflight(&desc, 24, fd), 0);
	close(fd);
	/* One for split rings is too small. */
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES), 0);
	desc = get_inflight(1, 128, 24, &fd);
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES | BIT(VIRTIO_F_RING_PACKED)),
		 0);
	desc.queue_size = 1024;
	CHECK_EQ(set_inflight(&desc, 24, fd), 1);
	close(fd);
}

/* "no buffer" is a size of 0 and no descriptor. */
static void no_region_for_what_cannot_be(void)
{
	static const struct {
		unsigned queues, size;
	} wrong[] = {{0, 128}, {1, 0}, {SESSION_QUEUES + 1, 128}, {UINT16_MAX, 128}, {1, 32769}};
	const unsigned before = fds_open();
	int fd;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		CHECK_EQ(get_inflight(wrong[i].queues, wrong[i].size, 24, &fd).mmap_size, 0);
		CHECK_EQ(fd, -1);
	}
	CHECK(get_inflight(SESSION_QUEUES, 32768, 24, &fd).mmap_size > 0);
	close(fd);
	CHECK_EQ(fds_open(), before);
}

static void wrong_region_is_refused(void)
{
	int fd;
	const struct vhu_inflight_desc good = get_inflight(2, 128, 24, &fd);
	struct vhu_inflight_desc wrong = good;

	wrong.num_queues = SESSION_QUEUES + 1;
	CHECK_EQ(set_inflight(&wrong, 24, fd), 1);
	wrong = good;
	wrong.queue_size = 1028;
	CHECK_EQ(set_inflight(&wrong, 24, fd), 1);
	wrong = good;
	wrong.mmap_size = 2 * 2112 - 1;
	CHECK_EQ(set_inflight(&wrong, 24, fd), 1);
	wrong = good;
	wrong.mmap_offset = 2 * 16448 - 2 * 2112 + 8;
	CHECK_EQ(set_inflight(&wrong, 24, fd), 1);
	CHECK_EQ(set_inflight(&good, 24, session.peer.fd), 1);
	CHECK_EQ(set_inflight(&good, 24, fd), 0);
	close(fd);
}

/* Hands in a region for queue 0's ring, before it runs. Answers with a mapping of it. */
static struct inflight_split *track_queue_0(void)
{
	struct inflight_split *region;
	int fd;
	const struct vhu_inflight_desc desc = get_inflight(1, SESSION_RING_SIZE, 24, &fd);

	CHECK_EQ(set_inflight(&desc, 24, fd), 0);
	region = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(region != MAP_FAILED);
	close(fd);
	return region;
}

static void run_queue_0(void)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	session_check("start0 ");
}

static struct vublk_chain taken;
static struct iovec taken_iov[2];

static void take_one(void)
{
	const struct fe_seg seg = {.addr = 0x1000, .len = 8};

	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) >= 0);
	fe_vq_publish(&session.ring);
	vublk_chain_init(&taken, taken_iov, 2);
	REQUIRE_EQ(vublk_queue_pop(session.queue[0], &taken), 1);
}

static void queue_with_a_region_is_tracked(void)
{
	struct inflight_split *region = track_queue_0();

	run_queue_0();
	CHECK(vublk_queue_tracked(session.queue[0]));
	CHECK_EQ(region->version, 1);
	/* The region does not change under it. */
	take_one();
	CHECK_EQ(region->desc[taken.id].inflight, 1);
	vublk_queue_push(session.queue[0], &taken, 0);
	vublk_queue_publish(session.queue[0]);
	munmap(region, 4096);
}

static void region_does_not_change_while_rings_run(void)
{
	int fd;
	const struct vhu_inflight_desc desc = get_inflight(1, SESSION_RING_SIZE, 24, &fd);

	CHECK_EQ(set_inflight(&desc, 24, fd), 1);
	session_ask_base(0);
	CHECK_EQ(set_inflight(&desc, 24, fd), 0);
	close(fd);
}

/* It says so, and the front-end is free to try another one. */
static void ring_with_a_corrupt_region_does_not_start(void)
{
	struct inflight_split *region = track_queue_0();

	region->version = 7;
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 1);
	session_check("start0 ");
	CHECK_EQ(fd_take_events(session.ring.err_fd), 1);
	CHECK_EQ(fd_take_events(session.ring.call_fd), 0);
	CHECK_EQ(session_ask_base(0), 0);
	region->version = 0;
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	session_check("start0 ");
	munmap(region, 4096);
}

/* Too few entries: another back-end gave what it was asked for. It runs, without being tracked. */
static void ring_without_a_place_in_the_region(void)
{
	const struct vhu_inflight_desc desc = {
		.mmap_size = 192, .num_queues = 1, .queue_size = SESSION_RING_SIZE / 2};
	const int fd = fd_memory(desc.mmap_size);

	CHECK_EQ(set_inflight(&desc, 24, fd), 0);
	close(fd);
	run_queue_0();
	CHECK(!vublk_queue_tracked(session.queue[0]));
	CHECK_EQ(fd_take_events(session.ring.err_fd), 0);
}

/* Reset forgets the region: what was in flight is nobody's any more. */
static void reset_forgets_the_region(void)
{
	struct inflight_split *region = track_queue_0();

	run_queue_0();
	CHECK_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	session_check("stop0 features:0 ");
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES), 0);
	session.events[0] = '\0';
	session_prepare(0);
	run_queue_0();
	CHECK(!vublk_queue_tracked(session.queue[0]));
	munmap(region, 4096);
}

/* What 20 and 23 say about who waits, and what is answered. */
static void check_get_base(uint64_t protocol, uint32_t request, bool leaves)
{
	struct inflight_split *region;

	session_open();
	session_make_memory();
	session_negotiate(protocol);
	REQUIRE_EQ(session_tell_table(), 0);
	session_prepare(0);
	region = track_queue_0();
	run_queue_0();
	take_one();
	/* With "drain" its user has given it back before it answers; without, it is let go. */
	if (leaves) {
		vublk_queue_abandon(session.queue[0], &taken);
	} else {
		vublk_queue_push(session.queue[0], &taken, 0);
		vublk_queue_publish(session.queue[0]);
	}
	CHECK_EQ(session_ask_base_by(request, 0), !leaves);
	session_check(leaves ? "leave0 " : "stop0 ");
	CHECK_EQ(region->desc[taken.id].inflight, leaves);
	munmap(region, 4096);
	session_close();
}

static void get_base_leaves_or_drains(void)
{
	const uint64_t without_23 = SESSION_PROTOCOL & ~BIT(SKIP_DRAIN);

	check_get_base(SESSION_PROTOCOL, VHU_GET_VRING_BASE, false);
	check_get_base(SESSION_PROTOCOL, VHU_GET_VRING_BASE_SKIP_DRAIN, true);
	check_get_base(without_23, VHU_GET_VRING_BASE, true);
	check_get_base(without_23 & ~BIT(BASE_INFLIGHT), VHU_GET_VRING_BASE, false);
}

static void skip_drain_waits_for_the_ring(void)
{
	const struct vhu_vring_state state = {0, 0xdead};
	struct fe_msg reply;

	session.later = true;
	CHECK_EQ(session_send(VHU_GET_VRING_BASE_SKIP_DRAIN, 0, &state, sizeof(state), NULL, 0), 1);
	session_check("leave0 ");
	CHECK(session_is_quiet());
	session_answer(0);
	session_check("resume:1 ");
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, VHU_GET_VRING_BASE_SKIP_DRAIN);
	CHECK_EQ(reply.payload.state.index, 0);
	CHECK_EQ(reply.payload.state.num, 0);
	/* Stopped: as after GET_VRING_BASE. */
	CHECK_EQ(session_ask_base(0), 0);
	session_check("");
}

static void skip_drain_of_a_queue_that_there_is_not(void)
{
	const struct vhu_vring_state state = {SESSION_QUEUES, 0};

	CHECK(session_send(VHU_GET_VRING_BASE_SKIP_DRAIN, 0, &state, sizeof(state), NULL, 0) < 0);
	CHECK(session_is_quiet());
}

static const struct tap_case create_cases[] = {
	{"get_base_leaves_or_drains", get_base_leaves_or_drains},
	{0},
};

static const struct tap_case session_cases[] = {
	{"region_is_made_and_handed_in", region_is_made_and_handed_in},
	{"packed_region_is_larger", packed_region_is_larger},
	{"no_region_for_what_cannot_be", no_region_for_what_cannot_be},
	{"wrong_region_is_refused", wrong_region_is_refused},
	{"skip_drain_of_a_queue_that_there_is_not", skip_drain_of_a_queue_that_there_is_not},
	{0},
};

static const struct tap_case prepared_cases[] = {
	{"queue_with_a_region_is_tracked", queue_with_a_region_is_tracked},
	{"ring_with_a_corrupt_region_does_not_start", ring_with_a_corrupt_region_does_not_start},
	{"ring_without_a_place_in_the_region", ring_without_a_place_in_the_region},
	{"reset_forgets_the_region", reset_forgets_the_region},
	{0},
};

static const struct tap_case running_cases[] = {
	{"region_does_not_change_while_rings_run", region_does_not_change_while_rings_run},
	{"skip_drain_waits_for_the_ring", skip_drain_waits_for_the_ring},
	{0},
};

static const struct tap_suite suites[] = {
	SESSION_DEV_SUITES(create_cases, session_cases, prepared_cases, running_cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
