/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages for the operator, on standard error, a line each: "vublkd: warning: text". Owns the
 * level. Any thread; a line is written with one write(2).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/*
 * What is less urgent than `level` is dropped (info at first). Also finds out whether standard
 * error is the systemd journal (JOURNAL_STREAM); lines then begin with its priority, as "<4>".
 * Call before there are threads.
 */
void log_set_level(enum log_level level);

/* From now on lines begin with this name (static), not with vublkd's. Before there are threads. */
void log_set_name(const char *name);

/*
 * Writes one line; `format` ends without newline. Control characters are written as '?', more
 * than about 1000 bytes are cut and end in "...". Never waits: lines that nobody reads are lost,
 * and counted in a later line. Leaves errno alone.
 */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * From now on the text of each error that this thread logs is also written to `text`, of `size`
 * bytes, as the last one. NULL: no more.
 */
void log_keep_error(char *text, size_t size);

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * A rate limit for one kind of message: LOG_LIMIT_BURST lines at once, then one each
 * LOG_LIMIT_INTERVAL_NS. Zero-initialised is a fresh one. One thread at a time.
 */
struct log_limit {
	uint64_t last_ns; /* CLOCK_MONOTONIC when tokens were last added */
	unsigned tokens;
	unsigned suppressed;
	bool primed;
};

#define LOG_LIMIT_BURST       10u
#define LOG_LIMIT_INTERVAL_NS UINT64_C(1000000000)

/*
 * May a line of this level be written now? When it may and earlier ones were held back, says
 * first in a line of its own how many ("`what`: 57 similar messages suppressed"). A level that is
 * dropped may not, and counts for nothing.
 */
bool log_limit_ok(struct log_limit *limit, enum log_level level, const char *what);

#endif
