/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See keeper/keeper.h. Theory of operation.
 *
 * There is one child at most. `good` is the executable that it is started from, an open file: the
 * first one, and later the last one that was ready. An upgrade opens the path again; what it finds
 * is `candidate` until it is ready, and if it does not get that far, `good` is started again.
 *
 *	child has ended			and then
 *	we are to stop			its status is ours
 *	a candidate, never ready	`good` is started, at once
 *	it was asked to make room,
 *	or exit status RESTART_ME	a candidate is started
 *	exit status 0			ours is 0
 *	anything else			it is started again, in a while (keeper/restarts.h)
 *
 * What it told us before it ended is read first: it is that child's as long as it has not been
 * waited for, and nobody else can have its pid.
 *
 * Hostile are the messages (keeper/notices.h): anybody can send one.
 */
#include "keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/container.h"
#include "base/host_limits.h"
#include "base/log.h"
#include "keeper/hearing.h"
#include "keeper/launch.h"
#include "keeper/manager.h"
#include "keeper/restarts.h"
#include "keeper/store.h"

#define RESTART_ME      75   /* EX_TEMPFAIL: a child's exit status */
#define NOT_STARTED     127  /* what a shell says then */
#define OWN_DESCRIPTORS 320u /* ours, and those of one message */
#define STORE_MOST      65536u

struct keeper {
	const struct keeper_config *config;
	struct launch launch;
	struct hearing hearing; /* and who the child is */
	struct store store;
	struct restarts restarts;
	int signals;

	int good, candidate; /* -1: there is none */
	bool ready;
	bool condemned;   /* it was killed: it is too late to be ready */
	int64_t ready_at; /* when it said so */
	int64_t ready_by; /* when it must have; 0: it may take its time */
	int64_t start_at; /* when the next one is started; 0: there is a child */
	sigset_t held;    /* signals for when it is ready */
	bool stopping;    /* we are to stop */
	bool upgrading;   /* the child was asked to make room for another executable */
	int status;       /* to exit with; -1: go on */
};

/* ---- starting ---- */

static bool is_candidate(const struct keeper *keeper)
{
	return keeper->candidate >= 0;
}

static void start_in(struct keeper *keeper, int64_t pause_ns)
{
	keeper->start_at = now_ns() + pause_ns;
}

static void leave_candidate(struct keeper *keeper)
{
	log_error("%s as it is now was never ready: the one before it is started again",
		  keeper->config->executable);
	close(keeper->candidate);
	keeper->candidate = -1;
	keeper->launch.is_fallback = true;
	start_in(keeper, 0);
}

/* What lies at the path now is started next. */
static void open_candidate(struct keeper *keeper)
{
	const char *path = keeper->config->executable;

	keeper->candidate = open(path, O_PATH | O_CLOEXEC);
	keeper->launch.is_fallback = !is_candidate(keeper);
	if (!is_candidate(keeper))
		log_error("cannot open %s: %s; the one before it is started again", path,
			  strerror(errno));
}

static void finish(struct keeper *keeper, int status)
{
	if (!keeper->stopping)
		manager_tell_stopping();
	keeper->status = status;
}

/* One that was not ready, or was ready since then, has ended. */
static void start_again(struct keeper *keeper, int64_t ready_ns, int status)
{
	const int64_t pause_ns = restarts_next(&keeper->restarts, ready_ns);

	if (pause_ns >= 0) {
		start_in(keeper, pause_ns);
		return;
	}
	log_error("it has ended %d times without having been ready: giving up; %u descriptors "
		  "that were kept are closed",
		  RESTARTS_NEVER_READY, keeper->store.n);
	finish(keeper, status);
}

static void cannot_start(struct keeper *keeper, int err)
{
	log_error("cannot start %s: %s%s", keeper->config->executable, strerror(-err),
		  limits_advice(LIMITS_THREAD, err));
	/* The host's want of processes or memory tells nothing about the executable. */
	if (err == -EAGAIN || err == -ENOMEM)
		start_in(keeper, RESTARTS_LONGEST_NS);
	else if (is_candidate(keeper))
		leave_candidate(keeper);
	else
		start_again(keeper, -1, NOT_STARTED);
}

