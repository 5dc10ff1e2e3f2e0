/* SPDX-License-Identifier: BSD-3-Clause */
/* See image-file.h. */
#include "tests/unit/support/image-file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "src/base/log.h"
#include "tests/unit/support/capture.h"

char img_path[1024];
char img_words[16384];
struct image img;

void img_setup(void)
{
	log_set_level(LOG_LEVEL_INFO);
	img.fd = -1;
	snprintf(img_path, sizeof(img_path), "%s/image", getenv("TMPDIR"));
}

void img_teardown(void)
{
	image_close(&img);
	if (!getuid() && geteuid()) {
		/* become_nobody() was here; LeakSanitizer wants to look at a dumpable process. */
		REQUIRE_OK(seteuid(0));
		prctl(PR_SET_DUMPABLE, 1);
	}
}

void img_make_file(uint64_t size)
{
	int fd = open(img_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	REQUIRE(fd >= 0);
	REQUIRE_OK(ftruncate(fd, (off_t)size));
	close(fd);
}

int img_try_open(struct image_options options)
{
	int r;

	image_close(&img);
	options.path = img_path;
	capture_begin(STDERR_FILENO);
	r = image_open(&img, &options);
	strcpy(img_words, capture_end());
	tap_diag("%s", img_words);
	return r;
}

unsigned img_count_lines(void)
{
	unsigned n = 0;

	for (const char *c = img_words; *c; c++)
		n += *c == '\n';
	return n;
}

static bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

void img_check_promises(void)
{
	CHECK(img.size > 0);
	CHECK(img.block_size == 512 || img.block_size == 4096);
	CHECK_EQ(img.size % img.block_size, 0);
	CHECK(is_power_of_two(img.physical_block_size));
	CHECK(img.physical_block_size >= img.block_size);
	CHECK_EQ(img.optimal_io_size % img.block_size, 0);
	CHECK(is_power_of_two(img.mem_align));
	CHECK(is_power_of_two(img.offset_align));
	CHECK(img.offset_align <= img.block_size);
	CHECK(img.direct || (img.mem_align == 1 && img.offset_align == 1));
	CHECK_EQ(img.can_discard, img.max_discard > 0);
	CHECK_EQ(img.can_discard, img.discard_alignment > 0);
	CHECK_EQ(img.can_write_zeroes, img.max_write_zeroes > 0);
	CHECK(img.max_discard <= INT32_MAX && img.max_write_zeroes <= INT32_MAX);
	CHECK_EQ(img.max_write_zeroes % img.block_size, 0);
	CHECK_EQ(img.discard_alignment % img.block_size, 0);
	if (img.can_discard)
		CHECK_EQ(img.max_discard % img.discard_alignment, 0);
	CHECK(!img.read_only || !(img.can_discard || img.can_write_zeroes));
	CHECK(img.can_write_zeroes || !img.unmap_zeroes);
}

void img_check_alignments(void)
{
	unsigned char *memory = NULL, *buffer;
	uint32_t length = img.offset_align < 512 ? 512 : img.offset_align;

	REQUIRE_OK(posix_memalign((void **)&memory, 1 << 17, 1 << 18));
	buffer = memory + img.mem_align; /* aligned so, and no better */
	memset(buffer, 0x5a, length);
	CHECK_EQ(pwrite(img.fd, buffer, length, length), length);
	memset(buffer, 0, length);
	CHECK_EQ(pread(img.fd, buffer, length, length), length);
	CHECK_EQ(buffer[0], 0x5a);
	CHECK_EQ(buffer[length - 1], 0x5a);
	free(memory);
}

int img_open_flags(void)
{
	return fcntl(img.fd, F_GETFL);
}
