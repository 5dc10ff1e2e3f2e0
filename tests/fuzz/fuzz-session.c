/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library under a hostile front-end and guest: any messages with any descriptors, guest memory,
 * rings and in-flight region written at any time, sessions that end and begin again with what was
 * there. The user is a worker that answers at once, or lets a queue wait, and holds chains as long
 * as it likes.
 *
 * What must hold: no access to memory that is not the guest's, every chain that is popped can be
 * read, written and pushed once, the session says what memory and region there are, one that ends
 * leaves nothing behind, descriptors included.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/proto.h"
#include "lib/vhu/dev.h"
#include "lib/vublk.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/session_user.h"

#define MEMORY   65536u /* bytes of guest memory, and of a region */
#define USER     0x100000u
#define FEATURES 0x7full

static struct {
	struct vublk_dev *dev;
	int peer;
	int channel; /* our end of the back-end's, or -1 */
	int memory_fd, region_fd, event_fd;
	int state_end; /* our end of the pipe for a state, -1: none */
	uint8_t *memory, *region;
} fuzz;

/* ---- the front-end ---- */

/* Does the session say what there is, and nothing else? */
static void check_session(void)
{
	static const struct vhu_region no_region;
	static const struct vhu_session_ring no_ring;
	const struct vhu_session *session = fuzz.dev->session;
	const struct vhu_mem *mem = vhu_postcopy_newest(fuzz.dev);
	struct iovec range[VHU_MEM_MAX_SLOTS];
	unsigned n = 0;

	FUZZ_CHECK(session->version == VHU_SESSION_VERSION);
	FUZZ_CHECK(session->has_memory == (mem ? 1 : 0));
	FUZZ_CHECK(session->has_inflight == (fuzz.dev->inflight ? 1 : 0));
	if (fuzz.dev->inflight)
		FUZZ_CHECK(session->inflight_packed == vhu_inflight_is_packed(fuzz.dev->inflight));
	if (mem)
		n = vhu_mem_ranges(mem, range, VHU_MEM_MAX_SLOTS);
	FUZZ_CHECK(session->n_regions == n);
	for (unsigned i = 0; i < n; i++) {
		const struct vhu_region *region = &session->region[i];

		FUZZ_CHECK(region->size == range[i].iov_len);
		FUZZ_CHECK(vhu_mem_piece(mem, region->guest_addr).gpa == region->guest_addr);
	}
	if (n < VHU_MEM_MAX_SLOTS)
		FUZZ_CHECK(!memcmp(&session->region[n], &no_region, sizeof(no_region)));
	FUZZ_CHECK(!memcmp(&session->ring[FUZZ_QUEUES], &no_ring, sizeof(no_ring)));
	for (unsigned i = 0; i < FUZZ_QUEUES; i++)
		FUZZ_CHECK(session->ring[i].started || !session->ring[i].inband);
}

/* What is to be said of a ring, somebody will say. */
static void check_announced(void)
{
	const bool inband = vhu_dev_has(fuzz.dev, VHU_PROTOCOL_F_INBAND_NOTIFICATIONS);

	for (unsigned i = 0; i < FUZZ_QUEUES; i++)
		FUZZ_CHECK(!fuzz.dev->vring[i].inband.due || fuzz_user.due ||
			   fuzz_user.room_fd >= 0 || fuzz.dev->backend.fd < 0 || !inband);
	FUZZ_CHECK(fuzz_user.room_fd < 0 || inband);
}

static void take_replies(void)
{
	char data[4096], control[CMSG_SPACE(8 * sizeof(int))];

	for (;;) {
		struct iovec iov = {data, sizeof(data)};
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control)};

		if (recvmsg(fuzz.peer, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
			return;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
			int *fd = (int *)(void *)CMSG_DATA(c);

			for (size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); n--; fd++)
				close(*fd);
		}
	}
}

