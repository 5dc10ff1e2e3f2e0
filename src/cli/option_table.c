/* SPDX-License-Identifier: BSD-3-Clause */
/* See cli/option_table.h. Control thread, once; trusts nothing of argv. */
#include "cli/option_table.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/control_chars.h"
#include "cli/values.h"

/* ---- errors ---- */

int option_fail(struct option_parser *parser, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(parser->error, parser->error_size, format, ap);
	va_end(ap);
	replace_control_chars(parser->error);
	return -EINVAL;
}

int option_fail_value(struct option_parser *parser, const struct option_row *row, const char *value,
		      const char *expected)
{
	return option_fail(parser, "--%s must be %s, not '%s'", row->name, expected, value);
}

/* ---- values ---- */

int option_check_socket_path(struct option_parser *parser, const struct option_row *row,
			     const char *value)
{
	/* unix(7): sun_path holds 108 bytes, its final NUL among them. */
	const size_t room = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (strlen(value) <= room)
		return 0;
	return option_fail(parser, "--%s is %zu bytes long, a socket's path has at most %zu",
			   row->name, strlen(value), room);
}

static void store(const struct option_parser *parser, const struct option_row *row, uint64_t value)
{
	void *at = (char *)parser->options + row->offset;

	switch (row->size) {
	case sizeof(bool):
		*(bool *)at = value;
		break;
	case sizeof(uint32_t):
		*(uint32_t *)at = (uint32_t)value;
		break;
	case sizeof(uint64_t):
		*(uint64_t *)at = value;
		break;
	}
}

static int set_number(struct option_parser *parser, const struct option_row *row, const char *value)
{
	char expected[64];
	uint64_t n;

	if (parse_digits(value, 10, row->max, &n) && n >= row->min) {
		store(parser, row, n);
		return 0;
	}
	snprintf(expected, sizeof(expected), "a number from %ju to %ju", (uintmax_t)row->min,
		 (uintmax_t)row->max);
	return option_fail_value(parser, row, value, row->expected ? row->expected : expected);
}

static int set_size(struct option_parser *parser, const struct option_row *row, const char *value)
{
	uint64_t n;

	if (!parse_size(value, &n) || n < row->min || n > row->max || (row->step && n % row->step))
		return option_fail_value(parser, row, value, row->expected);
	store(parser, row, n);
	return 0;
}

/* Which of the words of "a|b|c" is it? -1: none. */
static int find_in_argument(const char *words, const char *value)
{
	const size_t length = strlen(value);

	for (int i = 0; *words; i++) {
		const size_t n = strcspn(words, "|");

		if (n == length && !memcmp(words, value, n))
			return i;
		words += n + (words[n] == '|');
	}
	return -1;
}

static int set_word(struct option_parser *parser, const struct option_row *row, const char *value)
{
	const int i = find_in_argument(row->argument, value);

	if (i < 0)
		return option_fail_value(parser, row, value, row->argument);
	store(parser, row, (uint64_t)(row->values ? row->values[i] : i));
	return 0;
}

static int set(struct option_parser *parser, const struct option_row *row, const char *value)
{
	switch (row->kind) {
	case OPTION_ANSWERED:
		break;
	case OPTION_FLAG:
		store(parser, row, row->values ? (uint64_t)*row->values : true);
		break;
	case OPTION_STRING:
		memcpy((char *)parser->options + row->offset, &value, sizeof(value));
		break;
	case OPTION_NUMBER:
		return set_number(parser, row, value);
	case OPTION_SIZE:
		return set_size(parser, row, value);
	case OPTION_WORD:
		return set_word(parser, row, value);
	case OPTION_OTHER:
		return row->set(parser, row, value);
	}
	return 0;
}

/* ---- parsing ---- */

bool option_stands(int argc, char *const *argv, const char *name)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		if (!strncmp(argv[i], "--", 2) && !strcmp(argv[i] + 2, name))
			return true;
	return false;
}

/* getopt_long()'s own table. The row's number comes back by `val`, past all characters. */
#define VAL_BASE 256

static void fill_long_options(const struct option_table *table, struct option *list)
{
	for (unsigned i = 0; i < table->n; i++)
		list[i] = (struct option){
			.name = table->row[i].name,
			.has_arg = table->row[i].argument ? required_argument : no_argument,
			.val = VAL_BASE + (int)i,
		};
	list[table->n] = (struct option){0};
}

/* What getopt_long() refused: `code` is its answer, `word` the argument it looked at. */
static int fail_getopt(struct option_parser *parser, int code, const char *word)
{
	const struct option_table *table = parser->table;
	const struct option_row *row = optopt >= VAL_BASE ? &table->row[optopt - VAL_BASE] : NULL;

	if (code == ':' && row)
		return option_fail(parser, "--%s needs a value: --%s=%s", row->name, row->name,
				   row->argument);
	if (row)
		return option_fail(parser, "--%s takes no value", row->name);
	return option_fail(parser, "unknown option '%s' (see %s --help)", word, table->program);
}

/* getopt_long() takes prefixes; a script that uses them breaks when an option is added. */
static bool is_abbreviated(const char *word, const struct option_row *row)
{
	return strcspn(word + 2, "=") != strlen(row->name);
}

static int parse_one(struct option_parser *parser, int i, const char *word, const char *value)
{
	const struct option_row *row = &parser->table->row[i];

	if (is_abbreviated(word, row))
		return option_fail(parser, "unknown option '%s', did you mean --%s?", word,
				   row->name);
	if (parser->seen[i] && row != parser->table->repeats)
		return option_fail(parser, "--%s is given twice", row->name);
	parser->seen[i] = true;
	if (value && !*value)
		return option_fail(parser, "--%s is empty, it needs a value: --%s=%s", row->name,
				   row->name, row->argument);
	return set(parser, row, value);
}

int option_table_parse(struct option_parser *parser, int argc, char *const *argv)
{
	struct option list[OPTION_TABLE_MAX + 1];
	int err = 0;

	fill_long_options(parser->table, list);
	optind = 0; /* glibc: start over, also after an earlier parse */
	opterr = 0;
	while (!err) {
		/* "+" stops at what is no option, so this is what it looks at next. */
		const char *word = argv[optind ? optind : 1];
		int code = getopt_long(argc, argv, "+:", list, NULL);

		if (code == -1)
			break;
		if (code < VAL_BASE)
			return fail_getopt(parser, code, word);
		err = parse_one(parser, code - VAL_BASE, word, optarg);
	}
	if (!err && optind < argc)
		return option_fail(parser, "unexpected argument '%s'", argv[optind]);
	for (int (*const *check)(struct option_parser *) = parser->table->checks; !err && *check;
	     check++)
		err = (*check)(parser);
	return err;
}

/* ---- --help ---- */

#define HELP_COLUMN 30

static void print_row(const struct option_row *row)
{
	int width = printf("  --%s%s%s", row->name, row->argument ? "=" : "",
			   row->argument ? row->argument : "");
	const char *line = row->help;

	if (width >= HELP_COLUMN) {
		putchar('\n');
		width = 0;
	}
	while (*line) {
		int length = (int)strcspn(line, "\n");

		printf("%*s%.*s\n", HELP_COLUMN - width, "", length, line);
		width = 0;
		line += length + (line[length] == '\n');
	}
}

void option_table_print(const struct option_table *table)
{
	for (unsigned i = 0; i < table->n; i++)
		print_row(&table->row[i]);
}
