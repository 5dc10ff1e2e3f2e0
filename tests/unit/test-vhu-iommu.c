/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu/iommu.c and lib/vq/iommu.c: a session with VIRTIO_F_ACCESS_PLATFORM, whose front-end is
 * asked for translations on its channel, and answers with messages.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "lib/vhu/dev.h"
#include "tests/unit/support/session.h"

#define BIT(n)    (1ull << (n))
#define IOMMU     (SESSION_FEATURES | BIT(VIRTIO_F_ACCESS_PLATFORM))
#define PAGE      UINT64_C(4096)
#define AWAY      UINT64_C(0xff000000) /* IOVAs are so much higher than guest addresses */
#define READ      1u
#define WRITE     2u
#define RW        3u
#define ACK_FLAGS (VHU_VERSION | VHU_FLAG_REPLY)

static int channel = -1; /* our end */
static struct vublk_chain chain;
static struct iovec iov[8];

static void give_channel(void)
{
	int pair[2];

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	REQUIRE_EQ(session_tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	channel = pair[0];
}

/* What the user does when he is told to. */
static void attend(void)
{
	session.attends = false;
	vublk_dev_attend(session.dev);
}

/* Is this asked for on the channel? IOVAs are given as guest addresses. */
static bool is_asked(uint64_t gpa, unsigned perm)
{
	struct {
		struct vhu_header header;
		struct vhu_iotlb_msg iotlb;
	} __attribute__((packed)) frame;

	attend();
	if (recv(channel, &frame, sizeof(frame), MSG_DONTWAIT) != (ssize_t)sizeof(frame))
		return false;
	CHECK_EQ(frame.header.request, VHU_BACKEND_IOTLB_MSG);
	CHECK_EQ(frame.header.flags, VHU_VERSION | VHU_FLAG_NEED_REPLY);
	CHECK_EQ(frame.iotlb.type, VHU_IOTLB_MISS);
	CHECK_EQ(frame.iotlb.iova, (gpa + AWAY) & ~(PAGE - 1));
	CHECK_EQ(frame.iotlb.perm, perm);
	return true;
}

static bool is_nothing_asked(void)
{
	char byte;

	attend();
	return recv(channel, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
}

static void acknowledge(uint64_t u64)
{
	struct {
		struct vhu_header header;
		uint64_t u64;
	} __attribute__((packed)) frame = {{VHU_BACKEND_IOTLB_MSG, ACK_FLAGS, 8}, u64};

	REQUIRE_EQ(send(channel, &frame, sizeof(frame), 0), (ssize_t)sizeof(frame));
}

static struct vhu_iotlb_msg message(unsigned type, uint64_t gpa, uint64_t size, unsigned perm)
{
	return (struct vhu_iotlb_msg){
		.iova = gpa + AWAY,
		.size = size,
		.uaddr = fe_user_addr(&session.mem, gpa),
		.perm = (uint8_t)perm,
		.type = (uint8_t)type,
	};
}

static int tell(unsigned type, uint64_t gpa, uint64_t size, unsigned perm)
{
	const struct vhu_iotlb_msg iotlb = message(type, gpa, size, perm);

	return session_tell(VHU_IOTLB_MSG, &iotlb, sizeof(iotlb), NULL, 0);
}

static void update(uint64_t gpa, uint64_t size, unsigned perm)
{
	REQUIRE_EQ(tell(VHU_IOTLB_UPDATE, gpa, size, perm), 0);
	attend();
}

/* All of the ring lies in the first pages of memory. */
static uint64_t ring_size(void)
{
	return (session.ring.used_gpa + PAGE) & ~(PAGE - 1);
}

static void tell_addr(void)
{
	const struct vhu_vring_addr addr = {.index = 0,
					    .desc = session.ring.desc_gpa + AWAY,
					    .avail = session.ring.avail_gpa + AWAY,
					    .used = session.ring.used_gpa + AWAY};

	REQUIRE_EQ(session_tell(VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
}

static void start(void)
{
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, SESSION_RING_SIZE), 0);
	tell_addr();
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_CALL, 0, session.ring.call_fd), 0);
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_ERR, 0, session.ring.err_fd), 0);
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
}

