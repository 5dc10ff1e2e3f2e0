/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is counted, in the text format that Prometheus reads, by its conventions: seconds and bytes,
 * "_total" for what only grows. Control thread.
 */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "api/view.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* All of it; the caller frees it. NULL: out of memory. */
char *metrics_text(const struct api_view *view);

#endif
