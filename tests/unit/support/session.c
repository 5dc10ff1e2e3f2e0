/* SPDX-License-Identifier: BSD-3-Clause */
/* See session.h. */
#include "tests/unit/support/session.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/vhu/session.h"

struct session session;

__attribute__((format(printf, 1, 2))) static void session_note(const char *format, ...)
{
	const size_t used = strlen(session.events);
	va_list args;

	va_start(args, format);
	vsnprintf(session.events + used, sizeof(session.events) - used, format, args);
	va_end(args);
}

void session_answer(int err)
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

static void session_ask_user(enum session_question what, struct vublk_queue *queue,
			     struct vublk_update *update, int err)
{
	REQUIRE(session.n_asked < 64);
	session.asked[session.n_asked].what = what;
	session.asked[session.n_asked].queue = queue;
	session.asked[session.n_asked++].update = update;
	if (!session.later)
		session_answer(err);
}

static void session_queue_start(void *opaque, struct vublk_queue *queue)
{
	CHECK(opaque == &session);
	session.queue[vublk_queue_index(queue)] = queue;
	session_note("start%u ", vublk_queue_index(queue));
	if (session.wait)
		vublk_queue_wait(queue);
	else
		session_ask_user(SESSION_START, queue, NULL, session.start_err);
}

void session_wait_over(unsigned index, int err)
{
	vublk_queue_wait_over(session.queue[index]);
	session_ask_user(SESSION_START, session.queue[index], NULL, err);
}

static void session_queue_cancel(void *opaque, struct vublk_queue *queue)
{
	CHECK(opaque == &session);
	session_note("cancel%u ", vublk_queue_index(queue));
}

static void session_queue_stop(void *opaque, struct vublk_queue *queue, bool drain)
{
	CHECK(opaque == &session);
	session_note("%s%u ", drain ? "stop" : "leave", vublk_queue_index(queue));
	session_ask_user(SESSION_STOP, queue, NULL, 0);
}

static void session_queue_update(void *opaque, struct vublk_queue *queue,
				 struct vublk_update *update)
{
	CHECK(opaque == &session);
	session_note("update%u ", vublk_queue_index(queue));
	session_ask_user(SESSION_UPDATE, queue, update, 0);
}

static void session_attend(void *opaque)
{
	CHECK(opaque == &session);
	session.attends = true;
}

static void session_resume(void *opaque, bool again)
{
	CHECK(opaque == &session);
	session_note("resume:%d ", again);
}

static void session_disconnected(void *opaque)
{
	CHECK(opaque == &session);
	session_note("disconnected ");
}

/* Byte i of the configuration space is i + 1. */
static void session_get_config(void *opaque, uint8_t config[VUBLK_MAX_CONFIG])
{
	CHECK(opaque == &session);
	for (unsigned i = 0; i < VUBLK_MAX_CONFIG; i++)
		config[i] = (uint8_t)(i + 1);
}

static int session_set_config(void *opaque, uint32_t offset, const uint8_t *data, uint32_t size,
			      bool migration)
{
	CHECK(opaque == &session);
	session_note("config:%u+%u,%u,%d ", offset, size, size ? data[0] : 0, migration);
	return session.config_err;
}

static void session_set_features(void *opaque, uint64_t features)
{
	CHECK(opaque == &session);
	session_note("features:%llx ", (unsigned long long)features);
}

static uint32_t session_save_state(void *opaque)
{
	CHECK(opaque == &session);
	return session.state;
}

static int session_load_state(void *opaque, uint32_t state)
{
	CHECK(opaque == &session);
	session_note("load:%x ", state);
	if (!session.state_err)
		session.state = state;
	return session.state_err;
}

static int session_watch_state(void *opaque, int fd)
{
	CHECK(opaque == &session);
	CHECK((fd < 0) == (session.watched >= 0)); /* one, and it is open still */
	CHECK(fd >= 0 || fcntl(session.watched, F_GETFD) >= 0);
	if (fd >= 0 && session.watch_err)
		return session.watch_err;
	session.watched = fd;
	return 0;
}

static void session_log(enum vublk_log_level level, const char *line)
{
	const char *why = strstr(line, "refused: ");

	CHECK(level <= VUBLK_LOG_DEBUG);
	CHECK(!strchr(line, '\n'));
	if (why)
		snprintf(session.refused, sizeof(session.refused), "%s", why + strlen("refused: "));
}

static void session_announce(void *opaque)
{
	CHECK(opaque == &session);
	session.n_announced++;
	if (!session.later_announced)
		vublk_dev_announce(session.dev);
}

static void session_await_room(void *opaque, int fd)
{
	CHECK(opaque == &session);
	session.room_fd = fd;
	session_note(fd < 0 ? "room:no " : "room ");
}

static void session_queue_broken(void *opaque, struct vublk_queue *queue, const char *why)
{
	CHECK(opaque == &session);
	session_note("broken%u:%s ", vublk_queue_index(queue), why);
}

const struct vublk_ops session_ops = {
	.queue_broken = session_queue_broken,
	.queue_start = session_queue_start,
	.queue_cancel = session_queue_cancel,
	.queue_stop = session_queue_stop,
	.queue_update = session_queue_update,
	.attend = session_attend,
	.resume = session_resume,
	.disconnected = session_disconnected,
	.get_config = session_get_config,
	.set_config = session_set_config,
	.set_features = session_set_features,
	.save_state = session_save_state,
	.load_state = session_load_state,
	.watch_state = session_watch_state,
	.announce = session_announce,
	.await_room = session_await_room,
};

