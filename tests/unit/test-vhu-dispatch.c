/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vhu/dispatch.c: every row of the table, what a refusal means, and acknowledgements. */
#include "tests/unit/support/session.h"

#define PF(name) (1ull << VHU_PROTOCOL_F_##name)

/* All of them. */
#define PROTOCOL (SESSION_PROTOCOL | PF(INBAND_NOTIFICATIONS) | PF(PAGEFAULT))

/* What the specification says of each message that is served. */
struct expected {
	uint32_t request;
	uint32_t min_size, max_size;
	unsigned min_fds, max_fds;
	uint64_t needs;
	bool replies;
};

static const struct expected table[] = {
	{VHU_GET_FEATURES, 0, 0, 0, 0, 0, true},
	{VHU_SET_FEATURES, 8, 8, 0, 0, 0, false},
	{VHU_SET_OWNER, 0, 0, 0, 0, 0, false},
	{VHU_RESET_OWNER, 0, 0, 0, 0, 0, false},
	{VHU_SET_MEM_TABLE, 8, 8 + 32 * 32, 0, 32, 0, false},
	/* Its reply is its ack. */
	{VHU_SET_LOG_BASE, 16, 16, 1, 1, PF(LOG_SHMFD), false},
	{VHU_SET_LOG_FD, 0, 8, 1, 1, 0, false},
	{VHU_SET_VRING_NUM, 8, 8, 0, 0, 0, false},
	{VHU_SET_VRING_ADDR, 40, 40, 0, 0, 0, false},
	{VHU_SET_VRING_BASE, 8, 8, 0, 0, 0, false},
	{VHU_GET_VRING_BASE, 8, 8, 0, 0, 0, true},
	{VHU_SET_VRING_KICK, 8, 8, 0, 1, 0, false},
	{VHU_SET_VRING_CALL, 8, 8, 0, 1, 0, false},
	{VHU_SET_VRING_ERR, 8, 8, 0, 1, 0, false},
	{VHU_GET_PROTOCOL_FEATURES, 0, 0, 0, 0, 0, true},
	{VHU_SET_PROTOCOL_FEATURES, 8, 8, 0, 0, 0, false},
	{VHU_GET_QUEUE_NUM, 0, 0, 0, 0, 0, true},
	{VHU_SET_VRING_ENABLE, 8, 8, 0, 0, 0, false},
	{VHU_SET_BACKEND_REQ_FD, 0, 0, 1, 1, PF(BACKEND_REQ), false},
	{VHU_GET_CONFIG, 12, 268, 0, 0, PF(CONFIG), true},
	{VHU_SET_CONFIG, 12, 268, 0, 0, PF(CONFIG), false},
	{VHU_POSTCOPY_ADVISE, 0, 0, 0, 0, PF(PAGEFAULT), true},
	{VHU_POSTCOPY_LISTEN, 0, 0, 0, 0, PF(PAGEFAULT), false},
	{VHU_POSTCOPY_END, 0, 0, 0, 0, PF(PAGEFAULT), true},
	{VHU_GET_INFLIGHT_FD, 20, 24, 0, 0, PF(INFLIGHT_SHMFD), true},
	{VHU_SET_INFLIGHT_FD, 20, 24, 1, 1, PF(INFLIGHT_SHMFD), false},
	{VHU_RESET_DEVICE, 0, 0, 0, 0, PF(RESET_DEVICE), false},
	{VHU_VRING_KICK, 8, 8, 0, 0, PF(INBAND_NOTIFICATIONS), false},
	{VHU_GET_MAX_MEM_SLOTS, 0, 0, 0, 0, PF(CONFIGURE_MEM_SLOTS), true},
	{VHU_ADD_MEM_REG, 40, 40, 1, 1, PF(CONFIGURE_MEM_SLOTS), false},
	{VHU_REM_MEM_REG, 40, 40, 0, 1, PF(CONFIGURE_MEM_SLOTS), false},
	{VHU_SET_DEVICE_STATE_FD, 8, 8, 1, 1, PF(DEVICE_STATE), true},
	{VHU_CHECK_DEVICE_STATE, 0, 0, 0, 0, PF(DEVICE_STATE), true},
	{VHU_SET_STATUS, 8, 8, 0, 0, PF(STATUS), false},
	{VHU_GET_STATUS, 0, 0, 0, 0, PF(STATUS), true},
	{VHU_GET_VRING_BASE_SKIP_DRAIN, 8, 8, 0, 0, PF(GET_VRING_BASE_SKIP_DRAIN), true},
};

#define ROWS (sizeof(table) / sizeof(*table))

static bool is_served(uint32_t request)
{
	for (unsigned i = 0; i < ROWS; i++)
		if (table[i].request == request)
			return true;
	return false;
}

/* ---- rows ---- */

