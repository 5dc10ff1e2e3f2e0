/* SPDX-License-Identifier: BSD-3-Clause */
/* See image_format.h. */
#include "image_format.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD 4096u

static const struct {
	const char *name;
	size_t at; /* bytes from the beginning */
	const char *magic;
	size_t size;
} formats[] = {
#define MAGIC(text) (text), sizeof(text) - 1
	{"qcow2", 0, MAGIC("QFI\xfb")},
	{"QED", 0, MAGIC("QED\0")},
	{"VMDK", 0, MAGIC("KDMV")},
	{"VMDK", 0, MAGIC("COWD")},
	{"VMDK", 0, MAGIC("# Disk DescriptorFile")},
	{"VDI", 0x40, MAGIC("\x7f\x10\xda\xbe")},
	{"VHDX", 0, MAGIC("vhdxfile")},
	{"VHD", 0, MAGIC("conectix")},
	{"Parallels", 0, MAGIC("WithoutFreeSpace")},
	{"Parallels", 0, MAGIC("WithouFreSpacExt")},
};

static const char *look_at(const char *head)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!memcmp(head + formats[i].at, formats[i].magic, formats[i].size))
			return formats[i].name;
	return NULL;
}

const char *image_format_find(int fd)
{
	char *head = aligned_alloc(HEAD, HEAD);
	const char *found = NULL;
	ssize_t n;

	if (!head)
		return NULL;
	memset(head, 0, HEAD);
	do {
		n = pread(fd, head, HEAD, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		found = look_at(head);
	free(head);
	return found;
}
