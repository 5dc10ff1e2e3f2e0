/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzz targets share: an input that is eaten from its front, and checks. An input that has
 * come to its end is followed by zeros, so each target has to end by itself then.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer's entry, and standalone.c's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

static inline size_t fuzz_bytes(struct fuzz_input *in, void *to, size_t size)
{
	const size_t n = size < in->left ? size : in->left;

	memset(to, 0, size);
	if (n)
		memcpy(to, in->at, n);
	in->at += n;
	in->left -= n;
	return n;
}

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	uint8_t n;

	fuzz_bytes(in, &n, sizeof(n));
	return n;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t n;

	fuzz_bytes(in, &n, sizeof(n));
	return n;
}

static inline uint64_t fuzz_u64(struct fuzz_input *in)
{
	uint64_t n;

	fuzz_bytes(in, &n, sizeof(n));
	return n;
}

/* What must hold, whatever the input. */
#define FUZZ_CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, \
				#condition); \
			abort(); \
		} \
	} while (0)

#endif
