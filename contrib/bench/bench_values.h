/* SPDX-License-Identifier: BSD-3-Clause */
/* Values of options: each call says whether `text` is one, and all of it. No state. */
#ifndef BENCH_VALUES_H
#define BENCH_VALUES_H

#include <stdbool.h>
#include <stdint.h>

/* Decimal digits, up to `max`. */
bool bench_parse_number(const char *text, uint64_t max, uint64_t *number);

/* Bytes, or a number with one of K, M, G, T (powers of 1024), up to INT64_MAX. */
bool bench_parse_size(const char *text, uint64_t *bytes);

/* Digits, perhaps with a point and more digits, up to `max`. */
bool bench_parse_decimal(const char *text, double max, double *number);

/* Numbers and ranges, as 0,2-5: at most `room` in all. */
bool bench_parse_list(const char *text, unsigned int *list, unsigned int room, unsigned int *n);

/* Index of `value` in a NULL-terminated list, or -1. */
int bench_find_word(const char *const *words, const char *value);

#endif
