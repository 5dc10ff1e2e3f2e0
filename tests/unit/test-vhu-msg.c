/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vhu/msg.c: framing, descriptors and replies, on a socket pair whose other end is hostile. */
#include "lib/vhu/msg.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/frontend/fe_conn.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"

static int sock;            /* ours */
static struct fe_conn peer; /* the other end */
static struct vhu_msg msg;

static void setup(void)
{
	int pair[2];

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	sock = pair[0];
	peer = (struct fe_conn){.fd = pair[1]};
	vhu_msg_init(&msg);
}

static void teardown(void)
{
	vhu_msg_reset(&msg);
	close(sock);
	if (peer.fd >= 0)
		close(peer.fd);
}

/* A frame with 8 bytes of payload, to be sent in any way. */
struct frame {
	struct vhu_header header;
	uint64_t u64;
} __attribute__((packed));

static const struct frame frame = {
	.header = {.request = VHU_SET_FEATURES, .flags = VHU_VERSION, .size = 8},
	.u64 = 0x0123456789abcdef,
};

static void send_bytes(const void *bytes, size_t size, const int *fds, unsigned n_fds)
{
	REQUIRE_OK(fe_send_raw(&peer, bytes, size, fds, n_fds));
}

/* `n` descriptors of the same file come with one byte of the frame. */
static void send_with_fds(const void *bytes, size_t size, unsigned n)
{
	int fds[253];

	for (unsigned i = 0; i < n; i++)
		fds[i] = sock;
	send_bytes(bytes, size, fds, n);
}

static void check_frame(void)
{
	CHECK_EQ(msg.header.request, VHU_SET_FEATURES);
	CHECK_EQ(msg.header.size, 8);
	CHECK_EQ(msg.payload.u64, frame.u64);
}

/* ---- frames ---- */

static void message_in_one_piece(void)
{
	send_bytes(&frame, sizeof(frame), NULL, 0);
	CHECK_EQ(vhu_msg_receive(&msg, sock), 1);
	check_frame();
	CHECK_EQ(msg.n_fds, 0);
}

static void message_byte_by_byte(void)
{
	CHECK_EQ(vhu_msg_receive(&msg, sock), 0);
	for (size_t i = 0; i < sizeof(frame); i++) {
		send_bytes((const char *)&frame + i, 1, NULL, 0);
		CHECK_EQ(vhu_msg_receive(&msg, sock), i + 1 == sizeof(frame));
		CHECK_EQ(msg.received, i + 1);
	}
	check_frame();
}

static void message_cut_anywhere(void)
{
	for (size_t cut = 1; cut < sizeof(frame); cut++) {
		send_bytes(&frame, cut, NULL, 0);
		CHECK_EQ(vhu_msg_receive(&msg, sock), 0);
		send_bytes((const char *)&frame + cut, sizeof(frame) - cut, NULL, 0);
		CHECK_EQ(vhu_msg_receive(&msg, sock), 1);
		check_frame();
		vhu_msg_reset(&msg);
	}
}

static void message_without_payload(void)
{
	const struct vhu_header header = {.request = VHU_GET_FEATURES, .flags = VHU_VERSION};

	send_bytes(&header, sizeof(header), NULL, 0);
	CHECK_EQ(vhu_msg_receive(&msg, sock), 1);
	CHECK_EQ(msg.header.request, VHU_GET_FEATURES);
}

static void next_message_stays_in_the_socket(void)
{
	struct frame two[2] = {frame, frame};

	two[1].u64 = 42;
	send_bytes(two, sizeof(two), NULL, 0);
	CHECK_EQ(vhu_msg_receive(&msg, sock), 1);
	check_frame();
	vhu_msg_reset(&msg);
	CHECK_EQ(vhu_msg_receive(&msg, sock), 1);
	CHECK_EQ(msg.payload.u64, 42);
	vhu_msg_reset(&msg);
	CHECK_EQ(vhu_msg_receive(&msg, sock), 0);
}

