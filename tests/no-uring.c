/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * no-uring: run a program on a kernel that seems to have no io_uring.
 *
 *	no-uring PROGRAM [ARG]...	io_uring_setup fails with ENOSYS in PROGRAM
 *	no-uring --probe		exit 0 if this host has io_uring, else 1 and say why
 *
 * The first form is how the test suite forces the daemon's fallback path (tests/run, variant
 * "nouring"); the second tells the runner whether the variant "io_uring" can mean anything here.
 * A single thread; trusts its command line.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * The architecture is not looked at: io_uring_setup came after the numbers of system calls were
 * unified, so it has the same number in every ABI that a Linux program can use.
 */
static int forbid_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {
		.len = sizeof(code) / sizeof(code[0]),
		.filter = code,
	};

	/* Without root a filter is accepted only from one who can gain no privileges. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		return -errno;
	return 0;
}

static int probe(void)
{
	struct io_uring_params params;
	long fd;

	memset(&params, 0, sizeof(params));
	fd = syscall(SYS_io_uring_setup, 1, &params);
	if (fd < 0) {
		printf("io_uring_setup: %s\n", strerror(errno));
		return 1;
	}
	close((int)fd);
	return 0;
}

int main(int argc, char **argv)
{
	int err;

	if (argc < 2) {
		fprintf(stderr, "usage: no-uring PROGRAM [ARG]... | no-uring --probe\n");
		return 2;
	}
	if (!strcmp(argv[1], "--probe"))
		return probe();

	err = forbid_io_uring();
	if (err) {
		fprintf(stderr, "no-uring: seccomp filter: %s\n", strerror(-err));
		return 125;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "no-uring: %s: %s\n", argv[1], strerror(errno));
	return 127;
}