/*
 * Sends the message in a session of its own and says why its row refuses it: "" if it does not. A
 * refusal is told, and nothing that came with the message stays open.
 */
static const char *try_with(const struct expected *row, uint32_t size, unsigned n_fds,
			    uint64_t protocol)
{
	static const uint8_t zeros[2048];
	static char why[128];
	const unsigned before = fds_open();
	int fds[64], result;

	session_open_raw();
	session_negotiate(protocol);
	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = session.peer.fd;
	result = session_send(row->request, VHU_FLAG_NEED_REPLY, zeros, size, fds, n_fds);
	snprintf(why, sizeof(why), "%s", session.refused);
	if (*why && row->needs == PF(DEVICE_STATE)) {
		struct fe_msg reply;

		CHECK_EQ(result, 0);
		REQUIRE_OK(fe_recv(&session.peer, &reply));
		CHECK_EQ(reply.payload.u64, row->min_fds ? 0x101 : 1);
		CHECK_EQ(reply.n_fds, 0);
	} else if (*why && row->request == VHU_POSTCOPY_END) {
		struct fe_msg reply;

		CHECK_EQ(result, 0);
		REQUIRE_OK(fe_recv(&session.peer, &reply));
		CHECK_EQ(reply.payload.u64, 1);
	} else if (*why &&
		   (row->request == VHU_GET_CONFIG || row->request == VHU_POSTCOPY_ADVISE)) {
		struct fe_msg reply;

		CHECK_EQ(result, 0);
		REQUIRE_OK(fe_recv(&session.peer, &reply));
		CHECK_EQ(reply.header.size, 0);
	} else if (*why && row->replies) {
		CHECK_EQ(result, -EOPNOTSUPP);
	} else if (*why) {
		CHECK_EQ(result, 0);
		CHECK_EQ(session_take_ack(row->request), 1);
		session_check("");
	}
	session_close();
	CHECK_EQ(fds_open(), before);
	return why;
}

static void check_reason(const struct expected *row, uint32_t size, unsigned n_fds,
			 uint64_t protocol, const char *expected)
{
	const char *why = try_with(row, size, n_fds, protocol);

	tap_check(!strcmp(why, expected), false, __FILE__, __LINE__,
		  "message %u, %u bytes, %u descriptors: '%s', not '%s'", row->request, size, n_fds,
		  why, expected);
}

static void every_row_takes_what_it_says(void)
{
	for (const struct expected *row = table; row < table + ROWS; row++) {
		check_reason(row, row->min_size, row->min_fds, PROTOCOL, "");
		if (row->max_size > row->min_size)
			check_reason(row, row->max_size, row->min_fds, PROTOCOL, "");
		if (row->max_fds > row->min_fds)
			check_reason(row, row->min_size, row->max_fds, PROTOCOL, "");
	}
}

static void every_row_refuses_other_sizes(void)
{
	static const char why[] = "its payload has a wrong size";

	for (const struct expected *row = table; row < table + ROWS; row++) {
		check_reason(row, row->max_size + 1, row->min_fds, PROTOCOL, why);
		if (!row->min_size)
			continue;
		check_reason(row, row->min_size - 1, row->min_fds, PROTOCOL, why);
		check_reason(row, 0, row->min_fds, PROTOCOL, why);
	}
}

static void every_row_refuses_missing_descriptors(void)
{
	for (const struct expected *row = table; row < table + ROWS; row++)
		if (row->min_fds)
			check_reason(row, row->min_size, row->min_fds - 1, PROTOCOL,
				     "its file descriptor is missing");
}

/* (More than 32 end the connection, see test-vhu-msg.) */
static void every_row_refuses_surplus_descriptors(void)
{
	for (const struct expected *row = table; row < table + ROWS; row++)
		if (row->max_fds < VHU_MAX_FDS)
			check_reason(row, row->min_size, row->max_fds + 1, PROTOCOL,
				     "it has too many file descriptors");
}

/* All protocol features but one, and those that need it. */
static uint64_t without(uint64_t feature)
{
	uint64_t none = feature;

	if (none & PF(INFLIGHT_SHMFD))
		none |= PF(GET_VRING_BASE_INFLIGHT);
	if (none & PF(GET_VRING_BASE_INFLIGHT))
		none |= PF(GET_VRING_BASE_SKIP_DRAIN);
	if (none & PF(BACKEND_REQ))
		none |= PF(INBAND_NOTIFICATIONS);
	return PROTOCOL & ~none;
}

static void every_row_wants_its_protocol_feature(void)
{
	for (const struct expected *row = table; row < table + ROWS; row++)
		if (row->needs)
			check_reason(row, row->min_size, row->min_fds, without(row->needs),
				     "its protocol feature is not negotiated");
}

