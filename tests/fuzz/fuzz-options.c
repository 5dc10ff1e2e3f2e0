/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command lines: the input is arguments, each with a NUL behind it. Either all fields are within
 * what cli/options.h says, or there is one line of error that can be printed.
 */
#include <linux/virtio_blk.h>
#include <sys/un.h>

#include "src/cli/options.h"
#include "src/request/config.h"
#include "tests/fuzz/fuzz.h"

#define MOST 40

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

static void check_options(const struct options *o)
{
	const struct image_options *image = &o->disk.image;

	if (o->action != OPTIONS_SERVE || !o->has_disk)
		return;
	FUZZ_CHECK(!o->disk.listener.path ||
		   (*o->disk.listener.path && o->disk.listener.fd < 0 &&
		    strlen(o->disk.listener.path) < sizeof(((struct sockaddr_un *)0)->sun_path)));
	FUZZ_CHECK(o->disk.listener.fd >= -1 && !(o->disk.listener.mode & ~0777u));
	FUZZ_CHECK(o->disk.num_queues >= 1 && o->disk.num_queues <= 256);
	FUZZ_CHECK(o->disk.seg_max >= 1 && o->disk.seg_max <= BLK_SEG_MAX_MOST);
	FUZZ_CHECK(o->daemon.workers.num >= 1 && o->daemon.workers.num <= WORKERS_MOST);
	FUZZ_CHECK(o->daemon.workers.num == WORKERS_MOST ||
		   !(o->disk.workers >> o->daemon.workers.num));
	FUZZ_CHECK(o->daemon.workers.n_cpus <= WORKERS_MOST);
	for (unsigned i = 0; i < o->daemon.workers.n_cpus; i++)
		FUZZ_CHECK(o->daemon.workers.cpu[i] >= 0);
	FUZZ_CHECK(strlen(o->disk.serial) <= VIRTIO_BLK_ID_BYTES && is_printable(o->disk.serial));
	FUZZ_CHECK(o->disk.name == o->disk.image.path ||
		   (*o->disk.name && is_printable(o->disk.name)));
	FUZZ_CHECK(o->disk.lock_timeout <= 86400 && o->daemon.stop_timeout <= 86400);
	FUZZ_CHECK(o->daemon.workers.engine);
	FUZZ_CHECK(image->path ? *image->path && !image->null_size : image->null_size > 0);
	FUZZ_CHECK(!image->block_size || image->block_size == 512 || image->block_size == 4096);
	FUZZ_CHECK(!image->physical_block_size || is_power_of_two(image->physical_block_size));
	FUZZ_CHECK(!o->daemon.workers.uring.iopoll || !o->daemon.workers.uring.sqpoll);
	FUZZ_CHECK(o->log_level <= LOG_LEVEL_DEBUG);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *argv[MOST + 2] = {(char[]){"vublkd"}}, error[256];
	struct options options;
	int argc = 1, err;

	memcpy(text, data, size);
	text[size] = '\0';
	for (size_t at = 0; at < size && argc <= MOST; at += strlen(text + at) + 1)
		argv[argc++] = text + at;
	memset(error, 'x', sizeof(error));
	err = options_parse(&options, argc, argv, error, sizeof(error));
	if (!err) {
		check_options(&options);
	} else {
		FUZZ_CHECK(memchr(error, '\0', sizeof(error)) && *error && is_printable(error));
	}
	free(text);
	return 0;
}
