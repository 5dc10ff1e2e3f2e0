/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vublkd: does what the command line says. Exit status: 0, 1 when something cannot be had, 2 for a
 * wrong command line, or settings that --check-config finds wrong.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/fdstore.h"
#include "base/log.h"
#include "cli/capabilities.h"
#include "cli/options.h"
#include "cli/std_fds.h"
#include "cli/supervise.h"
#include "config/disk_options.h"
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

/* The command line's disk, or NULL: there is none. 0 or -errno (logged). */
static int make_disk(const struct options *options, struct disk_options **disk)
{
	char error[256];
	int err;

	*disk = NULL;
	if (!options->has_disk)
		return 0;
	err = disk_options_create(disk, NULL, options->disk_text, &options->daemon.host, error,
				  sizeof(error));
	if (err)
		log_error("%s", error);
	return err;
}

static int check_config(const struct options *options)
{
	struct disk_options *disk;
	unsigned wrong;

	log_set_level(options->log_level);
	if (make_disk(options, &disk))
		return EXIT_FAILURE;
	wrong = daemon_check(&options->daemon, disk);
	disk_options_destroy(disk);
	return wrong ? EXIT_USAGE : EXIT_SUCCESS;
}

static int serve(const struct options *options)
{
	struct disk_options *disk;
	const int err = fdstore_open();

	log_set_level(options->log_level);
	if (err) {
		log_error("cannot use the descriptors of LISTEN_FDS: %s", strerror(-err));
		return EXIT_FAILURE;
	}
	if (options->has_disk && !listener_is_named(&options->disk.listener))
		return EXIT_USAGE;
	if (make_disk(options, &disk))
		return EXIT_FAILURE;
	return daemon_run(&options->daemon, disk);
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
	case OPTIONS_CHECK:
		return check_config(&options);
	case OPTIONS_SERVE:
		break;
	}
	if (options.supervise)
		return supervise(KEEPER_PATH, options.log_level, argv, options.supervise_place);
	/* One that was started by the keeper is called after a descriptor before Linux 6.14. */
	prctl(PR_SET_NAME, program_invocation_short_name);
	return serve(&options);
}
