/* SPDX-License-Identifier: BSD-3-Clause */
/* The library's messages, on their way to the user's callback. Any thread. */
#ifndef VUBLK_LOG_H
#define VUBLK_LOG_H

#include "vublk.h"

void vhu_log(enum vublk_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
