/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user session over a socket pair: a device whose user (the ops) answers at once or when
 * the test says so, and a front-end that sends one message and has it served. For tests of
 * lib/vhu. Everything runs on one thread.
 */
#ifndef SESSION_H
#define SESSION_H

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/proto.h"
#include "lib/vublk.h"
#include "tests/frontend/fe_conn.h"
#include "tests/frontend/fe_vq.h"
#include "tests/tap.h"
#include "tests/unit/fds.h"

#define SESSION_QUEUES   4u
#define SESSION_OFFERED  0x2040ull /* device features, of ... */
#define SESSION_KNOWN    0x6040ull /* ... those known */
#define SESSION_FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VHU_F_PROTOCOL_FEATURES)
#define SESSION_PROTOCOL \
	(1ull << VHU_PROTOCOL_F_MQ | 1ull << VHU_PROTOCOL_F_REPLY_ACK | \
	 1ull << VHU_PROTOCOL_F_BACKEND_REQ | 1ull << VHU_PROTOCOL_F_CONFIG | \
	 1ull << VHU_PROTOCOL_F_RESET_DEVICE | 1ull << VHU_PROTOCOL_F_CONFIGURE_MEM_SLOTS | \
	 1ull << VHU_PROTOCOL_F_STATUS | 1ull << VHU_PROTOCOL_F_INFLIGHT_SHMFD | \
	 1ull << VHU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT | \
	 1ull << VHU_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN)
#define SESSION_RING_SIZE 16u
#define SESSION_MEMORY    0x100000u /* bytes, at guest address 0 */

enum session_question {
	SESSION_START,
	SESSION_STOP,
	SESSION_UPDATE,
};

static struct {
	struct vublk_dev *dev;
	struct fe_conn peer;
	struct fe_mem mem;
	struct fe_vq ring;

	/* The device's user. */
	bool later;        /* answers wait for session_answer() */
	bool wait;         /* queues that are started wait for session_wait_over() */
	int start_err;     /* of every queue_start */
	int config_err;    /* of every set_config */
	char events[1024]; /* what it was asked, see session_check() */
	struct {
		enum session_question what;
		struct vublk_queue *queue;
		struct vublk_update *update;
	} asked[64];
	unsigned n_asked, n_answered;
	struct vublk_queue *queue[SESSION_QUEUES]; /* those that were started last */
	char refused[128];                         /* why a message was, as logged */
} session;

/* ---- the device's user ---- */

__attribute__((format(printf, 1, 2))) static inline void session_note(const char *format, ...)
{
	const size_t used = strlen(session.events);
	va_list args;

	va_start(args, format);
	vsnprintf(session.events + used, sizeof(session.events) - used, format, args);
	va_end(args);
}

/* Answers the oldest question, having done as a worker does. */
static inline void session_answer(int err)
{
	const unsigned i = session.n_answered++;
	struct vublk_queue *queue = session.asked[i].queue;

	REQUIRE(i < session.n_asked);
	if (session.asked[i].what == SESSION_START && !err)
		err = vublk_queue_begin(queue);
	else if (session.asked[i].what == SESSION_STOP)
		vublk_queue_end(queue);
	else if (session.asked[i].what == SESSION_UPDATE)
		vublk_queue_apply(queue, session.asked[i].update);
	vublk_queue_done(queue, err);
}

static inline void session_ask_user(enum session_question what, struct vublk_queue *queue,
				    struct vublk_update *update, int err)
{
	REQUIRE(session.n_asked < 64);
	session.asked[session.n_asked].what = what;
	session.asked[session.n_asked].queue = queue;
	session.asked[session.n_asked++].update = update;
	if (!session.later)
		session_answer(err);
}

static inline void session_queue_start(void *opaque, struct vublk_queue *queue)
{
	CHECK(opaque == &session);
	session.queue[vublk_queue_index(queue)] = queue;
	session_note("start%u ", vublk_queue_index(queue));
	if (session.wait)
		vublk_queue_wait(queue);
	else
		session_ask_user(SESSION_START, queue, NULL, session.start_err);
}

