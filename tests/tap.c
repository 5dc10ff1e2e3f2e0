/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See tap.h. Owns the CUnit registry, the process of each case, its time limit and its TMPDIR.
 *
 * The parent registers everything with CUnit, then forks once per case; the child lets CUnit run
 * that one test and writes what failed into `diagnostics`, a memfd which the parent prints below
 * the result line.
 */
#define _GNU_SOURCE
#include "tap.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CUnit/TestDB.h>
#include <CUnit/TestRun.h>

#define DEFAULT_SECONDS 30
#define EXIT_SKIP       77

static int diagnostics = -1;
static volatile sig_atomic_t interrupted; /* the signal that asks the parent to end */
static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP};
static char *skip_reason; /* shared with the case's process */
#define SKIP_REASON_MAX 256

static void interrupt(int sig)
{
	interrupted = sig;
}

static void handle_ending_signals(void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler};

	for (unsigned int i = 0; i < sizeof(ending_signals) / sizeof(*ending_signals); i++)
		sigaction(ending_signals[i], &action, NULL);
}

unsigned int tap_stretch(unsigned int time)
{
	const char *factor = getenv("TEST_SLOW_FACTOR");

	return factor && atoi(factor) > 1 ? time * (unsigned int)atoi(factor) : time;
}

void tap_diag(const char *format, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	for (char *line = text, *rest; line; line = rest) {
		rest = strchr(line, '\n');
		if (rest)
			*rest++ = 0;
		if (*line)
			dprintf(diagnostics, "# %s\n", line);
	}
}

bool tap_failed(void)
{
	return CU_get_number_of_failures() > 0;
}

void tap_skip(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(skip_reason, SKIP_REASON_MAX, format, ap);
	va_end(ap);
	/* The way out that CUnit's own fatal assertions take. */
	longjmp(*CU_get_current_test()->pJumpBuf, 1);
}

void tap_check(bool good, bool fatal, const char *file, unsigned int line, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	CU_assertImplementation(good, line, text, file, "", fatal);
}

