/* SPDX-License-Identifier: BSD-3-Clause */
/* What was counted, and nothing else, for Prometheus by TCP. Control thread. */
#ifndef API_METRICS_SERVER_H
#define API_METRICS_SERVER_H

#include "api/http.h"
#include "api/view.h"

/*
 * Serves GET /metrics at "ADDRESS:PORT", numbers both (an IPv6 address in brackets). 0 and what
 * http_stop() ends, or -errno (logged). The view has to live as long.
 */
int metrics_start(struct http **httpp, const char *address, const struct api_view *view);

/* Is it an address? 0, or -EINVAL (logged). */
int metrics_check(const char *address);

#endif