static void start(struct keeper *keeper)
{
	const int executable = is_candidate(keeper) ? keeper->candidate : keeper->good;
	const pid_t pid = launch_start(&keeper->launch, executable, &keeper->store);

	keeper->start_at = 0;
	if (pid < 0) {
		cannot_start(keeper, pid);
		return;
	}
	keeper->hearing.child = pid;
	keeper->ready = false;
	keeper->condemned = false;
	keeper->upgrading = false;
	sigemptyset(&keeper->held);
	keeper->ready_by = is_candidate(keeper) ? now_ns() + keeper->config->ready_timeout_ns : 0;
}

/* ---- what the child says ---- */

static void send_held(struct keeper *keeper)
{
	static const int numbers[] = {SIGHUP, SIGUSR1};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (sigismember(&keeper->held, numbers[i]))
			kill(keeper->hearing.child, numbers[i]);
	sigemptyset(&keeper->held);
}

static void became_ready(struct keeper *keeper)
{
	if (keeper->ready)
		return;
	keeper->ready = true;
	keeper->ready_at = now_ns();
	keeper->ready_by = 0;
	send_held(keeper);
	if (!is_candidate(keeper))
		return;
	log_info("%s as it is now is ready", keeper->config->executable);
	close(keeper->good);
	keeper->good = keeper->candidate;
	keeper->candidate = -1;
}

static void heard(struct hearing *hearing, const struct message *message)
{
	struct keeper *keeper = container_of(hearing, struct keeper, hearing);

	if (keeper->condemned)
		return;
	if (message->ready)
		became_ready(keeper);
	manager_tell(message);
}

/* ---- its end ---- */

static void say_end(const struct keeper *keeper, const siginfo_t *info)
{
	/* One that has to make room before it was ready dies of the signal. */
	const bool wanted = keeper->stopping || (keeper->upgrading && info->si_code == CLD_KILLED &&
						 info->si_status == SIGUSR2);
	const enum log_level level = wanted ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;

	if (info->si_code != CLD_EXITED)
		log_write(level, "process %d was killed by signal %d (%s)", info->si_pid,
			  info->si_status, strsignal(info->si_status));
	else if (info->si_status == RESTART_ME)
		log_info("process %d asks to be started again", info->si_pid);
	else if (info->si_status)
		log_write(level, "process %d exited with status %d", info->si_pid, info->si_status);
}

static void child_ended(struct keeper *keeper, const siginfo_t *info)
{
	const bool exited = info->si_code == CLD_EXITED;
	const int status = exited ? info->si_status : 128 + info->si_status;
	const bool asks = exited && status == RESTART_ME; /* to be started again */
	const int64_t ready_ns = keeper->ready ? now_ns() - keeper->ready_at : -1;

	say_end(keeper, info);
	keeper->hearing.child = 0;
	keeper->ready_by = 0;
	if (keeper->stopping) {
		finish(keeper, status);
	} else if (is_candidate(keeper)) {
		leave_candidate(keeper);
	} else if (!status) {
		finish(keeper, status);
	} else if (keeper->upgrading || (keeper->ready && asks)) {
		open_candidate(keeper);
		start_in(keeper, 0);
	} else {
		if (asks)
			open_candidate(keeper);
		start_again(keeper, ready_ns, status);
	}
}

/* Our child, or one that whoever executed us had before. */
static void wait_for_children(struct keeper *keeper)
{
	siginfo_t info;

	for (;;) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
			return;
		if (info.si_pid == keeper->hearing.child)
			hearing_take_last(&keeper->hearing);
		waitpid(info.si_pid, NULL, 0);
		if (info.si_pid == keeper->hearing.child)
			child_ended(keeper, &info);
	}
}

/* ---- signals ---- */

static void stop(struct keeper *keeper, int number)
{
	keeper->stopping = true;
	keeper->ready_by = 0;
	manager_tell_stopping();
	if (keeper->hearing.child) {
		kill(keeper->hearing.child, number);
	} else {
		finish(keeper, EXIT_SUCCESS);
	}
}

static void upgrade(struct keeper *keeper)
{
	if (keeper->stopping || is_candidate(keeper)) {
		log_warning("SIGUSR2: %s", keeper->stopping
						   ? "stopping already"
						   : "a new executable is being tried already");
	} else if (!keeper->hearing.child) {
		open_candidate(keeper);
		start_in(keeper, 0);
	} else {
		log_info("SIGUSR2: process %d is to make room for %s as it is now",
			 keeper->hearing.child, keeper->config->executable);
		keeper->upgrading = true;
		kill(keeper->hearing.child, SIGUSR2);
	}
}

/* One that is just starting would die of it. */
static void pass_on(struct keeper *keeper, int number)
{
	if (!keeper->hearing.child)
		return; /* the next one will look by itself */
	if (keeper->ready)
		kill(keeper->hearing.child, number);
	else
		sigaddset(&keeper->held, number);
}

