/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vublkd-keeper as a process, with a child (tests/unit/keeper-child.c) that does what a case tells
 * it:
 *
 *	keeper_start();
 *	child_await();
 *	child_keep("v.a", fd);
 *	child_kill();
 *	child_await();		the next one
 *
 * Each waits for what it is about, and fails the case if that does not come. In TMPDIR: `daemon`
 * is the executable, `log` what the keeper says.
 */
#ifndef KEEPER_H
#define KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#define CHILD_FIRST_FD 3

/* How the next keeper is started, beside our environment. */
struct keeper_options {
	rlim_t descriptors, stack; /* hard limits; 0: ours */
	bool no_kcmp;              /* kcmp(2) fails, as where it is filtered */
	int given[4];              /* its first descriptors after the standard ones... */
	unsigned n_given;
	const char *given_names; /* ...which are of LISTEN_FDS by these names; NULL: just there */
};

extern struct keeper_options keeper_options;
extern pid_t keeper_pid, child_pid;

/* Around each case. */
void keeper_setup(void);
void keeper_teardown(void);

/* Puts the child's program at the path once more, as a new file. Returns its inode. */
ino_t keeper_install(void);

/* The same with another program, which knows of nothing. */
void keeper_install_other(const char *program);

void keeper_start(void);

/* Waits for its end: its exit status, or 128 and the signal. */
int keeper_wait(void);

/* Waits until its log has this text; how often it has it. */
void keeper_await_log(const char *text);
unsigned keeper_log_count(const char *text);

/* The next child, and its first words. */
void child_await(void);

/* Has it send this, of `size` bytes, to NOTIFY_SOCKET, with the descriptors. Its errno. */
int child_send(const char *text, size_t size, const int *fds, unsigned n);

/* The same with text and at most one descriptor (-1: none), which must be taken. */
void child_say(const char *text, int fd);

/* ...and die at once; waits for that, but not for the keeper. */
void child_say_last(const char *text, int fd);

/* READY=1. */
void child_ready(void);

/* Keeps it, whatever hangs up. */
void child_keep(const char *name, int fd);

/* Waits until all that was said has been heard (BARRIER=1). */
void child_sync(void);

/* Its environment variable, valid until the next question; NULL: it has none. Its argument. */
const char *child_variable(const char *name);
const char *child_argument(unsigned i);

/* How many descriptors came, and the i-th, with its name (512 bytes), now ours. */
unsigned child_n_fds(void);
int child_fd(unsigned i, char *name);

/* Which file it is; how many descriptors it has, and had signals blocked when it began. */
ino_t child_inode(void);
unsigned child_n_blocked(void);
unsigned child_n_open(void);

/* Waits for the next signal that it gets. */
int child_signal(void);

void child_exit(int status);
void child_kill(void);

#endif
