/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A command line by a table: one row per option, which the parser, --help, and the refusal of
 * doubled options all read. For vublkd and vublk-bench. Knows no option; trusts nothing of argv.
 * Control thread, once.
 */
#ifndef CLI_OPTION_TABLE_H
#define CLI_OPTION_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTION_TABLE_MAX 64 /* rows */

struct option_parser;

/* What an option's value is, and the type of what it is stored in. */
enum option_kind {
	OPTION_ANSWERED, /* takes none, and sets nothing: --help and the like */
	OPTION_FLAG,     /* takes none; bool: becomes true, or what `values` says */
	OPTION_STRING,   /* const char *, to argv */
	OPTION_NUMBER,   /* unsigned or int: from min to max */
	OPTION_SIZE,     /* uint32_t or uint64_t: bytes from min to max, a multiple of `step` */
	OPTION_WORD,     /* bool or an enumeration: one of `argument`, as "a|b" */
	OPTION_OTHER,    /* what set() makes of it */
};

struct option_row {
	const char *name;
	const char *argument; /* as --help and the man page call it, NULL: takes none */
	enum option_kind kind;
	size_t offset, size; /* of what it is stored in, in `options`: see OPTION_TO() */
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
#define WORD(member, ...) \
	.kind = OPTION_WORD, TO(member), .values = (const int[]) \
	{ \
		__VA_ARGS__ \
	}
#define OTHER(function) .kind = OPTION_OTHER, .set = function

struct option_table {
	const char *program; /* for messages */
	const struct option_row *row;
	unsigned n;                       /* at most OPTION_TABLE_MAX */
	const struct option_row *repeats; /* may be given more than once; NULL: none */
	/*
	 * What goes together, once all is parsed: each 0 or what option_fail() returns; then NULL.
	 */
	int (*const *checks)(struct option_parser *parser);
};

struct option_parser {
	const struct option_table *table;
	void *options;               /* what is filled in */
	bool seen[OPTION_TABLE_MAX]; /* by row */
	char *error;                 /* where the one line goes that says what is wrong */
	size_t error_size;
};

/*
 * Gives each option of argv to its row. 0, or -EINVAL with the error written for an option that is
 * unknown, abbreviated, doubled, empty, without its value or with one that it does not take, for an
 * argument that is none, and for what a row's function or a check refuses.
 */
int option_table_parse(struct option_parser *parser, int argc, char *const *argv);

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

/* Prints the rows as --help has them, in the table's order. */
void option_table_print(const struct option_table *table);

#endif
