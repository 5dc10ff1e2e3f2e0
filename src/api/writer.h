/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A text that becomes long, made of strings and numbers: of a thousand disks it has millions of
 * them, and the formats of printf(3) would take most of the time. Any thread, one at a time.
 */
#ifndef API_WRITER_H
#define API_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* All zero at first. */
struct writer {
	char *data;
	size_t size, room; /* bytes */
	bool failed;       /* there was no memory: what comes now is dropped */
};

void writer_put(struct writer *writer, const char *data, size_t size);

/* Inline, so that the length of a literal is known. */
static inline void writer_string(struct writer *writer, const char *text)
{
	writer_put(writer, text, strlen(text));
}

/* In decimal digits; and ns as seconds, with nine of them behind the point. */
void writer_number(struct writer *writer, uint64_t number);
void writer_seconds(struct writer *writer, uint64_t ns);

/* The text, the caller's; or NULL: there was no memory. The writer is not to be used any more. */
char *writer_end(struct writer *writer);

#endif
