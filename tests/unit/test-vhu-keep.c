/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu/keep.c, record.c and adopt.c: a session that is kept goes on as it was, and one that is
 * damaged, or that this device cannot go on with, is refused. Processes that are killed are
 * crash/test-kept's.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file_key.h"
#include "lib/vhu/dev.h"
#include "lib/vhu/record.h"
#include "tests/frontend/fe_image.h"
#include "tests/unit/support/session.h"

#define MOST 64

/* What outlives the process, if there were one. */
struct kept {
	struct vhu_record *record;
	int fd[MOST]; /* by ticket; -1: none */
	struct file_key key[MOST];
};

static struct kept kept, copy;
static unsigned n_ended;

static int keep(void *opaque, int fd)
{
	struct file_key key;

	(void)opaque;
	REQUIRE_OK(file_key_get(fd, &key));
	for (int i = 1; i < MOST; i++)
		if (kept.fd[i] >= 0 && file_key_equal(&kept.key[i], &key))
			return i;
	for (int i = 1; i < MOST; i++) {
		if (kept.fd[i] >= 0)
			continue;
		kept.fd[i] = dup(fd);
		kept.key[i] = key;
		return i;
	}
	return -EMFILE;
}

static void settle(void *opaque, const uint32_t *ticket, unsigned n)
{
	(void)opaque;
	for (uint32_t i = 1; i < MOST; i++) {
		bool needed = false;

		for (unsigned k = 0; k < n; k++)
			needed |= ticket[k] == i;
		if (needed || kept.fd[i] < 0)
			continue;
		close(kept.fd[i]);
		kept.fd[i] = -1;
	}
}

static int take(void *opaque, uint32_t ticket)
{
	(void)opaque;
	return ticket < MOST && kept.fd[ticket] >= 0 ? dup(kept.fd[ticket]) : -ENOENT;
}

static void end(void *opaque)
{
	settle(opaque, NULL, 0);
	n_ended++;
}

static struct vublk_keeper keeper = {.keep = keep, .settle = settle, .take = take, .end = end};

static void init(struct kept *k)
{
	k->record = aligned_alloc(64, (vublk_keeper_size() + 63) & ~(size_t)63);
	REQUIRE(k->record != NULL);
	memset(k->record, 0, vublk_keeper_size());
	for (unsigned i = 0; i < MOST; i++)
		k->fd[i] = -1;
}

static void setup(void)
{
	init(&kept);
	init(&copy);
	n_ended = 0;
	keeper.memory = kept.record;
	session.keeper = &keeper;
	session_open_running();
}

static void teardown(void)
{
	session.keeper = NULL;
	session_close();
	settle(NULL, NULL, 0);
	free(kept.record);
	for (unsigned i = 0; i < MOST; i++)
		if (copy.fd[i] >= 0)
			close(copy.fd[i]);
	free(copy.record);
}

/* ---- going on ---- */

static void goes_on_as_it_was(void)
{
	static struct vhu_session before;

	memcpy(&before, session.dev->session, sizeof(before));
	CHECK(before.own_inflight && before.ring[0].started);
	session.events[0] = '\0';
	vublk_dev_park(session.dev);
	session_check("leave0 features:0 disconnected ");
	CHECK_EQ(session.dev->session->version, 0);
	CHECK_EQ(n_ended, 0);
	CHECK(session_is_quiet());
	REQUIRE_EQ(vublk_dev_adopt(session.dev, &keeper), 0);
	session_check("features:140000000 load:0 start0 ");
	/* A ring that has stopped, and goes on, says where it is. */
	CHECK_EQ(session.dev->session->ring[0].base, before.ring[0].base);
	CHECK(!memcmp(session.dev->session, &before, sizeof(before)));
	CHECK_EQ(session_ask_u64(VHU_GET_QUEUE_NUM), SESSION_QUEUES);
	session_ask_base(0);
}

/* What is sent while nobody is there is answered by who comes. */
static void messages_wait(void)
{
	const struct vhu_header header = {VHU_GET_QUEUE_NUM, VHU_VERSION, 0};
	struct fe_msg reply;

	vublk_dev_park(session.dev);
	for (unsigned i = 0; i < 3; i++)
		REQUIRE_OK(fe_send_raw(&session.peer, &header, sizeof(header), NULL, 0));
	REQUIRE_EQ(vublk_dev_adopt(session.dev, &keeper), 0);
	CHECK_EQ(vublk_dev_input(session.dev), 0);
	for (unsigned i = 0; i < 3; i++) {
		REQUIRE_OK(fe_recv(&session.peer, &reply));
		CHECK_EQ(reply.payload.u64, SESSION_QUEUES);
	}
	CHECK(session_is_quiet());
}

