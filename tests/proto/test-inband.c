/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In-band notifications: kicks come as VRING_KICK, calls and errors go as messages on the back-end
 * channel. Also from a front-end that does not read it, or kicks whatever it likes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define INBAND FE_BIT(VHU_PROTOCOL_F_INBAND_NOTIFICATIONS)
#define OK     VIRTIO_BLK_S_OK

/* Sends `count` requests, as many at once as there are slots, and waits for them by its calls. */
static void check_many(struct fe_blk *b, unsigned int count)
{
	struct fe_blk_slot *slot;

	for (unsigned int sent = 0; sent < count;) {
		for (; (slot = fe_blk_get(b)); sent++)
			REQUIRE_OK(fe_blk_submit(b, slot, VIRTIO_BLK_T_GET_ID, 0,
						 VIRTIO_BLK_ID_BYTES));
		REQUIRE_EQ(fe_blk_drain(b), OK);
	}
}

/* How many calls of the first queue are there? Takes them. */
static unsigned int take_calls(void)
{
	eventfd_t n = 0;

	REQUIRE_OK(fe_dev_take(&dev));
	if (eventfd_read(dev.vq[0].call_fd, &n))
		return 0;
	return (unsigned int)n;
}

static int has_called(void *arg)
{
	(void)arg;
	return (int)take_calls();
}

static void await_call(void)
{
	REQUIRE(fe_wait_for(has_called, NULL, fe_deadline(5000)) > 0);
}

static void report(const char *line)
{
	REQUIRE_OK(kill(server.pid, SIGUSR1));
	CHECK_OK(fe_daemon_await_log(&server, line));
}

static void begin(const char *option)
{
	needs_vublkd();
	serve(4 * MIB, option);
	attach(.channel = true, .inband = true);
	REQUIRE(dev.protocol & INBAND);
}

/* ---- what it is for ---- */

static void check_work(const char *poll)
{
	begin(poll);
	check_round_trip(&blk, 0, 64 * KIB);
	check_many(&blk, 500);
	report("kicked by messages, calls by messages");
	REQUIRE_OK(fe_vq_wait_rest(blk.vq, fe_deadline(5000)));
	check_round_trip(&blk, 8, 4096);
}

static void kicks_and_calls(void)
{
	check_work("--poll=auto");
}

static void kicks_and_calls_without_polling(void)
{
	check_work("--poll=off");
}

static void without_event_idx(void)
{
	needs_vublkd();
	serve(4 * MIB);
	attach(.channel = true, .inband = true, .features_off = FE_BIT(VIRTIO_RING_F_EVENT_IDX));
	check_many(&blk, 500);
}

/* Those of each ring are its own, whichever thread has it. */
static void several_rings_and_workers(void)
{
	struct fe_blk queue[5];

	needs_vublkd();
	serve(4 * MIB, "--num-queues=5", "--num-workers=3");
	attach(.channel = true, .inband = true, .n_queues = 5);
	for (unsigned int i = 0; i < 5; i++)
		REQUIRE_OK(fe_blk_init(&queue[i], &dev, i, 8, 4096));
	for (unsigned int round = 0; round < 100; round++) {
		struct fe_blk_slot *slot;

		for (unsigned int i = 0; i < 5; i++)
			while ((slot = fe_blk_get(&queue[i])))
				REQUIRE_OK(fe_blk_submit(&queue[i], slot, VIRTIO_BLK_T_OUT, 8 * i,
							 4096));
		for (unsigned int i = 0; i < 5; i++)
			fe_vq_kick(queue[i].vq);
		for (unsigned int i = 0; i < 5; i++)
			REQUIRE_EQ(fe_blk_drain(&queue[i]), OK);
	}
	for (unsigned int i = 0; i < 5; i++)
		fe_blk_free(&queue[i]);
}

/* What else goes over the channel is not mixed with the calls. */
static void disk_that_grows_meanwhile(void)
{
	const uint64_t deadline = fe_deadline(10000);
	int said = 0;

	begin(NULL);
	REQUIRE_OK(truncate(server.image, (off_t)(8 * MIB)));
	while (!said) {
		REQUIRE(fe_left_ms(deadline));
		check_many(&blk, 20);
		said = fe_dev_config_changes(&dev);
	}
	CHECK_EQ(said, 1);
	check_many(&blk, 20);
}