static void all_other_messages_are_refused(void)
{
	session_open();
	for (uint32_t request = 0; request < 300; request++)
		if (!is_served(request))
			CHECK_EQ(session_tell_u64(request, 0), 1);
	CHECK_EQ(session_tell_u64(0x80000000, 0), 1);
	CHECK_EQ(session_tell_u64(UINT32_MAX, 0), 1);
	session_check("");
	session_close();
}

static void other_messages_without_ack_are_passed_over(void)
{
	const uint64_t u64 = 0;

	session_open();
	CHECK_EQ(session_send(VHU_SET_LOG_FD, 0, &u64, 8, &session.peer.fd, 1), 0);
	CHECK_EQ(session_send(999, 0, NULL, 0, NULL, 0), 0);
	CHECK(session_is_quiet());
	CHECK_EQ(session_ask_u64(VHU_GET_QUEUE_NUM), SESSION_QUEUES);
	session_close();
}

/* ---- acknowledgements ---- */

static void ack_only_if_asked_for(void)
{
	CHECK_EQ(session_send(VHU_SET_OWNER, 0, NULL, 0, NULL, 0), 0);
	CHECK(session_is_quiet());
	CHECK_EQ(session_tell(VHU_SET_OWNER, NULL, 0, NULL, 0), 0);
}

static void ack_only_if_negotiated(void)
{
	session_negotiate(SESSION_PROTOCOL & ~PF(REPLY_ACK));
	CHECK_EQ(session_send(VHU_SET_OWNER, VHU_FLAG_NEED_REPLY, NULL, 0, NULL, 0), 0);
	CHECK(session_is_quiet());
}

/* User-mode Linux asks for an ack of the very message that negotiates it. */
static void ack_is_judged_by_what_the_message_brings(void)
{
	session_negotiate(0);
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, PF(REPLY_ACK)), 0);
}

static void no_ack_once_it_is_given_up(void)
{
	const uint64_t none = 0;

	CHECK_EQ(session_send(VHU_SET_PROTOCOL_FEATURES, VHU_FLAG_NEED_REPLY, &none, 8, NULL, 0),
		 0);
	CHECK(session_is_quiet());
}

static void reply_is_not_acknowledged_too(void)
{
	struct fe_msg reply;

	CHECK_EQ(session_send(VHU_GET_QUEUE_NUM, VHU_FLAG_NEED_REPLY, NULL, 0, NULL, 0), 0);
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.payload.u64, SESSION_QUEUES);
	CHECK(session_is_quiet());
}

static void failure_is_acknowledged_as_such(void)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, 3), 1);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, 0, 4), 0);
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, 1ull << VIRTIO_F_IN_ORDER), 1);
	CHECK_EQ(session_tell_u64(VHU_SET_PROTOCOL_FEATURES, PF(XEN_MMAP)), 1);
}

/* ---- what cannot be said ---- */

static void failure_that_nobody_asked_about(void)
{
	const struct vhu_vring_state state = {0, 3};

	CHECK_EQ(session_send(VHU_SET_VRING_NUM, 0, &state, sizeof(state), NULL, 0), 0);
	CHECK(session_is_quiet());
}

/* Without the ack the two sides would go on with different ideas of memory and features. */
static void check_vital(uint32_t request, uint64_t value)
{
	CHECK(session_send(request, 0, &value, sizeof(value), NULL, 0) < 0);
	session_close();
	session_open();
}

static void vital_failure_ends_the_connection(void)
{
	const struct vhu_mem_reg reg = {0};
	const struct vhu_inflight_desc none = {0};

	check_vital(VHU_SET_FEATURES, 1ull << VIRTIO_F_IN_ORDER);
	check_vital(VHU_SET_PROTOCOL_FEATURES, PF(XEN_MMAP));
	check_vital(VHU_SET_MEM_TABLE, 1 /* region, that did not come */);
	CHECK(session_send(VHU_REM_MEM_REG, 0, &reg, sizeof(reg), NULL, 0) < 0);
	session_close();
	session_open();
	CHECK(session_send(VHU_ADD_MEM_REG, 0, &reg, sizeof(reg), &session.peer.fd, 1) < 0);
	session_close();
	session_open();
	CHECK(session_send(VHU_SET_INFLIGHT_FD, 0, &none, sizeof(none), &session.peer.fd, 1) < 0);
}

static void vital_message_of_a_wrong_size_ends_the_connection(void)
{
	CHECK(session_send(VHU_SET_FEATURES, 0, NULL, 0, NULL, 0) < 0);
}

static void failure_without_a_reply_for_it_ends_the_connection(void)
{
	const struct vhu_vring_state state = {SESSION_QUEUES, 0};

	CHECK(session_send(VHU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0) < 0);
	CHECK(session_is_quiet());
}

/* ---- the socket ---- */

static void front_end_that_reads_nothing_is_left(void)
{
	int result = 0;

	for (unsigned i = 0; !result && i < 1000000; i++)
		result = session_send(VHU_GET_FEATURES, 0, NULL, 0, NULL, 0);
	CHECK_EQ(result, -EAGAIN);
}

