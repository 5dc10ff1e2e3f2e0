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

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/tap.h"

static struct {
	int fd;    /* the captured one */
	int saved; /* a duplicate of what it was */
	char text[16384];
} capture;

/* Puts `file` (taken over) in the place of `fd` until capture_end(). */
static inline void capture_begin_with(int fd, int file)
{
	fflush(NULL);
	capture.fd = fd;
	capture.saved = dup(fd);
	REQUIRE(capture.saved >= 0 && dup2(file, fd) == fd);
	close(file);
}

static inline void capture_begin(int fd)
{
	int file = memfd_create("capture", MFD_CLOEXEC);

	REQUIRE(file >= 0);
	capture_begin_with(fd, file);
}

/* What was written up to now, valid until the next look. */
static inline const char *capture_so_far(void)
{
	ssize_t n;

	fflush(NULL);
	n = pread(capture.fd, capture.text, sizeof(capture.text) - 1, 0);
	capture.text[n > 0 ? n : 0] = 0;
	return capture.text;
}

/* Puts everything back. Returns what was written, valid until the next one. */
static inline const char *capture_end(void)
{
	capture_so_far();
	dup2(capture.saved, capture.fd);
	close(capture.saved);
	return capture.text;
}

/* Is the text this one? Shows both if not. */
#define CHECK_TEXT(actual, expected) check_text(actual, expected, __FILE__, __LINE__)

static inline void check_text(const char *actual, const char *expected, const char *file,
			      unsigned line)
{
	tap_check(!strcmp(actual, expected), false, file, line, "got '%s', not '%s'", actual,
		  expected);
}

#endif
