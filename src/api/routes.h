/* SPDX-License-Identifier: BSD-3-Clause */
/* The API's paths and methods, as one table, and what each does. Control thread. */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "api/http.h"

/* For http_start(); `opaque` is the view. */
void routes_answer(void *opaque, const struct http_request *request, struct http_answer *answer);

/* The same for who may see what was counted, and no more. */
void routes_answer_metrics(void *opaque, const struct http_request *request,
			   struct http_answer *answer);

#endif
