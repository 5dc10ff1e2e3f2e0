/* SPDX-License-Identifier: BSD-3-Clause */
/* See keeper.h. */
#include "tests/unit/support/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/frontend/fe_fds.h"
#include "fe_time.h"
#include "tests/tap.h"

#define HIGH_FD 900 /* where descriptors that are given are out of the way */

struct keeper_options keeper_options;
pid_t keeper_pid, child_pid;

static int listener, child; /* sockets; -1: there is none */
static char programs[PATH_MAX];
static char text[262144];
static int attached; /* what came with `text`, or -1 */

/* ---- files ---- */

static void copy(const char *from, const char *to)
{
	const int in = open(from, O_RDONLY | O_CLOEXEC);
	const int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	if (in < 0 || out < 0)
		tap_diag("%s, %s: %s", from, to, strerror(errno));
	REQUIRE(in >= 0 && out >= 0);
	while (sendfile(out, in, NULL, 1 << 24) > 0)
		;
	close(in);
	close(out);
}

/* By a new name, as who installs does: the old file goes on under no name. */
static ino_t install(const char *program)
{
	struct stat st;

	copy(program, "daemon.new");
	REQUIRE_OK(rename("daemon.new", "daemon"));
	REQUIRE_OK(stat("daemon", &st));
	return st.st_ino;
}

ino_t keeper_install(void)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/keeper-child", programs);
	return install(path);
}

void keeper_install_other(const char *program)
{
	install(program);
}

/* ---- the keeper ---- */

void keeper_setup(void)
{
	const struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "./control"};
	ssize_t n = readlink("/proc/self/exe", programs, sizeof(programs) - 1);

	REQUIRE(n > 0);
	programs[n] = '\0';
	*strrchr(programs, '/') = '\0';
	REQUIRE_OK(chdir(getenv("TMPDIR")));
	unsetenv("NOTIFY_SOCKET");
	unsetenv("FDSTORE");
	unsetenv("LISTEN_FDS");
	unsetenv("VUBLKD_READY_TIMEOUT");
	unsetenv("VUBLKD_RESTART_PAUSE");
	keeper_options = (struct keeper_options){0};
	keeper_pid = 0;
	child = -1;
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	REQUIRE_OK(bind(listener, (const struct sockaddr *)&addr, sizeof(addr)));
	REQUIRE_OK(listen(listener, 8));
	keeper_install();
}

void keeper_teardown(void)
{
	char line[512];
	FILE *log = tap_failed() ? fopen("log", "re") : NULL;

	if (keeper_pid > 0) {
		kill(keeper_pid, SIGKILL);
		waitpid(keeper_pid, NULL, 0);
	}
	close(child);
	close(listener);
	while (log && fgets(line, sizeof(line), log))
		tap_diag("%.*s", (int)strcspn(line, "\n"), line);
	if (log)
		fclose(log);
}

static void limit(int resource, rlim_t most)
{
	const struct rlimit rlimit = {most, most};

	if (most)
		setrlimit((__rlimit_resource_t)resource, &rlimit);
}

static void give(void)
{
	char number[16];

	for (unsigned i = 0; i < keeper_options.n_given; i++)
		fcntl(keeper_options.given[i], F_DUPFD, HIGH_FD + (int)i);
	for (int i = 0; i < (int)keeper_options.n_given; i++)
		dup2(HIGH_FD + i, CHILD_FIRST_FD + i);
	for (int i = 0; i < (int)keeper_options.n_given; i++)
		close(HIGH_FD + i);
	if (!keeper_options.given_names)
		return;
	snprintf(number, sizeof(number), "%u", keeper_options.n_given);
	setenv("LISTEN_FDS", number, 1);
	snprintf(number, sizeof(number), "%d", getpid());
	setenv("LISTEN_PID", number, 1);
	setenv("LISTEN_FDNAMES", keeper_options.given_names, 1);
}

static void filter_kcmp(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kcmp, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

void keeper_start(void)
{
	char path[PATH_MAX + 64], executable[PATH_MAX];
	const int log = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	snprintf(path, sizeof(path), "%s/../../src/vublkd-keeper", programs);
	REQUIRE(realpath("daemon", executable));
	keeper_pid = fork();
	if (!keeper_pid) {
		dup2(log, STDERR_FILENO);
		give();
		limit(RLIMIT_STACK, keeper_options.stack);
		limit(RLIMIT_NOFILE, keeper_options.descriptors);
		if (keeper_options.no_kcmp)
			filter_kcmp();
		execl(path, "vublkd-keeper", "3", executable, "the-daemon", "1000", "--an-option",
		      NULL);
		_exit(126);
	}
	close(log);
	REQUIRE(keeper_pid > 0);
}

int keeper_wait(void)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	int status;
	pid_t pid;

	while (!(pid = waitpid(keeper_pid, &status, WNOHANG)) && fe_left_ms(deadline))
		poll(NULL, 0, 1);
	REQUIRE_EQ(pid, keeper_pid);
	keeper_pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

unsigned keeper_log_count(const char *what)
{
	const int log = open("log", O_RDONLY | O_CLOEXEC);
	const ssize_t n = read(log, text, sizeof(text) - 1);
	unsigned count = 0;

	close(log);
	text[n < 0 ? 0 : n] = '\0';
	for (const char *at = text; (at = strstr(at, what)); at++)
		count++;
	return count;
}

static int look_at_log(void *what)
{
	return (int)keeper_log_count(what);
}

void keeper_await_log(const char *what)
{
	const int found = fe_wait_for(look_at_log, (void *)what, fe_deadline(FE_TIMEOUT_MS));

	tap_check(found > 0, true, __FILE__, __LINE__, "the keeper says '%s'", what);
}

/* ---- packets ---- */

static void receive(void)
{
	union fe_fds_room room;
	struct iovec iov = {text, sizeof(text) - 1};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &room,
				 .msg_controllen = sizeof(room)};
	const struct cmsghdr *header;
	ssize_t n;

	REQUIRE_OK(fe_wait_fd(child, POLLIN, fe_deadline(FE_TIMEOUT_MS)));
	n = recvmsg(child, &message, MSG_CMSG_CLOEXEC);
	REQUIRE(n > 0);
	text[n] = '\0';
	attached = -1;
	header = CMSG_FIRSTHDR(&message);
	if (header)
		memcpy(&attached, CMSG_DATA(header), sizeof(attached));
}

