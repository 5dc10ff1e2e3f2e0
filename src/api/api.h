/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The API: what operators' programs ask of a running process, and have it do, by HTTP/1.1 with JSON
 * on a Unix socket. contrib/api/openapi.yaml describes it. Control thread.
 */
#ifndef API_API_H
#define API_API_H

#include "api/view.h"
#include "disk/listener.h"

struct api;

/*
 * Begins to get its socket, on a thread of its own, for who was there before may have to be waited
 * for, and then to serve it. 0 or -errno (logged); what goes wrong later is logged, and the disks
 * are served without it. Both arguments have to live as long.
 */
int api_start(struct api **apip, const struct listener_config *config, struct api_view *view);

/* Ends it, when the process ends. NULL is allowed. */
void api_stop(struct api *api);

/* Removes its socket, when the process ends. Any thread. NULL is allowed. */
void api_unlink(struct api *api);

#endif
