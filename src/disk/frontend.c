/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/frontend.h. Control thread. */
#include "disk/frontend.h"

#include <errno.h>
#include <fcntl.h>
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

/*
 * What is readable is looked at, and may stay where it is until there is more (vublk_dev_input()):
 * so news are waited for, not that there is something.
 */
#define NEWS (EPOLLIN | EPOLLET)

#define ACCEPT_RETRY_NS 100000000ull

static void unwatch(struct frontend *frontend, struct loop_watch *watch)
{
	if (watch->fd >= 0)
		loop_unwatch(frontend->loop, watch);
	watch->fd = -1;
}

/* Of a front-end of which it was said that it came. */
static void say_gone(const struct frontend *frontend, const char *how)
{
	if (frontend->announced)
		log_info("%s: the front-end %s", rings_name(frontend->rings), how);
}

static void unwatch_end(struct frontend *frontend)
{
	const int fd = frontend->end_watch.fd;

	unwatch(frontend, &frontend->end_watch);
	if (fd >= 0)
		close(fd);
}

static void gone_at_last(struct loop_watch *watch, uint32_t events)
{
	struct frontend *frontend = container_of(watch, struct frontend, end_watch);

	(void)events;
	unwatch_end(frontend);
	rings_disconnect(frontend->rings);
}

/* The session's end waits for memory that the front-end brings, as long as there is one. */
static void watch_end(struct frontend *frontend)
{
	struct loop_watch *watch = &frontend->end_watch;

	*watch = (struct loop_watch){.fd = fcntl(frontend->conn_watch.fd, F_DUPFD_CLOEXEC, 0),
				     .ready = gone_at_last};
	if (watch->fd < 0 || !loop_watch(frontend->loop, watch, 0))
		return;
	close(watch->fd);
	watch->fd = -1;
}

/* The front-end is gone, or has to go. */
static void leave(struct frontend *frontend)
{
	if (vublk_dev_awaits_memory(rings_device(frontend->rings)))
		watch_end(frontend);
	unwatch(frontend, &frontend->conn_watch);
	/* Who comes now waits until the session is over. */
	unwatch(frontend, &frontend->listen_watch);
	loop_clear_timer(frontend->loop, &frontend->accept_timer);
	frontend->leaving = true;
	if (frontend->parking)
		vublk_dev_park(rings_device(frontend->rings));
	else
		rings_disconnect(frontend->rings);
}

/* ---- the connection ---- */

/* After what vublk_dev_input() has returned. */
static void go_on(struct frontend *frontend, int err)
{
	if (err < 0) {
		say_gone(frontend, "is disconnected");
		leave(frontend);
	} else if (err) {
		loop_rewatch(frontend->loop, &frontend->conn_watch, err == 1 ? 0 : NEWS);
	}
}

static void conn_ready(struct loop_watch *watch, uint32_t events)
{
	struct frontend *frontend = container_of(watch, struct frontend, conn_watch);

	if (!(events & EPOLLIN)) {
		/* Hung up while its last message is still being worked on. */
		say_gone(frontend, "has gone");
		leave(frontend);
		return;
	}
	go_on(frontend, vublk_dev_input(rings_device(frontend->rings)));
}

static void resume(void *opaque, bool again)
{
	struct frontend *frontend = opaque;

	if (frontend->leaving)
		return;
	if (again)
		loop_rewatch(frontend->loop, &frontend->conn_watch, NEWS);
	else
		leave(frontend);
}

static void state_ready(struct loop_watch *watch, uint32_t events)
{
	struct frontend *frontend = container_of(watch, struct frontend, state_watch);

	(void)events;
	vublk_dev_state_input(rings_device(frontend->rings));
}

static int watch_state(void *opaque, int fd)
{
	struct frontend *frontend = opaque;
	int err;

	unwatch(frontend, &frontend->state_watch);
	if (fd < 0)
		return 0;
	frontend->state_watch = (struct loop_watch){.fd = fd, .ready = state_ready};
	err = loop_watch(frontend->loop, &frontend->state_watch, EPOLLIN);
	if (err)
		frontend->state_watch.fd = -1;
	return err;
}

