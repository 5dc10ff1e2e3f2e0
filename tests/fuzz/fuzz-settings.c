/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of settings: the input is one, with a byte before it that says what the process is. Either
 * options come of it that are what the file says, and of which the same options can be made again;
 * or there is one line of error that can be printed.
 */
#include <sys/un.h>

#include "src/config/settings.h"
#include "tests/fuzz/fuzz.h"

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static void check_error(const char *error, size_t size)
{
	FUZZ_CHECK(memchr(error, '\0', size) && *error && is_printable(error));
}

static void check_options(const struct disk_options *options, const struct settings *settings,
			  const struct disk_host *host)
{
	const struct disk_config *config = &options->config;
	struct disk_options *again = NULL;
	unsigned changed[DISK_OPTIONS_MAX];
	char error[512];

	FUZZ_CHECK(config->listener.path && *config->listener.path && config->listener.fd < 0);
	FUZZ_CHECK(strlen(config->listener.path) < sizeof(((struct sockaddr_un *)0)->sun_path));
	FUZZ_CHECK(config->image.path || host->null_engine);
	FUZZ_CHECK(config->num_queues >= 1 && config->num_queues <= 256);
	FUZZ_CHECK(!(config->workers >> host->num_workers));
	FUZZ_CHECK(strlen(config->serial) <= 20 && is_printable(config->serial));
	FUZZ_CHECK(!host->fixed_buffers || !config->postcopy);
	FUZZ_CHECK(!host->iopoll || config->image.cache == IMAGE_CACHE_NONE);
	for (unsigned i = 0; disk_options_row(i); i++)
		FUZZ_CHECK(!options->text[i] ||
			   (settings->text[i] && !strcmp(options->text[i], settings->text[i])));
	FUZZ_CHECK(!disk_options_create(&again, options->id, (const char *const *)options->text,
					host, error, sizeof(error)));
	FUZZ_CHECK(!disk_options_compare(options, again, changed));
	disk_options_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct disk_host host = {0};
	struct settings settings;
	struct disk_options *options;
	char error[512];

	if (size) {
		host = (struct disk_host){*data & 1, *data >> 1 & 1, *data >> 2 & 1,
					  .num_workers = 1u + (*data >> 3)};
		data++;
		size--;
	}
	memset(error, 'x', sizeof(error));
	if (settings_parse(&settings, "d.conf", data, size, error, sizeof(error))) {
		check_error(error, sizeof(error));
		FUZZ_CHECK(!settings.buffer);
		return 0;
	}
	memset(error, 'x', sizeof(error));
	if (disk_options_create(&options, "d", settings.text, &host, error, sizeof(error))) {
		check_error(error, sizeof(error));
		FUZZ_CHECK(!options);
	} else {
		check_options(options, &settings, &host);
	}
	disk_options_destroy(options);
	settings_free(&settings);
	return 0;
}