/* The child: its exit status is the verdict. */
static int run_case(CU_pSuite suite, CU_pTest test, const char *tmpdir)
{
	int status;

	setpgid(0, 0);
	handle_ending_signals(SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	if (tmpdir)
		setenv("TMPDIR", tmpdir, 1);

	CU_ErrorCode error = CU_run_test(suite, test);

	if (error != CUE_SUCCESS)
		tap_diag("CUnit: %s", CU_get_error_msg());
	for (CU_pFailureRecord f = CU_get_failure_list(); f; f = f->pNext)
		tap_diag("%s:%u: %s", f->strFileName ? f->strFileName : "?", f->uiLineNumber,
			 f->strCondition ? f->strCondition : "?");
	if (error != CUE_SUCCESS || tap_failed())
		status = EXIT_FAILURE;
	else
		status = *skip_reason ? EXIT_SKIP : EXIT_SUCCESS;
	CU_cleanup_registry();
	return status;
}

/* Waits for the case's process, kills its whole group when time is up. Returns waitpid()'s. */
static int await_case(pid_t pid, unsigned int seconds, bool *hung)
{
	struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	int status, n = 1;

	/* Without pidfd_open (valgrind 3.19 does not know it) there is no time limit. */
	while (p.fd >= 0) {
		n = poll(&p, 1, (int)seconds * 1000);
		if (n >= 0 || errno != EINTR || interrupted)
			break;
	}
	*hung = n == 0;
	if (n <= 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	/* What the case left running is ours now (subreaper), and must not outlive its TMPDIR. */
	kill(-pid, SIGKILL);
	while (waitpid(-pid, NULL, 0) > 0 || errno == EINTR)
		;
	if (p.fd >= 0)
		close(p.fd);
	return status;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void print_diagnostics(void)
{
	char buf[4096];
	ssize_t n;

	lseek(diagnostics, 0, SEEK_SET);
	while ((n = read(diagnostics, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, (size_t)n, stdout);
}

/* Runs one case and prints its lines. Returns whether it is fine. */
static bool report_case(unsigned int number, const struct tap_suite *suite, CU_pSuite cu_suite,
			CU_pTest test)
{
	unsigned int seconds = tap_stretch(suite->seconds ? suite->seconds : DEFAULT_SECONDS);
	const char *base = getenv("TMPDIR");
	char template[256];
	char *tmpdir;
	bool hung, good;
	int status;
	pid_t pid;

	snprintf(template, sizeof(template), "%s/vublkd-XXXXXX", base && *base ? base : "/var/tmp");
	tmpdir = mkdtemp(template);
	if (ftruncate(diagnostics, 0) < 0 || lseek(diagnostics, 0, SEEK_SET) < 0)
		perror("# diagnostics");
	*skip_reason = 0;
	fflush(NULL);

	pid = fork();
	if (pid == 0)
		exit(run_case(cu_suite, test, tmpdir));
	status = pid < 0 ? EXIT_FAILURE << 8 : await_case(pid, seconds, &hung);
	if (pid < 0) {
		tap_diag("fork: %s", strerror(errno));
		hung = false;
	}
	if (hung)
		tap_diag("no end after %u s", seconds);
	else if (WIFSIGNALED(status))
		tap_diag("killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) > EXIT_FAILURE && WEXITSTATUS(status) != EXIT_SKIP)
		tap_diag("exit status %d", WEXITSTATUS(status));

	good = WIFEXITED(status) &&
	       (WEXITSTATUS(status) == EXIT_SUCCESS || WEXITSTATUS(status) == EXIT_SKIP);
	printf("%sok %u - %s: %s", good ? "" : "not ", number, suite->name, test->pName);
	if (good && WEXITSTATUS(status) == EXIT_SKIP)
		printf(" # SKIP %s", skip_reason);
	putchar('\n');
	print_diagnostics();
	if (tmpdir)
		nftw(tmpdir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return good;
}

static bool wanted(const struct tap_suite *suite, const struct tap_case *c, const char *part)
{
	char full[256];

	snprintf(full, sizeof(full), "%s: %s", suite->name, c->name);
	return !part || strstr(full, part);
}

/* Calls `number` times nothing: only counts, or lists, what would run. */
static unsigned int count_cases(const struct tap_suite *suites, const char *part, bool list)
{
	unsigned int count = 0;

	for (const struct tap_suite *s = suites; s->name; s++)
		for (const struct tap_case *c = s->cases; c->name; c++) {
			if (!wanted(s, c, part))
				continue;
			count++;
			if (list)
				printf("%s: %s\n", s->name, c->name);
		}
	return count;
}

int tap_main(int argc, char **argv, const struct tap_suite *suites)
{
	bool list = argc > 1 && !strcmp(argv[1], "--list");
	const char *part = argc > 1 && !list ? argv[1] : NULL;
	unsigned int count = count_cases(suites, part, list), number = 0;
	bool good = true;

	if (list)
		return EXIT_SUCCESS;
	if (!count) {
		fprintf(stderr, "%s: no case has '%s' in its name\n", argv[0], part ? part : "");
		return EXIT_FAILURE;
	}
	diagnostics = memfd_create("tap", MFD_CLOEXEC);
	skip_reason = mmap(NULL, SKIP_REASON_MAX, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (diagnostics < 0 || skip_reason == MAP_FAILED || CU_initialize_registry()) {
		fprintf(stderr, "%s: cannot set up\n", argv[0]);
		return EXIT_FAILURE;
	}
	CU_set_error_action(CUEA_IGNORE);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	handle_ending_signals(interrupt);

	printf("1..%u\n", count);
	for (const struct tap_suite *s = suites; s->name; s++) {
		CU_pSuite suite = CU_add_suite_with_setup_and_teardown(s->name, NULL, NULL,
								       s->setup, s->teardown);

		for (const struct tap_case *c = s->cases; c->name; c++) {
			CU_pTest test = CU_add_test(suite, c->name, c->run);

			if (!interrupted && wanted(s, c, part) &&
			    !report_case(++number, s, suite, test))
				good = false;
		}
	}
	if (interrupted)
		printf("Bail out! %s\n", strsignal(interrupted));
	CU_cleanup_registry();
	close(diagnostics);
	munmap(skip_reason, SKIP_REASON_MAX);
	return good && !interrupted ? EXIT_SUCCESS : EXIT_FAILURE;
}
