/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs a fuzz target on the files that it is given, where there is no libFuzzer. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

#define MOST (1u << 20)

int main(int argc, char **argv)
{
	uint8_t *data = malloc(MOST);

	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		uint8_t *exact;
		size_t size;

		if (!file) {
			perror(argv[i]);
			return 1;
		}
		size = fread(data, 1, MOST, file);
		fclose(file);
		/* Of its own size, so that a sanitizer sees who reads beyond. */
		exact = malloc(size ? size : 1);
		memcpy(exact, data, size);
		LLVMFuzzerTestOneInput(exact, size);
		free(exact);
	}
	free(data);
	printf("%d inputs\n", argc - 1);
	return 0;
}
