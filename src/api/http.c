/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See api/http.h. libmicrohttpd has no thread: it has an epoll descriptor of its own, which is
 * watched, and says how long it may be left alone.
 */
#include "api/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/container.h"
#include "base/log.h"

#define NS_PER_MS UINT64_C(1000000)

struct http {
	struct loop *loop;
	struct loop_watch watch; /* of its epoll descriptor */
	struct loop_timer timer;
	struct MHD_Daemon *daemon;
	int fd; /* listening */
	void (*answer)(void *opaque, const struct http_request *request,
		       struct http_answer *answer);
	void *opaque;
	struct http_stream *streams;
	bool woken; /* one of these was, since it ran */
};

/* What has come of a request's body. */
struct body {
	char *data; /* and a NUL */
	size_t size;
	bool too_large;
};

/* ---- a request ---- */

static int append(struct body *body, const char *data, size_t size)
{
	char *grown;

	if (body->too_large || size > HTTP_BODY_MAX - body->size) {
		body->too_large = true;
		return 0;
	}
	grown = realloc(body->data, body->size + size + 1);
	if (!grown)
		return -ENOMEM;
	memcpy(grown + body->size, data, size);
	body->data = grown;
	body->size += size;
	grown[body->size] = '\0';
	return 0;
}

/* ---- streams ---- */

static ssize_t read_stream(void *opaque, uint64_t at, char *data, size_t room)
{
	struct http_stream *stream = opaque;
	const size_t n = stream->read(stream, data, room);

	(void)at;
	if (n)
		return (ssize_t)n;
	stream->waits = true;
	MHD_suspend_connection(stream->connection);
	return 0;
}

static void close_stream(void *opaque)
{
	struct http_stream *stream = opaque, **at = &stream->http->streams;

	while (*at != stream)
		at = &(*at)->next;
	*at = stream->next;
	stream->close(stream);
}

#define STREAM_BLOCK 4096

static struct MHD_Response *begin_stream(struct http *http, struct MHD_Connection *connection,
					 struct http_stream *stream)
{
	struct MHD_Response *response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, stream, close_stream);

	stream->http = http;
	stream->connection = connection;
	stream->next = http->streams;
	http->streams = stream;
	if (!response)
		close_stream(stream);
	return response;
}

void http_wake(struct http *http)
{
	for (struct http_stream *stream = http->streams; stream; stream = stream->next) {
		if (!stream->waits)
			continue;
		stream->waits = false;
		MHD_resume_connection(stream->connection);
	}
	/* What it does about that by itself gets lost now and then. */
	http->woken = true;
	loop_set_timer(http->loop, &http->timer, 0);
}

/* ---- answers ---- */

static enum MHD_Result send_answer(struct http *http, struct MHD_Connection *connection,
				   struct http_answer *answer)
{
	struct MHD_Response *response;
	enum MHD_Result queued = MHD_NO;

	if (answer->stream)
		response = begin_stream(http, connection, answer->stream);
	else if (answer->text)
		response = MHD_create_response_from_buffer(strlen(answer->text), answer->text,
							   MHD_RESPMEM_MUST_FREE);
	else
		response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	if (!response) {
		free(answer->text);
		return MHD_NO;
	}
	if (answer->type)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
	if (answer->allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
	queued = MHD_queue_response(connection, answer->status, response);
	MHD_destroy_response(response);
	return queued;
}

static enum MHD_Result finish(struct http *http, struct MHD_Connection *connection,
			      const char *path, const char *method, const struct body *body)
{
	const struct http_request request = {
		.method = method,
		.path = path,
		.body = body->data ? body->data : "",
		.size = body->size,
		.connection = connection,
	};
	struct http_answer answer = {.status = MHD_HTTP_OK};

	if (body->too_large) {
		answer.status = MHD_HTTP_CONTENT_TOO_LARGE;
		answer.type = "application/json";
		answer.text = strdup("{\"error\": \"a body may have at most 65536 bytes\"}\n");
	} else {
		http->answer(http->opaque, &request, &answer);
	}
	return send_answer(http, connection, &answer);
}

/* Called when the headers are there, for each part of the body, and when all of it is there. */
static enum MHD_Result handle(void *opaque, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *data_size, void **state)
{
	struct body *body = *state;

	(void)version;
	if (!body) {
		*state = calloc(1, sizeof(struct body));
		return *state ? MHD_YES : MHD_NO;
	}
	if (!*data_size)
		return finish(opaque, connection, url, method, body);
	if (append(body, data, *data_size))
		return MHD_NO;
	*data_size = 0;
	return MHD_YES;
}

static void completed(void *opaque, struct MHD_Connection *connection, void **state,
		      enum MHD_RequestTerminationCode code)
{
	struct body *body = *state;

	(void)opaque, (void)connection, (void)code;
	if (body)
		free(body->data);
	free(body);
}

const char *http_argument(const struct http_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* ---- in the loop ---- */

static unsigned connections(const struct http *http)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info ? info->num_connections : 0;
}

static void run(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG ms;
	unsigned before;

	/*
	 * When there were as many as there may be it has stopped listening, and listens again when
	 * it runs the next time after one has gone, of which nothing tells.
	 */
	do {
		before = connections(http);
		http->woken = false;
		MHD_run(http->daemon);
	} while (http->woken || connections(http) < before);
	if (MHD_get_timeout(http->daemon, &ms) == MHD_YES)
		loop_set_timer(http->loop, &http->timer, (uint64_t)ms * NS_PER_MS);
	else
		loop_clear_timer(http->loop, &http->timer);
}

static void ready(struct loop_watch *watch, uint32_t events)
{
	(void)events;
	run(container_of(watch, struct http, watch));
}

static void timed_out(struct loop_timer *timer)
{
	run(container_of(timer, struct http, timer));
}

static int start(struct http *http)
{
	const union MHD_DaemonInfo *info;

	http->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle, http,
		MHD_OPTION_LISTEN_SOCKET, http->fd, MHD_OPTION_CONNECTION_LIMIT,
		HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, HTTP_TIMEOUT_S,
		MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_END);
	if (!http->daemon)
		return -ENOMEM;
	info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return -EINVAL;
	http->watch = (struct loop_watch){.fd = info->epoll_fd, .ready = ready};
	return loop_watch(http->loop, &http->watch, EPOLLIN);
}

int http_start(struct http **httpp, struct loop *loop, int fd,
	       void (*answer)(void *opaque, const struct http_request *request,
			      struct http_answer *answer),
	       void *opaque)
{
	struct http *http = calloc(1, sizeof(*http));
	int err = http ? 0 : -ENOMEM;

	*httpp = NULL;
	if (err) {
		close(fd);
		return err;
	}
	*http = (struct http){
		.loop = loop,
		.watch = {.fd = -1},
		.timer = {.fire = timed_out},
		.fd = fd,
		.answer = answer,
		.opaque = opaque,
	};
	err = start(http);
	if (!err) {
		*httpp = http;
		return 0;
	}
	http->watch.fd = -1;
	http_stop(http);
	return err;
}

void http_stop(struct http *http)
{
	if (!http)
		return;
	loop_clear_timer(http->loop, &http->timer);
	if (http->watch.fd >= 0)
		loop_unwatch(http->loop, &http->watch);
	/* libmicrohttpd wants nobody to wait when it ends. */
	if (http->daemon)
		http_wake(http);
	/* It closes the socket, too. */
	if (http->daemon)
		MHD_stop_daemon(http->daemon);
	else
		close(http->fd);
	free(http);
}
