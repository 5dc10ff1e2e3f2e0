/* SPDX-License-Identifier: BSD-3-Clause */
/* See fe_keeper.h. */
#define _GNU_SOURCE
#include "fe_keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fe_time.h"

#define NAME_SIZE 256

/* The keeper's process. */
static struct {
	struct fe_keeper_state *state;
	struct fe_daemon *daemon;
	const char *const *args;
	int sock;
	char address[64]; /* as in NOTIFY_SOCKET */
	char name[FE_DAEMON_PASS][NAME_SIZE];
	int fd[FE_DAEMON_PASS];
	unsigned int n;
} my;

/* ---- what is kept ---- */

static void keep(const char *name, int fd)
{
	if (my.n >= FE_DAEMON_PASS || my.n >= my.state->most) {
		close(fd);
		return;
	}
	snprintf(my.name[my.n], NAME_SIZE, "%s", name);
	my.fd[my.n++] = fd;
}

static void forget(const char *name)
{
	unsigned int left = 0;

	for (unsigned int i = 0; i < my.n; i++) {
		if (!strcmp(my.name[i], name)) {
			close(my.fd[i]);
			continue;
		}
		memmove(my.name[left], my.name[i], NAME_SIZE);
		my.fd[left++] = my.fd[i];
	}
	my.n = left;
}

static void take_message(char *text, const int *fd, unsigned int n_fds)
{
	const char *name = "stored";
	bool store = false, remove = false;

	for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
		if (!strncmp(line, "FDNAME=", 7))
			name = line + 7;
		store |= !strcmp(line, "FDSTORE=1");
		remove |= !strcmp(line, "FDSTOREREMOVE=1");
		if (!strcmp(line, "READY=1"))
			my.state->ready++;
	}
	for (unsigned int i = 0; i < n_fds; i++) {
		if (store)
			keep(name, fd[i]);
		else
			close(fd[i]);
	}
	if (remove)
		forget(name);
	my.state->kept = my.n;
}

static void read_messages(void)
{
	for (;;) {
		union {
			struct cmsghdr align;
			char space[CMSG_SPACE(16 * sizeof(int))];
		} control;
		char text[4097];
		struct iovec iov = {text, sizeof(text) - 1};
		struct msghdr hdr = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = &control,
				     .msg_controllen = sizeof(control)};
		const ssize_t size = recvmsg(my.sock, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		int fd[16];
		unsigned int n = 0;

		if (size < 0)
			return;
		text[size] = 0;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&hdr); c; c = CMSG_NXTHDR(&hdr, c)) {
			n = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fd, CMSG_DATA(c), n * sizeof(int));
		}
		take_message(text, fd, n);
	}
}

/* ---- the daemon ---- */

static void start_daemon(void)
{
	static char names[FE_DAEMON_PASS * 32];
	char notify[100], most[32], number[32];
	const char *environment[8] = {notify, most};
	unsigned int n = 2;
	size_t used = 0;

	snprintf(notify, sizeof(notify), "NOTIFY_SOCKET=%s", my.address);
	snprintf(most, sizeof(most), "FDSTORE=%u", my.state->most);
	if (my.n) {
		used = (size_t)snprintf(names, sizeof(names), "LISTEN_FDNAMES=");
		for (unsigned int i = 0; i < my.n; i++)
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
						 i ? ":" : "", my.name[i]);
		snprintf(number, sizeof(number), "LISTEN_FDS=%u", my.n);
		environment[n++] = names;
		environment[n++] = number;
		environment[n++] = "LISTEN_PID=";
	}
	unsetenv("VUBLK_KILL");
	if (*my.state->kill)
		setenv("VUBLK_KILL", my.state->kill, 1);
	*my.state->kill = 0;
	if (fe_daemon_spawn_with(my.daemon, my.args, my.fd, my.n, environment))
		_exit(1);
	my.daemon->goes_on = true;
	my.state->daemon = my.daemon->pid;
	my.state->starts++;
}

