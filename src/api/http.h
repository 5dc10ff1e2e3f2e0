/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HTTP/1.1 on a listening socket, by libmicrohttpd, in the control loop: a request comes with its
 * whole body, and gets one answer. Trusts nothing of who is connected: bodies and connections are
 * bounded, and who is slow or silent is cut off and disturbs nobody. Control thread.
 */
#ifndef API_HTTP_H
#define API_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"

#define HTTP_BODY_MAX        65536u /* bytes */
#define HTTP_CONNECTIONS_MAX 64u
#define HTTP_TIMEOUT_S       10u /* in which a connection has to say something */

struct http;
struct MHD_Connection;

/* An answer that does not end. Embedded in its owner's object. */
struct http_stream {
	/* Fills in up to `room` bytes; returns how many, 0: there are none until http_wake(). */
	size_t (*read)(struct http_stream *stream, char *data, size_t room);
	void (*close)(struct http_stream *stream); /* whoever asked has gone */
	/* http.c's own. */
	struct http *http;
	struct MHD_Connection *connection;
	bool waits;
	struct http_stream *next;
};

struct http_request {
	const char *method; /* "GET" */
	const char *path;   /* "/v1/disks", decoded; without what comes after a ? */
	const char *body;   /* `size` bytes, and a NUL */
	size_t size;
	struct MHD_Connection *connection; /* for http_argument() */
};

/* An answer, all zero at first but `status`. */
struct http_answer {
	unsigned status;            /* 200 */
	char *text;                 /* which malloc() has given, and is taken over; NULL: none */
	const char *type;           /* of that, "application/json" */
	struct http_stream *stream; /* instead of `text`; or NULL */
	const char *allow;          /* the methods there are, with status 405; or NULL */
};

/*
 * Serves a listening socket, which is taken over whatever comes of it: answer() is called for each
 * request. 0 or -errno.
 */
int http_start(struct http **httpp, struct loop *loop, int fd,
	       void (*answer)(void *opaque, const struct http_request *request,
			      struct http_answer *answer),
	       void *opaque);

/* Cuts off who is connected. NULL is allowed. */
void http_stop(struct http *http);

/* Streams have something to read again. */
void http_wake(struct http *http);

/* What stands in "?name=value" or "&name=value" of the request; NULL: nothing does. */
const char *http_argument(const struct http_request *request, const char *name);

#endif