/* A queue that waits begins, or fails. */
static inline void session_wait_over(unsigned index, int err)
{
	vublk_queue_wait_over(session.queue[index]);
	session_ask_user(SESSION_START, session.queue[index], NULL, err);
}

static inline void session_queue_cancel(void *opaque, struct vublk_queue *queue)
{
	CHECK(opaque == &session);
	session_note("cancel%u ", vublk_queue_index(queue));
}

static inline void session_queue_stop(void *opaque, struct vublk_queue *queue, bool drain)
{
	CHECK(opaque == &session);
	session_note("%s%u ", drain ? "stop" : "leave", vublk_queue_index(queue));
	session_ask_user(SESSION_STOP, queue, NULL, 0);
}

static inline void session_queue_update(void *opaque, struct vublk_queue *queue,
					struct vublk_update *update)
{
	CHECK(opaque == &session);
	session_note("update%u ", vublk_queue_index(queue));
	session_ask_user(SESSION_UPDATE, queue, update, 0);
}

static inline void session_resume(void *opaque, bool again)
{
	CHECK(opaque == &session);
	session_note("resume:%d ", again);
}

static inline void session_disconnected(void *opaque)
{
	CHECK(opaque == &session);
	session_note("disconnected ");
}

/* Byte i of the configuration space is i + 1. */
static inline void session_get_config(void *opaque, uint8_t config[VUBLK_MAX_CONFIG])
{
	CHECK(opaque == &session);
	for (unsigned i = 0; i < VUBLK_MAX_CONFIG; i++)
		config[i] = (uint8_t)(i + 1);
}

static inline int session_set_config(void *opaque, uint32_t offset, const uint8_t *data,
				     uint32_t size, bool migration)
{
	CHECK(opaque == &session);
	session_note("config:%u+%u,%u,%d ", offset, size, size ? data[0] : 0, migration);
	return session.config_err;
}

static inline void session_set_features(void *opaque, uint64_t features)
{
	CHECK(opaque == &session);
	session_note("features:%llx ", (unsigned long long)features);
}

static const struct vublk_ops session_ops = {
	.queue_start = session_queue_start,
	.queue_cancel = session_queue_cancel,
	.queue_stop = session_queue_stop,
	.queue_update = session_queue_update,
	.resume = session_resume,
	.disconnected = session_disconnected,
	.get_config = session_get_config,
	.set_config = session_set_config,
	.set_features = session_set_features,
};

static inline void session_log(enum vublk_log_level level, const char *line)
{
	const char *why = strstr(line, "refused: ");

	CHECK(level <= VUBLK_LOG_DEBUG);
	CHECK(!strchr(line, '\n'));
	if (why)
		snprintf(session.refused, sizeof(session.refused), "%s", why + strlen("refused: "));
}

/* Is this what the user was asked since the last time? Names and values, each with a blank. */
#define session_check(expected) session_check_at(expected, __LINE__)

static inline void session_check_at(const char *expected, unsigned line)
{
	tap_check(!strcmp(session.events, expected), false, "events", line, "'%s', not '%s'",
		  session.events, expected);
	session.events[0] = '\0';
}

/* ---- the front-end ---- */

/* Sends a message and has the device read it: the answer of vublk_dev_input(). */
static inline int session_send(uint32_t request, uint32_t flags, const void *payload, uint32_t size,
			       const int *fds, unsigned n_fds)
{
	REQUIRE_OK(fe_send(&session.peer, request, VHU_VERSION | flags, payload, size, fds, n_fds));
	return vublk_dev_input(session.dev);
}