/* A part of one, too. */
static void a_part_of_a_message_waits(void)
{
	const uint64_t protocol = SESSION_PROTOCOL;
	const struct vhu_header header = {VHU_SET_PROTOCOL_FEATURES,
					  VHU_VERSION | VHU_FLAG_NEED_REPLY, 8};

	REQUIRE_OK(fe_send_raw(&session.peer, &header, 7, NULL, 0));
	CHECK_EQ(vublk_dev_input(session.dev), 0);
	vublk_dev_park(session.dev);
	REQUIRE_OK(fe_send_raw(&session.peer, (const char *)&header + 7, 5, NULL, 0));
	REQUIRE_OK(fe_send_raw(&session.peer, &protocol, 8, NULL, 0));
	REQUIRE_EQ(vublk_dev_adopt(session.dev, &keeper), 0);
	CHECK_EQ(vublk_dev_input(session.dev), 0);
	CHECK_EQ(session_take_ack(VHU_SET_PROTOCOL_FEATURES), 0);
}

/* As QEMU starts a ring: nothing is asked, and the only descriptors are the last message's. */
static void messages_wait_that_ask_nothing(void)
{
	const struct vhu_header head = {VHU_SET_VRING_NUM, VHU_VERSION, 8};
	const struct vhu_header call = {VHU_SET_VRING_CALL, VHU_VERSION, 8};
	const struct vhu_vring_state state = {.index = 1, .num = 64};
	const uint64_t index = 1;
	struct {
		struct vhu_header header;
		uint64_t payload;
	} __attribute__((packed)) message = {head, 0};
	const int fd = fd_event();

	memcpy(&message.payload, &state, sizeof(state));
	REQUIRE_OK(fe_send_raw(&session.peer, &message, sizeof(message), NULL, 0));
	message.header.request = VHU_SET_VRING_BASE;
	REQUIRE_OK(fe_send_raw(&session.peer, &message, sizeof(message), NULL, 0));
	message.header = call;
	message.payload = index;
	REQUIRE_OK(fe_send_raw(&session.peer, &message, sizeof(message), &fd, 1));
	close(fd);
	CHECK_EQ(vublk_dev_input(session.dev), 0);
	CHECK_EQ(session.dev->session->ring[1].size, 64);
	CHECK_EQ(session.dev->session->ring[1].base, 64);
	CHECK(session_is_quiet());
}

static void the_device_s_state_goes_on(void)
{
	session.state = 1;
	CHECK_EQ(session_tell_u64(VHU_SET_STATUS, 15), 0);
	vublk_dev_park(session.dev);
	session.state = 0;
	REQUIRE_EQ(vublk_dev_adopt(session.dev, &keeper), 0);
	CHECK_EQ(session.state, 1);
}

/* With the front-end's end of the connection the session ends, and nothing of it stays. */
static void ends_with_the_connection(void)
{
	close(session.peer.fd);
	session.peer.fd = -1;
	CHECK_EQ(vublk_dev_input(session.dev), -ECONNRESET);
	vublk_dev_disconnect(session.dev);
	CHECK_EQ(n_ended, 1);
	for (unsigned i = 0; i < MOST; i++)
		CHECK_EQ(kept.fd[i], -1);
	session_connect();
}

/* What cannot be kept is served nevertheless, and not believed to be kept. */
static void no_room_to_keep(void)
{
	for (unsigned i = 1; i < MOST; i++)
		if (kept.fd[i] < 0) {
			kept.fd[i] = memfd_create("full", 0);
			kept.key[i] = (struct file_key){.device = i};
		}
	CHECK_EQ(n_ended, 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 1, eventfd(0, EFD_CLOEXEC)), 0);
	CHECK_EQ(n_ended, 1);
	CHECK_EQ(session_ask_u64(VHU_GET_QUEUE_NUM), SESSION_QUEUES);
}

/* ---- refusals ---- */

static void save(void)
{
	vublk_dev_park(session.dev);
	memcpy(copy.record, kept.record, vublk_keeper_size());
	for (unsigned i = 0; i < MOST; i++)
		copy.fd[i] = kept.fd[i] < 0 ? -1 : dup(kept.fd[i]);
	memcpy(copy.key, kept.key, sizeof(kept.key));
}

static void restore(void)
{
	settle(NULL, NULL, 0);
	memcpy(kept.record, copy.record, vublk_keeper_size());
	for (unsigned i = 0; i < MOST; i++)
		kept.fd[i] = copy.fd[i] < 0 ? -1 : dup(copy.fd[i]);
	memcpy(kept.key, copy.key, sizeof(kept.key));
}

