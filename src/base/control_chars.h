/* SPDX-License-Identifier: BSD-3-Clause */
/* Text that somebody else has made up and a terminal is to see. Any thread. */
#ifndef BASE_CONTROL_CHARS_H
#define BASE_CONTROL_CHARS_H

#include <stdbool.h>

static inline bool is_control_char(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

/* Each becomes a '?': so it stays one line, whatever it quotes. */
static inline void replace_control_chars(char *text)
{
	for (; *text; text++)
		if (is_control_char(*text))
			*text = '?';
}

#endif