static void open_without_channel(void)
{
	session_open();
	REQUIRE_EQ(session_tell_u64(VHU_SET_FEATURES, IOMMU), 0);
	session_make_memory();
	REQUIRE_EQ(session_tell_table(), 0);
	session.events[0] = '\0';
}

static void open_iommu(void)
{
	open_without_channel();
	give_channel();
}

static void open_running(void)
{
	open_iommu();
	update(0, ring_size(), RW);
	start();
	session_check("start0 ");
	vublk_chain_init(&chain, iov, 8);
}

static void close_iommu(void)
{
	session_close();
	close(channel);
	channel = -1;
}

/* ---- messages ---- */

static void messages_that_cannot_be(void)
{
	struct vhu_iotlb_msg iotlb = message(VHU_IOTLB_UPDATE, 0, SESSION_MEMORY + 1, RW);

	CHECK_EQ(session_tell(VHU_IOTLB_MSG, &iotlb, sizeof(iotlb), NULL, 0), 1);
	iotlb.size = UINT64_MAX;
	CHECK_EQ(session_tell(VHU_IOTLB_MSG, &iotlb, sizeof(iotlb), NULL, 0), 1);
	CHECK_EQ(tell(VHU_IOTLB_UPDATE, 0, 0, RW), 1);
	CHECK_EQ(tell(VHU_IOTLB_UPDATE, 0, PAGE, 0), 1);
	CHECK_EQ(tell(VHU_IOTLB_UPDATE, 0, PAGE, 7), 1);
	CHECK_EQ(tell(VHU_IOTLB_MISS, 0, PAGE, RW), 1);
	CHECK_EQ(tell(5, 0, PAGE, RW), 1);
	CHECK_EQ(tell(0, 0, PAGE, RW), 1);
	CHECK_EQ(tell(VHU_IOTLB_UPDATE, 0, SESSION_MEMORY, RW), 0);
	CHECK_EQ(tell(VHU_IOTLB_INVALIDATE, 0, UINT64_MAX, 0), 0);
	CHECK_EQ(tell(VHU_IOTLB_ACCESS_FAIL, 0, PAGE, RW), 0);
}

static void refused_without_the_feature(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES), 0);
	CHECK_EQ(tell(VHU_IOTLB_UPDATE, 0, PAGE, RW), 1);
}

/* Somebody has to be asked. */
static void ring_without_a_channel_does_not_start(void)
{
	const struct vhu_vring_addr addr = {.index = 0, .desc = AWAY, .avail = AWAY, .used = AWAY};

	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, SESSION_RING_SIZE), 0);
	REQUIRE_EQ(session_tell(VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 1);
	session_check("");
}

/* ---- rings ---- */

static void ring_starts_when_it_is_known(void)
{
	start();
	session_check("");
	CHECK(session.attends);
	CHECK(is_asked(0, READ));
	CHECK(is_asked(0, RW));
	CHECK(is_nothing_asked());
	update(0, ring_size(), READ);
	session_check("");
	update(0, ring_size(), RW);
	session_check("start0 resume:1 ");
}

static void base_is_told_while_a_ring_waits(void)
{
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_BASE, 0, 77), 0);
	start();
	CHECK_EQ(session_ask_base(0), 77);
	update(0, ring_size(), RW);
	session_check("");
}

static void ring_stops_while_it_is_not_known(void)
{
	CHECK_EQ(tell(VHU_IOTLB_INVALIDATE, session.ring.used_gpa, 1, 0), 0);
	session_check("stop0 ");
	CHECK(is_asked(0, RW));
	update(0, ring_size(), RW);
	session_check("start0 resume:1 ");
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 0), 0);
	session_check("stop0 ");
}

