/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the lines of the library go. Any thread, once the function is set. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>

static void (*log_callback)(enum vublk_log_level level, const char *line);

void vublk_set_log(void (*log)(enum vublk_log_level level, const char *line))
{
	log_callback = log;
}

void vhu_log(enum vublk_log_level level, const char *format, ...)
{
	char line[512];
	va_list args;

	if (!log_callback)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	log_callback(level, line);
}