static void stopped_and_started(void)
{
	begin(NULL);
	for (unsigned int i = 0; i < 10; i++) {
		check_many(&blk, 20);
		REQUIRE_OK(fe_dev_stop(&dev));
		take_calls();
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
		await_call();
	}
	/* As User-mode Linux does, which kicks no more to start it than to have it look. */
	for (unsigned int i = 0; i < 10; i++) {
		REQUIRE_OK(fe_dev_enable_vq(&dev, 0, false));
		REQUIRE_OK(fe_dev_enable_vq(&dev, 0, true));
		check_many(&blk, 20);
	}
}

/* Descriptors that come nevertheless are preferred; and a ring without a kick one is polled. */
static void descriptors_as_well(void)
{
	begin("--poll=off");
	REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, blk.vq->call_fd));
	REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, 0, blk.vq->kick_fd));
	REQUIRE_OK(fe_dev_take(&dev));
	blk.vq->inband = NULL;
	check_many(&blk, 100);
	CHECK(recv(dev.channel.fd, &(char){0}, 1, MSG_DONTWAIT) < 0);
	close(blk.vq->kick_fd);
	blk.vq->kick_fd = -1;
	REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, 0, -1));
	check_many(&blk, 100);
	report("not kicked");
}

static void broken_ring(void)
{
	begin(NULL);
	needs_split("fe_vq_raw_push()");
	fe_vq_raw_push(blk.vq, 5000);
	fe_vq_raw_kick(blk.vq);
	CHECK_OK(fe_vq_wait_error(blk.vq));
}

/* ---- the channel ---- */

static void channel_that_comes_late(void)
{
	needs_vublkd();
	serve(4 * MIB);
	attach(.inband = true);
	fe_vq_silence(blk.vq, true);
	check_many(&blk, 20);
	fe_vq_silence(blk.vq, false);
	REQUIRE_OK(fe_dev_give_channel(&dev));
	await_call();
	check_many(&blk, 100);
	/* A second one makes good what is lost with the first. */
	REQUIRE_OK(fe_dev_give_channel(&dev));
	await_call();
	check_many(&blk, 100);
}

/* One request, for which the driver wants to be called; seen without reading the channel. */
static void do_one_unread(void)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	struct fe_blk_slot *slot = fe_blk_get(&blk), *done;

	fe_vq_silence(blk.vq, false);
	REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES));
	fe_vq_kick(blk.vq);
	while (!fe_vq_has_used(blk.vq))
		REQUIRE(fe_left_ms(deadline));
	REQUIRE_EQ(fe_blk_reap(&blk, &done), 1);
	CHECK_EQ(*done->status, OK);
	fe_blk_put(&blk, done);
}

/* Those that are in the channel, and one that has waited for room: so many are there, no more. */
static unsigned int take_one_more(void)
{
	const uint64_t deadline = fe_deadline(5000);
	unsigned int n = 0, got = 0;
	int bytes;

	REQUIRE_OK(ioctl(dev.channel.fd, FIONREAD, &bytes));
	n = (unsigned int)bytes / (sizeof(struct vhu_header) + sizeof(struct vhu_vring_state));
	while (got < n + 1) {
		REQUIRE(fe_left_ms(deadline));
		got += take_calls();
	}
	REQUIRE_OK(fe_sync(&dev.conn));
	CHECK_EQ(got + take_calls(), n + 1);
	return got;
}

static void channel_that_nobody_reads(void)
{
	unsigned int n = 0, got, warned;
	int fds;

	begin("--poll=off");
	take_calls();
	warned = n_logged("warning: ");
	fds = fe_daemon_count_fds(&server);
	for (; n < 3000; n++)
		do_one_unread();
	/* It does all else as ever, and holds no more than before. */
	REQUIRE_OK(fe_sync(&dev.conn));
	check_fds(fds);
	got = take_one_more();
	CHECK(got > 10 && got < n);
	check_many(&blk, 100);
	CHECK_EQ(n_logged("warning: "), warned);
}

/* SET_VRING_CALL without a descriptor: the driver polls. */
static void calls_that_nobody_waits_for(void)
{
	begin("--poll=off");
	REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, -1));
	take_calls();
	for (unsigned int i = 0; i < 100; i++)
		do_one_unread();
	REQUIRE_OK(fe_dev_stop(&dev));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	for (unsigned int i = 0; i < 100; i++)
		do_one_unread();
	REQUIRE_OK(fe_sync(&dev.conn));
	CHECK(recv(dev.channel.fd, &(char){0}, 1, MSG_DONTWAIT) < 0);
}

