/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/options.h. A row per option (config/option_table.h). Trusts nothing of argv. */
#include "ctl/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_table.h"
#include "config/values.h"

#define DEFAULT_SOCKET "/run/vublkd/api"
#define SOCKET_VAR     "VUBLKCTL_SOCKET"
#define MAX_SECONDS    86400.0
#define MIN_INTERVAL   0.1

static struct ctl_options *options_of(const struct option_parser *parser)
{
	return parser->into;
}

/* ---- what is more than a kind can say; `value` is never empty ---- */

static int set_timeout(struct option_parser *parser, const struct option_row *row,
		       const char *value)
{
	if (!parse_decimal(value, MAX_SECONDS, &options_of(parser)->timeout) ||
	    options_of(parser)->timeout <= 0)
		return option_fail_value(parser, row, value, "a number of seconds up to 86400");
	return 0;
}

static int set_interval(struct option_parser *parser, const struct option_row *row,
			const char *value)
{
	if (!parse_decimal(value, MAX_SECONDS, &options_of(parser)->interval) ||
	    options_of(parser)->interval < MIN_INTERVAL)
		return option_fail_value(parser, row, value,
					 "a number of seconds from 0.1 to 86400");
	return 0;
}

static int set_count(struct option_parser *parser, const struct option_row *row, const char *value)
{
	if (!parse_digits(value, 10, INT64_MAX, &options_of(parser)->count) ||
	    !options_of(parser)->count)
		return option_fail_value(parser, row, value, "a number above 0");
	return 0;
}

/* ---- the table; --help has its order ---- */

#define TO(member) OPTION_TO(struct ctl_options, member)

static const struct option_row rows[CTL_OPTIONS] = {
	[CTL_SOCKET] = {"socket", "PATH", SOCKET_PATH(socket),
			.help = "where vublkd serves its API (default: what\n"
				"$VUBLKCTL_SOCKET says, or /run/vublkd/api)"},
	[CTL_JSON] = {"json", NULL, FLAG(json), .help = "print what vublkd answers, as JSON"},
	[CTL_TIMEOUT] = {"timeout", "SECONDS", OTHER(set_timeout),
			 .help = "how long to wait for an answer, for a disk to come\n"
				 "or go, for an upgrade (default 30)"},
	[CTL_NO_WAIT] = {"no-wait", NULL, FLAG(no_wait),
			 .help = "of add, set, remove, upgrade: do not wait for it"},
	[CTL_FORCE] = {"force", NULL, FLAG(force),
		       .help = "of remove: also while a front-end is connected"},
	[CTL_INTERVAL] = {"interval", "SECONDS", OTHER(set_interval),
			  .help = "of top: from one look to the next (default 2)"},
	[CTL_COUNT] = {"count", "N", OTHER(set_count), .help = "of top: end after N of them"},
	[CTL_HELP] = {"help", .help = "print this text and exit"},
	[CTL_VERSION] = {"version", .help = "print the version and exit"},
};

static int (*const checks[])(struct option_parser *) = {NULL};
static const struct option_part part = {rows, CTL_OPTIONS, checks};
static const struct option_table table = {"vublkctl", {{&part, 0}}, NULL};

const char *ctl_option_name(enum ctl_option option)
{
	return rows[option].name;
}

void ctl_options_print(void)
{
	option_table_print(&table);
}

/* ---- parsing ---- */

/* Does the word's option take its value from the next one? */
static bool wants_next(const char *word)
{
	const int i = option_table_find(&table, word + 2);

	return i >= 0 && rows[i].argument;
}

/*
 * Makes two lists of argv, both in options->room: the options', which the parser gets (returns how
 * long that is), and that of words.
 */
static int split(struct ctl_options *options, int argc, char *const *argv)
{
	char **option = options->room, **word = options->room + argc + 1;
	bool ended = false;
	int n = 0;

	for (int i = 0; i < argc; i++) {
		const bool dashed = !ended && argv[i][0] == '-' && argv[i][1];

		if (i > 0 && dashed && !strcmp(argv[i], "--")) {
			ended = true;
		} else if (i == 0 || dashed) {
			option[n++] = argv[i];
			if (i > 0 && wants_next(argv[i]) && i + 1 < argc)
				option[n++] = argv[++i];
		} else {
			word[options->n_words++] = argv[i];
		}
	}
	options->word = word;
	return n;
}

int ctl_options_parse(struct ctl_options *options, int argc, char *const *argv, char *error,
		      size_t size)
{
	struct option_parser parser = {
		.table = &table, .options = options, .error = error, .error_size = size};
	const char *socket = getenv(SOCKET_VAR);
	int err;

	*options = (struct ctl_options){
		.socket = socket && *socket ? socket : DEFAULT_SOCKET,
		.timeout = 30,
		.interval = 2,
		.help = option_stands(argc, argv, rows[CTL_HELP].name),
		.version = option_stands(argc, argv, rows[CTL_VERSION].name),
	};
	if (options->help || options->version)
		return 0;
	options->room = calloc((size_t)argc + 1, 2 * sizeof(*options->room));
	if (!options->room) {
		snprintf(error, size, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	err = option_table_parse(&parser, split(options, argc, argv), options->room);
	for (unsigned i = 0; i < CTL_OPTIONS; i++)
		options->given |= parser.given[i] ? 1u << i : 0;
	/* The environment's has not been looked at. */
	if (!err && !parser.given[CTL_SOCKET])
		err = option_check_socket_path(&parser, &rows[CTL_SOCKET], options->socket);
	return err;
}

void ctl_options_free(struct ctl_options *options)
{
	free(options->room);
}