void session_check_at(const char *expected, unsigned line)
{
	tap_check(!strcmp(session.events, expected), false, "events", line, "'%s', not '%s'",
		  session.events, expected);
	session.events[0] = '\0';
}

int session_send(uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		 const int *fds, unsigned n_fds)
{
	REQUIRE_OK(fe_send(&session.peer, request, VHU_VERSION | flags, payload, size, fds, n_fds));
	return vublk_dev_input(session.dev);
}

bool session_is_quiet(void)
{
	char byte;

	return recv(session.peer.fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

int session_take_ack(uint32_t request)
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

int session_tell(uint32_t request, const void *payload, uint32_t size, const int *fds,
		 unsigned n_fds)
{
	REQUIRE_EQ(session_send(request, VHU_FLAG_NEED_REPLY, payload, size, fds, n_fds), 0);
	return session_take_ack(request);
}

int session_tell_u64(uint32_t request, uint64_t value)
{
	return session_tell(request, &value, sizeof(value), NULL, 0);
}

int session_tell_state(uint32_t request, uint32_t index, uint32_t num)
{
	const struct vhu_vring_state state = {index, num};

	return session_tell(request, &state, sizeof(state), NULL, 0);
}

int session_tell_fd(uint32_t request, unsigned index, int fd)
{
	const uint64_t u64 = index | (fd < 0 ? VHU_VRING_NOFD : 0);

	return session_tell(request, &u64, sizeof(u64), &fd, fd < 0 ? 0 : 1);
}

struct fe_msg session_ask(uint32_t request, const void *payload, uint32_t size)
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

uint64_t session_ask_u64(uint32_t request)
{
	const struct fe_msg reply = session_ask(request, NULL, 0);

	CHECK_EQ(reply.header.size, sizeof(uint64_t));
	return reply.payload.u64;
}

uint32_t session_ask_base_by(uint32_t request, uint32_t index)
{
	const struct vhu_vring_state state = {index, 0xdead};
	const struct fe_msg reply = session_ask(request, &state, sizeof(state));

	CHECK_EQ(reply.header.size, sizeof(state));
	CHECK_EQ(reply.payload.state.index, index);
	return reply.payload.state.num;
}

uint32_t session_ask_base(uint32_t index)
{
	return session_ask_base_by(VHU_GET_VRING_BASE, index);
}

void session_connect(void)
{
	int pair[2];

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	session.peer = (struct fe_conn){.fd = pair[1]};
	REQUIRE_OK(vublk_dev_connect(session.dev, pair[0], session.keeper));
}

void session_open_raw(void)
{
	const struct vublk_params params = {
		.name = "test",
		.features = SESSION_OFFERED,
		.known_features = SESSION_KNOWN,
		.num_queues = SESSION_QUEUES,
		.postcopy = true,
		.ops = &session_ops,
		.opaque = &session,
	};

	vublk_set_log(session_log);
	session.watched = -1;
	REQUIRE_OK(vublk_dev_create(&session.dev, &params));
	session_connect();
}

void session_negotiate(uint64_t protocol)
{
	const uint64_t features = SESSION_FEATURES;

	REQUIRE_EQ(session_send(VHU_SET_PROTOCOL_FEATURES, 0, &protocol, 8, NULL, 0), 0);
	REQUIRE_EQ(session_send(VHU_SET_FEATURES, 0, &features, 8, NULL, 0), 0);
	session.events[0] = '\0';
}

void session_open(void)
{
	session_open_raw();
	session_negotiate(SESSION_PROTOCOL);
}

void session_close(void)
{
	close(session.peer.fd);
	vublk_dev_disconnect(session.dev);
	session.later = false;
	while (session.n_answered < session.n_asked)
		session_answer(0);
	CHECK(strstr(session.events, "disconnected "));
	CHECK_EQ(session.watched, -1);
	vublk_dev_destroy(session.dev);
	fe_vq_free(&session.ring);
	fe_mem_free(&session.mem);
	memset(&session, 0, sizeof(session));
}

void session_forget_driver(struct vhu_session *agreed)
{
	agreed->features = agreed->status = 0;
	agreed->has_inflight = agreed->inflight_packed = 0;
	memset(&agreed->inflight, 0, sizeof(agreed->inflight));
	memset(agreed->ring, 0, sizeof(agreed->ring));
}

void session_make_memory(void)
{
	REQUIRE_EQ(fe_mem_add(&session.mem, 0, SESSION_MEMORY, 0), 0);
	REQUIRE_OK(fe_vq_init(&session.ring, &session.mem, SESSION_RING_SIZE, 0));
}

int session_tell_table(void)
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

int session_tell_addr_off(unsigned index, uint64_t off)
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

int session_tell_addr(unsigned index)
{
	return session_tell_addr_off(index, 0);
}

void session_prepare(unsigned index)
{
	CHECK_EQ(session_tell_state(VHU_SET_VRING_NUM, index, SESSION_RING_SIZE), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_BASE, index, 0), 0);
	CHECK_EQ(session_tell_addr(index), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_CALL, index, session.ring.call_fd), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_ERR, index, session.ring.err_fd), 0);
}

void session_open_prepared(void)
{
	session_open();
	session_make_memory();
	REQUIRE_EQ(session_tell_table(), 0);
	session_prepare(0);
}

void session_open_running(void)
{
	session_open_prepared();
	REQUIRE_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	REQUIRE_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	session_check("start0 ");
	fd_take_events(session.ring.call_fd);
}
