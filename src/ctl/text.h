/* SPDX-License-Identifier: BSD-3-Clause */
/* What vublkctl writes: text that may be anybody's, figures as people read them. Main thread. */
#ifndef CTL_TEXT_H
#define CTL_TEXT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TEXT_FIGURE 32 /* bytes; room for any figure */

/* A line on standard error, after "vublkctl: ". */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Each control character becomes a '?', those above 0x7f of UTF-8 as well, which a terminal may
 * obey, too; with `lines` newlines and tabs stay.
 */
void make_harmless(char *text, int lines);

/* What vasprintf() makes of it, harmless, without lines; to be freed. NULL: out of memory. */
char *harmless_text(const char *format, va_list ap) __attribute__((format(printf, 1, 0)));

/* A line of it, behind a title that is to be trusted, in a column of its own; NULL: none. */
void harmless_line(const char *title, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Complains that there is no memory. Returns -ENOMEM. */
int no_memory(void);

/* Figures in `text`, which each returns: as 10.0G (1024), 1.2 us (ns). */
const char *figure_bytes(char text[TEXT_FIGURE], uint64_t bytes);
const char *figure_time(char text[TEXT_FIGURE], double ns);

#endif
