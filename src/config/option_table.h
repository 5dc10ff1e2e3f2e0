/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options by a table: one row per option, which the parser, --help, and the refusal of doubled
 * options all read, wherever the values come from: a command line, or a list by name (a file). For
 * vublkd and vublk-bench. Knows no option; trusts no value. Control thread.
 */
#ifndef CONFIG_OPTION_TABLE_H
#define CONFIG_OPTION_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OPTION_TABLE_MAX 64 /* rows */

struct option_parser;

/* What an option's value is, and the type of what it is stored in. */
enum option_kind {
	OPTION_ANSWERED, /* takes none, and sets nothing: --help and the like */
	OPTION_FLAG,     /* takes none; bool: becomes true, or what `values` says */
	OPTION_STRING,   /* const char *, to the value */
	OPTION_NUMBER,   /* unsigned, int or uint64_t: from min to max */
	OPTION_SIZE,     /* uint32_t or uint64_t: bytes from min to max, a multiple of `step` */
	OPTION_WORD,     /* bool or an enumeration: one of `argument`, as "a|b" */
	OPTION_SOCKET,   /* const char *, to the value: a path that a Unix socket can have */
	OPTION_MODE,     /* mode_t: octal permission bits */
	OPTION_OTHER,    /* what set() makes of it */
};

struct option_row {
	const char *name;
	const char *argument; /* as --help and the man page call it, NULL: takes none */
	enum option_kind kind;
	size_t offset, size; /* of what it is stored in, in its part's struct: see OPTION_TO() */
	uint64_t min, max;
	uint64_t step;        /* 0: any */
	const char *expected; /* for messages; NULL: from min and max, or `argument` */
	const int *values;    /* what is stored for each word; NULL: 0, 1, ... */
	/* Takes `value`, which is not empty, over. 0 or what option_fail() returns. */
	int (*set)(struct option_parser *parser, const struct option_row *row, const char *value);
	const char *help; /* lines after the first are indented by their printer */
};

/*
 * What rows are made of: the kind, and where the value goes. A table first says what is filled in:
 *
 *	#define TO(member) OPTION_TO(struct options, member)
 */
#define OPTION_TO(type, member) \
	.offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define NUMBER(member, ...) .kind = OPTION_NUMBER, TO(member), __VA_ARGS__
#define BYTES(member, ...)  .kind = OPTION_SIZE, TO(member), __VA_ARGS__
#define FLAG(member)        .kind = OPTION_FLAG, TO(member)
#define STRING(member)      .kind = OPTION_STRING, TO(member)
#define SOCKET_PATH(member) .kind = OPTION_SOCKET, TO(member)
#define MODE(member)        .kind = OPTION_MODE, TO(member)
#define WORD(member, ...) \
	.kind = OPTION_WORD, TO(member), .values = (const int[]) \
	{ \
		__VA_ARGS__ \
	}
#define OTHER(function) .kind = OPTION_OTHER, .set = function

/* Rows that fill in one struct, and what has to hold of them together. */
struct option_part {
	const struct option_row *row;
	unsigned n;
	/*
	 * What goes together, once all is parsed: each 0 or what option_fail() returns; then NULL.
	 */
	int (*const *checks)(struct option_parser *parser);
};

#define OPTION_PARTS_MAX 2

struct option_table {
	const char *program; /* for messages */
	struct {
		const struct option_part *part; /* NULL: there are no more */
		size_t offset;                  /* of its struct in `options` */
	} list[OPTION_PARTS_MAX];               /* at most OPTION_TABLE_MAX rows in all */
	const struct option_row *repeats;       /* may be given more than once; NULL: none */
};

struct option_parser {
	const struct option_table *table;
	void *options; /* what is filled in */
	/*
	 * What was given, by row, over all parts: its value, which is not empty ("true" of a row
	 * that takes none); NULL: it was not.
	 */
	const char *given[OPTION_TABLE_MAX];
	int place[OPTION_TABLE_MAX]; /* by row: where in argv it stands */
	char *error;                 /* where the one line goes that says what is wrong */
	size_t error_size;

	/* The parser's own; for rows' functions and checks: */
	const char *dashes;            /* before names in messages: "--", or "" in a file */
	void *into;                    /* their part's struct */
	const char *const *here;       /* `given`, from their part's first row on */
	const struct option_row *rows; /* that part's */
};

/*
 * Gives each option of argv to its row. 0, or -EINVAL with the error written for an option that is
 * unknown, abbreviated, doubled, empty, without its value or with one that it does not take, for an
 * argument that is none, and for what a row's function or a check refuses. Strings point into argv.
 */
int option_table_parse(struct option_parser *parser, int argc, char *const *argv);

/*
 * The same with parser->given, which the caller has filled in; a row that takes no value has "true"
 * or "false" (as if it were not given). Strings point to these.
 */
int option_table_take(struct option_parser *parser);

/* The row of that name, over all parts, or -1. */
int option_table_find(const struct option_table *table, const char *name);

/* How many rows there are. */
unsigned option_table_rows(const struct option_table *table);

/*
 * Does "--" + name stand anywhere before "--"? For options that are answered at once, whatever
 * stands beside them.
 */
bool option_stands(int argc, char *const *argv, const char *name);

/* Writes the error, as one line whatever is quoted. Returns -EINVAL. */
int option_fail(struct option_parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same: says what the option takes and what it got. */
int option_fail_value(struct option_parser *parser, const struct option_row *row, const char *value,
		      const char *expected);

/* Is the value too long for a socket's path? 0, or what option_fail() returns. */
int option_check_socket_path(struct option_parser *parser, const struct option_row *row,
			     const char *value);

/*
 * For checks, by the numbers of rows in their part: `row` was given without the other; both were.
 * 0, or what option_fail() returns.
 */
int option_needs(struct option_parser *parser, unsigned row, unsigned other);
int option_excludes(struct option_parser *parser, unsigned row, unsigned other);

/* Prints the rows as --help has them, in the table's order. */
void option_table_print(const struct option_table *table);

#endif
