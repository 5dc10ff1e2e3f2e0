/* SPDX-License-Identifier: BSD-3-Clause */
/* See api/api.h. */
#include "api/api.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "api/events.h"
#include "api/http.h"
#include "api/routes.h"
#include "base/container.h"
#include "base/host_limits.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/thread.h"

struct api {
	struct api_view *view;
	const struct listener_config *config;
	struct listener listener;
	struct http *http;    /* NULL until it is opened */
	atomic_bool stopping; /* while it is opened */
	struct call opened;   /* from that thread */
	int err;
};

static void *open_on_thread(void *arg)
{
	struct api *api = arg;

	api->err = listener_open(&api->listener, api->config, -1, &api->stopping);
	mailbox_post(loop_mailbox(api->view->loop), &api->opened);
	return NULL;
}

static void opened(struct call *call)
{
	struct api *api = container_of(call, struct api, opened);
	const int fd = api->listener.fd;
	int err = api->err;

	if (atomic_load(&api->stopping) || err == -ECANCELED)
		return;
	if (!err) {
		api->listener.fd = -1; /* taken over */
		err = http_start(&api->http, api->view->loop, fd, routes_answer, api->view);
	}
	if (err)
		log_error("there is no API: %s", strerror(-err));
	else {
		events_serve(api->view->events, api->http);
		log_info("the API is at %s", api->config->path);
	}
	api->view->settled(api->view, err);
}

int api_start(struct api **apip, const struct listener_config *config, struct api_view *view)
{
	struct api *api = calloc(1, sizeof(*api));
	int err;

	*apip = NULL;
	view->events = events_create(view->loop);
	err = api && view->events ? 0 : -ENOMEM;
	if (!err) {
		api->view = view;
		api->config = config;
		api->listener.fd = -1;
		api->opened.run = opened;
		err = thread_detached(open_on_thread, api);
	}
	if (err) {
		log_error("cannot make the API: %s%s", strerror(-err),
			  limits_advice(LIMITS_THREAD, err));
		free(api);
		return err;
	}
	*apip = api;
	return 0;
}

void api_unlink(struct api *api)
{
	if (api)
		listener_unlink(&api->listener);
}

void api_stop(struct api *api)
{
	if (!api)
		return;
	/* Not freed: the thread that opens it may be at work still, and the process ends. */
	atomic_store(&api->stopping, true);
	listener_unlink(&api->listener);
	if (api->view->events)
		events_serve(api->view->events, NULL);
	http_stop(api->http);
	api->http = NULL;
}