static struct vhu_record_copy *current(void)
{
	return &kept.record->place[kept.record->state & 1].copy;
}

/* It is refused, and then the next session is served. */
static void check_refused(unsigned line)
{
	const unsigned before = n_ended;
	const int err = vublk_dev_adopt(session.dev, &keeper);

	tap_check(err < 0, false, __FILE__, line, "it is taken over: %d", err);
	vublk_dev_disconnect(session.dev);
	tap_check(n_ended == before + 1, false, __FILE__, line, "it is still kept");
}

#define REFUSED(what) \
	do { \
		restore(); \
		what; \
		check_refused(__LINE__); \
	} while (0)

static void what_is_damaged_is_refused(void)
{
	unsigned fds;

	save();
	restore();
	fds = fds_open();
	REFUSED(kept.record->magic[3] ^= 1);
	REFUSED(kept.record->version++);
	REFUSED(kept.record->version--);
	REFUSED(kept.record->state |= 2);
	REFUSED(kept.record->state |= 0x7f00);
	REFUSED(current()->size = 8);
	REFUSED(current()->size = VHU_RECORD_ROOM + 1);
	REFUSED(current()->reply_size = VHU_REPLY_MAX + 1);
	REFUSED(current()->session.version = 0);
	REFUSED(current()->session.n_regions = VHU_MEM_MAX_SLOTS + 1);
	REFUSED(current()->session.region[0].size = UINT64_MAX);
	REFUSED(current()->session.region_ticket[0] = 60);
	REFUSED(current()->session.ticket[VHU_FD_CONNECTION] = 60);
	REFUSED(current()->session.ticket[VHU_FD_INFLIGHT] = 0);
	REFUSED(current()->session.inflight.mmap_size = 8);
	REFUSED(current()->session.ring[0].size = 3);
	REFUSED(current()->session.ring[0].ticket[VHU_RING_KICK_FD] = 60);
	restore();
	CHECK_EQ(fds_open(), fds);
}

static void what_the_device_cannot_is_refused(void)
{
	save();
	REFUSED(current()->session.features |= 1ull << 60);
	REFUSED(current()->session.protocol_features |= 1ull << 60);
	REFUSED(current()->session.ring[SESSION_QUEUES].size = 16);
	REFUSED(session.state_err = -EINVAL);
	session.state_err = 0;
	/* A later version may have written more, which this one overlooks. */
	restore();
	current()->size += 8;
	CHECK_EQ(vublk_dev_adopt(session.dev, &keeper), 0);
	vublk_dev_disconnect(session.dev);
	/* It may have died before it had written anything. */
	restore();
	memset(kept.record, 0, vublk_keeper_size());
	CHECK_EQ(vublk_dev_adopt(session.dev, &keeper), 0);
	CHECK_EQ(session.dev->session->features, 0);
	CHECK_EQ(session_ask_u64(VHU_GET_QUEUE_NUM), SESSION_QUEUES);
}

/* Whatever is there, it is refused, or served, or ends; nothing else happens. */
static void anything_may_be_there(void)
{
	const size_t size = sizeof(struct vhu_record_copy);
	uint64_t rng = 1;
	unsigned taken = 0;

	save();
	for (unsigned i = 0; i < 2000; i++) {
		restore();
		session.n_asked = session.n_answered = 0;
		for (unsigned k = 0; k < 1 + i % 4; k++) {
			uint8_t *const at = (uint8_t *)current();

			/* Mostly where there is something. */
			at[fe_random(&rng) % (k % 2 ? size : 3000)] = (uint8_t)fe_random(&rng);
		}
		taken += vublk_dev_adopt(session.dev, &keeper) >= 0;
		vublk_dev_disconnect(session.dev);
	}
	CHECK(taken > 0 && taken < 2000);
	restore();
	REQUIRE_EQ(vublk_dev_adopt(session.dev, &keeper), 0);
}

static const struct tap_case going_on[] = {
	{"goes_on_as_it_was", goes_on_as_it_was},
	{"messages_wait", messages_wait},
	{"messages_wait_that_ask_nothing", messages_wait_that_ask_nothing},
	{"a_part_of_a_message_waits", a_part_of_a_message_waits},
	{"the_device_s_state_goes_on", the_device_s_state_goes_on},
	{"ends_with_the_connection", ends_with_the_connection},
	{"no_room_to_keep", no_room_to_keep},
	{"what_is_damaged_is_refused", what_is_damaged_is_refused},
	{"what_the_device_cannot_is_refused", what_the_device_cannot_is_refused},
	{"anything_may_be_there", anything_may_be_there},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "keep", .setup = setup, .teardown = teardown, .cases = going_on},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
