/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See keeper/launch.h. The environment is put together before the fork; LISTEN_PID alone is the
 * child's to fill in.
 */
#include "keeper/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMES_PREFIX   "LISTEN_FDNAMES="
#define STRING_MAX     131072u            /* MAX_ARG_STRLEN of <linux/binfmts.h>, with the NUL */
#define ARGUMENTS_MIN  131072u            /* ARG_MAX: there is always room for so much */
#define ARGUMENTS_MOST (6u * 1024 * 1024) /* three quarters of the kernel's _STK_LIM */
#define SLACK          8192u              /* for what we add, and what the kernel does */

/* ---- how much there is room for ---- */

static size_t size_of(char *const *list)
{
	size_t size = sizeof(*list);

	for (; *list; list++)
		size += sizeof(*list) + strlen(*list) + 1;
	return size;
}

static size_t arguments_most(void)
{
	struct rlimit stack;

	if (getrlimit(RLIMIT_STACK, &stack))
		return ARGUMENTS_MIN;
	if (stack.rlim_cur / 4 > ARGUMENTS_MOST)
		return ARGUMENTS_MOST;
	return stack.rlim_cur / 4 > ARGUMENTS_MIN ? (size_t)stack.rlim_cur / 4 : ARGUMENTS_MIN;
}

size_t launch_names_most(const struct launch *launch)
{
	const size_t given = strlen(launch->given.names) + 1;
	const size_t used = size_of(launch->argv) + size_of(environ) + given + SLACK;
	const size_t total = arguments_most() > used ? arguments_most() - used : 0;
	const size_t string = STRING_MAX - sizeof(NAMES_PREFIX);
	const size_t room = string > given ? string - given : 0;

	return room < total ? room : total;
}

/* ---- the environment ---- */

struct environment {
	char **list; /* NULL at its end */
	char pid[32], fds[32], fdstore[32], notify[64];
	char names[STRING_MAX];
};

/* What we say ourselves, and what is said to us alone. */
static bool is_ours(const char *variable)
{
	static const char *const names[] = {"NOTIFY_SOCKET", "FDSTORE", "LISTEN_",
					    "VUBLKD_FALLBACK"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const size_t length = strlen(names[i]);

		if (!strncmp(variable, names[i], length) &&
		    (variable[length] == '=' || names[i][length - 1] == '_'))
			return true;
	}
	return false;
}

static void list_names(struct environment *env, const struct launch *launch,
		       const struct store *store)
{
	char *end = stpcpy(stpcpy(env->names, NAMES_PREFIX), launch->given.names);

	for (unsigned i = 0; i < store->n; i++)
		end = stpcpy(stpcpy(end, i || launch->given.n ? ":" : ""), store->kept[i].name);
}

static int make_environment(struct environment *env, const struct launch *launch,
			    const struct store *store)
{
	const unsigned n_fds = launch->given.n + store->n;
	size_t n = 0, k = 0;

	while (environ[n])
		n++;
	env->list = malloc((n + 7) * sizeof(*env->list));
	if (!env->list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (!is_ours(environ[i]))
			env->list[k++] = environ[i];
	snprintf(env->notify, sizeof(env->notify), "NOTIFY_SOCKET=%s", launch->notify);
	snprintf(env->fdstore, sizeof(env->fdstore), "FDSTORE=%u", store->most);
	env->list[k++] = env->notify;
	env->list[k++] = env->fdstore;
	if (launch->is_fallback)
		env->list[k++] = (char *)"VUBLKD_FALLBACK=1";
	if (n_fds) {
		snprintf(env->fds, sizeof(env->fds), "LISTEN_FDS=%u", n_fds);
		list_names(env, launch, store);
		env->list[k++] = env->fds;
		env->list[k++] = env->names;
		env->list[k++] = env->pid;
	}
	env->list[k] = NULL;
	return 0;
}

/* ---- in the child: each returns an errno, or 0 ---- */

/* A copy that is not in the way of `n` descriptors. */
static int move_away(int *fd, unsigned n)
{
	const int first = LISTEN_FDS_START + (int)n;

	if (*fd >= first)
		return 0;
	*fd = fcntl(*fd, F_DUPFD_CLOEXEC, first);
	return *fd < 0 ? errno : 0;
}

/* Puts what is kept behind what was given; it is all the child's own copy. */
static int place(const struct launch *launch, const struct store *store)
{
	const unsigned given = launch->given.n, n = given + store->n;
	int err = 0;

	for (unsigned i = 0; !err && i < given; i++)
		err = fcntl(LISTEN_FDS_START + (int)i, F_SETFD, 0) ? errno : 0;
	for (unsigned i = 0; !err && i < store->n; i++)
		err = move_away(&store->kept[i].fd, n);
	for (unsigned i = 0; !err && i < store->n; i++)
		err = dup2(store->kept[i].fd, LISTEN_FDS_START + (int)(given + i)) < 0 ? errno : 0;
	return err;
}

static int execute(const struct launch *launch, int executable, const struct store *store,
		   struct environment *env, int *report)
{
	const unsigned n = launch->given.n + store->n;
	int err = move_away(report, n);

	if (!err)
		err = move_away(&executable, n);
	if (!err)
		err = place(launch, store);
	if (err)
		return err;
	snprintf(env->pid, sizeof(env->pid), "LISTEN_PID=%d", getpid());
	sigprocmask(SIG_SETMASK, &launch->mask, NULL);
	execveat(executable, "", launch->argv, env->list, AT_EMPTY_PATH);
	return errno;
}

/* ---- both sides of the fork ---- */

/* The child's errno, or 0 when it has become the daemon and the pipe was closed by that. */
static int read_report(int fd)
{
	int err = 0;
	ssize_t n;

	do
		n = read(fd, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	return n == sizeof(err) ? -err : 0;
}

static pid_t fork_and_execute(const struct launch *launch, int executable,
			      const struct store *store, struct environment *env)
{
	int report[2], err;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (!pid) {
		err = execute(launch, executable, store, env, &report[1]);
		_exit(write(report[1], &err, sizeof(err)) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	err = pid < 0 ? -errno : 0;
	close(report[1]);
	if (!err)
		err = read_report(report[0]);
	close(report[0]);
	if (err && pid > 0)
		waitpid(pid, NULL, 0);
	return err ? err : pid;
}

pid_t launch_start(const struct launch *launch, int executable, const struct store *store)
{
	static struct environment env;
	const int err = make_environment(&env, launch, store);
	pid_t pid;

	if (err)
		return err;
	pid = fork_and_execute(launch, executable, store, &env);
	free(env.list);
	return pid;
}
