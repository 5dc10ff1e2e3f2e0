/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon as a child process, see fe_daemon.h. Owns that process. */
#define _GNU_SOURCE
#include "fe_daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fe_time.h"

#define MAX_WORDS  (FE_DAEMON_ARGS + 64)
#define WORDS_SIZE 2048

/* A command line in the making; words that must be built live in `text`. */
struct command {
	const char *word[MAX_WORDS + 1];
	unsigned int n;
	char text[WORDS_SIZE];
	size_t used;
};

bool fe_daemon_is_qsd(void)
{
	const char *peer = getenv("VUBLKD_PEER");

	return peer && !strcmp(peer, "qsd");
}

void fe_daemon_prepare(struct fe_daemon *d, const char *dir)
{
	static unsigned int number; /* several daemons may share a directory */

	*d = (struct fe_daemon){0};
	number++;
	snprintf(d->socket, sizeof(d->socket), "%s/socket%u", dir, number);
	snprintf(d->image, sizeof(d->image), "%s/image%u", dir, number);
	snprintf(d->out_path, sizeof(d->out_path), "%s/stdout%u", dir, number);
	snprintf(d->err_path, sizeof(d->err_path), "%s/stderr%u", dir, number);
}

static void add(struct command *c, const char *word)
{
	if (c->n < MAX_WORDS)
		c->word[c->n++] = word;
}

static const char *keep(struct command *c, const char *word, size_t len)
{
	char *copy = c->text + c->used;

	if (len >= sizeof(c->text) - c->used)
		return "";
	memcpy(copy, word, len);
	copy[len] = 0;
	c->used += len + 1;
	return copy;
}

/* Does `args` name the option of `word`, whatever its value? */
static bool given(const char *const args[], const char *word)
{
	size_t len = strcspn(word, "=");

	for (; *args; args++)
		if (!strncmp(*args, word, len) && ((*args)[len] == '=' || !(*args)[len]))
			return true;
	return false;
}

static const char *value_of(const char *const args[], const char *option, const char *otherwise)
{
	size_t len = strlen(option);

	for (; *args; args++)
		if (!strncmp(*args, option, len) && (*args)[len] == '=')
			return *args + len + 1;
	return otherwise;
}

/* Does another engine than io_uring, named in `args`, make this option an error? */
static bool clashes(const char *const args[], const char *word)
{
	static const char *const uring_only[] = {"--fixed-buffers", "--iopoll", "--sqpoll"};

	for (size_t i = 0; i < sizeof(uring_only) / sizeof(*uring_only); i++)
		if (!strncmp(word, uring_only[i], strlen(uring_only[i])))
			return strcmp(value_of(args, "--engine", "io_uring"), "io_uring") != 0;
	return false;
}

/* The blank-separated words of a variable, less the options that `args` gives itself. */
static void add_variable(struct command *c, const char *name, const char *const args[])
{
	const char *at = getenv(name);

	while (at && *(at += strspn(at, " "))) {
		size_t len = strcspn(at, " ");
		const char *word = keep(c, at, len);

		if (!args || (!given(args, word) && !clashes(args, word)))
			add(c, word);
		at += len;
	}
}

/* The same disk served by qemu-storage-daemon, as far as it can. */
static void qsd_command(struct command *c, const struct fe_daemon *d, const char *const args[])
{
	bool read_only = given(args, "--read-only");
	bool direct = strcmp(value_of(args, "--cache", "none"), "writeback") != 0;
	const char *image = value_of(args, "--blk-file", d->image);
	char word[1024];

	snprintf(word, sizeof(word),
		 "driver=%s,filename=%s,node-name=disk,cache.direct=%s,"
		 "discard=unmap,read-only=%s",
		 strncmp(image, "/dev/", 5) ? "file" : "host_device", image, direct ? "on" : "off",
		 read_only ? "on" : "off");
	add(c, "qemu-storage-daemon");
	add(c, "--blockdev");
	add(c, keep(c, word, strlen(word)));
	snprintf(word, sizeof(word),
		 "type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,"
		 "addr.path=%s,writable=%s,num-queues=%s,logical-block-size=%s",
		 d->socket, read_only ? "off" : "on", value_of(args, "--num-queues", "16"),
		 value_of(args, "--block-size", "512"));
	add(c, "--export");
	add(c, keep(c, word, strlen(word)));
}

static void vublkd_command(struct command *c, const char *const args[])
{
	add_variable(c, "VUBLKD_WRAPPER", NULL);
	add(c, getenv("VUBLKD"));
	add_variable(c, "VUBLKD_EXTRA", args);
	for (; *args; args++)
		add(c, *args);
}

static void set_environment(const char *const environment[])
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	for (; environment && *environment; environment++)
		if (!strcmp(*environment, "LISTEN_PID="))
			setenv("LISTEN_PID", pid, 1);
		else
			putenv((char *)*environment);
}

/* The child: never returns. Fds go to 3 and so on by way of numbers that are in nobody's way. */
static void become(const struct fe_daemon *d, const struct command *c, const int *pass,
		   unsigned int n_pass, const char *const environment[])
{
	const int how = O_CREAT | O_WRONLY | O_APPEND | (d->goes_on ? 0 : O_TRUNC);
	int out = open(d->out_path, how, 0600);
	int err = open(d->err_path, how, 0600);
	int in = open("/dev/null", O_RDONLY);
	int away[FE_DAEMON_PASS];
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	for (unsigned int i = 0; i < n_pass; i++)
		away[i] = fcntl(pass[i], F_DUPFD, 3 + (int)n_pass);
	for (unsigned int i = 0; i < n_pass; i++)
		dup2(away[i], 3 + (int)i);
	close_range(3 + n_pass, ~0u, 0);
	set_environment(environment);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(c->word[0], (char *const *)c->word);
	dprintf(2, "%s: %s\n", c->word[0], strerror(errno));
	_exit(127);
}

