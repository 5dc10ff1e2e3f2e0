/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See api/events.h. The last EVENTS_KEPT are kept; who reads slower than they come is told how
 * many he has missed. While anybody listens an empty line is sent now and then: that he has gone is
 * noticed in no other way.
 */
#include "api/events.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/container.h"

#define EVENTS_KEPT  256
#define STREAMS_MOST 16
#define HEARTBEAT_NS UINT64_C(15000000000)

struct events {
	struct loop *loop;
	struct http *http;       /* NULL: not served */
	struct loop_timer timer; /* while there are streams */
	char *line[EVENTS_KEPT]; /* of event n at n % EVENTS_KEPT; NULL: there was none */
	uint64_t n;              /* that have happened */
	uint64_t beats;          /* empty lines */
	unsigned n_streams;
};

/* Somebody who listens. */
struct stream {
	struct http_stream http;
	struct events *events;
	uint64_t next, beats; /* the event to be told, and empty lines that were told */
	size_t told;          /* bytes of that event's line */
};

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* "2026-11-29T13:20:00.123Z" */
static void format_now(char *text, size_t size)
{
	struct timespec now;
	struct tm utc;
	char seconds[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text, size, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

/* What comes of a line that is too old. */
static size_t tell_missed(struct stream *stream, char *data, size_t room)
{
	const uint64_t oldest = stream->events->n - EVENTS_KEPT;
	char now[64];
	int n;

	format_now(now, sizeof(now));
	n = snprintf(data, room,
		     "%s{\"time\": \"%s\", \"event\": \"missed\", \"detail\": \"%llu\"}\n",
		     stream->told ? "\n" : "", now, (unsigned long long)(oldest - stream->next));
	stream->next = oldest;
	stream->told = 0;
	return n > 0 ? min((size_t)n, room) : 0;
}

static size_t read_stream(struct http_stream *http, char *data, size_t room)
{
	struct stream *stream = container_of(http, struct stream, http);
	const struct events *events = stream->events;
	const char *line;
	size_t n;

	if (events->n > EVENTS_KEPT && stream->next < events->n - EVENTS_KEPT)
		return tell_missed(stream, data, room);
	if (stream->next == events->n) {
		if (stream->beats == events->beats || !room)
			return 0;
		stream->beats = events->beats;
		*data = '\n';
		return 1;
	}
	line = events->line[stream->next % EVENTS_KEPT];
	n = min(strlen(line) - stream->told, room);
	memcpy(data, line + stream->told, n);
	stream->told += n;
	if (!line[stream->told]) {
		stream->next++;
		stream->told = 0;
	}
	return n;
}

static void close_stream(struct http_stream *http)
{
	struct stream *stream = container_of(http, struct stream, http);
	struct events *events = stream->events;

	if (!--events->n_streams)
		loop_clear_timer(events->loop, &events->timer);
	free(stream);
}

struct http_stream *events_stream(struct events *events)
{
	struct stream *stream =
		events->n_streams < STREAMS_MOST ? calloc(1, sizeof(*stream)) : NULL;

	if (!stream)
		return NULL;
	*stream = (struct stream){
		.http = {.read = read_stream, .close = close_stream},
		.events = events,
		.next = events->n,
		/* So that the headers, and a first line, come at once. */
		.beats = events->beats - 1,
	};
	if (!events->n_streams++)
		loop_set_timer(events->loop, &events->timer, HEARTBEAT_NS);
	return &stream->http;
}

static void beat(struct loop_timer *timer)
{
	struct events *events = container_of(timer, struct events, timer);

	events->beats++;
	loop_set_timer(events->loop, timer, HEARTBEAT_NS);
	if (events->http)
		http_wake(events->http);
}

/* A line, with its end; or NULL. */
static char *compose(const char *disk, const char *event, const char *detail)
{
	char now[64];
	json_t *object, *name = json_string(disk);
	char *text, *line = NULL;

	format_now(now, sizeof(now));
	object = json_pack("{s:s, s:o, s:s}", "time", now, "disk", name ? name : json_null(),
			   "event", event);
	if (detail && object)
		json_object_set_new(object, "detail", json_string(detail));
	text = object ? json_dumps(object, JSON_ENSURE_ASCII) : NULL;
	json_decref(object);
	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}

void events_add(struct events *events, const char *disk, const char *event, const char *detail)
{
	char *line = compose(disk, event, detail);
	char **at = &events->line[events->n % EVENTS_KEPT];

	if (!line)
		return;
	free(*at);
	*at = line;
	events->n++;
	if (events->http)
		http_wake(events->http);
}

struct events *events_create(struct loop *loop)
{
	struct events *events = calloc(1, sizeof(*events));

	if (!events)
		return NULL;
	events->loop = loop;
	events->timer.fire = beat;
	return events;
}

void events_serve(struct events *events, struct http *http)
{
	events->http = http;
}

void events_destroy(struct events *events)
{
	if (!events)
		return;
	for (unsigned i = 0; i < EVENTS_KEPT; i++)
		free(events->line[i]);
	free(events);
}
