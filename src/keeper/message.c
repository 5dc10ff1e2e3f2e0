/* SPDX-License-Identifier: BSD-3-Clause */
/* See keeper/message.h. */
#include "keeper/message.h"

#include <string.h>

#include "base/control_chars.h"

/* ---- lines ---- */

/* What follows `name`, which ends in '='; NULL if the line does not begin with it. */
static const char *value_of(const char *line, const char *name)
{
	const size_t length = strlen(name);

	return strncmp(line, name, length) ? NULL : line + length;
}

static bool take_flag(const char *line, const char *assignment, bool *flag)
{
	if (strcmp(line, assignment) != 0)
		return false;
	*flag = true;
	return true;
}

/* Is it there, for the first time or again? */
static bool take_text(const char *line, const char *name, const char **text, bool *twice)
{
	const char *value = value_of(line, name);

	if (!value)
		return false;
	*twice = *twice || *text;
	*text = value;
	return true;
}

static void take_line(struct message *message, const char *line, bool *twice)
{
	bool no_poll = false;

	if (take_flag(line, "READY=1", &message->ready) ||
	    take_flag(line, "RELOADING=1", &message->reloading) ||
	    take_flag(line, "STOPPING=1", &message->stopping) ||
	    take_flag(line, "FDSTORE=1", &message->keep) ||
	    take_flag(line, "FDSTOREREMOVE=1", &message->remove) ||
	    take_flag(line, "BARRIER=1", &message->barrier) ||
	    take_text(line, "FDNAME=", &message->name, twice) ||
	    take_text(line, "STATUS=", &message->status, twice) ||
	    take_text(line, "MONOTONIC_USEC=", &message->monotonic_usec, twice) ||
	    take_text(line, "EXTEND_TIMEOUT_USEC=", &message->extend_timeout_usec, twice))
		return;
	if (take_flag(line, "FDPOLL=0", &no_poll))
		message->poll = false;
}

/* ---- the whole ---- */

static const char *check_name(const char *name)
{
	if (!*name)
		return "it has an empty FDNAME";
	if (strlen(name) > MESSAGE_NAME_MAX)
		return "its FDNAME is longer than 255 characters";
	for (; *name; name++)
		if (is_control_char(*name) || (unsigned char)*name > 0x7f || *name == ':')
			return "its FDNAME has a character that it may not have";
	return NULL;
}

static const char *check(const struct message *message, unsigned lines, bool twice)
{
	if (twice)
		return "it says something twice";
	if (message->barrier && lines > 1)
		return "it has more than its BARRIER=1";
	if (message->keep && message->remove)
		return "it has both FDSTORE=1 and FDSTOREREMOVE=1";
	if ((message->keep || message->remove) && !message->name)
		return "it has no FDNAME";
	return message->name ? check_name(message->name) : NULL;
}

const char *message_parse(struct message *message, char *text, size_t size)
{
	unsigned lines = 0;
	bool twice = false;
	char *line = text;

	*message = (struct message){.poll = true};
	if (size && !text[size - 1])
		size--; /* a NUL at the end is common */
	if (!size)
		return "it is empty";
	if (size > MESSAGE_MAX)
		return "it is longer than 4096 bytes";
	if (memchr(text, '\0', size))
		return "there is a NUL in it";
	text[size] = '\0';
	while (line) {
		char *end = strchr(line, '\n');

		if (end)
			*end++ = '\0';
		if (*line) {
			take_line(message, line, &twice);
			lines++;
		}
		line = end;
	}
	return check(message, lines, twice);
}
