/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file of settings: lines "name = value", as disk options are called; empty lines, and comments,
 * which begin with # or ;. A value is all that stands between the = and the line's end, but for
 * blanks around it: nothing is quoted, cut at a ; or goes on in the next line, for a path may have
 * any of these. Trusts nothing of the file. Control thread.
 */
#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H

#include <stddef.h>

#include "config/disk_options.h"

#define SETTINGS_MAX (64 * 1024) /* bytes of a file */

/* A file that was read: what stands in it, by the rows of the disk's table. */
struct settings {
	const char *text[DISK_OPTIONS_MAX]; /* in `buffer`; NULL: not given */
	char *buffer;
};

/*
 * Reads `path`. 0 and *settings to be freed; or -errno, with one line in `error` that names the
 * file, and the line if one is wrong: a name that is unknown or comes twice, a line without = or
 * value, a section, a NUL.
 */
int settings_read(struct settings *settings, const char *path, char *error, size_t size);

/* The same of `length` bytes at `data`, which is called `path`. For tests. */
int settings_parse(struct settings *settings, const char *path, const void *data, size_t length,
		   char *error, size_t size);

void settings_free(struct settings *settings);

#endif
