/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of text in columns as wide as they have to be. Main thread. */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <jansson.h>
#include <stdio.h>

#define TABLE_COLUMNS 16 /* at most */

struct table {
	FILE *memory; /* cells, each with a NUL behind it */
	char *text;   /* what that writes */
	size_t size;
	unsigned columns; /* as many as the heading has */
	unsigned cells;
	int err;
};

/*
 * Begins with a heading: words divided by '|'; a column whose word begins with '>' stands to the
 * right. Memory that is lacking is told at the end.
 */
void table_begin(struct table *table, const char *heading);

/* The next cell, whatever is in it; behind a row's last one the next row begins. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * A table of a list, whole, or nothing: row() adds the cells of each of its values, or answers with
 * -errno (having complained). As table_end().
 */
int table_list(const char *heading, const json_t *list,
	       int (*row)(struct table *table, const json_t *value));

/* Prints at most `most` rows below the heading, and frees all. 0, or -errno (with a complaint). */
int table_end(struct table *table, unsigned most);

#endif
