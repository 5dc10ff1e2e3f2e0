/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/server.h. Control thread. */
#include "disk/server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/container.h"
#include "base/host_limits.h"
#include "base/log.h"
#include "vublk.h"

#define ACCEPT_RETRY_NS 100000000ull

static void unwatch(struct server *server, struct loop_watch *watch)
{
	if (watch->fd >= 0)
		loop_unwatch(server->loop, watch);
	watch->fd = -1;
}

/* Of a front-end of which it was said that it came. */
static void say_gone(const struct server *server, const char *how)
{
	if (server->announced)
		log_info("%s: the front-end %s", disk_name(server->disk), how);
}

/* The front-end is gone, or has to go. */
static void leave(struct server *server)
{
	unwatch(server, &server->conn_watch);
	/* Who comes now waits until the session is over. */
	unwatch(server, &server->listen_watch);
	loop_clear_timer(server->loop, &server->accept_timer);
	server->leaving = true;
	disk_disconnect(server->disk);
}

/* ---- the connection ---- */

static void conn_ready(struct loop_watch *watch, uint32_t events)
{
	struct server *server = container_of(watch, struct server, conn_watch);
	int err;

	if (!(events & EPOLLIN)) {
		/* Hung up while its last message is still being worked on. */
		say_gone(server, "has gone");
		leave(server);
		return;
	}
	err = vublk_dev_input(disk_device(server->disk));
	if (err == 1) {
		loop_rewatch(server->loop, watch, 0);
	} else if (err < 0) {
		say_gone(server, "is disconnected");
		leave(server);
	}
}

static void resume(void *opaque, bool again)
{
	struct server *server = opaque;

	if (server->leaving)
		return;
	if (again)
		loop_rewatch(server->loop, &server->conn_watch, EPOLLIN);
	else
		leave(server);
}

static int serve(struct server *server, int fd)
{
	int err = vublk_dev_connect(disk_device(server->disk), fd);

	if (err) {
		log_error("%s: cannot serve the connection: %s", disk_name(server->disk),
			  strerror(-err));
		return err;
	}
	server->connected = true;
	server->leaving = false;
	server->conn_watch = (struct loop_watch){.fd = fd, .ready = conn_ready};
	err = loop_watch(server->loop, &server->conn_watch, EPOLLIN);
	if (err) {
		log_error("%s: cannot watch the connection: %s", disk_name(server->disk),
			  strerror(-err));
		server->conn_watch.fd = -1;
		leave(server);
		return err;
	}
	/* Who connects and hangs up in a loop is told of once a second. */
	server->announced = log_limit_ok(&server->arrivals, LOG_LEVEL_INFO, "front-ends");
	if (server->announced)
		log_info("%s: a front-end is connected", disk_name(server->disk));
	return 0;
}

/* ---- the listening socket ---- */

/* Is the front-end that we serve still there? It may have gone without our having seen it. */
static bool has_hung_up(const struct server *server)
{
	struct pollfd pfd = {.fd = server->conn_watch.fd, .events = POLLRDHUP};

	return poll(&pfd, 1, 0) == 1 && pfd.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

static void listen_ready(struct loop_watch *watch, uint32_t events)
{
	struct server *server = container_of(watch, struct server, listen_watch);
	int fd;

	(void)events;
	if (server->connected && has_hung_up(server)) {
		/* What it sent last is moot; the one that waits is perhaps the same one. */
		say_gone(server, "has gone");
		leave(server);
		return;
	}
	fd = accept4(server->listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
			return;
		if (log_limit_ok(&server->refusals, LOG_LEVEL_ERROR, "refusals"))
			log_error("%s: cannot accept a connection: %s%s", disk_name(server->disk),
				  strerror(errno), limits_advice(LIMITS_DESCRIPTOR, -errno));
		/* For want of descriptors, most likely: it would be readable all the time. */
		unwatch(server, watch);
		loop_set_timer(server->loop, &server->accept_timer, ACCEPT_RETRY_NS);
		return;
	}
	if (server->connected) {
		if (log_limit_ok(&server->refusals, LOG_LEVEL_WARNING, "refusals"))
			log_warning("%s: another front-end is refused: one is connected",
				    disk_name(server->disk));
		close(fd);
		return;
	}
	serve(server, fd);
}

static int watch_listener(struct server *server)
{
	server->listen_watch =
		(struct loop_watch){.fd = server->listener->fd, .ready = listen_ready};
	return loop_watch(server->loop, &server->listen_watch, EPOLLIN);
}

static void listen_again(struct server *server)
{
	if (!watch_listener(server))
		return;
	log_error("%s: cannot watch the listening socket", disk_name(server->disk));
	server->ended(server, EXIT_FAILURE);
}

static void accept_again(struct loop_timer *timer)
{
	listen_again(container_of(timer, struct server, accept_timer));
}

static void disconnected(void *opaque)
{
	struct server *server = opaque;

	server->connected = false;
	if (server->stopping || server->listener->connected)
		server->ended(server, EXIT_SUCCESS);
	else
		listen_again(server);
}

const struct disk_events server_events = {
	.resume = resume,
	.disconnected = disconnected,
};

/* ---- life ---- */

int server_start(struct server *server, struct loop *loop, struct disk *disk,
		 struct listener *listener, void (*ended)(struct server *server, int status))
{
	server->ended = ended;
	server->loop = loop;
	server->disk = disk;
	server->listener = listener;
	server->listen_watch.fd = server->conn_watch.fd = -1;
	server->accept_timer.fire = accept_again;
	disk_set_identity(disk, listener_identity(listener));
	if (listener->connected) {
		const int fd = listener->fd;

		listener->fd = -1; /* the device's now */
		return serve(server, fd);
	}
	return watch_listener(server);
}

void server_check_memory(struct server *server)
{
	if (!server->connected || server->leaving ||
	    !vublk_dev_memory_lost(disk_device(server->disk)))
		return;
	log_error("%s: ending the connection: the front-end has truncated the memory it shared",
		  disk_name(server->disk));
	leave(server);
}

void server_report(const struct server *server)
{
	log_info("%s: %s", disk_name(server->disk),
		 server->stopping ? "stopping"
		 : server->leaving && server->connected
			 ? "waiting for the last front-end's I/O to end"
		 : server->connected ? "a front-end is connected"
				     : "no front-end is connected");
	if (server->connected)
		vublk_dev_report(disk_device(server->disk));
}

void server_stop(struct server *server)
{
	if (server->stopping)
		return;
	server->stopping = true;
	unwatch(server, &server->listen_watch);
	loop_clear_timer(server->loop, &server->accept_timer);
	if (!server->connected)
		server->ended(server, EXIT_SUCCESS);
	else if (!server->leaving)
		leave(server);
}
