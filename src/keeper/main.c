/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vublkd-keeper: what vublkd becomes with --supervise. Not for people: its arguments come from
 * src/cli/supervise.c. Exit status: the daemon's, 128 and the number of the signal that has killed
 * it, 1 when nothing could be started, 2 for wrong arguments.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/keeper.h"

#define EXIT_USAGE      2
#define READY_TIMEOUT   10 /* s */
#define TIMEOUT_MOST    3600
#define FIRST_CHILD_ARG 3

/* 0, or -EINVAL (logged). */
static int find_ready_timeout(int64_t *ns)
{
	const char *text = getenv("VUBLKD_READY_TIMEOUT");
	char *end;
	long seconds = READY_TIMEOUT;

	if (text) {
		errno = 0;
		seconds = strtol(text, &end, 10);
		if (errno || *end || *text < '0' || *text > '9' || seconds < 1 ||
		    seconds > TIMEOUT_MOST) {
			log_error("VUBLKD_READY_TIMEOUT must be a number of seconds from 1 to %d, "
				  "not '%s'",
				  TIMEOUT_MOST, text);
			return -EINVAL;
		}
	}
	*ns = (int64_t)seconds * 1000000000;
	return 0;
}

int main(int argc, char *argv[])
{
	struct keeper_config config;

	log_set_name("vublkd-keeper");
	if (argc <= FIRST_CHILD_ARG || strlen(argv[1]) != 1 || argv[1][0] < '0' ||
	    argv[1][0] > '0' + LOG_LEVEL_DEBUG || argv[2][0] != '/') {
		log_error("use vublkd --supervise; this is started by it");
		return EXIT_USAGE;
	}
	/* First, since it closes what it does not know. */
	if (given_find(&config.given))
		return EXIT_FAILURE;
	log_set_level((enum log_level)(argv[1][0] - '0'));
	config.executable = argv[2];
	config.argv = argv + FIRST_CHILD_ARG;
	return find_ready_timeout(&config.ready_timeout_ns) ? EXIT_USAGE : keeper_run(&config);
}