/* A session has begun, or goes on, on the device's socket. */
static int watch_connection(struct frontend *frontend, uint32_t events)
{
	int err;

	frontend->conn_watch = (struct loop_watch){
		.fd = vublk_dev_socket(rings_device(frontend->rings)), .ready = conn_ready};
	err = loop_watch(frontend->loop, &frontend->conn_watch, events);
	if (!err)
		return 0;
	log_error("%s: cannot watch the connection: %s", rings_name(frontend->rings),
		  strerror(-err));
	frontend->conn_watch.fd = -1;
	leave(frontend);
	return err;
}

static void begin_session(struct frontend *frontend)
{
	frontend->connected = true;
	frontend->leaving = false;
}

/* Of the next front-end. */
static void prepare_session(struct frontend *frontend)
{
	frontend->kept =
		kept_create(frontend->sessions, rings_name(frontend->rings), &frontend->kept);
}

static int serve(struct frontend *frontend, int fd)
{
	const struct vublk_keeper *keeper = frontend->kept ? kept_keeper(frontend->kept) : NULL;
	int err = vublk_dev_connect(rings_device(frontend->rings), fd, keeper);

	if (err) {
		kept_end(frontend->kept);
		log_error("%s: cannot serve the connection: %s", rings_name(frontend->rings),
			  strerror(-err));
		return err;
	}
	begin_session(frontend);
	err = watch_connection(frontend, NEWS);
	if (err)
		return err;
	/* Who connects and hangs up in a loop is told of once a second. */
	frontend->announced = log_limit_ok(&frontend->arrivals, LOG_LEVEL_INFO, "front-ends");
	if (frontend->announced) {
		log_info("%s: a front-end is connected", rings_name(frontend->rings));
		rings_tell(frontend->rings, "connected", NULL);
	}
	return 0;
}

/* Goes on with the session that an earlier process may have left. */
static void adopt(struct frontend *frontend)
{
	struct vublk_dev *dev = rings_device(frontend->rings);
	int err;

	frontend->kept =
		kept_take(frontend->sessions, rings_name(frontend->rings), &frontend->kept);
	if (!frontend->kept)
		return;
	begin_session(frontend);
	frontend->announced = true;
	err = vublk_dev_adopt(dev, kept_keeper(frontend->kept));
	if (err < 0) {
		leave(frontend);
	} else if (!watch_connection(frontend, err == 1 ? 0 : NEWS)) {
		log_info("%s: a front-end is connected, and its session goes on",
			 rings_name(frontend->rings));
		rings_tell(frontend->rings, "connected", "goes on");
	}
}

/* ---- the listening socket ---- */

