/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many disks in one process, from a directory of settings: each is its own, and they come, change
 * and go while the others are at work.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/proto/disks.h"

static void each_disk_is_its_own(void)
{
	char id[21] = "";

	for (unsigned i = 0; i < 3; i++) {
		char more[64];

		snprintf(more, sizeof(more), "serial = NR-%u\n%s", i,
			 i == 2 ? "read-only = true\n" : "");
		tell(&disks[i], more);
	}
	start();
	for (unsigned i = 0; i < 3; i++)
		connect_to(&disks[i]);
	check_works(&disks[0], 1);
	check_works(&disks[1], 2);
	check_works(&disks[0], 3);
	CHECK(fe_blk_write(&disks[2].blk, 0, text, 512) != 0);
	REQUIRE_EQ(fe_blk_get_id(&disks[1].blk, id, 20), 0);
	CHECK_EQ(strcmp(id, "NR-1"), 0);
	leave(&disks[0]);
	check_works(&disks[1], 4);
	leave(&disks[1]);
	leave(&disks[2]);
}

static void disks_come_and_go_beside_others(void)
{
	tell(&disks[0], "");
	tell(&disks[1], "");
	start();
	connect_to(&disks[0]);
	await_listening(&disks[1], true);
	tell(&disks[2], "");
	REQUIRE(!unlink(disks[1].conf));
	reload();
	await_listening(&disks[2], true);
	await_listening(&disks[1], false);
	CHECK(access(disks[1].socket, F_OK) != 0);
	connect_to(&disks[2]);
	check_works(&disks[2], 1);
	check_works(&disks[0], 2);
	/* It can come again. */
	tell(&disks[1], "");
	reload();
	connect_to(&disks[1]);
	check_works(&disks[1], 3);
	for (unsigned i = 0; i < 3; i++)
		leave(&disks[i]);
}

static void a_disk_with_a_front_end_stays(void)
{
	tell(&disks[0], "");
	start();
	connect_to(&disks[0]);
	REQUIRE(!unlink(disks[0].conf));
	reload();
	await_log("d0: its file is gone, but a front-end is connected");
	check_works(&disks[0], 1);
	leave(&disks[0]);
	reload();
	await_listening(&disks[0], false);
	CHECK(fe_daemon_alive(&server));
}

static void a_change_waits_for_the_front_end(void)
{
	tell(&disks[0], "");
	start();
	connect_to(&disks[0]);
	tell(&disks[0], "read-only = true\nserial = 7\n");
	reload();
	await_log("d0: read-only, serial cannot be changed while a front-end is connected");
	check_works(&disks[0], 1);
	leave(&disks[0]);
	reload();
	await_log("serving d0, image");
	await_log("a file, read-only");
	connect_to(&disks[0]);
	CHECK(fe_blk_write(&disks[0].blk, 0, text, 512) != 0);
	leave(&disks[0]);
	/* Nothing has changed: it is left alone. */
	reload();
	await_log("d0: the image has not grown");
	CHECK(n_logged("serving d0") == 2);
}

static void limits_change_at_once(void)
{
	tell(&disks[0], "");
	start();
	connect_to(&disks[0]);
	tell(&disks[0], "iops-total = 5\n");
	reload();
	await_log("d0: changed: iops-total");
	check_works(&disks[0], 1);
	tell(&disks[0], "iops-total = 5\nserial = 3\n");
	reload();
	await_log("d0: serial cannot be changed while a front-end is connected");
	leave(&disks[0]);
}

static void a_wrong_file_leaves_its_disk_as_it_was(void)
{
	tell(&disks[0], "");
	tell(&disks[1], "sreial = 1\n");
	start();
	connect_to(&disks[0]);
	await_log("d1.conf:4: 'sreial' is nothing that a disk can be told");
	CHECK(!listens(&disks[1]));
	tell(&disks[0], "cache = writeback\nnum-queues = x\n");
	tell(&disks[1], "");
	reload();
	await_log("d0.conf: num-queues must be a number from 1 to 256, not 'x'");
	connect_to(&disks[1]);
	check_works(&disks[0], 1);
	check_works(&disks[1], 2);
	leave(&disks[0]);
	reload();
	await_log("d1: the image has not grown");
	CHECK(listens(&disks[0]));
	CHECK(!log_has("d0: not served any more"));
	leave(&disks[1]);
}

