/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to disks, for who wants to be told as it happens: a stream of JSON objects, a line
 * each. Control thread.
 */
#ifndef API_EVENTS_H
#define API_EVENTS_H

#include "api/http.h"

struct events;

/* None yet, told over no HTTP yet (events_serve()). NULL: out of memory. */
struct events *events_create(struct loop *loop);
void events_serve(struct events *events, struct http *http);

/* http_stop() has closed the streams. NULL is allowed. */
void events_destroy(struct events *events);

/* Something has happened to a disk; `detail` may be NULL. */
void events_add(struct events *events, const char *disk, const char *event, const char *detail);

/* From now on: for an answer, whose end frees it. NULL: there are too many, or no memory. */
struct http_stream *events_stream(struct events *events);

#endif
