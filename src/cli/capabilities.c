/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See cli/capabilities.h. The document is read by programs (libvirt), so a JSON library writes it.
 * Features: VHostUserBackendBlockFeature of vhost-user.json, one per option that is understood.
 */
#include "cli/capabilities.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

/* The caller frees it. NULL: out of memory. */
static char *capabilities_text(void)
{
	json_t *document =
		json_pack("{s:s, s:[s, s]}", "type", "block", "features", "read-only", "blk-file");
	char *text = document ? json_dumps(document, JSON_INDENT(2)) : NULL;

	json_decref(document);
	return text;
}

int capabilities_print(void)
{
	char *text = capabilities_text();
	int err = 0;

	if (!text)
		return -ENOMEM;
	/* Standard output is buffered: only the flush tells whether it could be written. */
	if (puts(text) == EOF || fflush(stdout) == EOF)
		err = -errno;
	free(text);
	return err;
}