/* QEMU does when logging is switched, whatever has been taken away just then. */
static void addresses_are_repeated_meanwhile(void)
{
	CHECK_EQ(tell(VHU_IOTLB_INVALIDATE, session.ring.used_gpa, 1, 0), 0);
	session_check("stop0 ");
	tell_addr();
	session_check("");
	CHECK(is_asked(0, RW));
	update(0, ring_size(), RW);
	session_check("start0 resume:1 ");
}

/* The translations stay, and lead to nothing for a while. */
static void memory_goes_and_comes(void)
{
	const uint64_t none = 0;

	fd_take_events(session.ring.err_fd);
	CHECK_EQ(session_tell(VHU_SET_MEM_TABLE, &none, sizeof(none), NULL, 0), 0);
	session_check("stop0 ");
	attend();
	session_check("");
	CHECK_EQ(fd_take_events(session.ring.err_fd), 0);
	CHECK_EQ(session_tell_table(), 0);
	attend();
	session_check("start0 ");
}

/* Until the queue says that it has stopped. */
static void invalidation_waits_for_the_ring(void)
{
	const struct vhu_iotlb_msg iotlb = message(VHU_IOTLB_INVALIDATE, 0, PAGE, 0);

	session.later = true;
	CHECK_EQ(session_send(VHU_IOTLB_MSG, VHU_FLAG_NEED_REPLY, &iotlb, sizeof(iotlb), NULL, 0),
		 1);
	CHECK(session_is_quiet());
	session_answer(0);
	CHECK_EQ(session_take_ack(VHU_IOTLB_MSG), 0);
	session.later = false;
}

static void all_is_forgotten_with_the_last_ring(void)
{
	session_ask_base(0);
	session_check("stop0 ");
	start();
	session_check("");
	CHECK(is_asked(0, READ));
}

/* ---- chains ---- */

#define DATA UINT64_C(0x8000)

static void add(uint64_t gpa, uint32_t len, bool write, uint64_t status)
{
	const struct fe_seg seg[2] = {{.addr = gpa + AWAY, .len = len, .write = write},
				      {.addr = status + AWAY, .len = 1, .write = true}};

	REQUIRE(fe_vq_add(&session.ring, seg, 2, NULL) >= 0);
	fe_vq_publish(&session.ring);
}

static int pop(void)
{
	return vublk_queue_pop(session.queue[0], &chain);
}

static void *host_of(uint64_t gpa)
{
	return vhu_mem_gpa(session.dev->mem, gpa, 1);
}

static void chain_waits_for_its_update(void)
{
	add(DATA + 100, 5000, false, DATA + 0x4000);
	CHECK_EQ(pop(), -EAGAIN);
	CHECK(is_asked(DATA, READ));
	CHECK_EQ(pop(), -EAGAIN);
	CHECK(is_nothing_asked());
	update(DATA, PAGE, READ);
	session_check("update0 resume:1 ");
	CHECK_EQ(pop(), -EAGAIN);
	CHECK(is_asked(DATA + PAGE, READ));
	update(DATA + PAGE, PAGE, RW);
	CHECK_EQ(pop(), -EAGAIN);
	CHECK(is_asked(DATA + 0x4000, WRITE));
	update(DATA + 0x4000, PAGE, WRITE);
	REQUIRE_EQ(pop(), 1);
	CHECK_EQ(chain.out_size, 5000);
	CHECK_EQ(chain.n_out, 2); /* the permissions differ */
	CHECK(chain.out[0].iov_base == host_of(DATA + 100));
	CHECK(chain.out[1].iov_base == host_of(DATA + PAGE));
	CHECK(chain.in[0].iov_base == host_of(DATA + 0x4000));
	vublk_queue_push(session.queue[0], &chain, 1);
}

