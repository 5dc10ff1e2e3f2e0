/* SPDX-License-Identifier: BSD-3-Clause */
/* See config/option_table.h. */
#include "config/option_table.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/control_chars.h"
#include "config/values.h"

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
	return option_fail(parser, "%s%s must be %s, not '%s'", parser->dashes, row->name, expected,
			   value);
}

/* ---- values ---- */

int option_check_socket_path(struct option_parser *parser, const struct option_row *row,
			     const char *value)
{
	/* unix(7): sun_path holds 108 bytes, its final NUL among them. */
	const size_t room = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (strlen(value) <= room)
		return 0;
	return option_fail(parser, "%s%s is %zu bytes long, a socket's path has at most %zu",
			   parser->dashes, row->name, strlen(value), room);
}

static void store(const struct option_parser *parser, const struct option_row *row, uint64_t value)
{
	void *at = (char *)parser->into + row->offset;

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

static void set_string(const struct option_parser *parser, const struct option_row *row,
		       const char *value)
{
	memcpy((char *)parser->into + row->offset, &value, sizeof(value));
}

static int set_socket(struct option_parser *parser, const struct option_row *row, const char *value)
{
	set_string(parser, row, value);
	return option_check_socket_path(parser, row, value);
}

static int set_mode(struct option_parser *parser, const struct option_row *row, const char *value)
{
	uint64_t n;

	if (!parse_digits(value, 8, 0777, &n))
		return option_fail_value(parser, row, value, "octal permission bits, as 0660");
	store(parser, row, n);
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
		set_string(parser, row, value);
		break;
	case OPTION_SOCKET:
		return set_socket(parser, row, value);
	case OPTION_MODE:
		return set_mode(parser, row, value);
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

/* ---- rows and parts ---- */

unsigned option_table_rows(const struct option_table *table)
{
	unsigned n = 0;

	for (unsigned i = 0; i < OPTION_PARTS_MAX && table->list[i].part; i++)
		n += table->list[i].part->n;
	return n;
}

/* Row i over all parts. With a parser, its part is what rows' functions see from now on. */
static const struct option_row *row_of(const struct option_table *table, unsigned i,
				       struct option_parser *parser)
{
	unsigned k = 0, first = 0;

	while (i - first >= table->list[k].part->n)
		first += table->list[k++].part->n;
	if (parser) {
		parser->into = (char *)parser->options + table->list[k].offset;
		parser->here = parser->given + first;
		parser->rows = table->list[k].part->row;
	}
	return &table->list[k].part->row[i - first];
}

int option_table_find(const struct option_table *table, const char *name)
{
	for (unsigned i = 0; i < option_table_rows(table); i++)
		if (!strcmp(row_of(table, i, NULL)->name, name))
			return (int)i;
	return -1;
}

int option_needs(struct option_parser *parser, unsigned row, unsigned other)
{
	if (!parser->here[row] || parser->here[other])
		return 0;
	return option_fail(parser, "%s%s goes only with %s%s", parser->dashes,
			   parser->rows[row].name, parser->dashes, parser->rows[other].name);
}

int option_excludes(struct option_parser *parser, unsigned row, unsigned other)
{
	if (!parser->here[row] || !parser->here[other])
		return 0;
	return option_fail(parser, "%s%s and %s%s exclude each other", parser->dashes,
			   parser->rows[row].name, parser->dashes, parser->rows[other].name);
}

static int run_checks(struct option_parser *parser)
{
	const struct option_table *table = parser->table;
	unsigned first = 0;
	int err = 0;

	for (unsigned k = 0; k < OPTION_PARTS_MAX && table->list[k].part; k++) {
		int (*const *check)(struct option_parser *) = table->list[k].part->checks;

		row_of(table, first, parser);
		for (; !err && *check; check++)
			err = (*check)(parser);
		first += table->list[k].part->n;
	}
	return err;
}

/* ---- a command line ---- */

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
	const unsigned n = option_table_rows(table);

	for (unsigned i = 0; i < n; i++) {
		const struct option_row *row = row_of(table, i, NULL);

		list[i] = (struct option){
			.name = row->name,
			.has_arg = row->argument ? required_argument : no_argument,
			.val = VAL_BASE + (int)i,
		};
	}
	list[n] = (struct option){0};
}

/* What getopt_long() refused: `code` is its answer, `word` the argument it looked at. */
static int fail_getopt(struct option_parser *parser, int code, const char *word)
{
	const struct option_table *table = parser->table;
	const struct option_row *row =
		optopt >= VAL_BASE ? row_of(table, (unsigned)optopt - VAL_BASE, NULL) : NULL;

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

static int parse_one(struct option_parser *parser, unsigned i, const char *word, const char *value)
{
	const struct option_row *row = row_of(parser->table, i, parser);

	if (is_abbreviated(word, row))
		return option_fail(parser, "unknown option '%s', did you mean --%s?", word,
				   row->name);
	if (parser->given[i] && row != parser->table->repeats)
		return option_fail(parser, "--%s is given twice", row->name);
	parser->given[i] = value ? value : "true";
	if (value && !*value)
		return option_fail(parser, "--%s is empty, it needs a value: --%s=%s", row->name,
				   row->name, row->argument);
	return set(parser, row, value);
}

int option_table_parse(struct option_parser *parser, int argc, char *const *argv)
{
	struct option list[OPTION_TABLE_MAX + 1];
	int err = 0;

	parser->dashes = "--";
	fill_long_options(parser->table, list);
	optind = 0; /* glibc: start over, also after an earlier parse */
	opterr = 0;
	while (!err) {
		/* "+" stops at what is no option, so this is what it looks at next. */
		const int place = optind ? optind : 1;
		const char *word = argv[place];
		int code = getopt_long(argc, argv, "+:", list, NULL);

		if (code == -1)
			break;
		if (code < VAL_BASE)
			return fail_getopt(parser, code, word);
		parser->place[code - VAL_BASE] = place;
		err = parse_one(parser, (unsigned)code - VAL_BASE, word, optarg);
	}
	if (!err && optind < argc)
		return option_fail(parser, "unexpected argument '%s'", argv[optind]);
	return err ? err : run_checks(parser);
}

/* ---- values by name ---- */

static int take_one(struct option_parser *parser, unsigned i)
{
	const struct option_row *row = row_of(parser->table, i, parser);
	const char *value = parser->given[i];

	if (!*value)
		return option_fail(parser, "%s is empty, it needs a value: %s", row->name,
				   row->argument ? row->argument : "true|false");
	if (row->argument)
		return set(parser, row, value);
	if (!strcmp(value, "true"))
		return set(parser, row, NULL);
	if (strcmp(value, "false") != 0)
		return option_fail_value(parser, row, value, "true or false");
	parser->given[i] = NULL;
	return 0;
}

int option_table_take(struct option_parser *parser)
{
	const unsigned n = option_table_rows(parser->table);
	int err = 0;

	parser->dashes = "";
	for (unsigned i = 0; !err && i < n; i++)
		if (parser->given[i])
			err = take_one(parser, i);
	return err ? err : run_checks(parser);
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
	for (unsigned i = 0; i < option_table_rows(table); i++)
		print_row(row_of(table, i, NULL));
}