static void peer_that_speaks_something_else_is_left(void)
{
	REQUIRE_OK(fe_send_raw(&session.peer, "GET / HTTP/1.1\r\n\r\n", 18, NULL, 0));
	CHECK_EQ(vublk_dev_input(session.dev), -EPROTO);
}

static void messages_in_one_go_are_answered_in_order(void)
{
	const struct vhu_header headers[3] = {{VHU_GET_QUEUE_NUM, VHU_VERSION, 0},
					      {VHU_SET_OWNER, VHU_VERSION | VHU_FLAG_NEED_REPLY, 0},
					      {VHU_GET_FEATURES, VHU_VERSION, 0}};
	struct fe_msg reply;

	REQUIRE_OK(fe_send_raw(&session.peer, headers, sizeof(headers), NULL, 0));
	CHECK_EQ(vublk_dev_input(session.dev), 0);
	for (unsigned i = 0; i < 3; i++) {
		REQUIRE_OK(fe_recv(&session.peer, &reply));
		CHECK_EQ(reply.header.request, headers[i].request);
	}
}

/* One front-end must not keep the thread that serves others. */
static void messages_in_one_go_are_bounded(void)
{
	const struct vhu_header header = {VHU_GET_FEATURES, VHU_VERSION, 0};
	unsigned replies = 0;
	struct fe_msg reply;

	for (unsigned i = 0; i < 100; i++)
		REQUIRE_OK(fe_send_raw(&session.peer, &header, sizeof(header), NULL, 0));
	CHECK_EQ(vublk_dev_input(session.dev), 2);
	for (; !session_is_quiet(); replies++)
		REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK(replies > 0 && replies < 100);
	while (vublk_dev_input(session.dev) == 2)
		;
	for (; !session_is_quiet(); replies++)
		REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(replies, 100);
}

static void message_in_parts_is_served_once_complete(void)
{
	const struct vhu_header header = {VHU_GET_QUEUE_NUM, VHU_VERSION, 0};

	REQUIRE_OK(fe_send_raw(&session.peer, &header, 5, NULL, 0));
	CHECK_EQ(vublk_dev_input(session.dev), 0);
	CHECK(session_is_quiet());
	REQUIRE_OK(fe_send_raw(&session.peer, (const char *)&header + 5, 7, NULL, 0));
	CHECK_EQ(vublk_dev_input(session.dev), 0);
	CHECK(!session_is_quiet());
}

static const struct tap_case row_cases[] = {
	{"every_row_takes_what_it_says", every_row_takes_what_it_says},
	{"every_row_refuses_other_sizes", every_row_refuses_other_sizes},
	{"every_row_refuses_missing_descriptors", every_row_refuses_missing_descriptors},
	{"every_row_refuses_surplus_descriptors", every_row_refuses_surplus_descriptors},
	{"every_row_wants_its_protocol_feature", every_row_wants_its_protocol_feature},
	{"all_other_messages_are_refused", all_other_messages_are_refused},
	{"other_messages_without_ack_are_passed_over", other_messages_without_ack_are_passed_over},
	{0},
};

static const struct tap_case answer_cases[] = {
	{"ack_only_if_asked_for", ack_only_if_asked_for},
	{"ack_only_if_negotiated", ack_only_if_negotiated},
	{"ack_is_judged_by_what_the_message_brings", ack_is_judged_by_what_the_message_brings},
	{"no_ack_once_it_is_given_up", no_ack_once_it_is_given_up},
	{"reply_is_not_acknowledged_too", reply_is_not_acknowledged_too},
	{"failure_is_acknowledged_as_such", failure_is_acknowledged_as_such},
	{"failure_that_nobody_asked_about", failure_that_nobody_asked_about},
	{"vital_failure_ends_the_connection", vital_failure_ends_the_connection},
	{"vital_message_of_a_wrong_size_ends_the_connection",
	 vital_message_of_a_wrong_size_ends_the_connection},
	{"failure_without_a_reply_for_it_ends_the_connection",
	 failure_without_a_reply_for_it_ends_the_connection},
	{"front_end_that_reads_nothing_is_left", front_end_that_reads_nothing_is_left},
	{"peer_that_speaks_something_else_is_left", peer_that_speaks_something_else_is_left},
	{"messages_in_one_go_are_answered_in_order", messages_in_one_go_are_answered_in_order},
	{"messages_in_one_go_are_bounded", messages_in_one_go_are_bounded},
	{"message_in_parts_is_served_once_complete", message_in_parts_is_served_once_complete},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "dispatch rows", .cases = row_cases},
	{.name = "dispatch",
	 .setup = session_open,
	 .teardown = session_close,
	 .cases = answer_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
