/* SPDX-License-Identifier: BSD-3-Clause */
/* See config/values.h. Pure functions. */
#include "config/values.h"

#include <stdlib.h>
#include <string.h>

bool parse_digits(const char *text, unsigned base, uint64_t max, uint64_t *result)
{
	uint64_t n = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		unsigned digit = (unsigned)(unsigned char)*text - '0';

		if (digit >= base || digit > max || n > (max - digit) / base)
			return false;
		n = n * base + digit;
	}
	*result = n;
	return true;
}

bool parse_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	char digits[24];
	size_t length = strlen(text);
	const char *suffix = length ? strchr(suffixes, text[length - 1]) : NULL;
	unsigned shift = 0;

	if (suffix) {
		shift = 10 * (unsigned)(suffix - suffixes + 1);
		length--;
	}
	if (length >= sizeof(digits))
		return false;
	memcpy(digits, text, length);
	digits[length] = 0;
	if (!parse_digits(digits, 10, (uint64_t)INT64_MAX >> shift, bytes))
		return false;
	*bytes <<= shift;
	return true;
}

bool parse_decimal(const char *text, double max, double *number)
{
	static const char digits[] = "0123456789";
	const size_t whole = strspn(text, digits);
	const size_t fraction = text[whole] == '.' ? strspn(text + whole + 1, digits) : 0;
	const char *end = text + whole + (fraction ? 1 + fraction : 0);

	/* strtod() alone would take signs, exponents, "inf" and other surprises. */
	if (!whole || *end)
		return false;
	*number = strtod(text, NULL);
	return *number <= max;
}

int find_word(const char *const *words, const char *value)
{
	for (int i = 0; words[i]; i++)
		if (!strcmp(words[i], value))
			return i;
	return -1;
}

/* One element of a list, N or N-M, up to the comma. Returns what follows, or NULL. */
static const char *add_element(const char *text, unsigned max, int *list, unsigned room,
			       unsigned *n)
{
	const size_t length = strcspn(text, ",");
	uint64_t first, last;
	char element[24];
	char *dash;

	if (length >= sizeof(element))
		return NULL;
	memcpy(element, text, length);
	element[length] = 0;
	dash = strchr(element, '-');
	if (dash)
		*dash = 0;
	if (!parse_digits(element, 10, max, &first))
		return NULL;
	last = first;
	if (dash && !parse_digits(dash + 1, 10, max, &last))
		return NULL;
	if (last < first || last - first >= room - *n)
		return NULL;
	for (; first <= last; first++)
		list[(*n)++] = (int)first;
	return text + length;
}

bool parse_list(const char *text, unsigned max, int *list, unsigned room, unsigned *n)
{
	*n = 0;
	while ((text = add_element(text, max, list, room, n)) && *text == ',')
		text++;
	return text;
}
