/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The image locks: QEMU's own bytes as OFD read locks, held from the first ring's start to the last
 * one's drain. Byte 100 says "I read", 101 "I write", 201 and 203 "nobody else may write, resize".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define READS            100
#define WRITES           101
#define NO_WRITE_BESIDE  201
#define NO_RESIZE_BESIDE 203

/* Does somebody hold a lock on this byte of the image? */
static bool locked(unsigned int byte)
{
	return is_locked(server.image, byte, 1);
}

static bool any_locked(void)
{
	return locked(READS) || locked(WRITES) || locked(NO_WRITE_BESIDE) ||
	       locked(NO_RESIZE_BESIDE);
}

/* Locks the byte as another process with QEMU's manners does; closing the fd lets it go. */
static int hold(unsigned int byte)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
	int fd = open(server.image, O_RDWR | O_CLOEXEC);

	REQUIRE(fd >= 0);
	REQUIRE_OK(fcntl(fd, F_OFD_SETLK, &lock));
	return fd;
}

/* A disk whose image another one has; the holder of that byte. */
static int serve_held(unsigned int byte, const char *flag)
{
	needs_vublkd();
	serve(MIB, flag);
	return hold(byte);
}

static int look_for_unlock(void *arg)
{
	(void)arg;
	return !any_locked();
}

/* After a hang-up the daemon lets go in its own time. */
static void await_unlock(void)
{
	CHECK_EQ(fe_wait_for(look_for_unlock, NULL, fe_deadline(FE_TIMEOUT_MS)), 1);
}

static void held_while_rings_run(void)
{
	needs_vublkd(); /* qemu-storage-daemon locks from its start */
	serve(MIB);
	greet(.n_queues = 2);
	CHECK(!any_locked());
	detach();
	attach(.n_queues = 2);
	check_round_trip(&blk, 0, 4096);
	for (unsigned int i = 0; i < 3; i++) {
		CHECK(locked(READS));
		CHECK(locked(WRITES));
		CHECK(locked(NO_WRITE_BESIDE));
		CHECK(locked(NO_RESIZE_BESIDE));
		REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
		CHECK(locked(WRITES)); /* the second ring still runs */
		REQUIRE_OK(fe_dev_stop_vq(&dev, 1));
		CHECK(!any_locked());
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
		check_round_trip(&blk, 0, 4096);
		REQUIRE_OK(fe_dev_start_vq(&dev, 1));
	}
	detach();
	await_unlock();
}

/* The guest goes on without knowing that its only ring had no memory for a while. */
static void held_while_a_ring_pauses(void)
{
	needs_vublkd();
	serve(MIB);
	attach(.mem_slots = true);
	REQUIRE_OK(fe_dev_remove_region(&dev, 0));
	CHECK(locked(WRITES));
	REQUIRE_OK(fe_dev_add_region(&dev, 0));
	check_round_trip(&blk, 0, 4096);
	REQUIRE_OK(fe_dev_remove_region(&dev, 0));
	REQUIRE_OK(fe_dev_stop(&dev));
	await_unlock();
	REQUIRE_OK(fe_dev_add_region(&dev, 0));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	check_round_trip(&blk, 0, 4096);
	REQUIRE_OK(fe_dev_remove_region(&dev, 0));
	CHECK(locked(WRITES));
	detach();
	await_unlock();
}

static void read_only_does_not_say_it_writes(void)
{
	char sector[512];

	needs_vublkd();
	serve(MIB, "--read-only");
	attach();
	CHECK_EQ(fe_blk_read(&blk, 0, sector, 512), 0);
	CHECK(locked(READS));
	CHECK(!locked(WRITES));
	detach();
	await_unlock();
}

static void no_lock_takes_none(void)
{
	const int other = serve_held(WRITES, "--no-lock");

	attach();
	check_round_trip(&blk, 0, 4096);
	close(other);
	CHECK(!any_locked());
}

/*
 * Starts the ring of a fresh connection with a request waiting on it, without waiting for any
 * answer. The connection's fd tells the rest.
 */
