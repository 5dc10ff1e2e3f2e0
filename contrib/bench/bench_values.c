/* SPDX-License-Identifier: BSD-3-Clause */
/* Values of options, see bench_values.h. They come from the command line: all is checked. */
#include "bench_values.h"

#include <stdlib.h>
#include <string.h>

#define DIGITS  "0123456789"
#define MAX_CPU 4095u

/* `length` characters of text, all of them digits. */
static bool parse_digits(const char *text, size_t length, uint64_t max, uint64_t *number)
{
	uint64_t n = 0;

	if (!length)
		return false;
	for (size_t i = 0; i < length; i++) {
		const unsigned int digit = (unsigned int)(unsigned char)text[i] - '0';

		if (digit > 9 || digit > max || n > (max - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*number = n;
	return true;
}

bool bench_parse_number(const char *text, uint64_t max, uint64_t *number)
{
	return parse_digits(text, strlen(text), max, number);
}

bool bench_parse_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	size_t length = strlen(text);
	const char *suffix = length ? strchr(suffixes, text[length - 1]) : NULL;
	unsigned int shift = 0;

	if (suffix) {
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
		length--;
	}
	if (!parse_digits(text, length, (uint64_t)INT64_MAX >> shift, bytes))
		return false;
	*bytes <<= shift;
	return true;
}

bool bench_parse_decimal(const char *text, double max, double *number)
{
	const size_t whole = strspn(text, DIGITS);
	const size_t fraction = text[whole] == '.' ? strspn(text + whole + 1, DIGITS) : 0;
	const char *end = text + whole + (fraction ? 1 + fraction : 0);

	/* strtod() alone would take signs, exponents, "inf" and other surprises. */
	if (!whole || *end)
		return false;
	*number = strtod(text, NULL);
	return *number <= max;
}

static bool add_range(const char *text, size_t length, unsigned int *list, unsigned int room,
		      unsigned int *n)
{
	const char *dash = memchr(text, '-', length);
	const size_t first_length = dash ? (size_t)(dash - text) : length;
	uint64_t first, last;

	if (!parse_digits(text, first_length, MAX_CPU, &first))
		return false;
	last = first;
	if (dash && !parse_digits(dash + 1, length - first_length - 1, MAX_CPU, &last))
		return false;
	if (last < first || last - first >= room - *n)
		return false;
	while (first <= last)
		list[(*n)++] = (unsigned int)first++;
	return true;
}

bool bench_parse_list(const char *text, unsigned int *list, unsigned int room, unsigned int *n)
{
	*n = 0;
	for (;;) {
		const size_t length = strcspn(text, ",");

		if (*n == room || !add_range(text, length, list, room, n))
			return false;
		if (!text[length])
			return true;
		text += length + 1;
	}
}

int bench_find_word(const char *const *words, const char *value)
{
	for (int i = 0; words[i]; i++)
		if (!strcmp(words[i], value))
			return i;
	return -1;
}
