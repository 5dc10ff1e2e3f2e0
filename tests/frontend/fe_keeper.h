/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stand-in for the service manager that starts the daemon, keeps what it is given, and starts it
 * again with that when it has died: what sd_notify(3), sd_pid_notify_with_fds(3) and
 * sd_listen_fds(3) say of systemd, and nothing else, without any pause. A process of its own, so
 * that it goes on whatever the test waits for; it dies with the test.
 *
 * The daemon is the keeper's child: of fe_daemon.h the calls that read its output may be used, and
 * those that wait for its socket.
 */
#ifndef FE_KEEPER_H
#define FE_KEEPER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "tests/frontend/fe_daemon.h"

/* What both processes see. */
struct fe_keeper_state {
	_Atomic pid_t daemon; /* 0: none runs */
	atomic_uint starts;   /* of the daemon */
	atomic_uint ready;    /* how many of them said READY=1 */
	atomic_uint kept;     /* descriptors */
	atomic_uint most;     /* that it takes */
	atomic_int status;    /* of the last one's end, as fe_daemon_wait()'s */
	atomic_bool once;     /* do not start it again */
	atomic_bool late;     /* wait before that, until this is false again */
	char kill[64];        /* VUBLK_KILL of the next one; emptied then */
};

struct fe_keeper {
	pid_t pid;
	struct fe_keeper_state *state; /* shared */
};

/* Starts it, and the daemon with these arguments (fe_daemon_spawn()). 0 or -errno. */
int fe_keeper_start(struct fe_keeper *keeper, struct fe_daemon *daemon, const char *const args[],
		    const char *kill);

/* Waits until `ready` daemons have said that they are. 0 or -ETIMEDOUT. */
int fe_keeper_await_ready(struct fe_keeper *keeper, unsigned int ready);

/* Kills the daemon with SIGKILL, and waits until the next one is there. 0 or -ETIMEDOUT. */
int fe_keeper_kill(struct fe_keeper *keeper);

/* Sends the daemon a signal, and waits until it has ended, for good. Its status or -ETIMEDOUT. */
int fe_keeper_stop(struct fe_keeper *keeper, int signal);

/* Ends all of it. Harmless on a zeroed one. */
void fe_keeper_free(struct fe_keeper *keeper);

#endif
