/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who of this process listens at which path, so that another one who wants to is told whose it is.
 * Any thread.
 */
#ifndef DISK_LISTENING_H
#define DISK_LISTENING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define LISTENING_WHO 160 /* bytes, and a NUL: enough for a disk's name */

/* Embedded in who listens. All zero at first. */
struct listening {
	char who[LISTENING_WHO]; /* "the disk db"; "": it does not */
	dev_t dev;
	ino_t ino;
	struct listening *next;
};

/* It listens at the socket that `st` is of; `disk` is the disk's name, NULL: the API's. */
void listening_begin(struct listening *listening, const struct stat *st, const char *disk);

/* It does not, or not any more. */
void listening_end(struct listening *listening);

/* Who listens at this path? false: nobody of this process. */
bool listening_find(const char *path, char who[LISTENING_WHO]);

#endif
