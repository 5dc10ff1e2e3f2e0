/* SPDX-License-Identifier: BSD-3-Clause */
/* See image/format.h. */
#include "image/format.h"

#include <stddef.h>
#include <string.h>

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

const char *image_format_find(const unsigned char head[IMAGE_HEAD])
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!memcmp(head + formats[i].at, formats[i].magic, formats[i].size))
			return formats[i].name;
	return NULL;
}
