/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vublkctl: asks and tells a running vublkd, for operators and their scripts. Exit status: 0; 1
 * when the daemon refuses or something fails; 2 for a wrong command line; 3 when nobody is there; 4
 * when it takes too long.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/std_fds.h"
#include "ctl/commands.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

enum {
	EXIT_USAGE = 2,
	EXIT_NOBODY = 3,
	EXIT_TOO_LONG = 4,
};

static void print_help(void)
{
	puts("Usage: vublkctl [OPTION]... COMMAND [ARGUMENT]...\n"
	     "       vublkctl --help | --version\n"
	     "\n"
	     "Asks and tells a running vublkd what disks it serves, by its API.\n"
	     "\n"
	     "Commands:");
	ctl_commands_print();
	puts("\nOptions:");
	ctl_options_print();
	puts("\n"
	     "The exit status is 0, 1 if it was refused or has failed, 2 if the command line\n"
	     "is wrong, 3 if no vublkd can be reached, 4 if it took too long.\n"
	     "The manual page vublkctl(8) explains it all.");
}

/* Standard output is part of the answer: a full disk is an error. */
static int flush_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_SUCCESS;
	complain("cannot write to standard output: %s", strerror(errno));
	return EXIT_FAILURE;
}

static int status_of(int err)
{
	switch (err) {
	case 0:
		return flush_output();
	case -EINVAL:
		return EXIT_USAGE;
	case -ENOTCONN:
		return EXIT_NOBODY;
	case -ETIMEDOUT:
		return EXIT_TOO_LONG;
	default:
		return EXIT_FAILURE;
	}
}

static int run(const struct ctl_options *options, const struct ctl_command *command)
{
	struct ctl ctl = {
		.options = options,
		.deadline = now_ns() + (int64_t)(options->timeout * 1e9),
	};
	int err = client_create(&ctl.client, options->socket);

	if (!err)
		err = command->run(&ctl);
	else
		complain("%s", strerror(-err));
	client_destroy(ctl.client);
	return status_of(err);
}

int main(int argc, char *argv[])
{
	const struct ctl_command *command = NULL;
	struct ctl_options options;
	char error[512];
	int status = EXIT_USAGE;
	int err;

	std_fds_occupy();
	err = ctl_options_parse(&options, argc, argv, error, sizeof(error));
	if (options.help || options.version) {
		if (options.help)
			print_help();
		else
			puts("vublkctl " PACKAGE_VERSION);
		return flush_output();
	}
	if (!err)
		command = ctl_command_find(&options, error, sizeof(error));
	if (command)
		status = run(&options, command);
	else
		complain("%s", error);
	ctl_options_free(&options);
	return status;
}