static void send_message(uint32_t request, uint32_t flags, const void *payload, uint32_t size,
			 const int *fds, unsigned n_fds)
{
	struct vhu_header header = {request, flags, size};
	struct iovec iov[] = {{&header, sizeof(header)}, {(void *)payload, size}};
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))] = {0};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	if (fuzz_user.over)
		return;
	if (n_fds) {
		struct cmsghdr *c = (void *)control;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	if (sendmsg(fuzz.peer, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
	if (vublk_dev_input(fuzz.dev) < 0)
		fuzz_user.over = true;
	check_session();
	take_replies();
}

static void tell(uint32_t request, const void *payload, uint32_t size, int fd)
{
	send_message(request, VHU_VERSION | VHU_FLAG_NEED_REPLY, payload, size, &fd, fd >= 0);
}

static void tell_u64(uint32_t request, uint64_t value, int fd)
{
	tell(request, &value, sizeof(value), fd);
}

static void tell_state(uint32_t request, uint32_t index, uint32_t num)
{
	const struct vhu_vring_state state = {index, num};

	tell(request, &state, sizeof(state), -1);
}

static int any_fd(uint8_t kind)
{
	const int fds[] = {fuzz.memory_fd, fuzz.region_fd, fuzz.event_fd, fuzz.peer};

	return fds[kind % 4];
}

static void any_message(struct fuzz_input *in)
{
	const uint32_t request = fuzz_u8(in) % 52, flags = fuzz_u8(in);
	const uint32_t size = fuzz_u8(in) | (flags & 0x80 ? 0x100u : 0);
	const unsigned n_fds = fuzz_u8(in) % 5;
	uint8_t payload[512];
	int fds[4];

	fuzz_bytes(in, payload, size);
	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = any_fd(fuzz_u8(in));
	send_message(request, VHU_VERSION ^ (flags & 0x4f), payload, size, fds, n_fds);
}

static void share_memory(struct fuzz_input *in)
{
	const uint64_t half = fuzz_u8(in) & 1 ? MEMORY / 2 : MEMORY;
	const struct vhu_mem_table table = {
		.count = 1, .region = {{.guest_addr = 0, .size = half, .user_addr = USER}}};

	tell(VHU_SET_MEM_TABLE, &table, 8 + sizeof(struct vhu_region), fuzz.memory_fd);
}

static void tell_addresses(struct fuzz_input *in)
{
	const struct vhu_vring_addr addr = {
		.index = fuzz_u8(in) % FUZZ_QUEUES,
		.desc = USER + fuzz_u8(in) * 256u,
		.avail = USER + fuzz_u8(in) * 256u,
		.used = USER + fuzz_u8(in) * 256u,
	};

	tell(VHU_SET_VRING_ADDR, &addr, sizeof(addr), -1);
}

static void tell_region(struct fuzz_input *in)
{
	const struct vhu_inflight_desc desc = {
		.mmap_size = fuzz_u16(in) + 1u,
		.mmap_offset = fuzz_u8(in) & ~7u,
		.num_queues = fuzz_u8(in) % (FUZZ_QUEUES + 2),
		.queue_size = 1u << fuzz_u8(in) % 10,
	};

	tell(VHU_SET_INFLIGHT_FD, &desc, sizeof(desc), fuzz.region_fd);
}

/* In a file that has other uses: what is marked there spoils them. */
static void tell_log(struct fuzz_input *in)
{
	const struct vhu_log desc = {.size = fuzz_u8(in), .offset = fuzz_u16(in)};

	tell(VHU_SET_LOG_BASE, &desc, sizeof(desc),
	     fuzz_u8(in) & 1 ? fuzz.memory_fd : fuzz.region_fd);
}

static void close_state(void)
{
	if (fuzz.state_end >= 0)
		close(fuzz.state_end);
	fuzz.state_end = -1;
}

static void look_at_state(void)
{
	if (fuzz_user.state_fd >= 0)
		vublk_dev_state_input(fuzz.dev);
}

/* Gives one end of a pipe away, perhaps the wrong one. */
static void transfer_state(struct fuzz_input *in)
{
	const uint8_t choice = fuzz_u8(in);
	const struct vhu_transfer_params params = {choice & 1, (choice & 14) == 14};
	const int theirs = choice & 16 ? params.direction : !params.direction;
	int pair[2];

	close_state();
	FUZZ_CHECK(!pipe2(pair, O_CLOEXEC | O_NONBLOCK));
	fuzz.state_end = pair[!theirs];
	tell(VHU_SET_DEVICE_STATE_FD, &params, sizeof(params), pair[theirs]);
	close(pair[theirs]);
}

/* A state that is one, or a part of it, or not quite. */
static void write_state(struct fuzz_input *in)
{
	struct vhu_state state = {VHU_STATE_MAGIC, VHU_STATE_VERSION, 1};
	const uint8_t choice = fuzz_u8(in), at = fuzz_u8(in) % sizeof(state);

	if (choice & 1)
		((uint8_t *)&state)[at] = choice;
	if (fuzz.state_end >= 0 &&
	    write(fuzz.state_end, &state, choice & 2 ? at : sizeof(state)) < 0)
		close_state(); /* it was the wrong end, or the device has enough */
	look_at_state();
}

/* Whoever has asked hears nothing any more. */
static void close_channel(void)
{
	if (fuzz.channel >= 0)
		close(fuzz.channel);
	fuzz.channel = -1;
}

static void give_channel(void)
{
	int pair[2], little = 4608;

	FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	/* It is soon full. */
	FUZZ_CHECK(!setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)));
	close_channel();
	tell(VHU_SET_BACKEND_REQ_FD, NULL, 0, pair[1]);
	close(pair[1]);
	fuzz.channel = pair[0];
}