static void take_signals(struct keeper *keeper)
{
	struct signalfd_siginfo info;

	while (keeper->status < 0 && read(keeper->signals, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			wait_for_children(keeper);
			break;
		case SIGUSR2:
			upgrade(keeper);
			break;
		case SIGHUP:
		case SIGUSR1:
			pass_on(keeper, (int)info.ssi_signo);
			break;
		default:
			stop(keeper, (int)info.ssi_signo);
		}
	}
}

static int watch_signals(struct keeper *keeper)
{
	static const int watched[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
	sigset_t set;

	/* Whoever ignores it has no children to wait for. */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++)
		sigaddset(&set, watched[i]);
	if (sigprocmask(SIG_BLOCK, &set, &keeper->launch.mask))
		return -errno;
	keeper->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return keeper->signals < 0 ? -errno : 0;
}

/* ---- time ---- */

static void ready_is_overdue(struct keeper *keeper)
{
	log_error("%s as it is now was not ready in %lld s: process %d is killed",
		  keeper->config->executable,
		  (long long)(keeper->config->ready_timeout_ns / 1000000000),
		  keeper->hearing.child);
	keeper->ready_by = 0;
	keeper->condemned = true;
	kill(keeper->hearing.child, SIGKILL);
}

/* How long to wait for something to happen, in ms; -1: until it does. */
static int patience(const struct keeper *keeper)
{
	const int64_t when = keeper->start_at ? keeper->start_at : keeper->ready_by;
	const int64_t left = when - now_ns();

	if (!when)
		return -1;
	return left > 0 ? (int)((left + 999999) / 1000000) : 0;
}

static void look_at_clock(struct keeper *keeper)
{
	if (keeper->start_at && now_ns() >= keeper->start_at)
		start(keeper);
	else if (keeper->ready_by && now_ns() >= keeper->ready_by)
		ready_is_overdue(keeper);
}

/* ---- the whole ---- */

/* Half of the descriptors that there can be: while a child is started, it has each twice. */
static unsigned store_most(const struct keeper *keeper)
{
	const unsigned own = OWN_DESCRIPTORS + keeper->launch.given.n;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur <= own)
		return 0;
	if ((limit.rlim_cur - own) / 2 > STORE_MOST)
		return STORE_MOST;
	return (unsigned)(limit.rlim_cur - own) / 2;
}

static int set_up(struct keeper *keeper)
{
	const unsigned most = store_most(keeper);
	int err;

	if (!most)
		log_warning("no descriptor can be kept: RLIMIT_NOFILE (systemd: LimitNOFILE=) is "
			    "too low");
	keeper->good = open(keeper->config->executable, O_PATH | O_CLOEXEC);
	if (keeper->good < 0) {
		err = -errno;
		log_error("cannot open %s: %s", keeper->config->executable, strerror(errno));
		return err;
	}
	err = watch_signals(keeper);
	if (!err)
		err = notices_open(&keeper->hearing.notices);
	if (!err)
		err = store_init(&keeper->store, most, launch_names_most(&keeper->launch));
	if (err)
		log_error("cannot start: %s", strerror(-err));
	return err;
}

int keeper_run(const struct keeper_config *config)
{
	static struct keeper keeper;

	keeper = (struct keeper){.config = config, .candidate = -1, .status = -1};
	keeper.restarts.longest_ns = config->restart_pause_ns;
	keeper.hearing.store = &keeper.store;
	keeper.hearing.heard = heard;
	keeper.launch.argv = config->argv;
	keeper.launch.given = config->given;
	keeper.launch.notify = keeper.hearing.notices.address;
	if (set_up(&keeper))
		return EXIT_FAILURE;
	start(&keeper);
	while (keeper.status < 0) {
		struct pollfd fds[] = {{keeper.signals, POLLIN, 0},
				       {keeper.hearing.notices.fd, POLLIN, 0},
				       {keeper.store.epoll, POLLIN, 0}};

		poll(fds, sizeof(fds) / sizeof(*fds), patience(&keeper));
		if (fds[0].revents)
			take_signals(&keeper);
		if (fds[1].revents)
			hearing_take(&keeper.hearing, 64);
		if (fds[2].revents)
			store_drop_hung_up(&keeper.store);
		if (keeper.status < 0)
			look_at_clock(&keeper);
	}
	return keeper.status;
}
