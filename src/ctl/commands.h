/* SPDX-License-Identifier: BSD-3-Clause */
/* vublkctl's commands, as a table. Main thread. */
#ifndef CTL_COMMANDS_H
#define CTL_COMMANDS_H

#include <stddef.h>

#include "ctl/options.h"

struct ctl;

struct ctl_command {
	const char *name, *arguments; /* as --help has them; "": none */
	unsigned least, most;         /* of them */
	unsigned options;             /* what goes with it beside what always does; a bit each */
	/* See ctl_ask(). */
	int (*run)(const struct ctl *ctl);
	const char *help;
};

/* The command that the words are, or NULL with a line in `error`. */
const struct ctl_command *ctl_command_find(const struct ctl_options *options, char *error,
					   size_t size);

/* The commands' part of --help. */
void ctl_commands_print(void);

#endif
