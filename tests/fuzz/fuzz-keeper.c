/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of vublkd-keeper's child: the input is one. Either it is refused with words that can be
 * printed, or what it says is found, lies in the text, and can be acted upon.
 */
#include "src/keeper/message.h"
#include "tests/fuzz/fuzz.h"

static char text[MESSAGE_MAX + 2], original[MESSAGE_MAX + 2];

static bool lies_in_text(const char *string)
{
	return !string ||
	       (string >= text && memchr(string, '\0', (size_t)(text + sizeof(text) - string)));
}

/* Is that a line of the original? */
static bool is_line(const char *line)
{
	const size_t length = strlen(line);

	for (const char *at = original; (at = strstr(at, line)); at++)
		if ((at == original || at[-1] == '\n') && (!at[length] || at[length] == '\n'))
			return true;
	return false;
}

static void check_message(const struct message *message)
{
	FUZZ_CHECK(message->ready == is_line("READY=1"));
	FUZZ_CHECK(message->stopping == is_line("STOPPING=1"));
	FUZZ_CHECK(message->reloading == is_line("RELOADING=1"));
	FUZZ_CHECK(message->keep == is_line("FDSTORE=1"));
	FUZZ_CHECK(message->remove == is_line("FDSTOREREMOVE=1"));
	FUZZ_CHECK(message->barrier == is_line("BARRIER=1"));
	FUZZ_CHECK(message->poll != is_line("FDPOLL=0"));
	FUZZ_CHECK(!(message->keep && message->remove));
	FUZZ_CHECK(!(message->keep || message->remove) || message->name);
	FUZZ_CHECK(!message->barrier || !(message->ready || message->keep || message->name));
	FUZZ_CHECK(lies_in_text(message->name) && lies_in_text(message->status));
	FUZZ_CHECK(lies_in_text(message->monotonic_usec));
	FUZZ_CHECK(lies_in_text(message->extend_timeout_usec));
	if (!message->name)
		return;
	FUZZ_CHECK(*message->name && strlen(message->name) <= MESSAGE_NAME_MAX);
	for (const char *c = message->name; *c; c++)
		FUZZ_CHECK(*c >= ' ' && *c < 0x7f && *c != ':');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message message;
	const char *error;

	/* As much as the socket's buffer has room for. */
	if (size > MESSAGE_MAX + 1)
		size = MESSAGE_MAX + 1;
	memset(text, 'x', sizeof(text));
	memcpy(text, data, size);
	memcpy(original, data, size);
	original[size] = '\0';
	error = message_parse(&message, text, size);
	if (!error)
		check_message(&message);
	else
		FUZZ_CHECK(*error && strlen(error) < 100);
	return 0;
}
