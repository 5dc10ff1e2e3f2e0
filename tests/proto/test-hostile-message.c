/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a hostile front-end can send. Each case ends with the daemon alive, no fd left behind, and a
 * fresh connection served.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define MAX_PAYLOAD 4096u
#define MANY_FDS    64u

static int fds_before;

/* The daemon, once used so that it has what it keeps open, and a front-end that greeted it. */
static void prepare(void)
{
	needs_vublkd(); /* qemu-storage-daemon panics at most of this */
	serve(MIB);
	check_serves();
	greet();
	REQUIRE_OK(fe_sync(&dev.conn));
	fds_before = fe_daemon_count_fds(&server);
}

/* A new connection at the same point as prepare() left the first one. */
static void again(void)
{
	detach();
	greet();
	REQUIRE_OK(fe_sync(&dev.conn));
}

static void check_world(void)
{
	CHECK(fe_daemon_alive(&server));
	again();
	check_fds(fds_before);
	check_serves();
}

static void expect_closed(void)
{
	CHECK_OK(fe_wait_closed(&dev.conn));
	check_world();
}

static void silent_disconnects(void)
{
	prepare();
	for (unsigned int i = 0; i < 20; i++) {
		detach();
		REQUIRE_OK(fe_conn_open(&dev.conn, server.socket));
	}
	check_world();
}

/* Hangs up after every number of bytes of a message that carries an fd. */
static void disconnects_inside_a_message(void)
{
	struct {
		struct vhu_header header;
		struct vhu_mem_reg reg;
	} __attribute__((packed)) msg = {
		.header = {.request = VHU_ADD_MEM_REG, .flags = VHU_VERSION, .size = 40},
	};

	prepare();
	for (size_t n = 1; n < sizeof(msg); n++) {
		int fd = eventfd(0, EFD_CLOEXEC);

		REQUIRE_OK(fe_send_raw(&dev.conn, &msg, n, &fd, 1));
		close(fd);
		if (n % 2) /* only half closed: it must still be noticed */
			shutdown(dev.conn.fd, SHUT_WR);
		if (n % 2)
			CHECK_OK(fe_wait_closed(&dev.conn));
		again();
	}
	check_world();
}

static void sigterm_inside_a_message(void)
{
	struct vhu_header header = {.request = VHU_SET_FEATURES, .flags = VHU_VERSION, .size = 8};
	unsigned int ms;

	prepare();
	REQUIRE_OK(fe_send_raw(&dev.conn, &header, 5, NULL, 0));
	CHECK_EQ(fe_daemon_stop(&server, SIGTERM, &ms), 0);
	CHECK(ms < tap_stretch(100));
}

static void message_in_single_bytes(void)
{
	struct {
		struct vhu_header header;
		uint64_t u64;
	} __attribute__((packed)) msg = {
		.header = {.request = VHU_SET_FEATURES,
			   .flags = VHU_VERSION | VHU_FLAG_NEED_REPLY,
			   .size = 8},
	};
	struct fe_msg reply;

	prepare();
	msg.u64 = dev.features;
	for (size_t i = 0; i < sizeof(msg); i++)
		REQUIRE_OK(fe_send_raw(&dev.conn, (char *)&msg + i, 1, NULL, 0));
	CHECK_OK(fe_recv(&dev.conn, &reply));
	CHECK_EQ(reply.payload.u64, 0);
	check_world();
}

static void many_messages_in_one_write(void)
{
	struct vhu_header burst[100];
	struct fe_msg reply;

	prepare();
	for (unsigned int i = 0; i < 100; i++)
		burst[i] = (struct vhu_header){.request = VHU_GET_FEATURES, .flags = VHU_VERSION};
	REQUIRE_OK(fe_send_raw(&dev.conn, burst, sizeof(burst), NULL, 0));
	for (unsigned int i = 0; i < 100; i++)
		REQUIRE_OK(fe_recv(&dev.conn, &reply));
	check_world();
}

