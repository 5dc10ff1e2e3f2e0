/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a test's own process writes to standard output or error while it calls the code under
 * test. For tests of src/, which speak to the operator; one capture at a time.
 *
 *	capture_begin(STDERR_FILENO);
 *	log_error("x");
 *	CHECK_TEXT(capture_end(), "vublkd: error: x\n");
 */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <unistd.h> /* STDOUT_FILENO, STDERR_FILENO */

/* Puts `file` (taken over) in the place of `fd` until capture_end(). */
void capture_begin_with(int fd, int file);

/* The same with a file in memory. */
void capture_begin(int fd);

/* What was written up to now, valid until the next look. */
const char *capture_so_far(void);

/* Puts everything back. Returns what was written, valid until the next one. */
const char *capture_end(void);

/* Is the text this one? Shows both if not. */
#define CHECK_TEXT(actual, expected) capture_check_text(actual, expected, __FILE__, __LINE__)

void capture_check_text(const char *actual, const char *expected, const char *file, unsigned line);

#endif
