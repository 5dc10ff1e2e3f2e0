/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See config/settings.h. By no library for INI files: inih, for one, cuts long values, and values
 * with a ; in them, without a word, and what is left of a path may be that of another disk.
 */
#include "config/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/control_chars.h"

#define BLANKS " \t\r\v\f"

struct reader {
	struct settings *settings;
	const char *path;
	unsigned line; /* from 1 on; 0: none */
	char *error;
	size_t size;
};

static int fail(const struct reader *reader, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(const struct reader *reader, int err, const char *format, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	if (reader->line)
		snprintf(reader->error, reader->size, "%s:%u: %s", reader->path, reader->line,
			 what);
	else
		snprintf(reader->error, reader->size, "%s: %s", reader->path, what);
	replace_control_chars(reader->error);
	return err;
}

/* Without the blanks on both sides; in place. */
static char *trim(char *text)
{
	size_t length;

	text += strspn(text, BLANKS);
	length = strlen(text);
	while (length && strchr(BLANKS, text[length - 1]))
		length--;
	text[length] = '\0';
	return text;
}

static int parse_line(const struct reader *reader, char *line)
{
	char *equals, *name, *value;
	int row;

	line = trim(line);
	if (!*line || *line == '#' || *line == ';')
		return 0;
	if (*line == '[')
		return fail(reader, -EINVAL, "there are no sections: a file is one disk's");
	equals = strchr(line, '=');
	if (!equals)
		return fail(reader, -EINVAL, "'%.60s' is no line of the form name = value", line);
	*equals = '\0';
	name = trim(line);
	value = trim(equals + 1);
	row = disk_options_find(name);
	if (row < 0)
		return fail(reader, -EINVAL, "'%.60s' is nothing that a disk can be told", name);
	if (reader->settings->text[row])
		return fail(reader, -EINVAL, "%s is given twice", name);
	if (!*value)
		return fail(reader, -EINVAL, "%s has no value", name);
	reader->settings->text[row] = value;
	return 0;
}

static int parse(struct reader *reader, char *text)
{
	int err = 0;

	while (!err && text) {
		char *end = strchr(text, '\n');

		if (end)
			*end++ = '\0';
		reader->line++;
		err = parse_line(reader, text);
		text = end;
	}
	return err;
}

/* As editors of other systems write it at the beginning. */
static size_t byte_order_mark(const char *text)
{
	return strncmp(text, "\xef\xbb\xbf", 3) ? 0 : 3;
}

int settings_parse(struct settings *settings, const char *path, const void *data, size_t length,
		   char *error, size_t size)
{
	struct reader reader = {.settings = settings, .path = path, .error = error, .size = size};
	int err;

	*settings = (struct settings){.buffer = malloc(length + 1)};
	if (!settings->buffer)
		return fail(&reader, -ENOMEM, "%s", strerror(ENOMEM));
	memcpy(settings->buffer, data, length);
	settings->buffer[length] = '\0';
	if (strlen(settings->buffer) < length)
		err = fail(&reader, -EINVAL, "there is a NUL in it: this is no file of settings");
	else
		err = parse(&reader, settings->buffer + byte_order_mark(settings->buffer));
	if (err)
		settings_free(settings);
	return err;
}

/* What there is, up to `room` bytes. Returns how many, or -errno. */
static ssize_t read_all(int fd, char *data, size_t room)
{
	size_t length = 0;

	while (length < room) {
		const ssize_t n = read(fd, data + length, room - length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		length += (size_t)n;
	}
	return (ssize_t)length;
}

int settings_read(struct settings *settings, const char *path, char *error, size_t size)
{
	const struct reader reader = {
		.settings = settings, .path = path, .error = error, .size = size};
	static char data[SETTINGS_MAX + 1];
	struct stat st;
	ssize_t length;
	int fd;

	*settings = (struct settings){0};
	/* Not waiting for who writes into a pipe. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return fail(&reader, -errno, "cannot open it: %s", strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return fail(&reader, -EINVAL, "not a regular file");
	}
	length = read_all(fd, data, sizeof(data));
	close(fd);
	if (length < 0)
		return fail(&reader, (int)length, "cannot read it: %s", strerror((int)-length));
	if ((size_t)length > SETTINGS_MAX)
		return fail(&reader, -EFBIG, "larger than %d bytes", SETTINGS_MAX);
	return settings_parse(settings, path, data, (size_t)length, error, size);
}

void settings_free(struct settings *settings)
{
	free(settings->buffer);
	*settings = (struct settings){0};
}