static void wrong_versions_are_no_frames(void)
{
	for (uint32_t version = 0; version < 4; version++) {
		struct frame f = frame;

		f.header.flags = version | VHU_FLAG_NEED_REPLY;
		send_bytes(&f, sizeof(f), NULL, 0);
		CHECK_EQ(vhu_msg_receive(&msg, sock), version == VHU_VERSION ? 1 : -EPROTO);
		teardown();
		setup();
	}
}

/* What no message needs is read and can be refused, up to a limit. */
static void largest_payload_is_read(void)
{
	static struct {
		struct vhu_header header;
		uint8_t payload[VHU_MSG_MAX_PAYLOAD];
	} big = {.header = {.request = 1, .flags = VHU_VERSION, .size = VHU_MSG_MAX_PAYLOAD}};

	memset(big.payload, 0x5a, sizeof(big.payload));
	send_bytes(&big, sizeof(big), NULL, 0);
	CHECK_EQ(vhu_msg_receive(&msg, sock), 1);
	CHECK_EQ(msg.received, sizeof(big));
	CHECK(!memcmp(msg.raw, big.payload, sizeof(big.payload)));
}

static void larger_payloads_are_no_frames(void)
{
	static const uint32_t sizes[] = {VHU_MSG_MAX_PAYLOAD + 1, 0x7fffffff, 0x80000000,
					 UINT32_MAX - 11, UINT32_MAX};

	for (unsigned i = 0; i < 5; i++) {
		struct frame f = frame;

		f.header.size = sizes[i];
		send_bytes(&f, sizeof(f), NULL, 0);
		CHECK_EQ(vhu_msg_receive(&msg, sock), -EPROTO);
		teardown();
		setup();
	}
}

static void end_of_file_at_every_byte(void)
{
	for (size_t cut = 0; cut < sizeof(frame); cut++) {
		if (cut)
			send_bytes(&frame, cut, NULL, 0);
		close(peer.fd);
		peer.fd = -1;
		CHECK_EQ(vhu_msg_receive(&msg, sock), -ECONNRESET);
		teardown();
		setup();
	}
}

static void complete_message_counts_before_end_of_file(void)
{
	send_bytes(&frame, sizeof(frame), NULL, 0);
	shutdown(peer.fd, SHUT_WR);
	CHECK_EQ(vhu_msg_receive(&msg, sock), 1);
	check_frame();
	vhu_msg_reset(&msg);
	CHECK_EQ(vhu_msg_receive(&msg, sock), -ECONNRESET);
}

/* The kernel says so when the peer left without reading what we sent. */
static void reset_connection_is_an_end(void)
{
	REQUIRE_EQ(write(sock, "x", 1), 1);
	close(peer.fd);
	peer.fd = -1;
	CHECK_EQ(vhu_msg_receive(&msg, sock), -ECONNRESET);
}

/* ---- descriptors ---- */

static void descriptors_come_with_any_byte(void)
{
	for (size_t at = 0; at < sizeof(frame); at++) {
		if (at)
			send_bytes(&frame, at, NULL, 0);
		send_with_fds((const char *)&frame + at, sizeof(frame) - at, 2);
		CHECK_EQ(vhu_msg_receive(&msg, sock), 1);
		check_frame();
		CHECK_EQ(msg.n_fds, 2);
		vhu_msg_reset(&msg);
	}
}

