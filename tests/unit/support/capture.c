/* SPDX-License-Identifier: BSD-3-Clause */
/* See capture.h. */
#include "tests/unit/support/capture.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/tap.h"

static struct {
	int fd;    /* the captured one */
	int saved; /* a duplicate of what it was */
	char text[16384];
} capture;

void capture_begin_with(int fd, int file)
{
	fflush(NULL);
	capture.fd = fd;
	capture.saved = dup(fd);
	REQUIRE(capture.saved >= 0 && dup2(file, fd) == fd);
	close(file);
}

void capture_begin(int fd)
{
	int file = memfd_create("capture", MFD_CLOEXEC);

	REQUIRE(file >= 0);
	capture_begin_with(fd, file);
}

const char *capture_so_far(void)
{
	ssize_t n;

	fflush(NULL);
	n = pread(capture.fd, capture.text, sizeof(capture.text) - 1, 0);
	capture.text[n > 0 ? n : 0] = 0;
	return capture.text;
}

const char *capture_end(void)
{
	capture_so_far();
	dup2(capture.saved, capture.fd);
	close(capture.saved);
	return capture.text;
}

void capture_check_text(const char *actual, const char *expected, const char *file, unsigned line)
{
	tap_check(!strcmp(actual, expected), false, file, line, "got '%s', not '%s'", actual,
		  expected);
}
