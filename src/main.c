/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vublkd: does what the command line says. Exit status: 0, 1 when something cannot be had, 2 for a
 * wrong command line.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/capabilities.h"
#include "cli/options.h"
#include "cli/std_fds.h"
#include "daemon/daemon.h"

#define EXIT_USAGE 2

/* Standard output is part of the answer: a full disk is an error. */
static int flush_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_SUCCESS;
	log_error("cannot write to standard output: %s", strerror(errno));
	return EXIT_FAILURE;
}

static int print_capabilities(void)
{
	int err = capabilities_print();

	if (err)
		log_error("cannot write the capabilities: %s", strerror(-err));
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
	/* Static, since a thread that is never joined uses it. */
	static struct options options;
	char error[256];

	std_fds_occupy();
	if (options_parse(&options, argc, argv, error, sizeof(error))) {
		log_set_level(LOG_LEVEL_ERROR);
		log_error("%s", error);
		return EXIT_USAGE;
	}
	switch (options.action) {
	case OPTIONS_HELP:
		options_print_help();
		return flush_output();
	case OPTIONS_VERSION:
		puts(PACKAGE_STRING);
		return flush_output();
	case OPTIONS_CAPABILITIES:
		return print_capabilities();
	case OPTIONS_SERVE:
		break;
	}
	log_set_level(options.log_level);
	if (!listener_is_named(&options.disk.listener))
		return EXIT_USAGE;
	return daemon_run(&options.daemon, &options.disk);
}
