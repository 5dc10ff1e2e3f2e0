/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/table.h. */
#include "ctl/table.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/text.h"

static void add(struct table *table, const char *text, size_t length)
{
	if (!table->memory)
		return;
	fwrite(text, 1, length, table->memory);
	putc('\0', table->memory);
	table->cells++;
}

void table_begin(struct table *table, const char *heading)
{
	*table = (struct table){0};
	table->memory = open_memstream(&table->text, &table->size);
	while (*heading && table->columns < TABLE_COLUMNS) {
		const size_t length = strcspn(heading, "|");

		add(table, heading, length);
		table->columns++;
		heading += length + (heading[length] == '|');
	}
}

void table_cell(struct table *table, const char *format, ...)
{
	va_list ap;
	char *text;

	va_start(ap, format);
	text = harmless_text(format, ap);
	va_end(ap);
	if (!text) {
		table->err = -ENOMEM;
		return;
	}
	add(table, *text ? text : "-", *text ? strlen(text) : 1);
	free(text);
}

/* What a terminal shows of it, as far as we care: characters of UTF-8. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

struct columns {
	size_t width[TABLE_COLUMNS];
	bool right[TABLE_COLUMNS];
};

static void measure(const struct table *table, struct columns *columns)
{
	const char *cell = table->text;

	for (unsigned i = 0; i < table->cells; i++, cell += strlen(cell) + 1) {
		const unsigned k = i % table->columns;
		const bool marked = i < table->columns && *cell == '>';
		const size_t width = width_of(cell + marked);

		if (marked)
			columns->right[k] = true;
		if (width > columns->width[k])
			columns->width[k] = width;
	}
}

static void print(const struct table *table, const struct columns *columns, unsigned most)
{
	const char *cell = table->text;

	for (unsigned i = 0; i < table->cells && i / table->columns <= most; i++) {
		const unsigned k = i % table->columns;
		const char *text = cell + (i < table->columns && columns->right[k]);
		const bool last = k + 1 == table->columns;
		const int blanks = (int)(columns->width[k] - width_of(text));

		printf("%*s%s", columns->right[k] ? blanks : 0, "", text);
		printf("%*s", last ? 0 : 2 + (columns->right[k] ? 0 : blanks), "");
		if (last)
			putchar('\n');
		cell += strlen(cell) + 1;
	}
}

int table_end(struct table *table, unsigned most)
{
	struct columns columns = {0};

	if (!table->memory || fclose(table->memory))
		table->err = -ENOMEM;
	if (table->err) {
		no_memory();
	} else {
		measure(table, &columns);
		print(table, &columns, most);
	}
	free(table->text);
	return table->err;
}

int table_list(const char *heading, const json_t *list,
	       int (*row)(struct table *table, const json_t *value))
{
	struct table table;
	const json_t *value;
	int err = 0, printed;
	size_t i;

	table_begin(&table, heading);
	json_array_foreach((json_t *)list, i, value)
	{
		err = row(&table, value);
		if (err)
			break;
	}
	printed = table_end(&table, err ? 0 : UINT_MAX);
	return err ? err : printed;
}