static void a_disk_that_failed_is_tried_when_asked(void)
{
	tell(&disks[0], "");
	tell(&disks[1], "");
	REQUIRE(!rename(disks[1].image, disks[2].image));
	start();
	await_log("d1.img");
	connect_to(&disks[0]);
	REQUIRE(!rename(disks[2].image, disks[1].image));
	CHECK(!listens(&disks[1]));
	reload();
	connect_to(&disks[1]);
	check_works(&disks[0], 1);
	check_works(&disks[1], 2);
	leave(&disks[0]);
	leave(&disks[1]);
}

/* Somebody else listens there for ever. */
static int occupy(const struct disk *disk)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", disk->socket);
	REQUIRE(!bind(fd, (struct sockaddr *)&addr, sizeof(addr)) && !listen(fd, 100));
	return fd;
}

static void a_slow_disk_holds_up_nobody(void)
{
	unsigned int ms;
	int fd;

	tell(&disks[0], "lock-timeout = 1000\n");
	tell(&disks[1], "");
	fd = occupy(&disks[0]);
	start();
	await_log("d0.sock is in use by another process; waiting");
	connect_to(&disks[1]);
	check_works(&disks[1], 1);
	/* Asked twice, it still waits. */
	reload();
	await_log("d1: the image has not grown");
	/* It can be removed, and the place is had by another one, once it is free. */
	REQUIRE(!unlink(disks[0].conf));
	snprintf(disks[2].socket, sizeof(disks[2].socket), "%s", disks[0].socket);
	tell(&disks[2], "");
	reload();
	await_log("d0: not served any more");
	close(fd);
	connect_to(&disks[2]);
	check_works(&disks[2], 2);
	leave(&disks[2]);
	leave(&disks[1]);
	/* And who waits does not hold up the end. */
	fd = occupy(&disks[3]);
	tell(&disks[3], "lock-timeout = 1000\n");
	reload();
	await_log("d3.sock is in use by another process; waiting");
	CHECK_EQ(fe_daemon_stop(&server, SIGTERM, &ms), 0);
	CHECK(ms < 4000);
	close(fd);
}

static void no_two_disks_have_one_socket(void)
{
	tell(&disks[0], "");
	snprintf(disks[1].socket, sizeof(disks[1].socket), "%s", disks[0].socket);
	tell(&disks[1], "");
	REQUIRE(snprintf(disks[2].socket, sizeof(disks[2].socket), "%s/api", dir) <
		(int)sizeof(disks[2].socket));
	tell(&disks[2], "");
	start();
	await_log("d1: its socket");
	await_log("is that of the disk d0");
	await_log("api is that of the API");
	connect_to(&disks[0]);
	check_works(&disks[0], 1);
	leave(&disks[0]);
}

/* Each has the next one's, and the last one that of the first. */
static void turn_sockets(unsigned n)
{
	char first[sizeof(disks[0].socket)];

	strcpy(first, disks[0].socket);
	for (unsigned i = 0; i < n; i++) {
		strcpy(disks[i].socket, i + 1 < n ? disks[i + 1].socket : first);
		tell(&disks[i], "");
	}
}

static int look_how_often_served(void *n)
{
	return n_logged("serving d") == *(unsigned *)n;
}

static void await_served(unsigned n)
{
	REQUIRE(fe_wait_for(look_how_often_served, &n, fe_deadline(FE_TIMEOUT_MS)) > 0);
}

static void sockets_change_places(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		tell(&disks[i], "");
	start();
	await_served(n);
	turn_sockets(n);
	reload();
	await_served(2 * n);
	CHECK(!log_has("is that of the disk"));
	for (unsigned i = 0; i < n; i++) {
		connect_to(&disks[i]);
		check_works(&disks[i], i);
	}
	for (unsigned i = 0; i < n; i++)
		hang_up(&disks[i]);
}

static void two_swap_their_sockets(void)
{
	sockets_change_places(2);
}

static void four_hand_their_sockets_round(void)
{
	sockets_change_places(4);
}

/* Who cannot go is in the way of who wants its place, and so on; others go. */
static void sockets_stay_where_one_has_to(void)
{
	for (unsigned i = 0; i < 4; i++)
		tell(&disks[i], "");
	start();
	await_served(4);
	connect_to(&disks[1]);
	turn_sockets(3);
	tell(&disks[3], "serial = 1\n");
	reload();
	await_log("d0: its socket");
	await_log("d1: its socket");
	await_log("d2: its socket");
	await_log("conf: 4 disks, 3 errors");
	check_works(&disks[1], 1);
	leave(&disks[1]);
	reload();
	await_served(8);
	for (unsigned i = 0; i < 4; i++) {
		connect_to(&disks[i]);
		check_works(&disks[i], i);
		hang_up(&disks[i]);
	}
}