static void payload_too_large(void)
{
	static const uint32_t sizes[] = {MAX_PAYLOAD + 1, 8192, 0x7fffffff, UINT32_MAX};
	struct vhu_header header = {.request = VHU_SET_FEATURES, .flags = VHU_VERSION};

	prepare();
	for (unsigned int i = 0; i < 4; i++) {
		header.size = sizes[i];
		REQUIRE_OK(fe_send_raw(&dev.conn, &header, sizeof(header), NULL, 0));
		CHECK_OK(fe_wait_closed(&dev.conn));
		again();
	}
	check_world();
}

static void largest_payload_is_skipped(void)
{
	static uint8_t payload[MAX_PAYLOAD];

	prepare();
	CHECK_EQ(fe_tell(&dev.conn, VHU_SET_FEATURES, payload, MAX_PAYLOAD, NULL, 0), FE_REFUSED);
	CHECK_EQ(fe_tell(&dev.conn, 1000, payload, MAX_PAYLOAD, NULL, 0), FE_REFUSED);
	CHECK_OK(fe_sync(&dev.conn));
	check_world();
}

static void wrong_version(void)
{
	static const uint32_t versions[] = {0, 2, 3};

	prepare();
	for (unsigned int i = 0; i < 3; i++) {
		REQUIRE_OK(fe_send(&dev.conn, VHU_GET_FEATURES, versions[i], NULL, 0, NULL, 0));
		CHECK_OK(fe_wait_closed(&dev.conn));
		again();
	}
	check_world();
}

/* Every message with every size that some message has: refused or not, never harmful. */
static void every_message_in_many_sizes(void)
{
	static const uint32_t sizes[] = {0,  1,  4,  7,  8,  9,   12,   16,
					 20, 24, 39, 40, 41, 268, 1032, 4096};
	static uint8_t payload[MAX_PAYLOAD];

	prepare();
	for (unsigned int fill = 0; fill < 2; fill++)
		for (uint32_t request = 0; request < VHU_REQUEST_LIMIT; request++)
			for (unsigned int i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
				/* a proper one: from there on nothing is acknowledged */
				if (request == VHU_SET_PROTOCOL_FEATURES && sizes[i] == 8 && !fill)
					continue;
				memset(payload, fill ? 0xff : 0, sizeof(payload));
				int ret = fe_tell(&dev.conn, request, payload, sizes[i], NULL, 0);

				if (ret == -EPIPE)
					again();
				else if (ret == -EPROTO) /* a reply of its own */
					CHECK_OK(fe_sync(&dev.conn));
				else
					tap_check(ret >= 0, true, __FILE__, __LINE__,
						  "message %u of %u bytes: %d", request, sizes[i],
						  ret);
			}
	check_world();
}

static void wrong_sizes_are_refused(void)
{
	static const struct {
		uint32_t request, size;
	} known[] = {
		{VHU_SET_FEATURES, 8},    {VHU_SET_PROTOCOL_FEATURES, 8}, {VHU_SET_OWNER, 0},
		{VHU_SET_VRING_NUM, 8},   {VHU_SET_VRING_BASE, 8},        {VHU_SET_VRING_ENABLE, 8},
		{VHU_SET_VRING_ADDR, 40}, {VHU_SET_VRING_KICK, 8},        {VHU_SET_VRING_CALL, 8},
		{VHU_SET_VRING_ERR, 8},   {VHU_ADD_MEM_REG, 40},          {VHU_REM_MEM_REG, 40},
		{VHU_SET_STATUS, 8},
	};
	uint8_t payload[64] = {0};

	prepare();
	for (unsigned int i = 0; i < sizeof(known) / sizeof(*known); i++)
		for (uint32_t size = 0; size < 64; size++) {
			if (size == known[i].size)
				continue;
			int ret = fe_tell(&dev.conn, known[i].request, payload, size, NULL, 0);

			/* some front-ends send a SET_OWNER with a payload nobody reads */
			if (ret == FE_REFUSED || (ret == 0 && known[i].request == VHU_SET_OWNER))
				continue;
			tap_check(false, true, __FILE__, __LINE__, "message %u of %u bytes: %d",
				  known[i].request, size, ret);
		}
	check_world();
}