/* Whole messages, and none but these. */
static void read_channel(unsigned n)
{
	while (fuzz.channel >= 0 && n--) {
		struct vhu_vring_state state = {0};
		struct vhu_iotlb_msg iotlb;
		struct vhu_header header;
		bool miss;

		if (recv(fuzz.channel, &header, sizeof(header), MSG_DONTWAIT) <= 0)
			break;
		miss = header.request == VHU_BACKEND_IOTLB_MSG;
		FUZZ_CHECK(header.size == (miss ? sizeof(iotlb) : sizeof(state)));
		FUZZ_CHECK(recv(fuzz.channel, miss ? (void *)&iotlb : &state, header.size,
				MSG_DONTWAIT) == header.size);
		if (miss)
			continue;
		FUZZ_CHECK(header.request == VHU_BACKEND_VRING_CALL ||
			   header.request == VHU_BACKEND_VRING_ERR);
		FUZZ_CHECK(header.flags == VHU_VERSION);
		FUZZ_CHECK(state.index < FUZZ_QUEUES && !state.num);
	}
	if (fuzz_user.room_fd >= 0)
		fuzz_user_announce();
}

static void tell_iotlb(struct fuzz_input *in)
{
	const struct vhu_iotlb_msg iotlb = {
		.type = fuzz_u8(in) % 6,
		.perm = fuzz_u8(in) % 5,
		.iova = USER + fuzz_u8(in) * 256u,
		.uaddr = USER + fuzz_u8(in) * 256u,
		.size = fuzz_u16(in),
	};

	tell(VHU_IOTLB_MSG, &iotlb, sizeof(iotlb), -1);
}