static void a_daemon_may_have_no_disk(void)
{
	start();
	reload();
	tell(&disks[0], "");
	/* Hidden ones, and others, are none of its. */
	REQUIRE(!symlink("/nowhere", strcat(strcpy(text, disks[1].conf), "~")));
	reload();
	connect_to(&disks[0]);
	check_works(&disks[0], 1);
	leave(&disks[0]);
	CHECK(!log_has("error:"));
}

static void a_directory_that_is_gone_changes_nothing(void)
{
	char away[300];

	tell(&disks[0], "");
	start();
	connect_to(&disks[0]);
	snprintf(text, sizeof(text), "%s/conf", dir);
	snprintf(away, sizeof(away), "%s/away", dir);
	REQUIRE(!rename(text, away));
	reload();
	await_log("--config-dir: cannot read");
	check_works(&disks[0], 1);
	leave(&disks[0]);
	CHECK(listens(&disks[0]));
}

static void all_of_them_end_on_sigterm(void)
{
	for (unsigned i = 0; i < 4; i++)
		tell(&disks[i], "");
	start();
	for (unsigned i = 0; i < 3; i++)
		connect_to(&disks[i]);
	await_listening(&disks[3], true);
	CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		CHECK(access(disks[i].socket, F_OK) != 0);
	for (unsigned i = 0; i < 3; i++)
		hang_up(&disks[i]);
}

static void one_that_truncates_its_memory_loses_only_its_own(void)
{
	tell(&disks[0], "");
	tell(&disks[1], "");
	start();
	connect_to(&disks[0]);
	connect_to(&disks[1]);
	REQUIRE(!ftruncate(disks[0].dev.mem.region[0].fd, 0));
	fe_vq_raw_kick(disks[0].blk.vq);
	await_log("d0: ending the connection: the front-end has truncated");
	check_works(&disks[1], 1);
	leave(&disks[1]);
	CHECK(fe_daemon_alive(&server));
	await_listening(&disks[0], true);
}

static void the_command_line_may_have_one_beside(void)
{
	static char conf[420], image[420], path[420];
	const char *const args[] = {conf, image, path, "--log-level=debug", NULL};

	tell(&disks[0], "");
	snprintf(conf, sizeof(conf), "--config-dir=%s/conf", dir);
	snprintf(image, sizeof(image), "--blk-file=%s", disks[1].image);
	snprintf(path, sizeof(path), "--socket-path=%s", disks[1].socket);
	REQUIRE_OK(fe_daemon_spawn(&server, args, NULL, NULL));
	connect_to(&disks[0]);
	connect_to(&disks[1]);
	check_works(&disks[0], 1);
	check_works(&disks[1], 2);
	reload();
	await_log("d0: the image has not grown");
	check_works(&disks[1], 3);
	leave(&disks[0]);
	hang_up(&disks[1]);
}

/* Listens to what happens; that it does is heard at once. */
static int listen_to_events(void)
{
	const int fd = get("/v1/events");

	REQUIRE(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1,
		     fe_left_ms(fe_deadline(FE_TIMEOUT_MS))) == 1);
	return fd;
}

/* Until one line has all of this. The rest of what came then is forgotten. */
static void await_event(int fd, const char *disk, const char *what)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	static char line[4096];
	char whose[64];
	size_t n = 0;

	snprintf(whose, sizeof(whose), "\"disk\": \"%s\"", disk);
	while (true) {
		REQUIRE(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1,
			     fe_left_ms(deadline)) == 1);
		REQUIRE(n < sizeof(line) - 1 && read(fd, line + n, 1) == 1);
		line[++n] = '\0';
		if (line[n - 1] != '\n')
			continue;
		if (strstr(line, whose) && strstr(line, what))
			return;
		n = 0;
	}
}

#define NO_SUCH_DESCRIPTOR "descriptor 65535 made available in a ring of "