/* They fill the channel's way back, and that is all. */
static void answers_that_nobody_asked_for(void)
{
	const struct vhu_header header = {VHU_BACKEND_VRING_CALL, VHU_VERSION | VHU_FLAG_REPLY, 8};
	char answer[sizeof(header) + 8] = {0};

	begin(NULL);
	memcpy(answer, &header, sizeof(header));
	for (unsigned int i = 0; i < 20; i++)
		REQUIRE_EQ(send(dev.channel.fd, answer, sizeof(answer), MSG_DONTWAIT),
			   sizeof(answer));
	check_many(&blk, 100);
	memset(answer, 0xff, sizeof(answer));
	while (send(dev.channel.fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
		;
	CHECK_EQ(errno, EAGAIN);
	check_many(&blk, 100);
}

static void full_channel_and_a_stop(void)
{
	begin("--poll=off");
	for (unsigned int i = 0; i < 1000; i++)
		do_one_unread();
	REQUIRE_OK(fe_dev_stop(&dev));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	take_one_more();
	check_many(&blk, 100);
	for (unsigned int i = 0; i < 1000; i++)
		do_one_unread();
	check_serves();
}

static void channel_that_is_closed(void)
{
	int fds;

	begin("--poll=off");
	check_many(&blk, 20);
	fds = fe_daemon_count_fds(&server);
	close(dev.channel.fd);
	dev.channel.fd = 0;
	for (unsigned int i = 0; i < 100; i++)
		do_one_unread();
	check_fds(fds - 1);
	CHECK_EQ(n_logged("told of no completions any more"), 1);
	REQUIRE_OK(fe_dev_give_channel(&dev));
	await_call();
	check_many(&blk, 100);
}

static void full_channel_that_is_closed(void)
{
	begin("--poll=off");
	for (unsigned int i = 0; i < 1000; i++)
		do_one_unread();
	close(dev.channel.fd);
	dev.channel.fd = 0;
	for (unsigned int i = 0; i < 10; i++)
		do_one_unread();
	CHECK_OK(fe_daemon_await_log(&server, "told of no completions any more"));
	REQUIRE_OK(fe_dev_give_channel(&dev));
	await_call();
	check_many(&blk, 100);
}

/* ---- kicks ---- */

static void wrong_kicks(void)
{
	const struct vhu_vring_state state = {0, 0};

	begin(NULL);
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_VRING_KICK, 256, 0), FE_REFUSED);
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_VRING_KICK, UINT32_MAX, 0), FE_REFUSED);
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_VRING_KICK, 0, 1), FE_REFUSED);
	CHECK_EQ(fe_tell(&dev.conn, VHU_VRING_KICK, &state, 4, NULL, 0), FE_REFUSED);
	CHECK_EQ(fe_tell(&dev.conn, VHU_VRING_KICK, NULL, 0, NULL, 0), FE_REFUSED);
	CHECK_EQ(fe_tell(&dev.conn, VHU_VRING_KICK, &state, 8, &blk.vq->kick_fd, 1), FE_REFUSED);
	check_many(&blk, 20);
	detach();
	attach();
	CHECK_EQ(fe_tell_state(&dev.conn, VHU_VRING_KICK, 0, 0), FE_REFUSED);
	check_serves();
}

static void kick_of_a_ring_that_cannot_run(void)
{
	needs_vublkd();
	serve(4 * MIB);
	greet(.channel = true, .inband = true);
	CHECK_OK(fe_dev_enable_vq(&dev, 0, true));
	for (unsigned int i = 0; i < 3; i++)
		CHECK_EQ(fe_tell_state(&dev.conn, VHU_VRING_KICK, 0, 0), FE_REFUSED);
	make_rings(16 * MIB);
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 4, MIB));
	CHECK_OK(fe_vq_wait_error(blk.vq));
	check_many(&blk, 20);
}

static void say_kicks(unsigned int n)
{
	const struct vhu_vring_state state = {0, 0};

	while (n--)
		REQUIRE_OK(fe_send(&dev.conn, VHU_VRING_KICK, VHU_VERSION, &state, sizeof(state),
				   NULL, 0));
}

