/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon under test as a child process: its command line is
 *
 *	$VUBLKD_WRAPPER $VUBLKD $VUBLKD_EXTRA <arguments>
 *
 * VUBLKD          its path (required)
 * VUBLKD_WRAPPER  words put before, e.g. valgrind or a launcher that switches io_uring off
 * VUBLKD_EXTRA    options added, e.g. --engine=libaio; dropped where a test gives the same option,
 *                 or an engine that does not go with it
 * VUBLKD_PEER     "qsd": start qemu-storage-daemon instead; proves this library, not the daemon
 *
 * The child dies with its parent. Calls answer 0 or -errno where nothing else is said.
 */
#ifndef FE_DAEMON_H
#define FE_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct fe_daemon {
	pid_t pid; /* 0: none */
	char socket[300];
	char image[300];
	char out_path[300]; /* its stdout and stderr, files */
	char err_path[300];
	bool goes_on; /* what another one has written there stays */
};

/* Is it qemu-storage-daemon that answers? */
bool fe_daemon_is_qsd(void);

/* Names socket, image and output files in `dir`; starts nothing. */
void fe_daemon_prepare(struct fe_daemon *d, const char *dir);

/*
 * Starts it with these arguments, at most 32, NULL at the end. The first of `pass`, if not -1,
 * becomes its fd 3, the next 4 (for --fd and socket activation); `environment` is NULL or a list
 * of NAME=value to add, in which "LISTEN_PID=" is completed with its pid.
 */
int fe_daemon_spawn(struct fe_daemon *d, const char *const args[], const int pass[2],
		    const char *const environment[]);

/* The same with more descriptors, at most FE_DAEMON_PASS, which become 3 and so on. */
#define FE_DAEMON_PASS 1024
int fe_daemon_spawn_with(struct fe_daemon *d, const char *const args[], const int *pass,
			 unsigned int n_pass, const char *const environment[]);

/* The arguments with which fe_daemon_serve() starts it. */
#define FE_DAEMON_ARGS 32
struct fe_daemon_args {
	char socket[400], image[400];
	const char *arg[FE_DAEMON_ARGS + 1];
};
void fe_daemon_make_args(const struct fe_daemon *d, const char *const extra[],
			 struct fe_daemon_args *args);

/*
 * Starts it on d->image and d->socket with `extra` arguments (NULL, or a list with NULL at its
 * end) and waits until the socket listens, without connecting to it.
 */
int fe_daemon_serve(struct fe_daemon *d, const char *const extra[]);

/* Waits until somebody listens on d->socket; -ECHILD when the daemon has ended before. */
int fe_daemon_await_socket(struct fe_daemon *d);

bool fe_daemon_alive(struct fe_daemon *d);

/* Waits for its end by itself. Its exit status, 128 + the signal that killed it, or -ETIMEDOUT. */
int fe_daemon_wait(struct fe_daemon *d);

/* Sends the signal and waits; `ms`, if not NULL, is how long that took. As fe_daemon_wait(). */
int fe_daemon_stop(struct fe_daemon *d, int signal, unsigned int *ms);

/* What it has written so far, NUL-terminated; returns the length. */
size_t fe_daemon_stdout(const struct fe_daemon *d, char *text, size_t size);
size_t fe_daemon_stderr(const struct fe_daemon *d, char *text, size_t size);

/* Waits until its stderr contains `text`. */
int fe_daemon_await_log(struct fe_daemon *d, const char *text);

/* The number of its open file descriptors. Negative: -errno. */
int fe_daemon_count_fds(const struct fe_daemon *d);

#endif
