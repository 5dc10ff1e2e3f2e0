/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A daemon for vublkd-keeper that does what a test tells it, by a socket that it connects to
 * (tests/unit/support/keeper.h): a packet is a letter and what it is about, and what came with it.
 *
 *	n TEXT		sends TEXT, and the descriptors, to NOTIFY_SOCKET; answers "0" or an errno
 *	d TEXT		the same, and dies at once, of SIGKILL
 *	e NAME		answers "=" and the variable's value, or "-"
 *	a N		answers with its argument N, or "-"
 *	g N		answers with the name of descriptor N of LISTEN_FDS, and the descriptor
 *	i		answers with the inode of its executable
 *	m		answers with how many signals were blocked when it began
 *	o		answers with how many descriptors it has
 *	x N, k N	exits with status N; has itself killed by signal N
 *
 * Signals are told as "s" and the number. When the test has gone it ends.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/frontend/fe_fds.h"

#define FIRST_FD  3
#define TEXT_MAX  65536
#define GONE      9
#define NO_DAEMON 10

static int control; /* the test */
static long n_blocked;

static struct {
	char text[TEXT_MAX + 1];
	size_t size;
	int fd[FE_FDS_MOST];
	unsigned n_fds;
} packet;

static ssize_t send_with(int to, const struct sockaddr_un *addr, socklen_t addr_size,
			 const char *text, size_t size, const int *fds, unsigned n)
{
	union fe_fds_room room;
	struct iovec iov = {(void *)text, size};
	struct msghdr message = {.msg_name = (void *)addr,
				 .msg_namelen = addr_size,
				 .msg_iov = &iov,
				 .msg_iovlen = 1};

	fe_pass_fds(&message, &room, fds, n);
	return sendmsg(to, &message, MSG_NOSIGNAL);
}

static void receive(void)
{
	union fe_fds_room room;
	struct iovec iov = {packet.text, TEXT_MAX};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &room,
				 .msg_controllen = sizeof(room)};
	const ssize_t n = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	if (n <= 0)
		exit(GONE);
	packet.size = (size_t)n;
	packet.text[n] = '\0';
	packet.n_fds = 0;
	if (header) {
		packet.n_fds = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(*packet.fd));
		memcpy(packet.fd, CMSG_DATA(header), packet.n_fds * sizeof(*packet.fd));
	}
}

static void answer(const char *text, int fd)
{
	send_with(control, NULL, 0, text, strlen(text), &fd, fd < 0 ? 0 : 1);
}

static void answer_number(long n)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", n);
	answer(text, -1);
}

/* Not by vublkd's own code, nor libsystemd's: they would not send what is wrong. */
static int notify(void)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t size;
	int fd, err;

	if (!name)
		return ENOENT;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(addr.sun_path, name, strlen(name));
	size = (socklen_t)(sizeof(addr.sun_family) + strlen(name));
	if (*name == '@')
		addr.sun_path[0] = '\0';
	err = send_with(fd, &addr, size, packet.text + 1, packet.size - 1, packet.fd,
			packet.n_fds) < 0
		      ? errno
		      : 0;
	close(fd);
	return err;
}

static void tell_variable(const char *name)
{
	static char text[2 * TEXT_MAX * 2];
	const char *value = getenv(name);

	snprintf(text, sizeof(text), "%s%s", value ? "=" : "-", value ? value : "");
	answer(text, -1);
}

static void give_descriptor(unsigned i)
{
	const char *names = getenv("LISTEN_FDNAMES");
	char name[512];

	for (; names && i--; names = names ? names + 1 : NULL)
		names = strchr(names, ':');
	snprintf(name, sizeof(name), "%.*s", names ? (int)strcspn(names, ":") : 1,
		 names ? names : "?");
	answer(name, FIRST_FD + atoi(packet.text + 1));
}

static long count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	long n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 3; /* ".", "..", and the directory */
}

static void obey(char *const argv[], int argc)
{
	const int n = atoi(packet.text + 1);
	struct stat st;

	switch (packet.text[0]) {
	case 'n':
		answer_number(notify());
		break;
	case 'd':
		notify();
		kill(getpid(), SIGKILL);
		break;
	case 'e':
		tell_variable(packet.text + 1);
		break;
	case 'a':
		answer(n < argc ? argv[n] : "-", -1);
		break;
	case 'g':
		give_descriptor((unsigned)n);
		break;
	case 'i':
		answer_number(stat("/proc/self/exe", &st) ? -1 : (long)st.st_ino);
		break;
	case 'm':
		answer_number(n_blocked);
		break;
	case 'o':
		answer_number(count_descriptors());
		break;
	case 'x':
		exit(n);
	case 'k':
		kill(getpid(), n);
		break;
	}
	while (packet.n_fds)
		close(packet.fd[--packet.n_fds]);
}

static int watch_signals(void)
{
	sigset_t set, before;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, &before);
	for (int i = 1; i < SIGRTMIN; i++)
		n_blocked += sigismember(&before, i) == 1;
	return signalfd(-1, &set, SFD_CLOEXEC);
}

int main(int argc, char *argv[])
{
	const struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "./control"};
	struct signalfd_siginfo info;
	char text[32];
	int signals;

	/* What lies there instead in some tests never does as it is told. */
	if (!getenv("NOTIFY_SOCKET"))
		return NO_DAEMON;
	signals = watch_signals();
	control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (connect(control, (const struct sockaddr *)&addr, sizeof(addr)))
		return GONE;
	answer("hello", -1);
	for (;;) {
		struct pollfd fds[] = {{control, POLLIN, 0}, {signals, POLLIN, 0}};

		poll(fds, 2, -1);
		if (fds[1].revents && read(signals, &info, sizeof(info)) == sizeof(info)) {
			snprintf(text, sizeof(text), "s%u", info.ssi_signo);
			answer(text, -1);
		}
		if (fds[0].revents) {
			receive();
			obey(argv, argc);
		}
	}
}
