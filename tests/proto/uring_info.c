/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads /proc, see uring_info.h. No state. */
#define _GNU_SOURCE
#include "tests/proto/uring_info.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/frontend/fe_time.h"
#include "tests/tap.h"

#define MAX_FD 256

struct query {
	pid_t pid;
	int fd;
	uint32_t tail;
};

static bool is_uring(pid_t pid, int fd)
{
	char path[64], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return !strcmp(target, "anon_inode:[io_uring]");
}

static int find(pid_t pid)
{
	for (int fd = 0; fd < MAX_FD; fd++)
		if (is_uring(pid, fd))
			return fd;
	return -1;
}

/* 0 when the kernel does not tell right now: the process was at work on it. */
static int look(void *arg)
{
	struct query *query = arg;
	char path[64], line[128];
	int found = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", query->pid, query->fd);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, "SqTail: %u", &query->tail) == 1;
	fclose(file);
	return found;
}

static bool ask(struct query *query, unsigned int ms)
{
	return query->fd >= 0 && fe_wait_for(look, query, fe_deadline(ms)) == 1;
}

bool uring_of(pid_t pid)
{
	struct query query = {.pid = pid, .fd = find(pid)};

	return ask(&query, 1000);
}

uint32_t uring_submitted(pid_t pid)
{
	struct query query = {.pid = pid, .fd = find(pid)};

	REQUIRE(ask(&query, FE_TIMEOUT_MS));
	return query.tail;
}
