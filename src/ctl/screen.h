/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The terminal, if there is one, while something is shown again and again: cleared each time, keys
 * without Enter, and as it was in the end. Owns SIGINT, SIGTERM and SIGHUP meanwhile. Main thread.
 */
#ifndef CTL_SCREEN_H
#define CTL_SCREEN_H

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

struct screen {
	int signal_fd;    /* readable when it is time to end */
	bool is_terminal; /* standard output is */
	bool has_keys;    /* and we read its keys */
	struct termios before;
};

/* 0 or -errno. */
int screen_open(struct screen *screen);
void screen_close(struct screen *screen);

/* Begins with an empty one, if it is one. */
void screen_clear(const struct screen *screen);

/* How many lines there are; UINT_MAX: they do not end. */
unsigned screen_lines(const struct screen *screen);

/* Until then (CLOCK_MONOTONIC, ns). false: somebody has pressed q, or a signal has come. */
bool screen_wait(const struct screen *screen, int64_t until);

#endif