static void command(char letter, const char *what, size_t size, const int *fds, unsigned n)
{
	union fe_fds_room room;
	struct iovec iov[] = {{&letter, 1}, {(void *)what, size}};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};

	fe_pass_fds(&message, &room, fds, n);
	REQUIRE(sendmsg(child, &message, MSG_NOSIGNAL) > 0);
}

static void ask(char letter, const char *what)
{
	command(letter, what, strlen(what), NULL, 0);
	receive();
}

static long ask_number(char letter)
{
	ask(letter, "");
	return atol(text);
}

/* ---- the child ---- */

void child_await(void)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int next;

	REQUIRE_OK(fe_wait_fd(listener, POLLIN, fe_deadline(FE_TIMEOUT_MS)));
	next = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	REQUIRE(next >= 0);
	close(child); /* the one before ends without it, if it has not yet */
	child = next;
	REQUIRE_OK(getsockopt(child, SOL_SOCKET, SO_PEERCRED, &peer, &size));
	child_pid = peer.pid;
	receive();
	REQUIRE(!strcmp(text, "hello"));
}

int child_send(const char *what, size_t size, const int *fds, unsigned n)
{
	command('n', what, size, fds, n);
	receive();
	REQUIRE(*text != 's'); /* a signal that nobody expects */
	return atoi(text);
}

void child_say(const char *what, int fd)
{
	REQUIRE_OK(child_send(what, strlen(what), &fd, fd < 0 ? 0 : 1));
}

static int has_died(void *unused)
{
	char path[32], state = 'Z';
	FILE *file;

	(void)unused;
	snprintf(path, sizeof(path), "/proc/%d/stat", child_pid);
	file = fopen(path, "re");
	if (file && fscanf(file, "%*d %*s %c", &state) != 1)
		state = 'Z';
	if (file)
		fclose(file);
	return state == 'Z';
}

void child_say_last(const char *what, int fd)
{
	command('d', what, strlen(what), &fd, fd < 0 ? 0 : 1);
	/* A zombie, or waited for already. */
	REQUIRE(fe_wait_for(has_died, NULL, fe_deadline(FE_TIMEOUT_MS)) > 0);
}

void child_ready(void)
{
	child_say("READY=1", -1);
}

void child_keep(const char *name, int fd)
{
	char what[512];

	snprintf(what, sizeof(what), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	child_say(what, fd);
}

void child_sync(void)
{
	int pipe_fds[2];

	REQUIRE_OK(pipe2(pipe_fds, O_CLOEXEC));
	child_say("BARRIER=1", pipe_fds[1]);
	close(pipe_fds[1]);
	REQUIRE_OK(fe_wait_fd(pipe_fds[0], POLLIN, fe_deadline(FE_TIMEOUT_MS)));
	close(pipe_fds[0]);
}

const char *child_variable(const char *name)
{
	ask('e', name);
	return *text == '=' ? text + 1 : NULL;
}

const char *child_argument(unsigned i)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", i);
	ask('a', number);
	return text;
}

unsigned child_n_fds(void)
{
	const char *number = child_variable("LISTEN_FDS");
	const unsigned n = number ? (unsigned)atoi(number) : 0;

	if (!n)
		return 0;
	number = child_variable("LISTEN_PID");
	CHECK(number && atoi(number) == child_pid);
	return n;
}

int child_fd(unsigned i, char *name)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", i);
	ask('g', number);
	snprintf(name, 512, "%.511s", text);
	REQUIRE(attached >= 0);
	return attached;
}

ino_t child_inode(void)
{
	return (ino_t)ask_number('i');
}

unsigned child_n_blocked(void)
{
	return (unsigned)ask_number('m');
}

unsigned child_n_open(void)
{
	return (unsigned)ask_number('o');
}

int child_signal(void)
{
	receive();
	REQUIRE(text[0] == 's');
	return atoi(text + 1);
}

void child_exit(int status)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", status);
	command('x', number, strlen(number), NULL, 0);
}

void child_kill(void)
{
	command('k', "9", 1, NULL, 0);
}
