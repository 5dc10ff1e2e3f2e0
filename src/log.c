/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See log.h. Owns the level and the form of a line. Any thread may write: a line is put together
 * on the stack and handed to the kernel by one write(2), so lines of several threads (or of
 * several daemons on one terminal) do not mix. What stands in the text may come from a guest or
 * from a file name and is not trusted: no control character reaches the terminal.
 */
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "now.h"

#define LINE_MAX_BYTES 1024
#define CUT_MARK       "..."

static const struct {
	const char *name;
	char priority; /* syslog(3)'s, for the journal */
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", '3'},
	[LOG_LEVEL_WARNING] = {"warning", '4'},
	[LOG_LEVEL_INFO] = {"info", '6'},
	[LOG_LEVEL_DEBUG] = {"debug", '7'},
};

#define N_LEVELS (int)(sizeof(levels) / sizeof(levels[0]))

static enum log_level threshold = LOG_LEVEL_INFO;
static bool to_journal;

/* systemd.exec(5), JOURNAL_STREAM: "device:inode" of what it connected, maybe replaced since. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char mine[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(mine, sizeof(mine), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return !strcmp(stream, mine);
}

void log_set_level(enum log_level level)
{
	threshold = level;
	to_journal = stderr_is_journal();
}

int log_level_by_name(const char *name)
{
	for (int i = 0; i < N_LEVELS; i++)
		if (!strcmp(levels[i].name, name))
			return i;
	return -1;
}

static void replace_controls(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static void write_all(const char *line, size_t length)
{
	while (length) {
		ssize_t n = write(STDERR_FILENO, line, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* there is nobody left to tell */
		line += n;
		length -= (size_t)n;
	}
}

/* Puts the line together in `line` (LINE_MAX_BYTES). Returns its length, newline included. */
static size_t compose(char *line, enum log_level level, const char *format, va_list ap)
{
	const size_t room = LINE_MAX_BYTES - 1; /* the newline takes the last byte */
	size_t length = 0;
	int n;

	if (to_journal)
		length += (size_t)snprintf(line, room, "<%c>", levels[level].priority);
	length +=
		(size_t)snprintf(line + length, room - length, "vublkd: %s: ", levels[level].name);
	n = vsnprintf(line + length, room - length, format, ap);
	if (n < 0)
		n = snprintf(line + length, room - length, "(unprintable message)");
	replace_controls(line + length);
	if ((size_t)n >= room - length) {
		length = room - 1;
		memcpy(line + length - strlen(CUT_MARK), CUT_MARK, strlen(CUT_MARK));
	} else {
		length += (size_t)n;
	}
	line[length++] = '\n';
	return length;
}

void log_write(enum log_level level, const char *format, ...)
{
	int saved_errno = errno;
	char line[LINE_MAX_BYTES];
	va_list ap;

	if (level > threshold)
		return;
	va_start(ap, format);
	write_all(line, compose(line, level, format, ap));
	va_end(ap);
	errno = saved_errno;
}

/* Adds a token for each interval that has passed; the fraction is kept for the next time. */
static void refill(struct log_limit *limit)
{
	uint64_t now = (uint64_t)now_ns();
	uint64_t earned = (now - limit->last_ns) / LOG_LIMIT_INTERVAL_NS;

	if (!limit->primed || earned >= LOG_LIMIT_BURST - limit->tokens) {
		limit->tokens = LOG_LIMIT_BURST;
		limit->last_ns = now;
		limit->primed = true;
		return;
	}
	limit->tokens += (unsigned)earned;
	limit->last_ns += earned * LOG_LIMIT_INTERVAL_NS;
}

bool log_limit_ok(struct log_limit *limit, enum log_level level, const char *what)
{
	if (level > threshold)
		return false;
	refill(limit);
	if (!limit->tokens) {
		limit->suppressed++;
		return false;
	}
	limit->tokens--;
	if (limit->suppressed) {
		log_write(level, "%s: %u similar messages suppressed", what, limit->suppressed);
		limit->suppressed = 0;
	}
	return true;
}
