/* SPDX-License-Identifier: BSD-3-Clause */
/* Front-ends that come and go, politely or not, with I/O in flight; and a daemon that is killed. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define SLOTS 4

static uint8_t data[MIB];

static void stop_and_reconnect(void)
{
	serve(MIB);
	for (unsigned int i = 0; i < 20; i++) {
		attach(.n_queues = 1 + i % 3);
		check_round_trip(&blk, 0, 4096);
		REQUIRE_OK(fe_dev_stop(&dev));
		detach();
	}
}

static void hang_up_and_reconnect(void)
{
	serve(MIB);
	for (unsigned int i = 0; i < 20; i++) {
		attach(.n_queues = 1 + i % 3);
		check_round_trip(&blk, 0, 4096);
		detach();
	}
}

/* The same guest goes on where it was: memory and rings stay, only the connection is new. */
static void reconnect_with_the_same_rings(void)
{
	serve(MIB);
	attach();
	for (unsigned int i = 0; i < 20; i++) {
		check_round_trip(&blk, 8 * i, 4096);
		fe_dev_hang_up(&dev);
		REQUIRE_OK(fe_dev_reconnect(&dev, server.socket));
	}
	check_round_trip(&blk, 0, 4096);
}

/*
 * Hangs up with I/O in flight and comes back at once. The old I/O must be over before the new
 * connection is served: what the new one writes to the same place must stay.
 */
static void hang_up_with_io_in_flight(void)
{
	serve(8 * MIB);
	for (unsigned int round = 0; round < 25; round++) {
		attach();
		write_all_slots(1000 + round);
		detach();
		attach();
		for (unsigned int i = 0; i < SLOTS; i++) {
			fe_pattern(data, i * MIB, MIB, round);
			REQUIRE_EQ(fe_blk_write(&blk, i * MIB / FE_SECTOR, data, MIB), 0);
		}
		REQUIRE_OK(fe_dev_stop(&dev));
		for (unsigned int i = 0; i < SLOTS; i++) {
			REQUIRE_OK(fe_image_read(server.image, i * MIB, data, MIB));
			REQUIRE_EQ(fe_pattern_differs(data, i * MIB, MIB, round), -1);
		}
		detach();
	}
}

/* The guest's memory is not written any more once the connection is closed by the daemon. */
static void hang_up_with_reads_in_flight(void)
{
	struct fe_blk_slot *slot;

	serve(8 * MIB);
	for (unsigned int round = 0; round < 10; round++) {
		attach();
		while ((slot = fe_blk_get(&blk)))
			REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_IN, 0, MIB));
		fe_vq_kick(blk.vq);
		fe_dev_hang_up(&dev);
		/* A new front-end is greeted only when the old one's I/O is over. */
		struct fe_conn next;

		REQUIRE_OK(fe_conn_open(&next, server.socket));
		REQUIRE_OK(fe_sync(&next));
		for (unsigned int i = 0; i < SLOTS; i++)
			memset(blk.slot[i].data, 0xa5, MIB);
		REQUIRE_OK(fe_sync(&next));
		fe_conn_close(&next);
		for (unsigned int i = 0; i < SLOTS; i++)
			for (unsigned int b = 0; b < MIB; b++)
				REQUIRE(blk.slot[i].data[b] == 0xa5);
		detach();
	}
	check_serves();
}

/* Half-closed: it can no longer speak, so it has left, though its end is still open. */
static void half_closed(void)
{
	serve(MIB);
	attach();
	check_round_trip(&blk, 0, 4096);
	REQUIRE_OK(shutdown(dev.conn.fd, SHUT_WR));
	CHECK_OK(fe_wait_closed(&dev.conn));
	check_serves();
}

static void front_end_process_killed(void)
{
	serve(8 * MIB);
	for (unsigned int round = 0; round < 5; round++) {
		int ready[2];
		char byte;

		REQUIRE_OK(pipe(ready));
		pid_t pid = fork();

		if (!pid) {
			struct fe_dev_options options = {.packed = proto_packed};

			if (fe_dev_start(&dev, server.socket, &options) ||
			    fe_blk_init(&blk, &dev, 0, SLOTS, SLOT_SIZE))
				_exit(1);
			for (;;) { /* busy until its end */
				write_all_slots(1);
				byte = 'k';
				if (write(ready[1], &byte, 1) != 1 || fe_blk_drain(&blk))
					_exit(1);
			}
		}
		close(ready[1]);
		for (unsigned int i = 0; i < 8; i++)
			REQUIRE_EQ(read(ready[0], &byte, 1), 1);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(ready[0]);
		check_serves();
	}
}

static void newcomer_waits_for_the_drain(void)
{
	struct fe_conn next;

	needs_vublkd();
	serve(8 * MIB);
	for (unsigned int round = 0; round < 20; round++) {
		attach();
		write_all_slots(round);
		fe_dev_hang_up(&dev);
		/* never turned away, however early it comes */
		REQUIRE_OK(fe_conn_open(&next, server.socket));
		REQUIRE_OK(fe_sync(&next));
		fe_conn_close(&next);
		detach();
	}
}

static void daemon_killed_and_restarted(void)
{
	serve(MIB);
	attach();
	for (unsigned int i = 0; i < 5; i++) {
		check_round_trip(&blk, 8 * i, 4096);
		fe_daemon_stop(&server, SIGKILL, NULL);
		CHECK_OK(fe_wait_closed(&dev.conn));
		fe_dev_hang_up(&dev);
		serve_again();
		/* QEMU knows no base now and takes the used index */
		REQUIRE_OK(fe_dev_reconnect(&dev, server.socket));
	}
	check_round_trip(&blk, 0, 4096);
}

/* A clean end with I/O in flight: what was acknowledged is in the image. */
static void daemon_stopped_with_io_in_flight(void)
{
	struct fe_blk_slot *slot;
	bool done[SLOTS] = {0};

	needs_vublkd();
	serve(8 * MIB);
	for (unsigned int round = 0; round < 5; round++) {
		memset(done, 0, sizeof(done));
		attach();
		write_all_slots(50 + round);
		CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
		while (fe_blk_reap(&blk, &slot) > 0)
			done[slot->header->sector * FE_SECTOR / MIB] = *slot->status == 0;
		for (unsigned int i = 0; i < SLOTS; i++) {
			if (!done[i])
				continue;
			REQUIRE_OK(fe_image_read(server.image, i * MIB, data, MIB));
			CHECK_EQ(fe_pattern_differs(data, i * MIB, MIB, 50 + round), -1);
		}
		detach();
		serve_again();
	}
	check_serves();
}

#define ROW(name) \
	{ \
#name, name \
	}
static const struct tap_case cases[] = {
	ROW(stop_and_reconnect),
	ROW(hang_up_and_reconnect),
	ROW(reconnect_with_the_same_rings),
	ROW(hang_up_with_io_in_flight),
	ROW(hang_up_with_reads_in_flight),
	ROW(half_closed),
	ROW(front_end_process_killed),
	ROW(newcomer_waits_for_the_drain),
	ROW(daemon_killed_and_restarted),
	ROW(daemon_stopped_with_io_in_flight),
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("session", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
