/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See base/log.h. Owns the level and the form of a line. Any thread may write: a line is put
 * together on the stack and handed to the kernel by one write(2), so lines of several threads (or
 * of several daemons on one terminal) do not mix. Nobody waits for a reader: what there is no room
 * for is counted, and told when there is. What stands in the text may come from a guest or from a
 * file name and is not trusted: no control character reaches the terminal.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/control_chars.h"
#include "base/reopen.h"

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
static const char *program = "vublkd";
static bool to_journal;
static int output = STDERR_FILENO;
static atomic_uint lost; /* lines that could not be written */

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

/*
 * Where lines go. A pipe that nobody reads, or a stopped terminal, must not stop us, and standard
 * error is also that of whoever started us: so it is opened once more, for ourselves, without
 * waiting. A socket needs no such thing.
 */
static int own_stderr(void)
{
	struct stat st;
	int fd = -1;

	if (fstat(STDERR_FILENO, &st) < 0 || !(S_ISFIFO(st.st_mode) || isatty(STDERR_FILENO)))
		return STDERR_FILENO;
	fd = reopen(STDERR_FILENO, O_WRONLY | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? STDERR_FILENO : fd;
}

void log_set_level(enum log_level level)
{
	threshold = level;
	to_journal = stderr_is_journal();
	if (output == STDERR_FILENO)
		output = own_stderr();
}

void log_set_name(const char *name)
{
	program = name;
}

/* Writes a line as a whole, without waiting. Was there room for it? */
static bool put(const char *line, size_t length)
{
	ssize_t n;

	do {
		n = send(output, line, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == ENOTSOCK)
			n = write(output, line, length);
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)length;
}

/* Puts the line together in `line` (LINE_MAX_BYTES). Returns its length, newline included. */
static size_t compose(char *line, enum log_level level, const char *format, va_list ap)
{
	const size_t room = LINE_MAX_BYTES - 1; /* the newline takes the last byte */
	size_t length = 0;
	int n;

	if (to_journal)
		length += (size_t)snprintf(line, room, "<%c>", levels[level].priority);
	length += (size_t)snprintf(line + length, room - length, "%s: %s: ", program,
				   levels[level].name);
	n = vsnprintf(line + length, room - length, format, ap);
	if (n < 0)
		n = snprintf(line + length, room - length, "(unprintable message)");
	replace_control_chars(line + length);
	if ((size_t)n >= room - length) {
		length = room - 1;
		memcpy(line + length - strlen(CUT_MARK), CUT_MARK, strlen(CUT_MARK));
	} else {
		length += (size_t)n;
	}
	line[length++] = '\n';
	return length;
}

static size_t compose_args(char *line, enum log_level level, const char *format, ...)
{
	va_list ap;
	size_t length;

	va_start(ap, format);
	length = compose(line, level, format, ap);
	va_end(ap);
	return length;
}

/* Tells of lines that were lost, if there are any. Is there room again? */
static bool tell_lost(void)
{
	const unsigned n = atomic_exchange(&lost, 0);
	char line[LINE_MAX_BYTES];

	if (!n || put(line, compose_args(line, LOG_LEVEL_WARNING,
					 "%u lines of the log are lost: nobody read them", n)))
		return true;
	atomic_fetch_add(&lost, n);
	return false;
}

static _Thread_local struct {
	char *text; /* NULL: nowhere */
	size_t size;
} kept;

void log_keep_error(char *text, size_t size)
{
	kept.text = text;
	kept.size = size;
}

static void keep(enum log_level level, const char *format, va_list ap)
{
	if (level != LOG_LEVEL_ERROR || !kept.text)
		return;
	vsnprintf(kept.text, kept.size, format, ap);
	replace_control_chars(kept.text);
}

void log_write(enum log_level level, const char *format, ...)
{
	int saved_errno = errno;
	char line[LINE_MAX_BYTES];
	va_list ap;

	va_start(ap, format);
	keep(level, format, ap);
	va_end(ap);
	if (level > threshold)
		return;
	va_start(ap, format);
	if (!tell_lost() || !put(line, compose(line, level, format, ap)))
		atomic_fetch_add(&lost, 1);
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