static void start_without_waiting(void)
{
	struct vhu_vring_state enable = {.index = 0, .num = 1};
	struct fe_blk_slot *slot;
	uint64_t index = 0;

	greet(.protocol_off = FE_BIT(VHU_PROTOCOL_F_REPLY_ACK));
	make_rings(16 * MIB);
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 1, 4096));
	struct fe_vq *vq = &dev.vq[0];

	slot = fe_blk_get(&blk);
	REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_IN, 0, 512));
	fe_vq_publish(vq);
	REQUIRE_OK(fe_tell_state(&dev.conn, VHU_SET_VRING_NUM, 0, vq->num));
	REQUIRE_OK(fe_tell_state(&dev.conn, VHU_SET_VRING_BASE, 0, 0));
	REQUIRE_OK(fe_dev_set_addr(&dev, 0));
	REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_ERR, 0, vq->err_fd));
	REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 0, vq->call_fd));
	REQUIRE_OK(fe_send(&dev.conn, VHU_SET_VRING_KICK, VHU_VERSION, &index, 8, &vq->kick_fd, 1));
	REQUIRE_OK(fe_send(&dev.conn, VHU_SET_VRING_ENABLE, VHU_VERSION, &enable, 8, NULL, 0));
}

static void start_and_see_it_wait(const char *logged)
{
	start_without_waiting();
	CHECK_OK(fe_daemon_await_log(&server, logged));
	CHECK_EQ(blk.vq->ring.used->idx, 0);
}

static void waits_for_another_writer(void)
{
	const int other = serve_held(WRITES, NULL);

	start_and_see_it_wait("waiting");
	close(other);
	uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);

	while (!blk.vq->ring.used->idx && fe_left_ms(deadline))
		poll(&(struct pollfd){.fd = blk.vq->call_fd, .events = POLLIN}, 1, 1);
	CHECK_EQ(blk.vq->ring.used->idx, 1);
	CHECK(locked(WRITES));
	check_serves();
}

static void waits_for_who_allows_no_writer(void)
{
	const int other = serve_held(NO_WRITE_BESIDE, NULL);

	start_and_see_it_wait("waiting");
	close(other);
	CHECK_OK(fe_vq_wait(blk.vq, fe_deadline(FE_TIMEOUT_MS)));
	check_serves();
}

/* The ring is refused: by the error fd, or by the end of the connection. */
static void gives_up_in_the_end(void)
{
	const int other = serve_held(WRITES, "--lock-timeout=1");
	const uint64_t start = fe_now_ns();

	start_without_waiting();
	/* The ring is not left to stand still for good: the front-end may try again. */
	struct pollfd p = {.fd = dev.conn.fd, .events = POLLRDHUP};

	CHECK(poll(&p, 1, (int)tap_stretch(5000)) > 0);
	CHECK(p.revents & (POLLRDHUP | POLLHUP));
	CHECK(fe_now_ns() - start >= 900000000ull);
	CHECK_EQ(blk.vq->ring.used->idx, 0);
	CHECK(fe_vq_take_event(dev.vq[0].err_fd));
	close(other);
	check_serves();
}

/* While the control thread waits for a lock it must still be stoppable. */
static void sigterm_while_waiting(void)
{
	const int other = serve_held(WRITES, NULL);
	unsigned int ms;

	start_and_see_it_wait("waiting");
	CHECK_EQ(fe_daemon_stop(&server, SIGTERM, &ms), 0);
	CHECK(ms < tap_stretch(1000));
	close(other);
}

static void front_end_leaves_while_waiting(void)
{
	const int other = serve_held(WRITES, NULL);

	for (unsigned int i = 0; i < 3; i++) { /* each is greeted while the lock is not to be had */
		start_and_see_it_wait("waiting");
		detach();
	}
	close(other);
	check_serves();
	await_unlock();
}

static void killed_daemon_leaves_no_lock(void)
{
	needs_vublkd();
	serve(MIB);
	attach();
	CHECK(locked(WRITES));
	fe_daemon_stop(&server, SIGKILL, NULL);
	await_unlock();
	detach();
	serve_again();
	check_serves();
}