static void check_failed(uint64_t status)
{
	REQUIRE_EQ(pop(), 1);
	CHECK_EQ(chain.n_out, 0);
	CHECK_EQ(chain.n_in, 1);
	CHECK_EQ(chain.in_size, 1);
	CHECK(chain.in[0].iov_base == host_of(status));
	vublk_queue_push(session.queue[0], &chain, 1);
}

static void refused_by_acknowledgement(void)
{
	update(DATA + 0x4000, PAGE, WRITE);
	add(DATA, 8, false, DATA + 0x4000);
	CHECK_EQ(pop(), -EAGAIN);
	CHECK(is_asked(DATA, READ));
	acknowledge(0); /* which says nothing */
	attend();
	CHECK_EQ(pop(), -EAGAIN);
	update(DATA, PAGE, READ);
	REQUIRE_EQ(pop(), 1);
	vublk_queue_push(session.queue[0], &chain, 1);
	add(DATA + PAGE, 8, false, DATA + 0x4000);
	CHECK_EQ(pop(), -EAGAIN);
	CHECK(is_asked(DATA + PAGE, READ));
	acknowledge(1);
	session.events[0] = '\0';
	attend();
	session_check("update0 resume:1 ");
	check_failed(DATA + 0x4000);
}

static void wrong_permission_fails(void)
{
	update(DATA, PAGE, READ);
	update(DATA + 0x4000, PAGE, WRITE);
	add(DATA, 8, true, DATA + 0x4000);
	CHECK_EQ(pop(), -EAGAIN);
	CHECK(is_asked(DATA, WRITE));
	update(DATA, PAGE, READ);
	CHECK_EQ(pop(), -EAGAIN);
	acknowledge(0);
	attend();
	check_failed(DATA + 0x4000);
}

static void said_by_access_fail(void)
{
	update(DATA + 0x4000, PAGE, WRITE);
	add(DATA, 8, false, DATA + 0x4000);
	CHECK_EQ(pop(), -EAGAIN);
	CHECK(is_asked(DATA, READ));
	CHECK_EQ(tell(VHU_IOTLB_ACCESS_FAIL, DATA, 1, READ), 0);
	check_failed(DATA + 0x4000);
}

static void without_a_status_nothing_is_left(void)
{
	update(DATA, PAGE, READ);
	add(DATA, 8, false, DATA + 0x4000);
	CHECK_EQ(pop(), -EAGAIN);
	CHECK_EQ(tell(VHU_IOTLB_ACCESS_FAIL, DATA + 0x4000, 1, WRITE), 0);
	REQUIRE_EQ(pop(), 1);
	CHECK_EQ(chain.n_out + chain.n_in, 0);
	vublk_queue_push(session.queue[0], &chain, 0);
}

static void channel_that_is_closed_fails_all(void)
{
	update(DATA + 0x4000, PAGE, WRITE);
	add(DATA, 8, false, DATA + 0x4000);
	CHECK_EQ(pop(), -EAGAIN);
	CHECK(is_asked(DATA, READ));
	shutdown(channel, SHUT_RDWR);
	attend();
	check_failed(DATA + 0x4000);
	give_channel();
	add(DATA, 8, false, DATA + 0x4000);
	CHECK_EQ(pop(), -EAGAIN);
	CHECK(is_asked(DATA, READ));
}

static void table_that_cannot_be_read_breaks_the_ring(void)
{
	const struct fe_seg seg = {.addr = DATA + AWAY, .len = 16};

	REQUIRE_EQ(session_ask_base(0), 0);
	REQUIRE_EQ(session_tell_u64(VHU_SET_FEATURES, IOMMU | BIT(VIRTIO_RING_F_INDIRECT_DESC)), 0);
	update(0, ring_size(), RW);
	start();
	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) >= 0);
	session.ring.ring.desc[0].flags = VRING_DESC_F_INDIRECT;
	fe_vq_publish(&session.ring);
	CHECK_EQ(pop(), -EAGAIN);
	CHECK(is_asked(DATA, READ));
	CHECK_EQ(tell(VHU_IOTLB_ACCESS_FAIL, DATA, 1, READ), 0);
	CHECK_EQ(pop(), -EPROTO);
}