/* Every message with fds that nobody asked for. */
static void surplus_fds(void)
{
	uint8_t payload[40] = {0};
	int fds[MANY_FDS];

	prepare();
	for (unsigned int i = 0; i < MANY_FDS; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (uint32_t request = 0; request < VHU_REQUEST_LIMIT; request++)
		for (unsigned int n = 1; n <= 8; n++) {
			int ret = fe_tell(&dev.conn, request, payload, n < 5 ? 8 : 40, fds, n);

			if (ret == -EPIPE)
				again();
			else if (ret == -EPROTO)
				CHECK_OK(fe_sync(&dev.conn));
			else
				CHECK(ret >= 0);
		}
	again();
	check_fds(fds_before);
	CHECK_EQ(fe_tell(&dev.conn, VHU_SET_VRING_KICK, payload, 8, fds, 2), FE_REFUSED);
	CHECK_EQ(fe_tell(&dev.conn, VHU_SET_FEATURES, &dev.features, 8, fds, 1), FE_REFUSED);
	CHECK_EQ(fe_tell(&dev.conn, VHU_SET_OWNER, NULL, 0, fds, 1), FE_REFUSED);
	check_fds(fds_before);
	for (unsigned int i = 0; i < MANY_FDS; i++)
		close(fds[i]);
	check_world();
}

static void more_fds_than_fit(void)
{
	uint64_t payload = 0;
	int fds[253];

	prepare();
	for (unsigned int i = 0; i < 253; i++)
		fds[i] = 1;
	REQUIRE_OK(fe_send(&dev.conn, VHU_SET_VRING_KICK, VHU_VERSION, &payload, 8, fds, 253));
	expect_closed();
}

static void missing_fds(void)
{
	uint64_t index = 0;
	struct vhu_mem_reg reg = {.region = {.guest_addr = 0, .size = 4096, .user_addr = 4096}};
	int fd = eventfd(0, EFD_CLOEXEC);

	prepare();
	CHECK_EQ(fe_tell_u64(&dev.conn, VHU_SET_VRING_KICK, index), FE_REFUSED);
	CHECK_EQ(fe_tell_u64(&dev.conn, VHU_SET_VRING_CALL, index), FE_REFUSED);
	CHECK_EQ(fe_tell_u64(&dev.conn, VHU_SET_VRING_ERR, index), FE_REFUSED);
	CHECK_EQ(fe_tell(&dev.conn, VHU_ADD_MEM_REG, &reg, sizeof(reg), NULL, 0), FE_REFUSED);
	/* said to be none, yet there */
	index |= VHU_VRING_NOFD;
	CHECK_EQ(fe_tell(&dev.conn, VHU_SET_VRING_CALL, &index, 8, &fd, 1), FE_REFUSED);
	/* bits that mean nothing */
	index = 1ull << 32;
	CHECK_EQ(fe_tell(&dev.conn, VHU_SET_VRING_CALL, &index, 8, &fd, 1), FE_REFUSED);
	close(fd);
	check_world();
}

static void fds_of_the_wrong_kind(void)
{
	int file = open(server.image, O_RDONLY | O_CLOEXEC);
	int directory = open(dir, O_RDONLY | O_CLOEXEC);
	int pipes[2], sockets[2];

	prepare();
	REQUIRE_OK(pipe(pipes));
	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
	const int fds[] = {file, directory, pipes[0], pipes[1], sockets[0]};

	for (unsigned int i = 0; i < 5; i++) {
		detach();
		attach();
		check_round_trip(&blk, 0, 4096);
		fe_vq_silence(blk.vq, true);
		/* refused, or of no use; a pipe is what User-mode Linux has for the call */
		CHECK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, fds[i]) >= 0);
		CHECK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_ERR, 0, fds[i]) >= 0);
		CHECK(fe_blk_flush(&blk) == 0);
		CHECK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, 0, fds[i]) >= 0);
		CHECK(fe_daemon_alive(&server));
	}
	close(file);
	close(directory);
	close(pipes[0]);
	close(pipes[1]);
	close(sockets[0]);
	close(sockets[1]);
	check_world();
}

