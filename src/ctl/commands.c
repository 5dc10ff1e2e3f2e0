/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/commands.h. */
#include "ctl/commands.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/control_chars.h"
#include "ctl/change.h"
#include "ctl/events.h"
#include "ctl/process.h"
#include "ctl/show.h"
#include "ctl/top.h"
#include "ctl/upgrade.h"

#define BIT(option) (1u << (option))
#define ALWAYS      (BIT(CTL_SOCKET) | BIT(CTL_TIMEOUT))
#define JSON        BIT(CTL_JSON)
#define WAIT        BIT(CTL_NO_WAIT)
#define HELP_COLUMN 30 /* as that of options */

/* The order is that of --help. */
static const struct ctl_command commands[] = {
	{"status", "", 0, 0, JSON, process_status, "the process, and how many disks it has"},
	{"list", "", 0, 0, JSON, show_list, "all disks"},
	{"show", "NAME", 1, 1, JSON, show_disk, "all of a disk, and what was counted of it"},
	{"add", "NAME OPTION[=VALUE]...", 2, UINT_MAX, JSON | WAIT, change_add,
	 "add a disk, or replace it, and wait until it is\nserved; options are vublkd's"},
	{"set", "NAME OPTION[=[VALUE]]...", 2, UINT_MAX, JSON | WAIT, change_set,
	 "change what a disk is told; OPTION= takes one away"},
	{"remove", "NAME", 1, 1, JSON | WAIT | BIT(CTL_FORCE), change_remove,
	 "remove a disk, and wait until it is gone"},
	{"resize", "NAME", 1, 1, JSON, change_resize, "look whether its image has grown"},
	{"reload", "", 0, 0, JSON, process_reload, "have the directory of --config-dir read again"},
	{"upgrade", "", 0, 0, JSON | WAIT, upgrade_run,
	 "have another process of the executable that is\ninstalled now go on with all disks, and "
	 "wait until it\nserves them"},
	{"workers", "", 0, 0, JSON, process_workers, "the threads, and where their time went"},
	{"top", "", 0, 0, JSON | BIT(CTL_INTERVAL) | BIT(CTL_COUNT), top_run,
	 "what disks and threads do, again and again, until\nq or SIGINT ends it"},
	{"events", "[NAME]", 0, 1, JSON, events_run,
	 "what happens to disks, or to one, as it happens, until\nSIGINT ends it"},
	{"metrics", "", 0, 0, 0, process_metrics, "what was counted, as Prometheus reads it"},
};
#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

static const struct ctl_command *fail(char *error)
{
	replace_control_chars(error);
	return NULL;
}

const struct ctl_command *ctl_command_find(const struct ctl_options *options, char *error,
					   size_t size)
{
	const struct ctl_command *command = commands;
	const unsigned n = options->n_words - 1; /* arguments */

	if (!options->n_words) {
		snprintf(error, size, "a command is missing (see vublkctl --help)");
		return NULL;
	}
	while (command < commands + N_COMMANDS && strcmp(command->name, options->word[0]) != 0)
		command++;
	if (command == commands + N_COMMANDS) {
		snprintf(error, size, "unknown command '%s' (see vublkctl --help)",
			 options->word[0]);
		return fail(error);
	}
	if (n < command->least || n > command->most) {
		snprintf(error, size, "wrong number of arguments: it is %s%s%s", command->name,
			 *command->arguments ? " " : "", command->arguments);
		return NULL;
	}
	if (n && !*options->word[1]) {
		snprintf(error, size, "the disk's name is empty");
		return NULL;
	}
	for (unsigned i = 0; i < CTL_OPTIONS; i++)
		if (options->given & ~(ALWAYS | command->options) & BIT(i)) {
			snprintf(error, size, "--%s does not go with %s",
				 ctl_option_name((enum ctl_option)i), command->name);
			return NULL;
		}
	return command;
}

void ctl_commands_print(void)
{
	for (const struct ctl_command *command = commands; command < commands + N_COMMANDS;
	     command++) {
		const char *line = command->help;
		int width = printf("  %s %s", command->name, command->arguments);

		if (width >= HELP_COLUMN) {
			putchar('\n');
			width = 0;
		}
		while (*line) {
			const int length = (int)strcspn(line, "\n");

			printf("%*s%.*s\n", HELP_COLUMN - width, "", length, line);
			width = 0;
			line += length + (line[length] == '\n');
		}
	}
}
