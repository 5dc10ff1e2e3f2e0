/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/text.h. */
#include "ctl/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/control_chars.h"

void complain(const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	make_harmless(text, 0);
	fprintf(stderr, "vublkctl: %s\n", text);
}

/* U+0080 to U+009F, as UTF-8. */
static int is_c1(const char *text)
{
	return (unsigned char)text[0] == 0xc2 && ((unsigned char)text[1] & 0xe0) == 0x80;
}

void make_harmless(char *text, int lines)
{
	char *to = text;

	for (; *text; text++) {
		if (is_c1(text)) {
			text++;
			*to++ = '?';
		} else if (is_control_char(*text) && !(lines && (*text == '\n' || *text == '\t'))) {
			*to++ = '?';
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

char *harmless_text(const char *format, va_list ap)
{
	char *text = NULL;

	if (vasprintf(&text, format, ap) < 0)
		return NULL;
	make_harmless(text, 0);
	return text;
}

void harmless_line(const char *title, const char *format, ...)
{
	va_list ap;
	char *text;

	va_start(ap, format);
	text = harmless_text(format, ap);
	va_end(ap);
	if (text && title)
		printf("%-12s  %s\n", title, text);
	else if (text)
		puts(text);
	free(text);
}

int no_memory(void)
{
	complain("%s", strerror(ENOMEM));
	return -ENOMEM;
}

const char *figure_bytes(char text[TEXT_FIGURE], uint64_t bytes)
{
	static const char unit[] = "KMGTPE";
	double value = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		snprintf(text, TEXT_FIGURE, "%" PRIu64, bytes);
		return text;
	}
	for (; value >= 1023.95 && unit[i + 1]; i++)
		value /= 1024;
	snprintf(text, TEXT_FIGURE, "%.1f%c", value, unit[i]);
	return text;
}

const char *figure_time(char text[TEXT_FIGURE], double ns)
{
	static const char *const unit[] = {"ns", "us", "ms", "s"};
	double value = ns;
	size_t i = 0;

	for (; value >= 999.5 && i + 1 < sizeof(unit) / sizeof(*unit); i++)
		value /= 1000;
	snprintf(text, TEXT_FIGURE, i ? "%.1f %s" : "%.0f %s", value, unit[i]);
	return text;
}