/* Has the device sent nothing, and not closed the connection? */
static inline bool session_is_quiet(void)
{
	char byte;

	return recv(session.peer.fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

/* The acknowledgement that must be there: 0, or 1 for a refusal. */
static inline int session_take_ack(uint32_t request)
{
	struct fe_msg ack;

	REQUIRE(!session_is_quiet());
	REQUIRE_OK(fe_recv(&session.peer, &ack));
	CHECK_EQ(ack.header.request, request);
	CHECK_EQ(ack.header.flags, VHU_VERSION | VHU_FLAG_REPLY);
	CHECK_EQ(ack.header.size, sizeof(uint64_t));
	CHECK(session_is_quiet());
	return (int)ack.payload.u64;
}

/* A message that is served at once and acknowledged: 0, or 1 when it is refused. */
static inline int session_tell(uint32_t request, const void *payload, uint32_t size, const int *fds,
			       unsigned n_fds)
{
	REQUIRE_EQ(session_send(request, VHU_FLAG_NEED_REPLY, payload, size, fds, n_fds), 0);
	return session_take_ack(request);
}

static inline int session_tell_u64(uint32_t request, uint64_t value)
{
	return session_tell(request, &value, sizeof(value), NULL, 0);
}

static inline int session_tell_state(uint32_t request, uint32_t index, uint32_t num)
{
	const struct vhu_vring_state state = {index, num};

	return session_tell(request, &state, sizeof(state), NULL, 0);
}

/* SET_VRING_KICK and the like with a descriptor, or the no-fd bit when it is -1. */
static inline int session_tell_fd(uint32_t request, unsigned index, int fd)
{
	const uint64_t u64 = index | (fd < 0 ? VHU_VRING_NOFD : 0);

	return session_tell(request, &u64, sizeof(u64), &fd, fd < 0 ? 0 : 1);
}

/* A message that has a reply of its own, served at once. */
static inline struct fe_msg session_ask(uint32_t request, const void *payload, uint32_t size)
{
	struct fe_msg reply;

	REQUIRE_EQ(session_send(request, 0, payload, size, NULL, 0), 0);
	REQUIRE(!session_is_quiet());
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, request);
	CHECK_EQ(reply.header.flags, VHU_VERSION | VHU_FLAG_REPLY);
	CHECK(session_is_quiet());
	return reply;
}

static inline uint64_t session_ask_u64(uint32_t request)
{
	const struct fe_msg reply = session_ask(request, NULL, 0);

	CHECK_EQ(reply.header.size, sizeof(uint64_t));
	return reply.payload.u64;
}

/* GET_VRING_BASE, or its variant. */
static inline uint32_t session_ask_base_by(uint32_t request, uint32_t index)
{
	const struct vhu_vring_state state = {index, 0xdead};
	const struct fe_msg reply = session_ask(request, &state, sizeof(state));

	CHECK_EQ(reply.header.size, sizeof(state));
	CHECK_EQ(reply.payload.state.index, index);
	return reply.payload.state.num;
}

static inline uint32_t session_ask_base(uint32_t index)
{
	return session_ask_base_by(VHU_GET_VRING_BASE, index);
}

/* ---- life ---- */

static inline void session_connect(void)
{
	int pair[2];

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	session.peer = (struct fe_conn){.fd = pair[1]};
	REQUIRE_OK(vublk_dev_connect(session.dev, pair[0]));
}

/* Makes a device and connects to it; nothing is negotiated. */
static inline void session_open_raw(void)
{
	const struct vublk_params params = {
		.name = "test",
		.features = SESSION_OFFERED,
		.known_features = SESSION_KNOWN,
		.num_queues = SESSION_QUEUES,
		.ops = &session_ops,
		.opaque = &session,
	};

	vublk_set_log(session_log);
	REQUIRE_OK(vublk_dev_create(&session.dev, &params));
	session_connect();
}

static inline void session_negotiate(uint64_t protocol)
{
	const uint64_t features = SESSION_FEATURES;

	REQUIRE_EQ(session_send(VHU_SET_PROTOCOL_FEATURES, 0, &protocol, 8, NULL, 0), 0);
	REQUIRE_EQ(session_send(VHU_SET_FEATURES, 0, &features, 8, NULL, 0), 0);
	session.events[0] = '\0';
}

static inline void session_open(void)
{
	session_open_raw();
	session_negotiate(SESSION_PROTOCOL);
}

/* Ends the connection, answers what is outstanding, and destroys the device. */
static inline void session_close(void)
{
	close(session.peer.fd);
	vublk_dev_disconnect(session.dev);
	session.later = false;
	while (session.n_answered < session.n_asked)
		session_answer(0);
	CHECK(strstr(session.events, "disconnected "));
	vublk_dev_destroy(session.dev);
	fe_vq_free(&session.ring);
	fe_mem_free(&session.mem);
	memset(&session, 0, sizeof(session));
}

/* ---- memory and a ring ---- */

/* Makes guest memory with a ring in it; the device does not know it yet. */
static inline void session_make_memory(void)
{
	REQUIRE_EQ(fe_mem_add(&session.mem, 0, SESSION_MEMORY, 0), 0);
	REQUIRE_OK(fe_vq_init(&session.ring, &session.mem, SESSION_RING_SIZE, 0));
}

/* SET_MEM_TABLE with all regions. */
static inline int session_tell_table(void)
{
	struct vhu_mem_table table = {.count = session.mem.n_regions};
	int fds[VHU_MAX_TABLE];

	for (unsigned i = 0; i < table.count; i++) {
		table.region[i] = session.mem.region[i].wire;
		fds[i] = session.mem.region[i].fd;
	}
	return session_tell(VHU_SET_MEM_TABLE, &table,
			    8 + table.count * (uint32_t)sizeof(struct vhu_region), fds,
			    table.count);
}

/* SET_VRING_ADDR of the ring, moved by so many bytes. */
static inline int session_tell_addr_off(unsigned index, uint64_t off)
{
	const struct vhu_vring_addr addr = {
		.index = index,
		.desc = fe_user_addr(&session.mem, session.ring.desc_gpa) + off,
		.avail = fe_user_addr(&session.mem, session.ring.avail_gpa) + off,
		.used = fe_user_addr(&session.mem, session.ring.used_gpa) + off,
		.log = UINT64_MAX, /* as User-mode Linux has it */
	};

	return session_tell(VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static inline int session_tell_addr(unsigned index)
{
	return session_tell_addr_off(index, 0);
}

/* All that queue `index` needs but a kick descriptor and being enabled. */
static inline void session_prepare(unsigned index)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, index, SESSION_RING_SIZE), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, index, 0), 0);
	CHECK_EQ(session_tell_addr(index), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, index, session.ring.call_fd), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_ERR, index, session.ring.err_fd), 0);
}

/* A session with memory and queue 0 prepared. */
static inline void session_open_prepared(void)
{
	session_open();
	session_make_memory();
	REQUIRE_EQ(session_tell_table(), 0);
	session_prepare(0);
}

/* A session in which queue 0 runs. */
static inline void session_open_running(void)
{
	session_open_prepared();
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	session_check("start0 ");
	fd_take_events(session.ring.call_fd);
}

/* The suites of a program about the device, with its cases of each stage; for main(). */
#define SESSION_DEV_PREPARED(cases_) \
	{ \
		.name = "dev prepared", .setup = session_open_prepared, .teardown = session_close, \
		.cases = cases_ \
	}
#define SESSION_DEV_RUNNING(cases_) \
	{ \
		.name = "dev running", .setup = session_open_running, .teardown = session_close, \
		.cases = cases_ \
	}
#define SESSION_DEV_SUITES(create_, session_, prepared_, running_) \
	{.name = "dev create", .cases = create_}, \
		{.name = "dev", \
		 .setup = session_open, \
		 .teardown = session_close, \
		 .cases = session_}, \
		SESSION_DEV_PREPARED(prepared_), SESSION_DEV_RUNNING(running_)

#endif