/* A tool of QEMU's on the image; its exit status. */
static int tool(const char *format)
{
	char command[1000];

	snprintf(command, sizeof(command), format, server.image);
	strcat(command, " >/dev/null 2>&1");
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void qemu_tools_see_us(void)
{
	needs_vublkd();
	if (system("command -v qemu-img qemu-io >/dev/null"))
		tap_skip("needs qemu-img and qemu-io");
	serve(MIB);
	CHECK_EQ(tool("qemu-io -f raw -c 'write 0 512' %s"), 0); /* no ring, no lock */
	attach();
	CHECK_EQ(tool("qemu-img info -U %s"), 0);
	CHECK(tool("qemu-io -f raw -c 'write 0 512' %s") != 0);
	CHECK(tool("qemu-img resize -f raw %s 2M") != 0);
	check_round_trip(&blk, 0, 4096);
	REQUIRE_OK(fe_dev_stop(&dev));
	CHECK_EQ(tool("qemu-io -f raw -c 'write 0 512' %s"), 0);
}

/* A monitor that asks something meanwhile must not stand still for as long. */
static void messages_are_answered_while_waiting(void)
{
	const int other_call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	const int other = serve_held(WRITES, NULL);
	const uint64_t start = fe_now_ns();
	uint64_t features;
	char id[20];

	attach(.n_queues = 2); /* with acknowledgements */
	CHECK_OK(fe_daemon_await_log(&server, "waiting"));
	for (unsigned int i = 0; i < 100; i++)
		CHECK_OK(fe_ask_u64(&dev.conn, VHU_GET_FEATURES, &features));
	CHECK_OK(fe_dev_enable_vq(&dev, 0, false));
	CHECK_OK(fe_dev_enable_vq(&dev, 0, true));
	CHECK_OK(fe_dev_share_memory(&dev));
	CHECK_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, 1, other_call));
	CHECK(fe_now_ns() - start < 1000000000ull * tap_stretch(3));
	CHECK_EQ(dev.vq[0].ring.used->idx, 0);
	/* One is stopped and stays so, the other begins. */
	CHECK_OK(fe_dev_stop_vq(&dev, 1));
	close(other);
	CHECK_EQ(fe_blk_get_id(&blk, id, sizeof(id)), VIRTIO_BLK_S_OK);
	check_round_trip(&blk, 0, 4096);
	CHECK_OK(fe_dev_start_vq(&dev, 1));
	close(other_call);
}

/* Whoever stops waiting leaves nothing behind, and is no reason to fill the log. */
static void waiting_may_be_stopped_and_begun_again(void)
{
	const int other = serve_held(WRITES, "--lock-timeout=100");
	static char err[65536];

	attach();
	for (unsigned int i = 0; i < 300; i++) {
		REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	}
	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
	close(other);
	CHECK_OK(fe_dev_start_vq(&dev, 0));
	check_round_trip(&blk, 0, 4096);
	CHECK(fe_daemon_stderr(&server, err, sizeof(err)) < 10000);
}

/* ---- two daemons ---- */

static struct fe_daemon first;
static struct fe_dev first_dev;

/* Makes what is served and attached the first ones, and another daemon for the same image. */
static void prepare_second(void)
{
	first = server;
	fe_daemon_prepare(&server, dir);
	strcpy(server.image, first.image);
	first_dev = dev;
	for (unsigned int i = 0; i < first_dev.n_queues; i++)
		first_dev.vq[i].mem = &first_dev.mem;
	memset(&dev, 0, sizeof(dev));
	fe_blk_free(&blk);
}

static void end_first(void)
{
	fe_dev_close(&first_dev);
	CHECK_EQ(fe_daemon_stop(&first, SIGTERM, NULL), 0);
}

static void second_daemon_waits_for_the_first(void)
{
	needs_vublkd();
	serve(MIB);
	attach();
	check_round_trip(&blk, 0, 4096);
	prepare_second();
	serve_again(); /* a migration's target: it must open and listen */
	start_and_see_it_wait("waiting");
	REQUIRE_OK(fe_dev_stop(&first_dev));
	CHECK_OK(fe_vq_wait(blk.vq, fe_deadline(FE_TIMEOUT_MS)));
	check_serves();
	end_first();
}

