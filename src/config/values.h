/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the values of options are made of: each call says whether `text` is one, and all of it. Any
 * thread.
 */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include <stdbool.h>
#include <stdint.h>

/* Digits of `base` (2 to 10) and nothing else, up to `max`. */
bool parse_digits(const char *text, unsigned base, uint64_t max, uint64_t *result);

/* Bytes, or a number with one of K, M, G, T (powers of 1024), up to INT64_MAX as off_t. */
bool parse_size(const char *text, uint64_t *bytes);

/* Decimal digits, perhaps with a point and more digits, up to `max`. */
bool parse_decimal(const char *text, double max, double *number);

/* Numbers up to `max` and ranges of them, as 0,2-5: *n in all, at most `room`. */
bool parse_list(const char *text, unsigned max, int *list, unsigned room, unsigned *n);

/* Index of `value` in a NULL-terminated list, or -1. */
int find_word(const char *const *words, const char *value);

#endif
