/* SPDX-License-Identifier: BSD-3-Clause */
/* See cli/supervise.h. */
#include "cli/supervise.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "vublkd-keeper"

/* 0 or -errno: which file we are, and where a keeper beside it would be. */
static int find_places(char own[PATH_MAX], char beside[PATH_MAX])
{
	const ssize_t n = readlink("/proc/self/exe", own, PATH_MAX);
	int length;

	if (n < 0)
		return -errno;
	if (n == PATH_MAX)
		return -ENAMETOOLONG;
	own[n] = '\0';
	length = (int)(strrchr(own, '/') - own) + 1;
	if ((size_t)length + sizeof(NAME) > PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(beside, PATH_MAX, "%.*s%s", length, own, NAME);
	return 0;
}

static void take_out(char **argv, int place)
{
	for (; argv[place]; place++)
		argv[place] = argv[place + 1];
}

/* What comes before the child's command line; see keeper/main.c. */
#define N_OWN 3

static char **make_arguments(const char *keeper, const char *level, const char *own, char **argv)
{
	size_t n = 0;
	const char **list;

	while (argv[n])
		n++;
	list = malloc((N_OWN + n + 1) * sizeof(*list));
	if (!list)
		return NULL;
	list[0] = keeper;
	list[1] = level;
	list[2] = own;
	memcpy(list + N_OWN, argv, (n + 1) * sizeof(*list));
	return (char **)list;
}

int supervise(const char *installed, enum log_level level, char **argv, int place)
{
	static char own[PATH_MAX], beside[PATH_MAX];
	const char *keeper = beside;
	char number[] = {(char)('0' + level), '\0'};
	char **list;
	int err = find_places(own, beside);

	if (err) {
		log_error("cannot find out where the executable is (/proc/self/exe): %s",
			  strerror(-err));
		return EXIT_FAILURE;
	}
	if (access(beside, X_OK))
		keeper = installed;
	take_out(argv, place);
	list = make_arguments(keeper, number, own, argv);
	if (list)
		execv(keeper, list);
	log_error("cannot execute %s for --supervise: %s", keeper, strerror(errno));
	free(list);
	return EXIT_FAILURE;
}
