/* SPDX-License-Identifier: BSD-3-Clause */
/* See base/host_limits.h. */
#include "base/host_limits.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>

static _Thread_local char text[320];

static const char *number(char *to, size_t size, int resource)
{
	struct rlimit limit;

	if (getrlimit((__rlimit_resource_t)resource, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return "unlimited";
	snprintf(to, size, "%ju", (uintmax_t)limit.rlim_cur);
	return to;
}

const char *limits_advice(enum limits_of what, int err)
{
	char now[32];

	text[0] = 0;
	if (err == -EMFILE)
		snprintf(text, sizeof(text),
			 "; the limit of open files (RLIMIT_NOFILE) is %s: raise it (ulimit -n, or "
			 "LimitNOFILE= in a systemd unit)",
			 number(now, sizeof(now), RLIMIT_NOFILE));
	else if (err == -ENFILE)
		snprintf(
			text, sizeof(text),
			"; the limit of open files of all processes is reached: raise fs.file-max");
	else if (err == -ENOSPC && what == LIMITS_DESCRIPTOR)
		snprintf(text, sizeof(text),
			 "; the user's limit of watches is reached: raise "
			 "fs.epoll.max_user_watches");
	else if (err == -ENOMEM && what == LIMITS_IO_URING)
		snprintf(
			text, sizeof(text),
			"; its rings count as locked memory (before Linux 5.12, and since 6.14), "
			"of which the limit (RLIMIT_MEMLOCK), for all of this user's processes "
			"together, is %s bytes: raise it (ulimit -l, or LimitMEMLOCK= in a systemd "
			"unit)",
			number(now, sizeof(now), RLIMIT_MEMLOCK));
	else if (err == -EAGAIN && what == LIMITS_LIBAIO)
		snprintf(text, sizeof(text),
			 "; fs.aio-max-nr (of all processes), the limit of the user's threads "
			 "(RLIMIT_NPROC, LimitNPROC= in a systemd unit) or the cgroup's pids.max "
			 "(TasksMax=) is reached: raise it");
	else if (err == -EAGAIN && what != LIMITS_DESCRIPTOR)
		snprintf(text, sizeof(text),
			 "; no thread more may be had: the limit of the user's processes and "
			 "threads (RLIMIT_NPROC) is %s: raise it (ulimit -u, or LimitNPROC= in a "
			 "systemd unit), or the cgroup's pids.max (TasksMax=)",
			 number(now, sizeof(now), RLIMIT_NPROC));
	return text;
}