/* The device asks, and is answered, with anything. */
static void attend_and_answer(struct fuzz_input *in)
{
	const uint8_t choice = fuzz_u8(in);
	struct vhu_header header = {VHU_BACKEND_IOTLB_MSG, VHU_VERSION | VHU_FLAG_REPLY, 8};
	uint8_t answer[sizeof(header) + 8] = {0}, asked[64];

	vublk_dev_attend(fuzz.dev);
	if (fuzz.channel < 0)
		return;
	while (recv(fuzz.channel, asked, sizeof(asked), MSG_DONTWAIT) > 0)
		;
	header.flags ^= choice >> 4;
	memcpy(answer, &header, sizeof(header));
	answer[sizeof(header)] = choice & 1;
	if (choice & 2 && send(fuzz.channel, answer, choice & 4 ? 7 : sizeof(answer),
			       MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		close_channel();
	vublk_dev_attend(fuzz.dev);
}

/* A migration that begins, or ends, or goes on. No page is ever missing: the file has them all. */
static void postcopy(struct fuzz_input *in)
{
	static const uint32_t requests[] = {VHU_POSTCOPY_ADVISE, VHU_POSTCOPY_LISTEN,
					    VHU_POSTCOPY_END, VHU_ADD_MEM_REG};
	const uint8_t choice = fuzz_u8(in) % 4;
	const uint64_t ok = 0;

	tell(requests[choice], &ok, choice == 3 ? sizeof(ok) : 0, -1);
}

static void write_memory(struct fuzz_input *in, uint8_t *memory)
{
	const uint16_t at = fuzz_u16(in);
	const uint8_t size = fuzz_u8(in) % 65;
	uint8_t bytes[64];

	fuzz_bytes(in, bytes, size);
	for (unsigned i = 0; i < size; i++)
		memory[(at + i) % MEMORY] = bytes[i];
}

/* ---- a run ---- */

static void hello(void)
{
	int pair[2];

	FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	fuzz.peer = pair[0];
	fuzz_user.over = fuzz_user.finished = false;
	FUZZ_CHECK(!vublk_dev_connect(fuzz.dev, pair[1], NULL));
}

static void goodbye(void)
{
	static const struct vhu_session no_session;

	vublk_dev_disconnect(fuzz.dev);
	FUZZ_CHECK(fuzz_user.finished);
	FUZZ_CHECK(fuzz_user.room_fd < 0 && fuzz.dev->backend.fd < 0);
	for (unsigned i = 0; i < FUZZ_QUEUES; i++)
		FUZZ_CHECK(!fuzz.dev->vring[i].inband.due);
	FUZZ_CHECK(!memcmp(fuzz.dev->session, &no_session, sizeof(no_session)));
	FUZZ_CHECK(fuzz_user.state_fd < 0);
	close_state();
	close_channel();
	close(fuzz.peer);
	for (unsigned i = 0; i < FUZZ_QUEUES; i++)
		FUZZ_CHECK(!fuzz_user.queue[i].running && !fuzz_user.queue[i].waiting);
}

static void step(struct fuzz_input *in)
{
	switch (fuzz_u8(in) % 34) {
	case 0:
		any_message(in);
		break;
	case 1:
		tell_u64(VHU_SET_FEATURES, fuzz_u64(in), -1);
		break;
	case 2: {
		const uint8_t choice = fuzz_u8(in);

		tell_u64(VHU_SET_FEATURES,
			 1ull << VIRTIO_F_VERSION_1 |
				 (choice & 1 ? 1ull << VIRTIO_F_RING_PACKED : 0) |
				 (choice & 2 ? 1ull << VIRTIO_RING_F_INDIRECT_DESC : 0) |
				 (choice & 4 ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0) |
				 (choice & 8 ? 1ull << VHU_F_PROTOCOL_FEATURES : 0) |
				 (choice & 16 ? 1ull << VHU_F_LOG_ALL : 0) |
				 (choice & 32 ? 1ull << VIRTIO_F_ACCESS_PLATFORM : 0),
			 -1);
		break;
	}
	case 3:
		tell_u64(VHU_SET_PROTOCOL_FEATURES, fuzz_u64(in), -1);
		break;
	case 4:
		share_memory(in);
		break;
	case 5:
		tell_state(VHU_SET_VRING_NUM, fuzz_u8(in) % FUZZ_QUEUES, fuzz_u8(in));
		break;
	case 6:
		tell_addresses(in);
		break;
	case 7:
		tell_state(VHU_SET_VRING_BASE, fuzz_u8(in) % FUZZ_QUEUES, fuzz_u16(in));
		break;
	case 8:
		tell_u64(VHU_SET_VRING_KICK, fuzz_u8(in) % FUZZ_QUEUES, fuzz.event_fd);
		break;
	case 9:
		tell_state(VHU_SET_VRING_ENABLE, fuzz_u8(in) % FUZZ_QUEUES, fuzz_u8(in) & 1);
		break;
	case 10:
		tell_state(VHU_GET_VRING_BASE, fuzz_u8(in) % FUZZ_QUEUES, 0);
		break;
	case 11:
		tell_region(in);
		break;
	case 12:
	case 13:
		write_memory(in, fuzz.memory);
		break;
	case 14:
		write_memory(in, fuzz.region);
		break;
	case 15:
	case 16:
		fuzz_user_work(in);
		break;
	case 17:
		fuzz_user.wait = fuzz_u8(in) & 1;
		break;
	case 18:
		fuzz_user_stop_waiting(in);
		break;
	case 20:
		tell_log(in);
		break;
	case 21:
		tell(VHU_SET_LOG_FD, NULL, 0, fuzz.event_fd);
		break;
	case 22:
		transfer_state(in);
		break;
	case 23:
		write_state(in);
		break;
	case 24:
		close_state();
		look_at_state();
		break;
	case 25:
		tell(VHU_CHECK_DEVICE_STATE, NULL, 0, -1);
		break;
	case 26:
		give_channel();
		break;
	case 27:
		tell_iotlb(in);
		break;
	case 28:
		attend_and_answer(in);
		break;
	case 29:
		tell_state(VHU_VRING_KICK, fuzz_u8(in) % FUZZ_QUEUES, 0);
		break;
	case 30:
		read_channel(fuzz_u8(in));
		break;
	case 31:
		close_channel();
		break;
	case 32:
		fuzz_user.late = fuzz_u8(in) & 1;
		if (fuzz_user.due)
			fuzz_user_announce();
		break;
	case 33:
		postcopy(in);
		break;
	default:
		goodbye();
		hello();
	}
	check_announced();
}

static uint8_t *make_memory(const char *name, int *fd)
{
	void *memory;

	*fd = memfd_create(name, MFD_CLOEXEC);
	FUZZ_CHECK(*fd >= 0 && !ftruncate(*fd, MEMORY));
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	FUZZ_CHECK(memory != MAP_FAILED);
	return memory;
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 100; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vublk_params params = {
		.name = "fuzz",
		.features = FEATURES,
		.known_features = FEATURES | 1 << 14,
		.num_queues = FUZZ_QUEUES,
		.postcopy = true,
		.ops = &fuzz_user_ops,
	};
	struct fuzz_input in = {data, size};
	unsigned before;

	if (!fuzz.memory) {
		fuzz.memory = make_memory("memory", &fuzz.memory_fd);
		fuzz.region = make_memory("region", &fuzz.region_fd);
		fuzz.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		signal(SIGPIPE, SIG_IGN);
	}
	before = open_descriptors();
	memset(fuzz.memory, 0, MEMORY);
	memset(fuzz.region, 0, MEMORY);
	memset(fuzz_user.queue, 0, sizeof(fuzz_user.queue));
	fuzz_user.wait = fuzz_user.late = fuzz_user.due = false;
	fuzz_user.state_fd = fuzz.state_end = -1;
	fuzz.channel = fuzz_user.room_fd = -1;
	FUZZ_CHECK(!vublk_dev_create(&fuzz.dev, &params));
	fuzz_user.dev = fuzz.dev;
	hello();
	while (in.left)
		step(&in);
	goodbye();
	vublk_dev_destroy(fuzz.dev);
	FUZZ_CHECK(open_descriptors() == before);
	return 0;
}
