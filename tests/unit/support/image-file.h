/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An image that a case makes, opens and looks at. For tests of src/image; there is one.
 *
 *	img_make_file(MIB);
 *	REQUIRE_OK(IMG_TRY(.read_only = true));
 *	img_check_promises();
 */
#ifndef IMAGE_FILE_H
#define IMAGE_FILE_H

#include <stdint.h>
#include <string.h>

#include "src/image/image.h"
#include "tests/tap.h"

#define MIB (UINT64_C(1) << 20)

extern char img_path[1024];   /* the image of this case */
extern char img_words[16384]; /* what the last attempt to open it logged */
extern struct image img;

/* Before and after each case. */
void img_setup(void);
void img_teardown(void);

/* Makes the image a sparse file. */
void img_make_file(uint64_t size);

/* Opens the image with these options (path aside), logging to img_words: 0 or -errno. */
int img_try_open(struct image_options options);

#define IMG_TRY(...) img_try_open((struct image_options){.discard = true, __VA_ARGS__})

/* Of img_words. */
unsigned img_count_lines(void);

/* The open was refused with this error, in one line that contains `text` and names the image. */
#define IMG_CHECK_REFUSED(result, error, text) \
	do { \
		CHECK_EQ(result, error); \
		CHECK_EQ(img_count_lines(), 1); \
		CHECK(!strncmp(img_words, "vublkd: error: ", 15)); \
		CHECK(strstr(img_words, img_path) != NULL); \
		CHECK(strstr(img_words, text) != NULL); \
		CHECK_EQ(img.fd, -1); \
	} while (0)

/* What image/image.h promises of every image. */
void img_check_promises(void);

/* Reads and writes with exactly the alignments that the image claims. */
void img_check_alignments(void);

/* Of its descriptor: O_*. */
int img_open_flags(void);

#endif