static void two_readers_of_one_image(void)
{
	char sector[512];

	needs_vublkd();
	serve(MIB, "--read-only");
	attach();
	CHECK_EQ(fe_blk_read(&blk, 0, sector, 512), 0);
	prepare_second();
	serve_again("--read-only", "--lock-timeout=1");
	attach();
	CHECK_EQ(fe_blk_read(&blk, 0, sector, 512), 0);
	end_first();
}

/* ---- a block device ---- */

/* Serves a loop device on the case's image; server.image is its node. */
static void serve_device(const char *flag)
{
	char file[sizeof(server.image)];

	needs_vublkd();
	REQUIRE_OK(fe_image_make(server.image, MIB));
	memcpy(file, server.image, sizeof(file));
	need_loop(file, 512, 0, server.image, sizeof(server.image));
	serve_again(flag);
}

/* Has the device to itself, as who mounts it; -EBUSY while another one has. */
static int claim(void)
{
	const int fd = open(server.image, O_RDWR | O_EXCL | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int look_for_claim(void *arg)
{
	const int fd = claim();

	(void)arg;
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void device_is_claimed_while_rings_run(void)
{
	serve_device(NULL);
	greet();
	CHECK(look_for_claim(NULL));
	detach();
	attach();
	for (unsigned int i = 0; i < 3; i++) {
		CHECK_EQ(claim(), -EBUSY);
		CHECK(locked(WRITES));
		check_round_trip(&blk, 0, 4096);
		CHECK_EQ(fe_blk_flush(&blk), VIRTIO_BLK_S_OK);
		REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
		CHECK_EQ(fe_wait_for(look_for_claim, NULL, fe_deadline(FE_TIMEOUT_MS)), 1);
		REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	}
	detach();
	CHECK_EQ(fe_wait_for(look_for_claim, NULL, fe_deadline(FE_TIMEOUT_MS)), 1);
}

/* It is mounted, say. */
static void device_in_use_is_waited_for(void)
{
	int other;

	serve_device("--lock-timeout=20");
	other = claim();
	REQUIRE(other >= 0);
	start_and_see_it_wait("the device is in use");
	CHECK(!any_locked()); /* who cannot have all has nothing */
	close(other);
	CHECK_OK(fe_vq_wait(blk.vq, fe_deadline(FE_TIMEOUT_MS)));
	CHECK_EQ(claim(), -EBUSY);
	check_serves();
}

static void device_is_shared_if_asked_for(void)
{
	static const char *const options[] = {"--no-lock", "--read-only"};

	for (unsigned int i = 0; i < 2; i++) {
		char sector[512];
		int other;

		if (i) {
			fe_daemon_stop(&server, SIGTERM, NULL);
			serve_again(options[i]);
		} else {
			serve_device(options[i]);
		}
		other = claim();
		REQUIRE(other >= 0);
		attach();
		CHECK_EQ(fe_blk_read(&blk, 0, sector, 512), VIRTIO_BLK_S_OK);
		detach();
		close(other);
	}
}

#define ROW(name) \
	{ \
#name, name \
	}
static const struct tap_case cases[] = {
	ROW(held_while_rings_run),
	ROW(held_while_a_ring_pauses),
	ROW(read_only_does_not_say_it_writes),
	ROW(no_lock_takes_none),
	ROW(waits_for_another_writer),
	ROW(waits_for_who_allows_no_writer),
	ROW(gives_up_in_the_end),
	ROW(sigterm_while_waiting),
	ROW(front_end_leaves_while_waiting),
	ROW(second_daemon_waits_for_the_first),
	ROW(killed_daemon_leaves_no_lock),
	ROW(qemu_tools_see_us),
	ROW(two_readers_of_one_image),
	ROW(messages_are_answered_while_waiting),
	ROW(waiting_may_be_stopped_and_begun_again),
	ROW(device_is_claimed_while_rings_run),
	ROW(device_in_use_is_waited_for),
	ROW(device_is_shared_if_asked_for),
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "lock", .setup = proto_setup, .teardown = proto_teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
