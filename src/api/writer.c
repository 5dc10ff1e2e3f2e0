/* SPDX-License-Identifier: BSD-3-Clause */
/* See api/writer.h. */
#include "api/writer.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM ((size_t)1 << 16)
#define DIGITS     20 /* of 2^64 */
#define NS_DIGITS  9
#define NS_PER_S   UINT64_C(1000000000)

/* Is there room for so many bytes more? */
static bool make_room(struct writer *writer, size_t size)
{
	size_t room = writer->room ? writer->room : FIRST_ROOM;
	char *data;

	if (writer->failed)
		return false;
	if (size <= writer->room - writer->size)
		return true;
	while (room - writer->size < size)
		room *= 2;
	data = realloc(writer->data, room);
	writer->failed = !data;
	if (!data)
		return false;
	writer->data = data;
	writer->room = room;
	return true;
}

void writer_put(struct writer *writer, const char *data, size_t size)
{
	if (!make_room(writer, size))
		return;
	memcpy(writer->data + writer->size, data, size);
	writer->size += size;
}

/* With zeros before it, up to `least` digits. */
static void put_digits(struct writer *writer, uint64_t number, unsigned least)
{
	char text[DIGITS];
	unsigned at = DIGITS;

	do {
		text[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number || DIGITS - at < least);
	writer_put(writer, text + at, DIGITS - at);
}

void writer_number(struct writer *writer, uint64_t number)
{
	put_digits(writer, number, 1);
}

void writer_seconds(struct writer *writer, uint64_t ns)
{
	put_digits(writer, ns / NS_PER_S, 1);
	writer_put(writer, ".", 1);
	put_digits(writer, ns % NS_PER_S, NS_DIGITS);
}

char *writer_end(struct writer *writer)
{
	writer_put(writer, "", 1);
	if (!writer->failed)
		return writer->data;
	free(writer->data);
	return NULL;
}