int fe_daemon_spawn(struct fe_daemon *d, const char *const args[], const int pass[2],
		    const char *const environment[])
{
	const unsigned int n = !pass || pass[0] < 0 ? 0 : pass[1] < 0 ? 1 : 2;

	return fe_daemon_spawn_with(d, args, pass, n, environment);
}

int fe_daemon_spawn_with(struct fe_daemon *d, const char *const args[], const int *pass,
			 unsigned int n_pass, const char *const environment[])
{
	struct command command = {0};

	if (n_pass > FE_DAEMON_PASS)
		return -EMFILE;

	if (fe_daemon_is_qsd())
		qsd_command(&command, d, args);
	else if (getenv("VUBLKD"))
		vublkd_command(&command, args);
	else
		return -ENOENT;
	pid_t pid = fork();

	if (pid == 0)
		become(d, &command, pass, n_pass, environment);
	if (pid < 0)
		return -errno;
	d->pid = pid;
	return 0;
}

void fe_daemon_make_args(const struct fe_daemon *d, const char *const extra[],
			 struct fe_daemon_args *args)
{
	static const char *const none[] = {NULL};
	unsigned int n = 0;

	snprintf(args->socket, sizeof(args->socket), "--socket-path=%s", d->socket);
	snprintf(args->image, sizeof(args->image), "--blk-file=%s", d->image);
	args->arg[n++] = args->socket;
	if (!extra)
		extra = none;
	if (!given(extra, "--blk-file") && strcmp(value_of(extra, "--engine", ""), "null") != 0)
		args->arg[n++] = args->image;
	for (; *extra && n < FE_DAEMON_ARGS; extra++)
		args->arg[n++] = *extra;
	args->arg[n] = NULL;
}

int fe_daemon_serve(struct fe_daemon *d, const char *const extra[])
{
	struct fe_daemon_args args;
	int ret;

	fe_daemon_make_args(d, extra, &args);
	ret = fe_daemon_spawn(d, args.arg, NULL, NULL);
	return ret ? ret : fe_daemon_await_socket(d);
}

/* /proc/net/unix: "Num RefCount Protocol Flags Type St Inode Path"; 00010000 is SO_ACCEPTCON. */
static int listens(void *arg)
{
	struct fe_daemon *d = arg;
	char line[1024], path[512];
	unsigned long flags;
	int found = 0;
	FILE *f;

	if (!fe_daemon_alive(d))
		return -ECHILD;
	f = fopen("/proc/net/unix", "re");
	if (!f)
		return -errno;
	while (!found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %*s %*s %lx %*s %*s %*s %511s", &flags, path) == 2)
			found = (flags & 0x10000) && !strcmp(path, d->socket);
	fclose(f);
	return found;
}

int fe_daemon_await_socket(struct fe_daemon *d)
{
	int ret = fe_wait_for(listens, d, fe_deadline(FE_TIMEOUT_MS));

	return ret < 0 ? ret : 0;
}

bool fe_daemon_alive(struct fe_daemon *d)
{
	siginfo_t info = {0};

	return d->pid && !waitid(P_PID, (id_t)d->pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
	       !info.si_pid;
}

static int has_ended(void *arg)
{
	return !fe_daemon_alive(arg);
}

int fe_daemon_wait(struct fe_daemon *d)
{
	int status;
	int ret = d->pid ? fe_wait_for(has_ended, d, fe_deadline(FE_TIMEOUT_MS)) : -ECHILD;

	if (ret < 0)
		return ret;
	waitpid(d->pid, &status, 0);
	d->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int fe_daemon_stop(struct fe_daemon *d, int sig, unsigned int *ms)
{
	uint64_t start = fe_now_ns();

	if (!d->pid)
		return -ECHILD;
	kill(d->pid, sig);

	int ret = fe_daemon_wait(d);

	if (ms)
		*ms = (unsigned int)((fe_now_ns() - start) / 1000000);
	return ret;
}

static size_t slurp(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, size - 1, f) : 0;

	text[n] = 0;
	if (f)
		fclose(f);
	return n;
}

size_t fe_daemon_stdout(const struct fe_daemon *d, char *text, size_t size)
{
	return slurp(d->out_path, text, size);
}

size_t fe_daemon_stderr(const struct fe_daemon *d, char *text, size_t size)
{
	return slurp(d->err_path, text, size);
}

struct log_wait {
	struct fe_daemon *d;
	const char *text;
};

static int log_has(void *arg)
{
	const struct log_wait *w = arg;
	char text[65536];

	slurp(w->d->err_path, text, sizeof(text));
	return strstr(text, w->text) != NULL;
}

int fe_daemon_await_log(struct fe_daemon *d, const char *text)
{
	struct log_wait w = {d, text};
	int ret = fe_wait_for(log_has, &w, fe_deadline(FE_TIMEOUT_MS));

	return ret < 0 ? ret : 0;
}

int fe_daemon_count_fds(const struct fe_daemon *d)
{
	char path[64];
	int n = -2; /* . and .. */
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", d->pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}