/* Around all that stops the ring, starts it, and moves it; nobody asks for acknowledgements. */
static void kicks_in_great_numbers(void)
{
	begin("--poll=off");
	for (unsigned int i = 0; i < 50; i++) {
		struct fe_blk_slot *slot = fe_blk_get(&blk);

		REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_OUT, 8 * i, 4096));
		fe_vq_publish(blk.vq);
		say_kicks(100);
		REQUIRE_OK(fe_dev_enable_vq(&dev, 0, false));
		say_kicks(100);
		REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
		say_kicks(100);
		REQUIRE_OK(fe_dev_share_memory(&dev));
		say_kicks(100);
		REQUIRE_EQ(fe_blk_drain(&blk), OK);
	}
	say_kicks(1000);
	REQUIRE_OK(fe_dev_stop(&dev));
	/* One that comes now starts it again, where it was. */
	REQUIRE_OK(fe_dev_enable_vq(&dev, 0, true));
	say_kicks(100);
	check_many(&blk, 20);
}

/* ---- without what it needs ---- */

/* Although by then it could be told. */
static void try_without(unsigned int feature)
{
	needs_vublkd();
	serve(MIB);
	REQUIRE_OK(fe_conn_open(&dev.conn, server.socket));
	REQUIRE_OK(fe_tell_u64(&dev.conn, VHU_SET_PROTOCOL_FEATURES, FE_DEV_PROTOCOL));
	REQUIRE_OK(fe_send(&dev.conn, VHU_SET_PROTOCOL_FEATURES, VHU_VERSION | VHU_FLAG_NEED_REPLY,
			   &(uint64_t){(FE_DEV_PROTOCOL | INBAND) & ~FE_BIT(feature)}, 8, NULL, 0));
	CHECK_OK(fe_wait_closed(&dev.conn));
	CHECK_EQ(n_logged("INBAND_NOTIFICATIONS (14) needs REPLY_ACK (3) and BACKEND_REQ (5)"), 1);
	check_serves();
}

static void without_reply_ack(void)
{
	try_without(VHU_PROTOCOL_F_REPLY_ACK);
}

static void without_backend_req(void)
{
	try_without(VHU_PROTOCOL_F_BACKEND_REQ);
}

/* ---- after a crash ---- */

/* What the dead one completed, and perhaps never announced, the next one announces. */
static void completions_before_a_crash(void)
{
	begin("--poll=off");
	for (unsigned int i = 0; i < 5; i++) {
		for (unsigned int k = 0; k < 500; k++)
			do_one_unread();
		REQUIRE_EQ(fe_daemon_stop(&server, SIGKILL, NULL), 128 + SIGKILL);
		serve_again("--poll=off");
		fe_dev_hang_up(&dev);
		fe_vq_take_event(blk.vq->call_fd);
		REQUIRE_OK(fe_dev_reconnect(&dev, server.socket));
		await_call();
		check_many(&blk, 100);
	}
}

static const struct tap_case cases[] = {
	{"kicks_and_calls", kicks_and_calls},
	{"kicks_and_calls_without_polling", kicks_and_calls_without_polling},
	{"without_event_idx", without_event_idx},
	{"several_rings_and_workers", several_rings_and_workers},
	{"disk_that_grows_meanwhile", disk_that_grows_meanwhile},
	{"stopped_and_started", stopped_and_started},
	{"descriptors_as_well", descriptors_as_well},
	{"broken_ring", broken_ring},
	{"channel_that_comes_late", channel_that_comes_late},
	{"channel_that_nobody_reads", channel_that_nobody_reads},
	{"calls_that_nobody_waits_for", calls_that_nobody_waits_for},
	{"answers_that_nobody_asked_for", answers_that_nobody_asked_for},
	{"full_channel_and_a_stop", full_channel_and_a_stop},
	{"channel_that_is_closed", channel_that_is_closed},
	{"full_channel_that_is_closed", full_channel_that_is_closed},
	{"wrong_kicks", wrong_kicks},
	{"kick_of_a_ring_that_cannot_run", kick_of_a_ring_that_cannot_run},
	{"kicks_in_great_numbers", kicks_in_great_numbers},
	{"without_reply_ack", without_reply_ack},
	{"without_backend_req", without_backend_req},
	{"completions_before_a_crash", completions_before_a_crash},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("inband", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
