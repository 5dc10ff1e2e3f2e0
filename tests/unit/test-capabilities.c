/* SPDX-License-Identifier: BSD-3-Clause */
/* src/cli/capabilities.c: the document of --print-capabilities, and what cannot be written. */
#include "src/cli/capabilities.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include <jansson.h>

#include "tests/tap.h"
#include "tests/unit/support/capture.h"

static bool has(json_t *array, const char *word)
{
	json_t *entry;
	size_t i;

	json_array_foreach(array, i,
			   entry) if (json_is_string(entry) &&
				      !strcmp(json_string_value(entry), word)) return true;
	return false;
}

/* vhost-user.json: a VHostUserBackendCapabilities of type "block", and nothing else in it. */
static void document_says_block_and_its_features(void)
{
	json_error_t error;
	const char *text, *type;
	json_t *document, *features;

	capture_begin(STDOUT_FILENO);
	CHECK_OK(capabilities_print());
	text = capture_end();
	CHECK(strlen(text) > 0 && text[strlen(text) - 1] == '\n');

	document = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	REQUIRE(document != NULL);
	CHECK_EQ(json_object_size(document), 2);
	type = json_string_value(json_object_get(document, "type"));
	CHECK(type && !strcmp(type, "block"));
	features = json_object_get(document, "features");
	CHECK_EQ(json_array_size(features), 2);
	CHECK(has(features, "read-only"));
	CHECK(has(features, "blk-file"));
	json_decref(document);
}

static void full_device_is_reported(void)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), r;

	if (full < 0)
		tap_skip("no /dev/full");
	capture_begin_with(STDOUT_FILENO, full);
	r = capabilities_print();
	capture_end();
	CHECK_EQ(r, -ENOSPC);
}

/* tap ignores SIGPIPE, as main() does. */
static void closed_pipe_is_reported(void)
{
	int ends[2], r;

	REQUIRE_OK(pipe2(ends, O_CLOEXEC));
	close(ends[0]);
	capture_begin_with(STDOUT_FILENO, ends[1]);
	r = capabilities_print();
	capture_end();
	CHECK_EQ(r, -EPIPE);
}

static const struct tap_case cases[] = {
	{"document_says_block_and_its_features", document_says_block_and_its_features},
	{"full_device_is_reported", full_device_is_reported},
	{"closed_pipe_is_reported", closed_pipe_is_reported},
	{0},
};

static const struct tap_suite suites[] = {{.name = "capabilities", .cases = cases}, {0}};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