/* A chain that has the memory is told from one that has not. */
static void invalidation_is_of_some_chains(void)
{
	const struct vhu_iotlb_msg iotlb = message(VHU_IOTLB_INVALIDATE, DATA, PAGE, 0);
	struct vublk_update *change;
	struct vublk_chain other;
	struct iovec other_iov[8];

	vublk_chain_init(&other, other_iov, 8);
	update(DATA, 0x6000, RW);
	add(DATA + 8, 8, false, DATA + 0x4000);
	add(DATA + 0x2000, 8, false, DATA + 0x4000);
	REQUIRE_EQ(pop(), 1);
	REQUIRE_EQ(vublk_queue_pop(session.queue[0], &other), 1);
	session.later = true;
	session.events[0] = '\0';
	CHECK_EQ(session_send(VHU_IOTLB_MSG, VHU_FLAG_NEED_REPLY, &iotlb, sizeof(iotlb), NULL, 0),
		 1);
	session_check("update0 ");
	change = session.asked[session.n_asked - 1].update;
	CHECK(vublk_update_revokes(change));
	CHECK(vublk_update_revokes_of(change, &chain));
	CHECK(!vublk_update_revokes_of(change, &other));
	CHECK(session_is_quiet());
	session_answer(0);
	CHECK_EQ(session_take_ack(VHU_IOTLB_MSG), 0);
	session.later = false;
	vublk_queue_push(session.queue[0], &chain, 0);
	vublk_queue_push(session.queue[0], &other, 0);
	add(DATA + 8, 8, false, DATA + 0x4000);
	CHECK_EQ(pop(), -EAGAIN);
}

static const struct tap_case bare[] = {
	{"ring_without_a_channel_does_not_start", ring_without_a_channel_does_not_start},
	{0},
};

static const struct tap_case idle[] = {
	{"messages_that_cannot_be", messages_that_cannot_be},
	{"refused_without_the_feature", refused_without_the_feature},
	{"ring_starts_when_it_is_known", ring_starts_when_it_is_known},
	{"base_is_told_while_a_ring_waits", base_is_told_while_a_ring_waits},
	{0},
};

static const struct tap_case running[] = {
	{"ring_stops_while_it_is_not_known", ring_stops_while_it_is_not_known},
	{"addresses_are_repeated_meanwhile", addresses_are_repeated_meanwhile},
	{"memory_goes_and_comes", memory_goes_and_comes},
	{"invalidation_waits_for_the_ring", invalidation_waits_for_the_ring},
	{"all_is_forgotten_with_the_last_ring", all_is_forgotten_with_the_last_ring},
	{"chain_waits_for_its_update", chain_waits_for_its_update},
	{"refused_by_acknowledgement", refused_by_acknowledgement},
	{"wrong_permission_fails", wrong_permission_fails},
	{"said_by_access_fail", said_by_access_fail},
	{"without_a_status_nothing_is_left", without_a_status_nothing_is_left},
	{"channel_that_is_closed_fails_all", channel_that_is_closed_fails_all},
	{"table_that_cannot_be_read_breaks_the_ring", table_that_cannot_be_read_breaks_the_ring},
	{"invalidation_is_of_some_chains", invalidation_is_of_some_chains},
	{0},
};

int main(int argc, char **argv)
{
	static const struct tap_suite suites[] = {
		{.name = "iommu, no channel",
		 .setup = open_without_channel,
		 .teardown = session_close,
		 .cases = bare},
		{.name = "iommu", .setup = open_iommu, .teardown = close_iommu, .cases = idle},
		{.name = "iommu, running",
		 .setup = open_running,
		 .teardown = close_iommu,
		 .cases = running},
		{0},
	};

	return tap_main(argc, argv, suites);
}