static void bury_daemon(void)
{
	int status;

	if (!my.state->daemon || waitpid(my.daemon->pid, &status, WNOHANG) <= 0)
		return;
	/* What it said last. */
	read_messages();
	my.state->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	my.state->daemon = 0;
}

_Noreturn static void run(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		struct pollfd p = {.fd = my.sock, .events = POLLIN};

		if (!my.state->daemon && !my.state->once && !my.state->late)
			start_daemon();
		poll(&p, 1, 1);
		read_messages();
		bury_daemon();
	}
}

static int listen_to_daemon(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(addr.sun_family);

	my.sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* A name of the kernel's choice. */
	if (my.sock < 0 || bind(my.sock, (struct sockaddr *)&addr, size))
		return -errno;
	size = sizeof(addr);
	if (getsockname(my.sock, (struct sockaddr *)&addr, &size))
		return -errno;
	snprintf(my.address, sizeof(my.address), "@%.*s",
		 (int)(size - offsetof(struct sockaddr_un, sun_path) - 1), addr.sun_path + 1);
	return 0;
}

/* ---- the test's side ---- */

int fe_keeper_start(struct fe_keeper *keeper, struct fe_daemon *daemon, const char *const args[],
		    const char *kill)
{
	struct fe_keeper_state *state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE,
					     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ret;

	*keeper = (struct fe_keeper){.state = state};
	if (state == MAP_FAILED)
		return -errno;
	state->most = FE_DAEMON_PASS;
	if (kill)
		snprintf(state->kill, sizeof(state->kill), "%s", kill);
	my.state = state;
	my.daemon = daemon;
	my.args = args;
	my.n = 0;
	ret = listen_to_daemon();
	if (ret)
		return ret;
	keeper->pid = fork();
	if (!keeper->pid)
		run();
	close(my.sock);
	return keeper->pid < 0 ? -errno : 0;
}

struct wait {
	struct fe_keeper_state *state;
	unsigned int n;
};

static int is_ready(void *arg)
{
	const struct wait *wait = arg;

	return wait->state->ready >= wait->n;
}

int fe_keeper_await_ready(struct fe_keeper *keeper, unsigned int ready)
{
	struct wait wait = {keeper->state, ready};
	const int ret = fe_wait_for(is_ready, &wait, fe_deadline(FE_TIMEOUT_MS));

	return ret < 0 ? ret : 0;
}

static int has_started(void *arg)
{
	const struct wait *wait = arg;

	return wait->state->starts >= wait->n;
}

int fe_keeper_kill(struct fe_keeper *keeper)
{
	struct wait wait = {keeper->state, keeper->state->starts + 1};
	const pid_t pid = keeper->state->daemon;
	int ret;

	/* It may have died by itself, and the next one be there. */
	if (pid)
		kill(pid, SIGKILL);
	ret = fe_wait_for(has_started, &wait, fe_deadline(FE_TIMEOUT_MS));
	return ret < 0 ? ret : 0;
}

static int has_ended(void *arg)
{
	const struct wait *wait = arg;

	return !wait->state->daemon;
}

int fe_keeper_stop(struct fe_keeper *keeper, int sig)
{
	struct wait wait = {keeper->state, 0};
	int ret;

	keeper->state->once = true;
	if (keeper->state->daemon)
		kill(keeper->state->daemon, sig);
	ret = fe_wait_for(has_ended, &wait, fe_deadline(FE_TIMEOUT_MS));
	return ret < 0 ? ret : keeper->state->status;
}

void fe_keeper_free(struct fe_keeper *keeper)
{
	if (keeper->pid > 0) {
		keeper->state->once = true;
		if (keeper->state->daemon)
			kill(keeper->state->daemon, SIGKILL);
		kill(keeper->pid, SIGKILL);
		waitpid(keeper->pid, NULL, 0);
	}
	if (keeper->state && keeper->state != MAP_FAILED)
		munmap(keeper->state, sizeof(*keeper->state));
	*keeper = (struct fe_keeper){0};
}
