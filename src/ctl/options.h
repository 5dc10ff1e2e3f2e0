/* SPDX-License-Identifier: BSD-3-Clause */
/* vublkctl's command line: its options, and the words beside them. The first one is a command. */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ctl_option {
	CTL_SOCKET,
	CTL_JSON,
	CTL_TIMEOUT,
	CTL_NO_WAIT,
	CTL_FORCE,
	CTL_INTERVAL,
	CTL_COUNT,
	CTL_HELP,
	CTL_VERSION,
	CTL_OPTIONS,
};

struct ctl_options {
	const char *socket; /* of the API */
	bool json, no_wait, force;
	double timeout;     /* s, for an answer, and for a disk to come or go */
	double interval;    /* s */
	uint64_t count;     /* 0: until somebody ends it */
	unsigned given;     /* a bit for each enum ctl_option */
	bool help, version; /* that alone is asked for */
	char *const *word;  /* n_words of them; those are argv's */
	unsigned n_words;
	char **room; /* what `word` is in, and the parser's; ours */
};

/*
 * Options may stand before, behind and between the words; "--" ends them. 0, or -EINVAL or -ENOMEM
 * with a line in `error`. Strings point into argv or the environment.
 */
int ctl_options_parse(struct ctl_options *options, int argc, char *const *argv, char *error,
		      size_t size);
void ctl_options_free(struct ctl_options *options);

/* As the command line has it, without dashes. */
const char *ctl_option_name(enum ctl_option option);

/* The options' part of --help. */
void ctl_options_print(void);

#endif