/* Calls into a pipe that nobody reads, a pipe without a reader, an eventfd that would block. */
static void call_fds_that_do_not_take_it(void)
{
	int pipes[2], full = eventfd(0, EFD_CLOEXEC);

	prepare();
	REQUIRE_OK(eventfd_write(full, UINT64_MAX - 1)); /* blocking, and one more would block */
	REQUIRE_OK(pipe2(pipes, O_CLOEXEC));
	fcntl(pipes[1], F_SETPIPE_SZ, 4096);
	const int call[] = {full, pipes[1], pipes[1]};

	for (unsigned int i = 0; i < 3; i++) {
		if (i == 2)
			close(pipes[0]);
		detach();
		attach(.features_off = FE_BIT(VIRTIO_RING_F_EVENT_IDX));
		CHECK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, call[i]) >= 0);
		for (unsigned int n = 0; n < 600; n++) { /* 8 bytes each: a page and more */
			uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
			struct fe_blk_slot *slot = fe_blk_get(&blk);

			REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_GET_ID, 0, 20));
			fe_vq_kick(blk.vq);
			/* the driver wants calls and cannot hear them: it looks */
			while (!fe_blk_reap(&blk, &slot))
				REQUIRE(fe_left_ms(deadline) > 0);
			fe_blk_put(&blk, slot);
		}
	}
	close(pipes[1]);
	close(full);
	check_world();
}

static void impossible_ring_sizes(void)
{
	static const uint32_t nums[] = {0,     1,     3,       100,        32769,
					65535, 65536, 0x20000, 0x80000000, UINT32_MAX};

	prepare();
	for (unsigned int i = 0; i < sizeof(nums) / sizeof(*nums); i++) {
		int ret = fe_tell_state(&dev.conn, VHU_SET_VRING_NUM, 0, nums[i]);

		/* a ring of one is a power of two, if a useless one */
		tap_check(ret == FE_REFUSED || (nums[i] == 1 && !ret), false, __FILE__, __LINE__,
			  "a ring of %u: %d", nums[i], ret);
	}
	check_world();
}

static void impossible_indices(void)
{
	static const uint32_t indices[] = {256, 257, 0x10000, 0x80000000, UINT32_MAX};
	struct vhu_vring_addr addr = {0};

	prepare();
	for (unsigned int i = 0; i < 5; i++) {
		CHECK_EQ(fe_tell_state(&dev.conn, VHU_SET_VRING_NUM, indices[i], 128), FE_REFUSED);
		CHECK_EQ(fe_tell_state(&dev.conn, VHU_SET_VRING_BASE, indices[i], 0), FE_REFUSED);
		CHECK_EQ(fe_tell_state(&dev.conn, VHU_SET_VRING_ENABLE, indices[i], 1), FE_REFUSED);
		addr.index = indices[i];
		CHECK_EQ(fe_tell(&dev.conn, VHU_SET_VRING_ADDR, &addr, 40, NULL, 0), FE_REFUSED);
	}
	/* the only answer to this one would be a lie */
	for (unsigned int i = 0; i < 5; i++) {
		REQUIRE_OK(fe_send(&dev.conn, VHU_GET_VRING_BASE, VHU_VERSION,
				   &(struct vhu_vring_state){.index = indices[i]}, 8, NULL, 0));
		CHECK_OK(fe_wait_closed(&dev.conn));
		again();
	}
	check_world();
}

static void impossible_base_and_enable(void)
{
	prepare();
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_SET_VRING_BASE, 0, 0x10000), FE_REFUSED);
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_SET_VRING_ENABLE, 0, 2), FE_REFUSED);
	check_world();
}

/* Starts queue 0 with these user addresses: somewhere on the way it is refused, and err tells. */
static void refuse_ring(const char *what, uint64_t desc, uint64_t avail, uint64_t used)
{
	struct vhu_vring_addr addr = {.desc = desc, .avail = avail, .used = used};
	struct fe_vq *vq = &dev.vq[0];
	int refused = 0;

	fe_vq_take_event(vq->err_fd);
	CHECK_OK(fe_tell_state(&dev.conn, VHU_SET_VRING_NUM, 0, vq->num));
	CHECK_OK(fe_tell_state(&dev.conn, VHU_SET_VRING_BASE, 0, 0));
	CHECK_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_ERR, 0, vq->err_fd));
	CHECK_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, vq->call_fd));
	refused += fe_tell(&dev.conn, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	if (!refused) {
		refused += fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, 0, vq->kick_fd);
		refused += fe_dev_enable_vq(&dev, 0, true);
		tap_check(!fe_vq_wait_error(vq), false, __FILE__, __LINE__, "%s: no error signal",
			  what);
	}
	tap_check(refused > 0, false, __FILE__, __LINE__, "%s: not refused", what);
	CHECK_OK(fe_dev_enable_vq(&dev, 0, false));
	CHECK_OK(fe_dev_stop_vq(&dev, 0));
}