static void descriptors_are_in_order_and_close_on_exec(void)
{
	const int sent[2] = {fd_memory(1111), fd_memory(2222)};

	send_bytes(&frame, sizeof(frame), sent, 2);
	REQUIRE_EQ(vhu_msg_receive(&msg, sock), 1);
	REQUIRE_EQ(msg.n_fds, 2);
	CHECK_EQ(lseek(msg.fd[0], 0, SEEK_END), 1111);
	CHECK_EQ(lseek(msg.fd[1], 0, SEEK_END), 2222);
	CHECK_EQ(fcntl(msg.fd[0], F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(msg.fd[1], F_GETFD), FD_CLOEXEC);
	close(sent[0]);
	close(sent[1]);
}

static void reset_closes_what_nobody_took(void)
{
	const unsigned before = fds_open();
	int taken;

	send_with_fds(&frame, sizeof(frame), 3);
	REQUIRE_EQ(vhu_msg_receive(&msg, sock), 1);
	CHECK_EQ(fds_open(), before + 3);
	taken = vhu_msg_take_fd(&msg, 1);
	vhu_msg_reset(&msg);
	CHECK_EQ(fds_open(), before + 1);
	CHECK(fd_is_open(taken));
	vhu_msg_reset(&msg);
	CHECK(fd_is_open(taken));
	close(taken);
}

static void as_many_descriptors_as_a_message_may_have(void)
{
	send_with_fds(&frame, sizeof(frame), VHU_MAX_FDS);
	CHECK_EQ(vhu_msg_receive(&msg, sock), 1);
	CHECK_EQ(msg.n_fds, VHU_MAX_FDS);
}

/* The kernel cuts what does not fit and says so; nothing of it stays open. */
static void check_too_many(unsigned n)
{
	const unsigned before = fds_open();

	send_with_fds(&frame, sizeof(frame), n);
	CHECK_EQ(vhu_msg_receive(&msg, sock), -EPROTO);
	vhu_msg_reset(&msg);
	CHECK_EQ(fds_open(), before);
}

static void one_descriptor_too_many(void)
{
	check_too_many(VHU_MAX_FDS + 1);
}

static void most_descriptors_that_a_socket_takes(void)
{
	check_too_many(253);
}

/* A message may come in many parts, and each may bring some. */
static void too_many_descriptors_in_parts(void)
{
	const unsigned before = fds_open();

	send_with_fds(&frame, 1, 20);
	CHECK_EQ(vhu_msg_receive(&msg, sock), 0);
	send_with_fds((const char *)&frame + 1, 1, 20);
	CHECK_EQ(vhu_msg_receive(&msg, sock), -EPROTO);
	CHECK_EQ(msg.n_fds, VHU_MAX_FDS);
	vhu_msg_reset(&msg);
	CHECK_EQ(fds_open(), before);
}

/* Out of descriptors: the kernel drops those that came (MSG_CTRUNC). */
static void truncated_descriptors_are_not_ignored(void)
{
	const char *preload = getenv("LD_PRELOAD");
	struct rlimit limit, none;
	int result;

	if (preload && strstr(preload, "vgpreload"))
		tap_skip("valgrind keeps the limit to itself, and the kernel does not know");
	send_with_fds(&frame, sizeof(frame), 1);
	REQUIRE_OK(getrlimit(RLIMIT_NOFILE, &limit));
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
	REQUIRE_OK(setrlimit(RLIMIT_NOFILE, &none));
	result = vhu_msg_receive(&msg, sock);
	setrlimit(RLIMIT_NOFILE, &limit);
	CHECK_EQ(result, -EMFILE);
	CHECK_EQ(msg.n_fds, 0);
}

static void end_of_file_leaves_no_descriptor(void)
{
	const unsigned before = fds_open();

	send_with_fds(&frame, 5, 4);
	CHECK_EQ(vhu_msg_receive(&msg, sock), 0);
	shutdown(peer.fd, SHUT_WR);
	CHECK_EQ(vhu_msg_receive(&msg, sock), -ECONNRESET);
	vhu_msg_reset(&msg);
	CHECK_EQ(fds_open(), before);
}

/* ---- replies ---- */

static int reply_with(const void *payload, size_t size)
{
	struct vhu_reply reply;
	struct mmsghdr how;
	int ret;

	vhu_msg_make_reply(&reply, &msg, payload, size);
	ret = vhu_msg_send(sock, &reply, -1, &how);
	CHECK_EQ(how.msg_len, ret ? 0 : reply.size);
	return ret;
}

static void reply_has_version_and_reply_flag_only(void)
{
	const uint64_t value = 0xfeedbeef;
	struct fe_msg reply;

	msg.header = (struct vhu_header){VHU_GET_QUEUE_NUM, VHU_VERSION | VHU_FLAG_NEED_REPLY, 77};
	CHECK_OK(reply_with(&value, sizeof(value)));
	REQUIRE_OK(fe_recv(&peer, &reply));
	CHECK_EQ(reply.header.request, VHU_GET_QUEUE_NUM);
	CHECK_EQ(reply.header.flags, 5);
	CHECK_EQ(reply.header.size, sizeof(value));
	CHECK_EQ(reply.payload.u64, value);
}

static void reply_may_be_empty(void)
{
	struct fe_msg reply;

	msg.header = (struct vhu_header){VHU_GET_CONFIG, VHU_VERSION, 268};
	CHECK_OK(reply_with("", 0));
	REQUIRE_OK(fe_recv(&peer, &reply));
	CHECK_EQ(reply.header.size, 0);
}

/* A peer that asks and asks and reads nothing must not make us wait. */
static void reply_to_a_full_socket(void)
{
	const uint64_t value = 1;
	int err = 0;

	fcntl(sock, F_SETFL, 0); /* even if the socket were blocking */
	msg.header.request = VHU_GET_FEATURES;
	for (unsigned i = 0; !err && i < 1000000; i++)
		err = reply_with(&value, sizeof(value));
	CHECK_EQ(err, -EAGAIN);
}

static void reply_to_a_closed_socket_raises_no_signal(void)
{
	const uint64_t value = 1;

	signal(SIGPIPE, SIG_DFL);
	close(peer.fd);
	peer.fd = -1;
	CHECK_EQ(reply_with(&value, sizeof(value)), -EPIPE);
}

static void names_are_the_specification_s(void)
{
	CHECK(!strcmp(vhu_msg_name(1), "GET_FEATURES"));
	CHECK(!strcmp(vhu_msg_name(11), "GET_VRING_BASE"));
	CHECK(!strcmp(vhu_msg_name(45), "GET_VRING_BASE_SKIP_DRAIN"));
	CHECK(!strcmp(vhu_msg_name(0), "unknown"));
	CHECK(!strcmp(vhu_msg_name(30), "POSTCOPY_END"));
	CHECK(!strcmp(vhu_msg_name(46), "unknown"));
	CHECK(!strcmp(vhu_msg_name(UINT32_MAX), "unknown"));
}

/* ---- messages that are looked at ---- */

static void setup_peek(void)
{
	setup();
	REQUIRE_OK(vhu_msg_set_peeking(sock, true));
}

/* The next message is the frame, and has so many descriptors of those that it may have. */
static void look_at_frame(unsigned n_fds, unsigned wanted)
{
	CHECK_EQ(vhu_msg_peek(&msg, sock), 1);
	check_frame();
	CHECK_OK(vhu_msg_peek_fds(&msg, sock, wanted));
	CHECK_EQ(msg.n_fds, n_fds);
	vhu_msg_reset(&msg);
}

static void what_is_looked_at_stays(void)
{
	int left;
	socklen_t size = sizeof(left);

	send_with_fds(&frame, sizeof(frame), 2);
	look_at_frame(2, 8);
	CHECK_OK(getsockopt(sock, SOL_SOCKET, SO_PEEK_OFF, &left, &size));
	CHECK_EQ(left, sizeof(frame));
	CHECK_OK(vhu_msg_set_peeking(sock, true));
	look_at_frame(2, 8);
	CHECK_OK(vhu_msg_consume(sock));
	CHECK_EQ(vhu_msg_peek(&msg, sock), 0);
}

/* Front-ends that ask for no acknowledgement send one message after another. */
static void descriptors_behind_it_are_the_next_one_s(void)
{
	const unsigned before = fds_open();

	for (unsigned i = 0; i < 3; i++)
		send_bytes(&frame, sizeof(frame), NULL, 0);
	send_with_fds(&frame, sizeof(frame), 1);
	send_with_fds(&frame, sizeof(frame), 3);
	for (unsigned i = 0; i < 3; i++) {
		look_at_frame(0, 0);
		CHECK_OK(vhu_msg_consume(sock));
	}
	look_at_frame(1, 1);
	CHECK_OK(vhu_msg_consume(sock));
	look_at_frame(3, 8);
	CHECK_OK(vhu_msg_consume(sock));
	CHECK_EQ(fds_open(), before);
}

/* The head comes with them; so does what is behind the payload. */
static void descriptors_of_its_parts_are_its_own(void)
{
	const unsigned before = fds_open();

	send_with_fds(&frame, sizeof(frame.header), 2);
	send_bytes(&frame.u64, sizeof(frame.u64), NULL, 0);
	send_with_fds(&frame, sizeof(frame), 7);
	look_at_frame(2, 8);
	CHECK_OK(vhu_msg_consume(sock));
	look_at_frame(7, 8);
	CHECK_OK(vhu_msg_consume(sock));
	CHECK_EQ(fds_open(), before);
}

static const struct tap_case peek_cases[] = {
	{"what_is_looked_at_stays", what_is_looked_at_stays},
	{"descriptors_behind_it_are_the_next_one_s", descriptors_behind_it_are_the_next_one_s},
	{"descriptors_of_its_parts_are_its_own", descriptors_of_its_parts_are_its_own},
	{0},
};

static const struct tap_case frame_cases[] = {
	{"message_in_one_piece", message_in_one_piece},
	{"message_byte_by_byte", message_byte_by_byte},
	{"message_cut_anywhere", message_cut_anywhere},
	{"message_without_payload", message_without_payload},
	{"next_message_stays_in_the_socket", next_message_stays_in_the_socket},
	{"wrong_versions_are_no_frames", wrong_versions_are_no_frames},
	{"largest_payload_is_read", largest_payload_is_read},
	{"larger_payloads_are_no_frames", larger_payloads_are_no_frames},
	{"end_of_file_at_every_byte", end_of_file_at_every_byte},
	{"complete_message_counts_before_end_of_file", complete_message_counts_before_end_of_file},
	{"reset_connection_is_an_end", reset_connection_is_an_end},
	{0},
};

static const struct tap_case fd_cases[] = {
	{"descriptors_come_with_any_byte", descriptors_come_with_any_byte},
	{"descriptors_are_in_order_and_close_on_exec", descriptors_are_in_order_and_close_on_exec},
	{"reset_closes_what_nobody_took", reset_closes_what_nobody_took},
	{"as_many_descriptors_as_a_message_may_have", as_many_descriptors_as_a_message_may_have},
	{"one_descriptor_too_many", one_descriptor_too_many},
	{"most_descriptors_that_a_socket_takes", most_descriptors_that_a_socket_takes},
	{"too_many_descriptors_in_parts", too_many_descriptors_in_parts},
	{"truncated_descriptors_are_not_ignored", truncated_descriptors_are_not_ignored},
	{"end_of_file_leaves_no_descriptor", end_of_file_leaves_no_descriptor},
	{0},
};

static const struct tap_case reply_cases[] = {
	{"reply_has_version_and_reply_flag_only", reply_has_version_and_reply_flag_only},
	{"reply_may_be_empty", reply_may_be_empty},
	{"reply_to_a_full_socket", reply_to_a_full_socket},
	{"reply_to_a_closed_socket_raises_no_signal", reply_to_a_closed_socket_raises_no_signal},
	{"names_are_the_specification_s", names_are_the_specification_s},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "msg frame", .setup = setup, .teardown = teardown, .cases = frame_cases},
	{.name = "msg fds", .setup = setup, .teardown = teardown, .cases = fd_cases},
	{.name = "msg peek", .setup = setup_peek, .teardown = teardown, .cases = peek_cases},
	{.name = "msg reply", .setup = setup, .teardown = teardown, .cases = reply_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
