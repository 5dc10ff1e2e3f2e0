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
#include "keeper/restarts.h"

#define EXIT_USAGE      2
#define READY_NS        INT64_C(10000000000)
#define SECONDS_MOST    3600
#define FIRST_CHILD_ARG 3

/* Of a variable that is a number of seconds, or is not set. 0, or -EINVAL (logged). */
static int find_seconds(const char *variable, long least, int64_t usual_ns, int64_t *ns)
{
	const char *text = getenv(variable);
	char *end;
	long seconds;

	*ns = usual_ns;
	if (!text)
		return 0;
	errno = 0;
	seconds = strtol(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || seconds < least ||
	    seconds > SECONDS_MOST) {
		log_error("%s must be a number of seconds from %ld to %d, not '%s'", variable,
			  least, SECONDS_MOST, text);
		return -EINVAL;
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
	if (find_seconds("VUBLKD_READY_TIMEOUT", 1, READY_NS, &config.ready_timeout_ns) ||
	    find_seconds("VUBLKD_RESTART_PAUSE", 0, RESTARTS_LONGEST_NS, &config.restart_pause_ns))
		return EXIT_USAGE;
	return keeper_run(&config);
}