static void impossible_rings(void)
{
	prepare();
	detach();
	attach(.n_queues = 2);
	const struct fe_vq *vq = &dev.vq[0];
	uint64_t d = fe_user_addr(&dev.mem, vq->desc_gpa), end;
	uint64_t a = fe_user_addr(&dev.mem, vq->avail_gpa);
	uint64_t u = fe_user_addr(&dev.mem, vq->used_gpa);
	struct fe_blk other;

	end = dev.mem.region[0].wire.user_addr + dev.mem.region[0].size;
	REQUIRE_OK(fe_blk_init(&other, &dev, 1, 2, 64 * KIB));
	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
	refuse_ring("descriptors nowhere", 0, a, u);
	refuse_ring("available ring nowhere", d, 16, u);
	refuse_ring("used ring nowhere", d, a, end);
	refuse_ring("descriptors across the end", end - 16, a, u);
	refuse_ring("available ring across the end", d, end - 4, u);
	refuse_ring("used ring across the end", d, a, end - 8);
	refuse_ring("descriptors at the end of addresses", UINT64_MAX - 15, a, u);
	refuse_ring("used ring at the end of addresses", d, a, UINT64_MAX - 3);
	refuse_ring("descriptors misaligned", d + 8, a, u);
	refuse_ring("available ring misaligned", d, a + 1, u);
	refuse_ring("used ring misaligned", d, a, u + 2);
	refuse_ring("used ring on the descriptors", d, a, d);
	refuse_ring("available ring in the descriptors", d, d + 32, u);
	refuse_ring("used ring in the available ring", d, a, (a + 3) & ~3ull);
	check_round_trip(&other, 0, 4096);
	fe_blk_free(&other);
	/* and after all this it starts as if nothing had been */
	fe_vq_reset(&dev.vq[0], 0);
	CHECK_OK(fe_dev_start_vq(&dev, 0));
	check_round_trip(&blk, 0, 4096);
	check_world();
}

static void ring_without_its_parts(void)
{
	struct fe_vq *vq;

	prepare();
	detach();
	attach();
	vq = &dev.vq[0];
	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
	again(); /* a new connection: nothing is set, no memory */
	add_region(0, MIB, 0);
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	int ret = fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, 0, vq->kick_fd);

	/* one of the two would have had to start it */
	ret += fe_dev_enable_vq(&dev, 0, true);
	CHECK(ret > 0);
	/* and of a ring that never ran the base can be asked */
	CHECK_OK(fe_dev_stop_vq(&dev, 0));
	CHECK_EQ(vq->base, 0);
	check_world();
}

/* Leaves after every number of messages of a start. */
static void disconnects_on_the_way_to_a_start(void)
{
	prepare();
	for (unsigned int steps = 0; steps < 12; steps++) {
		unsigned int left = steps;

		again();
		add_region(0, 4 * MIB, 0);
		REQUIRE_OK(fe_dev_make_vqs(&dev));
		struct fe_vq *vq = &dev.vq[0];

#define STEP(call) \
	do { \
		if (left && left--) \
			CHECK_OK(call); \
	} while (0)
		STEP(fe_dev_share_memory(&dev));
		STEP(fe_tell_state(&dev.conn, VHU_SET_VRING_NUM, 0, vq->num));
		STEP(fe_tell_state(&dev.conn, VHU_SET_VRING_BASE, 0, 0));
		STEP(fe_dev_set_addr(&dev, 0));
		STEP(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_ERR, 0, vq->err_fd));
		STEP(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, vq->call_fd));
		STEP(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, 0, vq->kick_fd));
		STEP(fe_dev_enable_vq(&dev, 0, true));
		STEP(fe_dev_set_driver_ok(&dev));
		STEP(fe_dev_enable_vq(&dev, 0, false));
		STEP(fe_dev_stop_vq(&dev, 0));
	}
	check_world();
}