/* Is the front-end that we serve still there? It may have gone without our having seen it. */
static bool has_hung_up(const struct frontend *frontend)
{
	struct pollfd pfd = {.fd = frontend->conn_watch.fd, .events = POLLRDHUP};

	return poll(&pfd, 1, 0) == 1 && pfd.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

static void listen_ready(struct loop_watch *watch, uint32_t events)
{
	struct frontend *frontend = container_of(watch, struct frontend, listen_watch);
	int fd;

	(void)events;
	if (frontend->connected && has_hung_up(frontend)) {
		/* What it sent last is moot; the one that waits is perhaps the same one. */
		say_gone(frontend, "has gone");
		leave(frontend);
		return;
	}
	/* Before there is a connection that could get lost. */
	if (!frontend->connected)
		prepare_session(frontend);
	fd = accept4(frontend->listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		const int error = errno;

		if (!frontend->connected)
			kept_end(frontend->kept);
		errno = error;
		if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
			return;
		if (log_limit_ok(&frontend->refusals, LOG_LEVEL_ERROR, "refusals"))
			log_error("%s: cannot accept a connection: %s%s",
				  rings_name(frontend->rings), strerror(errno),
				  limits_advice(LIMITS_DESCRIPTOR, -errno));
		/* For want of descriptors, most likely: it would be readable all the time. */
		unwatch(frontend, watch);
		loop_set_timer(frontend->loop, &frontend->accept_timer, ACCEPT_RETRY_NS);
		return;
	}
	if (frontend->connected) {
		if (log_limit_ok(&frontend->refusals, LOG_LEVEL_WARNING, "refusals"))
			log_warning("%s: another front-end is refused: one is connected",
				    rings_name(frontend->rings));
		close(fd);
		return;
	}
	serve(frontend, fd);
}

static int watch_listener(struct frontend *frontend)
{
	frontend->listen_watch =
		(struct loop_watch){.fd = frontend->listener->fd, .ready = listen_ready};
	return loop_watch(frontend->loop, &frontend->listen_watch, EPOLLIN);
}

static void listen_again(struct frontend *frontend)
{
	if (!watch_listener(frontend))
		return;
	log_error("%s: cannot watch the listening socket", rings_name(frontend->rings));
	frontend->ended(frontend, EXIT_FAILURE);
}

static void accept_again(struct loop_timer *timer)
{
	listen_again(container_of(timer, struct frontend, accept_timer));
}

static void disconnected(void *opaque)
{
	struct frontend *frontend = opaque;

	unwatch_end(frontend);
	frontend->connected = false;
	kept_leave(frontend->kept);
	if (frontend->announced)
		rings_tell(frontend->rings, "disconnected", NULL);
	if (frontend->stopping || frontend->listener->connected)
		frontend->ended(frontend, EXIT_SUCCESS);
	else
		listen_again(frontend);
}

const struct rings_events frontend_events = {
	.resume = resume,
	.disconnected = disconnected,
	.watch_state = watch_state,
};

/* ---- life ---- */

int frontend_start(struct frontend *frontend, struct loop *loop, struct rings *rings,
		   struct listener *listener, struct kept_sessions *sessions,
		   void (*ended)(struct frontend *frontend, int status))
{
	int err;

	frontend->ended = ended;
	frontend->loop = loop;
	frontend->rings = rings;
	frontend->listener = listener;
	frontend->sessions = sessions;
	frontend->listen_watch.fd = frontend->conn_watch.fd = frontend->state_watch.fd = -1;
	frontend->end_watch.fd = -1;
	frontend->accept_timer.fire = accept_again;
	rings_set_identity(rings, listener_identity(listener));
	if (listener->connected) {
		const int fd = listener->fd;

		listener->fd = -1; /* the device's now */
		prepare_session(frontend);
		return serve(frontend, fd);
	}
	err = watch_listener(frontend);
	if (!err)
		adopt(frontend);
	return err;
}

bool frontend_is_connected(const struct frontend *frontend)
{
	return frontend->connected && !frontend->leaving && !has_hung_up(frontend);
}

void frontend_check_memory(struct frontend *frontend)
{
	if (!frontend->connected || frontend->leaving ||
	    !vublk_dev_memory_lost(rings_device(frontend->rings)))
		return;
	log_error("%s: ending the connection: the front-end has truncated the memory it shared",
		  rings_name(frontend->rings));
	leave(frontend);
}

void frontend_report(const struct frontend *frontend)
{
	log_info("%s: %s", rings_name(frontend->rings),
		 frontend->stopping ? "stopping"
		 : frontend->leaving && frontend->connected
			 ? "waiting for the last front-end's I/O to end"
		 : frontend->connected ? "a front-end is connected"
				       : "no front-end is connected");
	if (frontend->connected)
		vublk_dev_report(rings_device(frontend->rings));
}

void frontend_stop(struct frontend *frontend, bool leave_session)
{
	if (frontend->stopping)
		return;
	frontend->stopping = true;
	frontend->parking = leave_session;
	unwatch(frontend, &frontend->listen_watch);
	loop_clear_timer(frontend->loop, &frontend->accept_timer);
	if (!frontend->connected)
		frontend->ended(frontend, EXIT_SUCCESS);
	else if (!frontend->leaving)
		leave(frontend);
}