static void a_broken_ring_is_told(void)
{
	int events;

	tell(&disks[0], "");
	tell(&disks[1], "");
	start();
	connect_to(&disks[0]);
	connect_to(&disks[1]);
	events = listen_to_events();
	ask_of(&disks[0]);
	CHECK(strstr(text, "\"state\": \"running\""));
	fe_vq_raw_push(disks[0].blk.vq, 0xffff);
	fe_vq_raw_kick(disks[0].blk.vq);
	await_event(events, "d0",
		    "\"event\": \"ring-broken\", \"detail\": \"0: " NO_SUCH_DESCRIPTOR);
	ask_of(&disks[0]);
	CHECK(strstr(text, "\"state\": \"broken\""));
	CHECK(strstr(text, "\"why-broken\": \"" NO_SUCH_DESCRIPTOR));
	check_works(&disks[1], 1);
	ask_of(&disks[1]);
	CHECK(!strstr(text, "broken"));
	hang_up(&disks[0]);
	await_event(events, "d0", "\"queue-stopped\"");
	await_event(events, "d0", "\"disconnected\"");
	connect_to(&disks[0]);
	check_works(&disks[0], 2);
	ask_of(&disks[0]);
	CHECK(!strstr(text, "broken"));
	close(events);
	leave(&disks[1]);
	hang_up(&disks[0]);
}

/* Both write the same image: the second one waits for the first, and says for whom. */
static void who_has_the_image_is_named(void)
{
	int events;

	tell(&disks[0], "");
	snprintf(disks[1].image, sizeof(disks[1].image), "%s", disks[0].image);
	tell(&disks[1], "");
	start();
	connect_to(&disks[0]);
	events = listen_to_events();
	connect_to(&disks[1]);
	await_log("d1: the image is kept from other writers by the disk d0; waiting up to");
	await_event(
		events, "d1",
		"\"lock-waited-for\", \"detail\": \"the image is kept from other writers by the "
		"disk d0\"");
	ask_of(&disks[1]);
	CHECK(strstr(text, "\"state\": \"waiting\""));
	leave(&disks[0]);
	await_event(events, "d1", "lock-had");
	check_works(&disks[1], 1);
	leave(&disks[1]);
	close(events);
}

/* By other names of theirs, that nothing tells to be the same. */
static void who_has_the_socket_is_named(void)
{
	tell(&disks[0], "");
	start();
	await_listening(&disks[0], true);
	REQUIRE(!link(disks[0].socket, disks[1].socket));
	tell(&disks[1], "lock-timeout = 0\n");
	await_log("the API is at");
	REQUIRE(!link(api, disks[2].socket));
	tell(&disks[2], "lock-timeout = 1000\n");
	reload();
	await_log("d1.sock is in use by the disk d0");
	await_log("d2.sock is in use by the API; waiting");
	REQUIRE(!unlink(disks[1].socket));
	reload();
	connect_to(&disks[1]);
	check_works(&disks[1], 1);
	leave(&disks[1]);
}

static void requests_that_fail_are_told(void)
{
	static uint8_t data[4096];
	int events;

	tell(&disks[0], "");
	start();
	connect_to(&disks[0]);
	events = listen_to_events();
	check_works(&disks[0], 1);
	REQUIRE(!truncate(disks[0].image, 65536));
	CHECK_EQ(fe_blk_read(&disks[0].blk, 1024, data, sizeof(data)), VIRTIO_BLK_S_IOERR);
	await_event(events, "d0", "\"event\": \"requests-fail\", \"detail\": \"read: ");
	close(events);
	hang_up(&disks[0]);
}

static const struct tap_case cases[] = {
	{"each disk is its own", each_disk_is_its_own},
	{"disks come and go beside others", disks_come_and_go_beside_others},
	{"a disk with a front-end stays", a_disk_with_a_front_end_stays},
	{"a change waits for the front-end", a_change_waits_for_the_front_end},
	{"limits change at once", limits_change_at_once},
	{"a wrong file leaves its disk as it was", a_wrong_file_leaves_its_disk_as_it_was},
	{"a disk that failed is tried when asked", a_disk_that_failed_is_tried_when_asked},
	{"a slow disk holds up nobody", a_slow_disk_holds_up_nobody},
	{"no two disks have one socket", no_two_disks_have_one_socket},
	{"two swap their sockets", two_swap_their_sockets},
	{"four hand their sockets round", four_hand_their_sockets_round},
	{"sockets stay where one has to", sockets_stay_where_one_has_to},
	{"a daemon may have no disk", a_daemon_may_have_no_disk},
	{"a directory that is gone changes nothing", a_directory_that_is_gone_changes_nothing},
	{"all of them end on SIGTERM", all_of_them_end_on_sigterm},
	{"one that truncates its memory loses only its own",
	 one_that_truncates_its_memory_loses_only_its_own},
	{"the command line may have one beside", the_command_line_may_have_one_beside},
	{"a broken ring is told", a_broken_ring_is_told},
	{"requests that fail are told", requests_that_fail_are_told},
	{"who has the image is named", who_has_the_image_is_named},
	{"who has the socket is named", who_has_the_socket_is_named},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "disks", .setup = disks_setup, .teardown = proto_teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