/* Questions without end whose answers nobody reads; then the front-end leaves. */
static void answers_nobody_reads(void)
{
	struct vhu_header ask = {.request = VHU_GET_FEATURES, .flags = VHU_VERSION};
	uint64_t deadline = fe_deadline(2000);
	unsigned int sent = 0;

	prepare();
	while (fe_left_ms(deadline) && sent < 1000000) {
		ssize_t n = send(dev.conn.fd, &ask, sizeof(ask), MSG_NOSIGNAL);

		if (n == (ssize_t)sizeof(ask)) {
			sent++;
			continue;
		}
		/* full: if it stays so, the daemon has stopped reading, or has hung up */
		struct pollfd p = {.fd = dev.conn.fd, .events = POLLOUT};

		if (n >= 0 || errno != EAGAIN || poll(&p, 1, 300) <= 0)
			break;
	}
	CHECK(sent > 100);
	check_world();
}

/* The memory goes away under the device: SIGBUS for who touches it. */
static void memory_truncated(void)
{
	prepare();
	detach();
	attach();
	check_round_trip(&blk, 0, 4096);
	REQUIRE_OK(ftruncate(dev.mem.region[0].fd, 0));
	fe_vq_raw_kick(blk.vq);
	fe_sync(&dev.conn); /* answered or hung up, both are fine */
	CHECK(fe_daemon_alive(&server));
	check_world();
}

static void noise(void)
{
	uint64_t rng = fe_now_ns(), end = fe_deadline(3000);
	uint8_t payload[MAX_PAYLOAD];
	int fds[4];

	prepare();
	tap_diag("the seed is %llu", (unsigned long long)rng);
	for (unsigned int i = 0; i < 4; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	while (fe_left_ms(end)) {
		uint64_t dice = fe_random(&rng);
		static const uint32_t sizes[] = {0, 8, 8, 8, 40, 40, 12, 72};
		uint32_t size = dice % 16 ? sizes[dice >> 8 & 7] : (uint32_t)(dice >> 20) % 200;

		for (unsigned int i = 0; i < size; i++)
			payload[i] = (uint8_t)(fe_random(&rng) % 3 ? 0 : fe_random(&rng) >> 40);
		int ret = fe_send(&dev.conn, (uint32_t)(dice >> 32) % (VHU_REQUEST_LIMIT + 2),
				  VHU_VERSION | (dice >> 60 ? 0 : VHU_FLAG_NEED_REPLY), payload,
				  size, fds, dice % 4 ? 0 : (unsigned int)(dice >> 12 & 3));

		/* reads what there is, so that the daemon need not wait for us */
		while (!ret && recv(dev.conn.fd, payload, sizeof(payload), MSG_DONTWAIT) > 0)
			;
		if (ret || dice % 256 == 0)
			again();
	}
	for (unsigned int i = 0; i < 4; i++)
		close(fds[i]);
	check_world();
}

#define ROW(name) \
	{ \
#name, name \
	}
static const struct tap_case cases[] = {
	ROW(silent_disconnects),
	ROW(disconnects_inside_a_message),
	ROW(sigterm_inside_a_message),
	ROW(message_in_single_bytes),
	ROW(many_messages_in_one_write),
	ROW(payload_too_large),
	ROW(largest_payload_is_skipped),
	ROW(wrong_version),
	ROW(every_message_in_many_sizes),
	ROW(wrong_sizes_are_refused),
	ROW(surplus_fds),
	ROW(more_fds_than_fit),
	ROW(missing_fds),
	ROW(fds_of_the_wrong_kind),
	ROW(call_fds_that_do_not_take_it),
	ROW(impossible_ring_sizes),
	ROW(impossible_indices),
	ROW(impossible_base_and_enable),
	ROW(impossible_rings),
	ROW(ring_without_its_parts),
	ROW(disconnects_on_the_way_to_a_start),
	ROW(answers_nobody_reads),
	ROW(memory_truncated),
	ROW(noise),
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "hostile-message",
	 .setup = proto_setup,
	 .teardown = proto_teardown,
	 .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
